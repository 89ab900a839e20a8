-- Keeps at most :keep rows of each cluster of near rows. The best row of a cluster counts the others in its dups.
WITH
firsts AS (SELECT {exact} AS exact, min(id) AS first FROM decisions WHERE rule IS NULL GROUP BY {exact}),
clusters AS (
    SELECT firsts.exact, coalesce(links.b, firsts.first) AS cluster
    FROM firsts LEFT JOIN links ON links.a = firsts.first
),
ranked AS (
    SELECT
        decisions.*,
        row_number() OVER (
            PARTITION BY rule IS NULL, coalesce(clusters.cluster, id)
            ORDER BY score DESC NULLS LAST, pixels DESC NULLS LAST, id
        ) AS place,
        sum(dups) OVER (PARTITION BY rule IS NULL, coalesce(clusters.cluster, id)) AS cluster_dups
    FROM decisions LEFT JOIN clusters ON clusters.exact = decisions.{exact} AND decisions.rule IS NULL
)
SELECT
    id, part, uid_hash, url_hash, picture_hash, text_hash, score, pixels, place - 1 AS better,
    CASE WHEN rule IS NULL AND place = 1 THEN cluster_dups ELSE dups END AS dups,
    CASE WHEN rule IS NOT NULL OR place <= :keep THEN rule ELSE :near_rule END AS rule
FROM ranked
