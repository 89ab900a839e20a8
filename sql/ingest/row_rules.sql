-- Starts `decisions`: for each row the first rule that drops it, or NULL. A comparison with NULL is never true, so a
-- limit that is not set, or a value that is not known, drops nothing.
SELECT
    id, part, uid_hash, url_hash, picture_hash, text_hash,
    coalesce(clip_l14, clip_b32) AS score,
    CAST(width AS BIGINT) * height AS pixels,
    CAST(1 AS BIGINT) AS dups,
    CASE
        WHEN reason IS NOT NULL THEN reason
        WHEN url_hash IS NULL THEN 'no_url'
        WHEN chars = 0 THEN 'no_text'
        WHEN row_rule IS NOT NULL THEN row_rule
        WHEN words < :min_words THEN 'too_few_words'
        WHEN words > :max_words THEN 'too_many_words'
        WHEN chars < :min_chars THEN 'too_short'
        WHEN chars > :max_chars THEN 'too_long'
        WHEN repetition > :max_repetition THEN 'repetition'
        WHEN least(width, height) < :min_side THEN 'too_small'
        WHEN CAST(greatest(width, height) AS DOUBLE) / least(width, height) > :max_aspect THEN 'too_narrow'
        WHEN clip_b32 < :min_clip_b32 OR clip_l14 < :min_clip_l14 THEN 'low_clip'
    END AS rule
FROM rows
