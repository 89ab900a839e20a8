-- Starts `decisions`: for each row the reason for which it cannot be read, or the first row rule that drops it, or NULL.
SELECT
    id, part, uid_hash, url_hash, picture_hash, text_hash,
    coalesce(clip_l14, clip_b32) AS score,
    CAST(width AS BIGINT) * height AS pixels,
    CAST(1 AS BIGINT) AS dups,
    coalesce(reason, row_rule) AS rule
FROM rows
