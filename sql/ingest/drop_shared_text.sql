-- Drops all rows of an alt-text that more than :limit remaining rows share: it says nothing about any of their images.
-- (Their URLs differ, because equal URLs have been dropped.)
SELECT
    id, part, uid_hash, url_hash, picture_hash, text_hash, score, pixels, dups,
    CASE WHEN rule IS NULL AND group_rows > :limit THEN 'shared_text' ELSE rule END AS rule
FROM (SELECT *, count(*) OVER (PARTITION BY rule IS NULL, coalesce(text_hash, id)) AS group_rows FROM decisions) AS counted
