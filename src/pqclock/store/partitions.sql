-- name: wanted
-- The daily partitions that should exist and do not, the nearest days first.
SELECT w.parent, w.instant, w.day FROM {schema}.wanted_partitions(%(first)s, %(last)s) AS w

-- name: create
SELECT {schema}.create_day_partition(%(parent)s::text, %(instant)s::text, %(day)s)

-- name: outlived
-- The daily partitions of days before the ones that are kept.
SELECT c.relname
FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
WHERE c.relnamespace = to_regnamespace('{schema}') AND c.relname ~ '_[0-9]{8}$'
  AND to_date(right(c.relname, 8), 'YYYYMMDD') < %(keep_from)s
ORDER BY c.relname
