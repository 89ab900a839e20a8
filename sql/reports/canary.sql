-- Figures of the captions of a canary and of those that the key has, on the images that both have. Tables: present and
-- canary.
SELECT
    side,
    count(*) AS captions,
    avg(len(string_split(trim(caption), ' '))) AS words_mean,
    count(DISTINCT caption) / count(*) AS unique_share,
    sum(facts) / count(*) AS facts_mean,
    sum(facts_from_alt) / nullif(sum(facts), 0) AS facts_from_alt_share,
    sum(facts_invented) / nullif(sum(facts), 0) AS facts_invented_share,
    avg(CASE WHEN len(flags) > 0 THEN 1.0 ELSE 0.0 END) AS flagged_share,
    avg(CASE WHEN finish_reason = 'length' THEN 1.0 ELSE 0.0 END) AS truncated_share,
    avg(tokens_out) AS tokens_out_mean
FROM (
    SELECT 'present' AS side, * FROM present WHERE uid IN (SELECT uid FROM canary)
    UNION ALL
    SELECT 'canary', * FROM canary WHERE uid IN (SELECT uid FROM present)
)
GROUP BY side
