-- What `captions` of both stages are asked; runs as it is on DuckDB and on Spark.
select
    sum(facts_invented) / cast(greatest(sum(facts), 1) as double) as invented_share,
    avg(case when facts_from_alt is null then null when facts_from_alt > 0 then 1e0 else 0e0 end) as alt_used_share,
    avg(facts) as facts_mean,
    avg(case when caption = batch.alt_text then 1e0 else 0e0 end) as copied_share,
    sum(case when images.uid is null or images.status <> 'ok' then 1 else 0 end) as orphans,
    sum(case when pairs.alt_text is null or pairs.alt_text <> batch.alt_text then 1 else 0 end) as alt_changed
from batch
left join images on batch.uid = images.uid
left join pairs on batch.uid = pairs.uid
