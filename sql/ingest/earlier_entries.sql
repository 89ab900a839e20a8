-- The entries that earlier keys keep and that share any hash with this key. This is the only pass over the whole index.
SELECT * FROM earlier
WHERE owner IS NULL AND hash IN (
    SELECT uid_hash FROM rows
    UNION ALL SELECT url_hash FROM rows
    UNION ALL SELECT picture_hash FROM rows
    UNION ALL SELECT text_hash FROM rows
    UNION ALL SELECT explode(text_bands) FROM text
    UNION ALL SELECT explode(meaning_bands) FROM meaning
)
