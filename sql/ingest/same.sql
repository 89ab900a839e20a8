-- Of the living rows with the same {kind}_hash the best stays and stands for the others: highest CLIP score, then most
-- pixels, then first in the landing files. When there are more than {limit} of them all go: such a thing tells nothing
-- of any of them. A row without {kind}_hash is alone.
SELECT
    id, part, uid_hash, url_hash, picture_hash, text_hash, score, pixels,
    CASE WHEN fate IS NULL AND place = 1 THEN together ELSE dups END AS dups,
    CASE
        WHEN fate IS NOT NULL THEN fate
        WHEN crowd > {limit} THEN 'placeholder_{kind}'
        WHEN place > 1 THEN 'duplicate_{kind}'
    END AS fate
FROM (
    SELECT
        *,
        row_number() OVER (
            PARTITION BY fate IS NULL, coalesce({kind}_hash, id)
            ORDER BY score DESC NULLS LAST, pixels DESC NULLS LAST, id
        ) AS place,
        count(*) OVER (PARTITION BY fate IS NULL, coalesce({kind}_hash, id)) AS crowd,
        sum(dups) OVER (PARTITION BY fate IS NULL, coalesce({kind}_hash, id)) AS together
    FROM fates
) AS ranked
