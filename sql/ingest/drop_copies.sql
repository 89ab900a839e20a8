-- Of the remaining rows with equal facts, keeps those that claim a sha256, as these are different pictures (unless
-- :other_pictures), and of the others the best, until :keep rows are kept. The best row of all counts the dropped ones.
WITH
marked AS (
    SELECT *, picture_hash IS NOT NULL AND :other_pictures = 0 AS other_picture FROM decisions
),
ranked AS (
    SELECT
        *,
        row_number() OVER (
            PARTITION BY rule IS NULL, coalesce(text_hash, id)
            ORDER BY other_picture DESC, score DESC NULLS LAST, pixels DESC NULLS LAST, id
        ) AS place
    FROM marked
),
judged AS (
    SELECT
        *,
        CASE
            WHEN rule IS NOT NULL OR other_picture OR place <= :keep THEN rule
            ELSE 'near_duplicate'
        END AS new_rule
    FROM ranked
)
SELECT
    id, part, uid_hash, url_hash, picture_hash, text_hash, score, pixels,
    CASE WHEN other_picture THEN 0 ELSE place - 1 END AS better,
    CASE
        WHEN rule IS NULL AND place = 1 THEN dups + coalesce(sum(CASE WHEN new_rule = 'near_duplicate' THEN dups END)
            OVER (PARTITION BY rule IS NULL, coalesce(text_hash, id)), 0)
        ELSE dups
    END AS dups,
    new_rule AS rule
FROM judged
