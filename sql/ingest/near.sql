-- Of each cluster of near rows at most :keep stay, those of earlier keys counted in; the best stands for the others.
WITH
firsts AS (SELECT {same} AS same, min(id) AS first FROM fates WHERE fate IS NULL GROUP BY {same}),
named AS (
    SELECT firsts.same, coalesce(links.b, firsts.first) AS cluster, coalesce(matches.met, 0) AS met
    FROM firsts LEFT JOIN links ON links.a = firsts.first LEFT JOIN matches ON matches.id = firsts.first
),
clusters AS (
    SELECT same, cluster, max(met) OVER (PARTITION BY cluster) AS met FROM named
),
ranked AS (
    SELECT
        fates.*, clusters.met,
        row_number() OVER (
            PARTITION BY fate IS NULL, coalesce(clusters.cluster, id)
            ORDER BY score DESC NULLS LAST, pixels DESC NULLS LAST, id
        ) AS place,
        sum(dups) OVER (PARTITION BY fate IS NULL, coalesce(clusters.cluster, id)) AS together
    FROM fates LEFT JOIN clusters ON clusters.same = fates.{same} AND fates.fate IS NULL
)
SELECT
    id, part, uid_hash, url_hash, picture_hash, text_hash, score, pixels,
    CASE WHEN fate IS NULL AND place = 1 THEN together ELSE dups END AS dups,
    CASE
        WHEN fate IS NOT NULL OR place + met <= :keep THEN fate
        WHEN place <= :keep THEN 'earlier_{kind}'
        ELSE '{rule}'
    END AS fate
FROM ranked
