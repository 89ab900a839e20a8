-- Figures of the answers of any pass; runs as it is on DuckDB and on Spark. An answer with data may have an empty text.
select
    count(*) - count(distinct concat(uid, '/', item, '/', cast(n as string))) as repeated,
    coalesce(sum(case when (text is null or trim(text) = '') and data is null then 1 else 0 end), 0) as blank
from batch
