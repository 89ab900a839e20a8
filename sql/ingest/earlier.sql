-- A row is gone when an earlier key has kept its uid, its URL or its picture.
SELECT
    id, part, uid_hash, url_hash, picture_hash, text_hash, score, pixels, dups,
    CASE
        WHEN fate IS NOT NULL THEN fate
        WHEN uids.hash IS NOT NULL THEN 'earlier_uid'
        WHEN urls.hash IS NOT NULL THEN 'earlier_url'
        WHEN pictures.hash IS NOT NULL THEN 'earlier_picture'
    END AS fate
FROM fates
LEFT JOIN (SELECT DISTINCT hash FROM earlier WHERE kind = 'uid') AS uids ON uids.hash = uid_hash
LEFT JOIN (SELECT DISTINCT hash FROM earlier WHERE kind = 'url') AS urls ON urls.hash = url_hash
LEFT JOIN (SELECT DISTINCT hash FROM earlier WHERE kind = 'sha256') AS pictures ON pictures.hash = picture_hash
