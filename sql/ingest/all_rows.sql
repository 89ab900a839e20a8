-- Every cleaned row with the rule that drops it (NULL: kept) and the number of rows that it represents.
SELECT landed.*, decisions.rule, decisions.dups FROM landed JOIN decisions ON decisions.id = landed.id
