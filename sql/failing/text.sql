-- The rows that the figures of any generated text count.
select uid, 'refusal_share' as figure from batch where refusal
union all select uid, 'leaked_share' from batch where leaked
union all select uid, 'mojibake_share' from batch where mojibake
union all select uid, 'loop_share' from batch where loop
union all select uid, 'foreign_share' from batch where foreign_text
union all select uid, 'truncated_share' from batch where finish_reason = 'length'
union all select uid, 'text_copies' from batch
where full_text = (select full_text from batch group by full_text order by count(*) desc, full_text limit 1)
union all select uid, 'prompts' from batch
where prompt_hash <> (select prompt_hash from batch where prompt_hash is not null group by 1 order by count(*) desc, 1 limit 1)
