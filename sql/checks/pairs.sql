-- Figures of `pairs`; runs as it is on DuckDB and on Spark.
select
    avg(case when mojibake then 1e0 else 0e0 end) as mojibake_share,
    avg(case when placeholder then 1e0 else 0e0 end) as placeholder_share,
    avg(case when english then 1e0 else 0e0 end) as english_share,
    avg(case when split = 'stage1' then 1e0 else 0e0 end) as stage1_share,
    avg(case when split = 'holdout' then 1e0 else 0e0 end) as holdout_share,
    avg(words) as words_mean,
    (select max(n) from (select count(*) as n from batch group by text) as texts) as text_copies
from batch
