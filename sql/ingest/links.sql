-- Links that hold: the sketches of both texts differ in few enough bits. (x | y) - (x & y) are the bits that differ.
SELECT a, b
FROM candidates
JOIN sketches AS x ON x.id = a
JOIN sketches AS y ON y.id = b
WHERE bit_count((x.sketch_a | y.sketch_a) - (x.sketch_a & y.sketch_a))
    + bit_count((x.sketch_b | y.sketch_b) - (x.sketch_b & y.sketch_b)) <= :max_bits
