-- What each step took for the runs that stand committed; a commit repeats the counts of its works, so only works count.
select
    runs.step,
    count(*) as works,
    sum(seconds) as seconds,
    sum(cpu_seconds) as cpu_seconds,
    max(peak_mb) as peak_mb,
    sum(rows_in) as rows_in,
    sum(kept) as kept,
    max(attempt) as attempts,
    list(metrics) as metrics,
    max(code) as code
from runs
join standing using (step, fingerprint)
where verb = 'work'
group by runs.step
