-- The rows that the figures of the answers of any pass count.
select uid, 'blank' as figure from batch where (text is null or trim(text) = '') and data is null
union all select uid, 'repeated' from batch
qualify count(*) over (partition by uid, item, n) > 1
