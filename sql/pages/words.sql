-- Each word, and the row groups that have it. Table: found, which is not needed any more.
CREATE TABLE words AS SELECT word, list(block ORDER BY block) AS blocks FROM found GROUP BY word;
DROP TABLE found;
