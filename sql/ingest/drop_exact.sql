-- Of the remaining rows with equal {column}, keeps the best and counts the others in its dups: highest CLIP score, then
-- most pixels, then first in the landing files. If there are more than :limit, the value is a placeholder that says
-- nothing about any of the rows, and all are dropped. A row without {column} is a group of its own.
SELECT
    id, part, uid_hash, url_hash, picture_hash, text_hash, score, pixels,
    CASE WHEN rule IS NULL AND place = 1 THEN group_dups ELSE dups END AS dups,
    CASE
        WHEN rule IS NOT NULL THEN rule
        WHEN group_rows > :limit THEN :placeholder_rule
        WHEN place > 1 THEN :duplicate_rule
    END AS rule
FROM (
    SELECT
        *,
        row_number() OVER (
            PARTITION BY rule IS NULL, coalesce({column}, id)
            ORDER BY score DESC NULLS LAST, pixels DESC NULLS LAST, id
        ) AS place,
        count(*) OVER (PARTITION BY rule IS NULL, coalesce({column}, id)) AS group_rows,
        sum(dups) OVER (PARTITION BY rule IS NULL, coalesce({column}, id)) AS group_dups
    FROM decisions
) AS ranked
