-- Of each lost row the entries of the first rule by which it is lost. A later rule may have dropped it in the key.
SELECT lost.id, rule_name, kind, hash, owner
FROM lost
JOIN (SELECT id, min(priority) AS priority FROM lost GROUP BY id) AS firsts ON firsts.id = lost.id AND firsts.priority = lost.priority
JOIN decisions ON decisions.id = lost.id AND decisions.rule IS NULL
