-- What only stage 1 is asked; runs as it is on DuckDB and on Spark.
select
    sum(case when dense.text is null or dense.text <> batch.dense_caption then 1 else 0 end) as dense_changed,
    sum(case when images.split = 'stage2' then 1 else 0 end) as wrong_split
from batch
left join dense on batch.uid = dense.uid
left join images on batch.uid = images.uid
