-- The first rows of the landing files, for previews.
SELECT * FROM rows ORDER BY id LIMIT :limit
