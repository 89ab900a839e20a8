-- Rows that share a band are linked to the first row of that band: few links, no pairs of pairs.
SELECT DISTINCT bands.id AS a, first.id AS b
FROM bands
JOIN (SELECT hash, min(id) AS id FROM bands GROUP BY hash HAVING count(*) > 1) AS first ON first.hash = bands.hash
WHERE bands.id > first.id
