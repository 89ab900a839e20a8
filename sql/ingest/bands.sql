-- One living row for all that have the same {same} (the first), under each of its band hashes.
SELECT {kind}.id, explode({kind}_bands) AS hash
FROM {kind}
JOIN (SELECT min(id) AS id FROM fates WHERE fate IS NULL GROUP BY {same}) AS firsts ON firsts.id = {kind}.id
