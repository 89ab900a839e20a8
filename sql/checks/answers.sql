-- Figures of the answers of any pass; runs as it is on DuckDB and on Spark.
select
    count(*) - count(distinct concat(uid, '/', item, '/', cast(n as string))) as repeated,
    coalesce(sum(case when text is null or trim(text) = '' then 1 else 0 end), 0) as blank
from batch
