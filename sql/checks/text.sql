-- Figures of any generated text; runs as it is on DuckDB and on Spark.
select
    avg(words) as words_mean,
    avg(case when refusal then 1e0 else 0e0 end) as refusal_share,
    avg(case when leaked then 1e0 else 0e0 end) as leaked_share,
    avg(case when mojibake then 1e0 else 0e0 end) as mojibake_share,
    avg(case when loop then 1e0 else 0e0 end) as loop_share,
    avg(case when foreign_text then 1e0 else 0e0 end) as foreign_share,
    avg(case when finish_reason = 'length' then 1e0 else 0e0 end) as truncated_share,
    count(distinct prompt_hash) as prompts,
    (select max(n) from (select count(*) as n from batch group by full_text) as texts) as text_copies
from batch
