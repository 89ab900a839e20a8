-- For each row the near pairs that earlier keys keep, each with one hash that both share.
SELECT bands.id, earlier.key AS owner, min(earlier.hash) AS hash
FROM bands
JOIN earlier ON earlier.kind = :kind AND earlier.hash = bands.hash
JOIN {kind} AS x ON x.id = bands.id
WHERE bit_count((x.{kind}_a | earlier.sketch_a) - (x.{kind}_a & earlier.sketch_a))
    + bit_count((x.{kind}_b | earlier.sketch_b) - (x.{kind}_b & earlier.sketch_b)) <= :max_bits
GROUP BY bands.id, earlier.key, earlier.uid
