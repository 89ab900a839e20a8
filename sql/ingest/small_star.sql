-- Links a row and its smaller neighbours to the smallest of them. The other half of a round.
WITH smallest AS (SELECT a, min(b) AS m FROM links GROUP BY a)
SELECT a, m AS b FROM smallest
UNION
SELECT links.b AS a, smallest.m AS b FROM links JOIN smallest ON smallest.a = links.a WHERE links.b <> smallest.m
