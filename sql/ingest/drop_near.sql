-- Of the rows of each cluster that are near its best row, keeps at most :keep. Rows that are near others of the cluster
-- only are kept. The best row counts the dropped ones in its dups.
WITH
firsts AS (SELECT {exact} AS exact, min(id) AS first FROM decisions WHERE rule IS NULL GROUP BY {exact}),
clusters AS (
    SELECT firsts.exact, coalesce(links.b, firsts.first) AS cluster
    FROM firsts LEFT JOIN links ON links.a = firsts.first
),
ranked AS (
    SELECT
        decisions.*,
        coalesce(clusters.cluster, id) AS cluster,
        first_value(id) OVER (
            PARTITION BY rule IS NULL, coalesce(clusters.cluster, id)
            ORDER BY score DESC NULLS LAST, pixels DESC NULLS LAST, id
        ) AS best
    FROM decisions LEFT JOIN clusters ON clusters.exact = decisions.{exact} AND decisions.rule IS NULL
),
compared AS (
    SELECT
        ranked.*,
        ranked.id = best
        OR bit_count((x.{kind}_a | y.{kind}_a) - (x.{kind}_a & y.{kind}_a))
        + bit_count((x.{kind}_b | y.{kind}_b) - (x.{kind}_b & y.{kind}_b)) <= :max_bits AS near
    FROM ranked
    LEFT JOIN {kind} AS x ON x.id = ranked.id
    LEFT JOIN {kind} AS y ON y.id = best
),
placed AS (
    SELECT
        *,
        CASE WHEN near THEN row_number() OVER (
            PARTITION BY rule IS NULL, near, cluster ORDER BY score DESC NULLS LAST, pixels DESC NULLS LAST, id
        ) ELSE 1 END AS place
    FROM compared
)
SELECT
    id, part, uid_hash, url_hash, picture_hash, text_hash, score, pixels, place - 1 AS better,
    CASE
        WHEN rule IS NULL AND id = best THEN dups + coalesce(
            sum(CASE WHEN place > :keep THEN dups END) OVER (PARTITION BY rule IS NULL, cluster), 0
        )
        ELSE dups
    END AS dups,
    CASE WHEN rule IS NOT NULL OR place <= :keep THEN rule ELSE :near_rule END AS rule
FROM placed
