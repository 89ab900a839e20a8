-- The rows that the figures of texts of passes count.
select batch.uid, 'orphans' as figure from batch left join images on batch.uid = images.uid
where images.status is distinct from 'ok'
union all select batch.uid, 'wrong_split' from batch join images on batch.uid = images.uid where images.split = 'stage2'
