-- The number of links that still keep components from being stars around their smallest row; 0 once all are.
SELECT
    (SELECT count(*) FROM links AS x JOIN links AS y ON y.a = x.b)
    + (SELECT count(*) - count(DISTINCT a) FROM links)
