-- The texts of a key in figures, by where they come from.
select
    source,
    count(*) as texts,
    avg(words) as words_mean,
    quantile_cont(words, 0.05) as words_low,
    quantile_cont(words, 0.95) as words_high,
    avg(sentences) as sentences_mean,
    avg(clauses) as clauses_mean,
    avg(distinct_share) as distinct_share,
    avg(case when loop then 1.0 else 0.0 end) as loop_share,
    count(distinct full_text) / count(*) as unique_share,
    avg(overlap) as overlap_with_dense,
    sum(facts) / count(facts) as facts_mean,
    sum(facts_from_alt) / nullif(sum(facts), 0) as facts_from_alt_share,
    sum(facts_invented) / nullif(sum(facts), 0) as facts_invented_share
from texts
group by source
order by source
