-- The band hashes of the remaining rows; of rows with equal {exact}, only of the first.
SELECT {kind}.id, explode({kind}_bands) AS hash
FROM {kind}
JOIN (SELECT min(id) AS id FROM decisions WHERE rule IS NULL GROUP BY {exact}) AS firsts ON firsts.id = {kind}.id
