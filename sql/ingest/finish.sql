-- Every row with its fate.
SELECT landed.*, fates.fate, fates.dups FROM landed JOIN fates ON fates.id = landed.id
