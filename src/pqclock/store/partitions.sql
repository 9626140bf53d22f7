-- name: wanted
-- The daily partitions that should exist and do not, the nearest days first.
SELECT c.relname AS parent, a.attname AS instant, d.day
FROM pg_partitioned_table AS p
JOIN pg_class AS c ON c.oid = p.partrelid
JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = p.partattrs[0]
CROSS JOIN (SELECT generate_series(%(first)s::date, %(last)s::date, interval '1 day')::date AS day) AS d
WHERE c.relnamespace = to_regnamespace('{schema}') AND p.partstrat = 'r'
  AND to_regclass(format('{schema}.%%I', c.relname || '_' || to_char(d.day, 'YYYYMMDD'))) IS NULL
ORDER BY d.day, c.relname

-- name: create
SELECT {schema}.create_day_partition(%(parent)s::text, %(instant)s::text, %(day)s)

-- name: outlived
-- The daily partitions of days before the ones that are kept.
SELECT c.relname
FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
WHERE c.relnamespace = to_regnamespace('{schema}') AND c.relname ~ '_[0-9]{8}$'
  AND to_date(right(c.relname, 8), 'YYYYMMDD') < %(keep_from)s
ORDER BY c.relname
