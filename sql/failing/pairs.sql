-- The rows that the figures of `pairs` count.
select uid, 'mojibake_share' as figure from batch where mojibake
union all select uid, 'placeholder_share' from batch where placeholder
union all select uid, 'english_share' from batch where not english
union all select uid, 'text_copies' from batch
where text = (select text from batch group by text order by count(*) desc, text limit 1)
