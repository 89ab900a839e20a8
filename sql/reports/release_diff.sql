-- Counts the rows of two releases by what happened to them, by recipe. Tables: old_rows and new_rows, with recipe, uid and
-- caption.
SELECT
    recipe,
    count(*) FILTER (WHERE old.rows IS NULL) AS added,
    count(*) FILTER (WHERE new.rows IS NULL) AS removed,
    count(*) FILTER (WHERE old.rows = new.rows AND old.caption IS DISTINCT FROM new.caption) AS changed,
    count(*) FILTER (WHERE old.rows = new.rows AND old.caption IS NOT DISTINCT FROM new.caption) AS same,
    count(old.rows) AS old
FROM (SELECT recipe, uid, hash(caption) AS caption, 1 AS rows FROM old_rows) AS old
FULL JOIN (SELECT recipe, uid, hash(caption) AS caption, 1 AS rows FROM new_rows) AS new USING (recipe, uid)
GROUP BY recipe
ORDER BY recipe
