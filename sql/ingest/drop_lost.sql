-- Drops the rows that were lost to earlier keys.
SELECT decisions.id, decisions.dups, coalesce(decisions.rule, losses.rule_name) AS rule
FROM decisions
LEFT JOIN (SELECT DISTINCT id, rule_name FROM lost) AS losses ON losses.id = decisions.id
