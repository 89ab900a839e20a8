-- Drops rows whose uid, URL or image an earlier key has kept.
SELECT
    id, part, uid_hash, url_hash, picture_hash, text_hash, score, pixels, dups,
    CASE
        WHEN rule IS NOT NULL THEN rule
        WHEN uids.hash IS NOT NULL THEN 'earlier_uid'
        WHEN urls.hash IS NOT NULL THEN 'earlier_url'
        WHEN pictures.hash IS NOT NULL THEN 'earlier_picture'
    END AS rule
FROM decisions
LEFT JOIN (SELECT DISTINCT hash FROM earlier WHERE kind = 'uid') AS uids ON uids.hash = uid_hash
LEFT JOIN (SELECT DISTINCT hash FROM earlier WHERE kind = 'url') AS urls ON urls.hash = url_hash
LEFT JOIN (SELECT DISTINCT hash FROM earlier WHERE kind = 'sha256') AS pictures ON pictures.hash = picture_hash
