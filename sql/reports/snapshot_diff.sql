-- Counts files and rows that left or joined a table between two snapshots, by key. Tables: old_files and new_files, with
-- path and rows.
SELECT
    regexp_extract(path, 'key=([^/]+)', 1) AS key,
    count(*) FILTER (WHERE new_rows IS NULL) AS files_out,
    coalesce(sum(old_rows) FILTER (WHERE new_rows IS NULL), 0)::BIGINT AS rows_out,
    count(*) FILTER (WHERE old_rows IS NULL) AS files_in,
    coalesce(sum(new_rows) FILTER (WHERE old_rows IS NULL), 0)::BIGINT AS rows_in
FROM (SELECT path, rows AS old_rows FROM old_files)
FULL JOIN (SELECT path, rows AS new_rows FROM new_files) USING (path)
WHERE old_rows IS NULL OR new_rows IS NULL
GROUP BY key
ORDER BY key
