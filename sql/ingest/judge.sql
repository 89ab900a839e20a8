-- The first rule that a row breaks, if any. Nothing is ever greater or smaller than NULL: a limit that is unset is off.
SELECT
    id, part, uid_hash, url_hash, picture_hash, text_hash,
    coalesce(clip_l14, clip_b32) AS score,
    CAST(width AS BIGINT) * height AS pixels,
    CAST(1 AS BIGINT) AS dups,
    CASE
        WHEN fault IS NOT NULL THEN fault
        WHEN url_hash IS NULL THEN 'no_url'
        WHEN chars = 0 THEN 'no_text'
        WHEN finding IS NOT NULL THEN finding
        WHEN words < :min_words THEN 'too_few_words'
        WHEN words > :max_words THEN 'too_many_words'
        WHEN chars < :min_chars THEN 'too_short'
        WHEN chars > :max_chars THEN 'too_long'
        WHEN repetition > :max_repetition THEN 'repetition'
        WHEN least(width, height) < :min_side THEN 'too_small'
        WHEN CAST(greatest(width, height) AS DOUBLE) / least(width, height) > :max_aspect THEN 'too_narrow'
        WHEN clip_b32 < :min_clip_b32 OR clip_l14 < :min_clip_l14 THEN 'low_clip'
    END AS fate
FROM rows
