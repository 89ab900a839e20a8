-- The releases in the lake. Table: releases.
SELECT
    version,
    any_value(key) AS key,
    count(*) AS files,
    sum(bytes) AS bytes,
    sum(rows) FILTER (WHERE format = 'captions') AS captions,
    count(DISTINCT source) AS sources,
    list(DISTINCT recipe) FILTER (WHERE recipe IS NOT NULL) AS recipes,
    list(DISTINCT format) AS formats
FROM releases
GROUP BY version
