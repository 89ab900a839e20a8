-- Time, memory and counts of each committed run. A commit repeats the counts of its work, so it is left out.
select
    heading,
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
join committed using (step, fingerprint)
where verb = 'work'
group by heading
