-- The rows that the figures of `images` count.
select uid, 'yield_share' as figure from batch where status is distinct from 'ok'
union all select uid, 'dns_share' from batch where reason like 'dns%'
union all select uid, 'unreachable_share' from batch where reason like '%unreachable%'
union all select uid, 'sha256_drift_share' from batch where not sha256_matches
union all select uid, 'placeholder_share' from batch
where status = 'ok' and sha256 in (select sha256 from batch where status = 'ok' group by sha256 having count(*) > 1)
union all select batch.uid, 'orphans' from batch left join pairs on batch.uid = pairs.uid where pairs.uid is null
union all select batch.uid, 'split_changed' from batch join pairs on batch.uid = pairs.uid where batch.split <> pairs.split
