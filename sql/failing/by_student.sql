-- The rows that the figures of captions of stage 2 count.
select batch.uid, 'wrong_split' as figure from batch join images on batch.uid = images.uid where images.split = 'stage1'
union all select uid, 'student_alt_gap' from batch where facts_from_alt = 0
union all select uid, 'student_invented_gap' from batch where facts_invented > 0
