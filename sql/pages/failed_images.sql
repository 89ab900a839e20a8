-- Images that could not be fetched, by reason, as sql/pages/quarantine.sql. Table: images.
SELECT
    'images' AS step,
    coalesce(reason, 'unknown') AS reason,
    count(*) AS n,
    count(DISTINCT key) AS keys,
    max(key) AS latest,
    list({'uid': uid, 'key': key, 'detail': left(detail, 300)} ORDER BY uid)[:5] AS examples
FROM images
WHERE status <> 'ok'
GROUP BY reason
ORDER BY n DESC, reason
LIMIT 60
