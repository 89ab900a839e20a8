-- An alt-text that more than {limit} living rows share tells nothing of any of them: all go. (Their URLs differ.)
SELECT
    id, part, uid_hash, url_hash, picture_hash, text_hash, score, pixels, dups,
    CASE WHEN fate IS NULL AND crowd > {limit} THEN 'shared_text' ELSE fate END AS fate
FROM (SELECT *, count(*) OVER (PARTITION BY fate IS NULL, text_hash) AS crowd FROM fates) AS counted
