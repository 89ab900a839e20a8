-- The rows that the figures of `captions` of both stages count.
select uid, 'invented_share' as figure from batch where facts_invented > 0
union all select uid, 'alt_used_share' from batch where facts_from_alt = 0
union all select uid, 'copied_share' from batch where caption = alt_text
union all select batch.uid, 'orphans' from batch left join images on batch.uid = images.uid
where images.status is distinct from 'ok'
union all select batch.uid, 'alt_changed' from batch left join pairs on batch.uid = pairs.uid
where pairs.alt_text is distinct from batch.alt_text
