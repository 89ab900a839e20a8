-- The rows that are kept of each cluster, as many as its quota: those next to its centre, or, if {diverse} is 1, one of
-- each of as many equal ranges of the distance from it. `place` counts from the centre.
WITH placed AS (
    SELECT
        id, cluster,
        row_number() OVER (PARTITION BY cluster ORDER BY closeness DESC, id) - 1 AS place,
        count(*) OVER (PARTITION BY cluster) AS members
    FROM candidates
)
SELECT placed.id AS id, CAST(placed.place AS BIGINT) AS place
FROM placed JOIN quotas ON placed.cluster = quotas.cluster
WHERE
    CASE WHEN {diverse} = 0 THEN placed.place < quotas.quota
    ELSE quotas.quota > 0 AND (
        placed.place = 0
        OR floor(CAST(placed.place * quotas.quota AS DOUBLE) / placed.members)
            > floor(CAST((placed.place - 1) * quotas.quota AS DOUBLE) / placed.members)
    ) END
ORDER BY id
