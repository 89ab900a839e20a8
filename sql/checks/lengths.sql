-- How many texts have how many words, in bins of five; runs as it is on DuckDB and on Spark.
select least(cast(floor(words / 5) as int), 50) as bin, count(*) as n
from batch
group by 1
order by 1
