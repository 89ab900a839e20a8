-- A text and its smaller neighbours are all linked to the least of them.
WITH leasts AS (SELECT a, min(b) AS m FROM links GROUP BY a)
SELECT a, m AS b FROM leasts
UNION
SELECT links.b AS a, leasts.m AS b FROM links JOIN leasts ON leasts.a = links.a WHERE links.b <> leasts.m
