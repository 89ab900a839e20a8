-- Rows taken out, by step and reason, the most frequent first, with a few examples of each. Table: quarantine.
SELECT
    step,
    reason,
    count(*) AS n,
    count(DISTINCT key) AS keys,
    max(key) AS latest,
    list({'uid': uid, 'key': key, 'detail': left(detail, 300)} ORDER BY uid)[:5] AS examples
FROM quarantine
GROUP BY step, reason
ORDER BY n DESC, step, reason
LIMIT 60
