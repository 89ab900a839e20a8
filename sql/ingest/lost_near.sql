-- Adds the remaining rows that have, with the better rows of their cluster, :keep or more near rows kept before them.
SELECT id, rule_name, kind, hash, owner, priority FROM lost
UNION ALL
SELECT near.id, :earlier_rule AS rule_name, :kind AS kind, near.hash, near.owner, CAST(:priority AS INT) AS priority
FROM (SELECT *, count(*) OVER (PARTITION BY id) AS pairs FROM earlier_near) AS near
JOIN decisions ON decisions.id = near.id
WHERE decisions.rule IS NULL AND near.pairs + decisions.better >= :keep
