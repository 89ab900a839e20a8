-- One living row for each text that is left (the first), under each of its band hashes.
SELECT sketches.id, explode(sketches.bands) AS hash
FROM sketches
JOIN (SELECT min(id) AS id FROM fates WHERE fate IS NULL GROUP BY text_hash) AS texts ON texts.id = sketches.id
