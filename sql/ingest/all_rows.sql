-- Every cleaned row with the rule that drops it (NULL: kept), the number of rows that it represents, and the index
-- entries that it lost to earlier keys, each as `hash owner`.
SELECT landed.*, decisions.rule, decisions.dups, entries.lost_kind, entries.lost_entries
FROM landed
JOIN decisions ON decisions.id = landed.id
LEFT JOIN (
    SELECT id, min(kind) AS lost_kind, array_agg(concat(CAST(hash AS STRING), ' ', owner)) AS lost_entries
    FROM lost GROUP BY id
) AS entries ON entries.id = landed.id
