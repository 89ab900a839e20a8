-- What the work on each key took, from the ledger. A commit repeats the counts of its work, so it is left out.
SELECT
    key,
    sum(kept) FILTER (WHERE step NOT IN ('ingest', 'images')) / nullif(sum(seconds) FILTER (WHERE step NOT IN ('ingest', 'images')), 0)
        AS rows_per_second,
    sum(cpu_seconds) / 3600 AS cpu_hours,
    sum(TRY_CAST(json_extract_string(metrics, '$.cost') AS DOUBLE)) AS cost
FROM runs
WHERE verb = 'work'
GROUP BY key
ORDER BY key
