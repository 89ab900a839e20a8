-- Links that hold: the sketches of both rows differ in few enough bits. (x | y) - (x & y) are the bits that differ.
SELECT a, b
FROM candidates
JOIN {kind} AS x ON x.id = a
JOIN {kind} AS y ON y.id = b
WHERE bit_count((x.{kind}_a | y.{kind}_a) - (x.{kind}_a & y.{kind}_a))
    + bit_count((x.{kind}_b | y.{kind}_b) - (x.{kind}_b & y.{kind}_b)) <= :max_bits
