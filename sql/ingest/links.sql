-- Keeps the links between rows whose sketches differ in at most :max_bits bits. (x | y) - (x & y) is x xor y, which the
-- two engines write differently.
SELECT a, b
FROM candidates
JOIN {kind} AS x ON x.id = a
JOIN {kind} AS y ON y.id = b
WHERE bit_count((x.{kind}_a | y.{kind}_a) - (x.{kind}_a & y.{kind}_a))
    + bit_count((x.{kind}_b | y.{kind}_b) - (x.{kind}_b & y.{kind}_b)) <= :max_bits
