-- The captions that a canary changes most, by length. Tables: present and canary.
SELECT
    uid,
    left(present.alt_text, 2000) AS alt_text,
    left(present.dense_caption, 2000) AS present_dense,
    left(present.caption, 2000) AS present,
    left(canary.dense_caption, 2000) AS canary_dense,
    left(canary.caption, 2000) AS canary
FROM present
JOIN canary USING (uid)
ORDER BY present.caption = canary.caption, abs(length(present.caption) - length(canary.caption)) DESC, uid
LIMIT $rows
