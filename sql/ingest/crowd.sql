-- {hash} shared by more than {limit} URLs tells nothing of any of them: all its rows go.
SELECT
    id, part, uid_hash, url_hash, picture_hash, text_hash, score, pixels, dups,
    CASE WHEN fate IS NULL AND crowds.hash IS NOT NULL THEN '{rule}' ELSE fate END AS fate
FROM fates
LEFT JOIN (
    SELECT {hash} AS hash FROM fates
    WHERE fate IS NULL AND {hash} IS NOT NULL
    GROUP BY {hash} HAVING count(DISTINCT url_hash) > {limit}
) AS crowds ON crowds.hash = {hash}
