-- What a release holds, by key: rows of each stage and the weight of all its files.
select
    source,
    sum(case when format = 'captions' and stage = 1 then rows else 0 end) as stage1,
    sum(case when format = 'captions' and stage = 2 then rows else 0 end) as stage2,
    count(*) as files,
    sum(bytes) as bytes
from files
where source is not null
group by source
order by source desc
