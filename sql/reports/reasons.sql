-- What became of the images of a key.
select case when status = 'ok' then 'ok' else coalesce(reason, 'unknown') end as name, count(*) as n
from images
group by 1
order by n desc, name
