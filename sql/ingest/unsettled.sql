-- How far the links are from stars: rows that are linked onwards, or to more than one other. None are left at the end.
SELECT
    (SELECT count(*) FROM links AS x JOIN links AS y ON y.a = x.b)
    + (SELECT count(*) - count(DISTINCT a) FROM links)
