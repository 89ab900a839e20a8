-- Every greater neighbour of a text is linked to the text's least neighbour instead.
WITH
both_ways AS (SELECT a, b FROM links UNION ALL SELECT b AS a, a AS b FROM links),
leasts AS (SELECT a, least(a, min(b)) AS m FROM both_ways GROUP BY a)
SELECT DISTINCT both_ways.b AS a, leasts.m AS b
FROM both_ways JOIN leasts ON leasts.a = both_ways.a
WHERE both_ways.b > both_ways.a
