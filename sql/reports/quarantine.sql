-- Rows taken out of a key, by step and reason.
select step, reason as name, count(*) as n
from quarantine
group by 1, 2
order by n desc, step, name
