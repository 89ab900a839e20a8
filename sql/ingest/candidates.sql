-- Links each row to the first row of every band that it shares: fewer links than all pairs of the band.
SELECT DISTINCT bands.id AS a, first.id AS b
FROM bands
JOIN (SELECT hash, min(id) AS id FROM bands GROUP BY hash HAVING count(*) > 1) AS first ON first.hash = bands.hash
WHERE bands.id > first.id
