-- The uids, URLs and images of remaining rows that an earlier key keeps, with that key. The priority orders the rules.
SELECT id, rule_name, kinds.kind, kinds.hash, min(earlier.key) AS owner, priority
FROM (
    SELECT id, 'earlier_uid' AS rule_name, 'uid' AS kind, uid_hash AS hash, 1 AS priority FROM decisions WHERE rule IS NULL
    UNION ALL
    SELECT id, 'earlier_url', 'url', url_hash, 2 FROM decisions WHERE rule IS NULL
    UNION ALL
    SELECT id, 'earlier_picture', 'sha256', picture_hash, 3 FROM decisions WHERE rule IS NULL
) AS kinds
JOIN earlier ON earlier.kind = kinds.kind AND earlier.hash = kinds.hash
GROUP BY id, rule_name, kinds.kind, kinds.hash, priority
