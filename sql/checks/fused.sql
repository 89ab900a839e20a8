-- What only stage 1 is asked; runs as it is on DuckDB and on Spark.
select
    sum(case when batch.dense_caption is not null and described.uid is null then 1 else 0 end) as dense_changed,
    sum(case when images.split = 'stage2' then 1 else 0 end) as wrong_split
from batch
left join (select distinct uid, text from texts) as described
    on batch.uid = described.uid and batch.dense_caption = described.text
left join images on batch.uid = images.uid
