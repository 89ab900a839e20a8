-- Captions to show: some at random, then the extremes. uids are hashes, so their digest gives a random order.
with
    chance as (select uid, recipe, stage, 'random' as why, row_number() over (order by md5(uid)) as place from samples),
    longest as (select uid, recipe, stage, 'longest' as why, row_number() over (order by words desc, uid) as place from samples),
    shortest as (select uid, recipe, stage, 'shortest' as why, row_number() over (order by words, uid) as place from samples),
    invented as (
        select uid, recipe, stage, 'most facts in neither source' as why, row_number() over (order by facts_invented desc, uid) as place
        from samples
        where facts_invented > 0
    ),
    carried as (
        select uid, recipe, stage, 'most facts of the alt-text' as why, row_number() over (order by facts_from_alt desc, uid) as place
        from samples
        where facts_from_alt > 0
    )
select uid, recipe, stage, why from chance where place <= $wanted
union all
(select uid, recipe, stage, why from longest where place <= 1)
union all
(select uid, recipe, stage, why from shortest where place <= 1)
union all
(select uid, recipe, stage, why from invented where place <= 2)
union all
(select uid, recipe, stage, why from carried where place <= 1)
