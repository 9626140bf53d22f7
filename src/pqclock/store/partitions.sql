-- name: wanted
-- The daily partitions that should exist and do not, the nearest days first.
SELECT w.parent, w.instant, w.day FROM {schema}.wanted_partitions(%(first)s, %(last)s) AS w

-- name: create
SELECT {schema}.create_day_partition(%(parent)s::text, %(instant)s::text, %(day)s)

-- name: outlived
-- The daily partitions of days before the ones that are kept, which each kind has its own.
SELECT c.relname
FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid JOIN pg_class AS p ON p.oid = i.inhparent
LEFT JOIN unnest(%(parents)s::text[], %(keep_from)s::date[]) AS k (parent, keep_from) ON k.parent = p.relname
WHERE c.relnamespace = to_regnamespace('{schema}') AND c.relkind = 'r' AND c.relname ~ '_[0-9]{8}$'
  AND to_date(right(c.relname, 8), 'YYYYMMDD') < coalesce(k.keep_from, %(others_from)s)
ORDER BY c.relname

-- name: drop
SELECT {schema}.drop_day_partition(%(name)s::text)
