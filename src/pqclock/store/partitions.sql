-- name: create
SELECT {schema}.create_day_partitions(%(first)s, %(last)s)

-- name: drop
SELECT {schema}.drop_day_partitions(%(keep_from)s)
