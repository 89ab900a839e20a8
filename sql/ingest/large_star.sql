-- Links every larger neighbour of a row to the smallest neighbour of that row. One half of a round of the
-- large-star/small-star algorithm for connected components (Kiveris et al., 2014).
WITH
both_ways AS (SELECT a, b FROM links UNION ALL SELECT b AS a, a AS b FROM links),
smallest AS (SELECT a, least(a, min(b)) AS m FROM both_ways GROUP BY a)
SELECT DISTINCT both_ways.b AS a, smallest.m AS b
FROM both_ways JOIN smallest ON smallest.a = both_ways.a
WHERE both_ways.b > both_ways.a
