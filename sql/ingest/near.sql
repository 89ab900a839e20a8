-- Of each cluster of near texts at most :keep stay, those of earlier keys counted in; the best stands for the others.
WITH
texts AS (SELECT text_hash, min(id) AS first FROM fates WHERE fate IS NULL GROUP BY text_hash),
named AS (
    SELECT texts.text_hash, coalesce(links.b, texts.first) AS cluster, coalesce(matches.met, 0) AS met
    FROM texts LEFT JOIN links ON links.a = texts.first LEFT JOIN matches ON matches.id = texts.first
),
clusters AS (
    SELECT text_hash, cluster, max(met) OVER (PARTITION BY cluster) AS met FROM named
),
ranked AS (
    SELECT
        fates.*, clusters.met,
        row_number() OVER (
            PARTITION BY fate IS NULL, coalesce(clusters.cluster, id)
            ORDER BY score DESC NULLS LAST, pixels DESC NULLS LAST, id
        ) AS place,
        sum(dups) OVER (PARTITION BY fate IS NULL, coalesce(clusters.cluster, id)) AS together
    FROM fates LEFT JOIN clusters ON clusters.text_hash = fates.text_hash AND fates.fate IS NULL
)
SELECT
    id, part, uid_hash, url_hash, picture_hash, text_hash, score, pixels,
    CASE WHEN fate IS NULL AND place = 1 THEN together ELSE dups END AS dups,
    CASE
        WHEN fate IS NOT NULL OR place + met <= :keep THEN fate
        WHEN place <= :keep THEN 'earlier_text'
        ELSE 'near_duplicate'
    END AS fate
FROM ranked
