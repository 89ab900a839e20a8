-- The values of rows that fail a check. Tables: picked, with uid, check_name, reason and place; and the checked rows.
select picked.uid, picked.check_name as "check", picked.reason, batch.* exclude (uid)
from picked
left join batch using (uid)
order by picked.place, picked.uid
