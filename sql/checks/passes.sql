-- What only texts of passes are asked; runs as it is on DuckDB and on Spark.
select
    sum(case when images.uid is null or images.status <> 'ok' then 1 else 0 end) as orphans,
    sum(case when images.split = 'stage2' then 1 else 0 end) as wrong_split
from batch
left join images on batch.uid = images.uid
