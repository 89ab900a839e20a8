-- What only stage 2 is asked; runs as it is on DuckDB and on Spark.
select sum(case when images.split = 'stage1' then 1 else 0 end) as wrong_split
from batch
left join images on batch.uid = images.uid
