-- For each text, how many pairs of earlier keys are near it.
SELECT bands.id, count(DISTINCT earlier.uid) AS met
FROM bands
JOIN earlier ON earlier.kind = 'band' AND earlier.hash = bands.hash
JOIN sketches ON sketches.id = bands.id
WHERE bit_count((sketches.sketch_a | earlier.sketch_a) - (sketches.sketch_a & earlier.sketch_a))
    + bit_count((sketches.sketch_b | earlier.sketch_b) - (sketches.sketch_b & earlier.sketch_b)) <= :max_bits
GROUP BY bands.id
