-- For each remaining row that may be dropped for its text, the rows of earlier keys with equal facts.
SELECT decisions.id, earlier.key AS owner, earlier.hash
FROM decisions
JOIN earlier ON earlier.kind = 'facts' AND earlier.hash = decisions.text_hash
WHERE rule IS NULL AND (picture_hash IS NULL OR :other_pictures = 1)
