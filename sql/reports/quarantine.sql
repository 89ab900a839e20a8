-- Rows taken out of a key, by step and reason, with a few details of each, such as the name of a file and its error.
select
    step,
    reason as name,
    count(*) as n,
    coalesce(list_distinct(min(left(detail, 300), 3) filter (where detail <> '')), []) as examples
from quarantine
group by 1, 2
order by n desc, step, name
