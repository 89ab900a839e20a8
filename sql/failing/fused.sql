-- The rows that the figures of captions of stage 1 count.
select uid, 'dense_changed' as figure from batch
where dense_caption is not null and not exists (
    select 1 from texts where texts.uid = batch.uid and texts.text = batch.dense_caption
)
union all select batch.uid, 'wrong_split' from batch join images on batch.uid = images.uid where images.split = 'stage2'
