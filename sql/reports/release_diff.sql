-- Counts the rows of two releases by what happened to them. Tables: old_rows and new_rows, with uid and caption.
SELECT
    count(*) FILTER (WHERE old.uid IS NULL) AS added,
    count(*) FILTER (WHERE new.uid IS NULL) AS removed,
    count(*) FILTER (WHERE old.uid = new.uid AND old.caption IS DISTINCT FROM new.caption) AS changed,
    count(*) FILTER (WHERE old.uid = new.uid AND old.caption IS NOT DISTINCT FROM new.caption) AS same,
    count(old.uid) AS old
FROM (SELECT uid, hash(caption) AS caption FROM old_rows) AS old
FULL JOIN (SELECT uid, hash(caption) AS caption FROM new_rows) AS new ON old.uid = new.uid
