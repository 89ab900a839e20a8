-- Figures of `images`; runs as it is on DuckDB and on Spark.
select
    avg(case when batch.status = 'ok' then 1e0 else 0e0 end) as yield_share,
    avg(case when batch.reason like 'dns%' then 1e0 else 0e0 end) as dns_share,
    avg(case when batch.reason like '%unreachable%' then 1e0 else 0e0 end) as unreachable_share,
    avg(case when batch.sha256_matches then 0e0 when batch.sha256_matches is null then null else 1e0 end)
        as sha256_drift_share,
    (select coalesce(sum(n - 1), 0) / cast(greatest(sum(n), 1) as double) from (
        select count(*) as n from batch where status = 'ok' group by sha256
    ) as pictures) as placeholder_share,
    sum(case when pairs.uid is null then 1 else 0 end) as orphans,
    sum(case when batch.split is not null and batch.split <> pairs.split then 1 else 0 end) as split_changed
from batch
left join pairs on batch.uid = pairs.uid
