-- Counts files and rows that left or joined a table between two snapshots, by partition. Tables: old_files and new_files,
-- with path, partition and rows.
SELECT
    partition,
    count(*) FILTER (WHERE new_rows IS NULL) AS files_out,
    coalesce(sum(old_rows) FILTER (WHERE new_rows IS NULL), 0)::BIGINT AS rows_out,
    count(*) FILTER (WHERE old_rows IS NULL) AS files_in,
    coalesce(sum(new_rows) FILTER (WHERE old_rows IS NULL), 0)::BIGINT AS rows_in
FROM (SELECT path, partition, rows AS old_rows FROM old_files)
FULL JOIN (SELECT path, partition, rows AS new_rows FROM new_files) USING (path, partition)
WHERE old_rows IS NULL OR new_rows IS NULL
GROUP BY partition
ORDER BY partition
