-- name: known
-- The schedules of a set and those of the same keys elsewhere, looked at without a lock.
SELECT s.id, s.key, s.version, s.set_name, s.source, s.state, s.definition, s.planned_to,
       CASE WHEN s.paused_until < '9999-12-31' THEN s.paused_until WHEN s.paused_until IS NOT NULL THEN '9999-12-31 00:00:00Z' END AS paused_until, s.note, s.created_at
FROM {schema}.schedule AS s
WHERE s.set_name = %(set_name)s OR s.key = ANY(%(keys)s::text[])
ORDER BY s.key

-- name: behind
-- Active schedules with ticks that nobody has planned although their time has come, the longest wait first.
SELECT s.id, s.key, s.version, s.definition, s.planned_to, s.created_at
FROM {schema}.schedule AS s
WHERE s.state = 'active' AND s.planned_to < %(now)s AND s.next_tick <= %(now)s
  AND (s.paused_until IS NULL OR s.paused_until <= %(now)s)
ORDER BY s.next_tick LIMIT %(limit)s

-- name: server
SELECT current_setting('server_version') AS version, current_setting('server_version_num')::int AS number,
       pg_is_in_recovery() AS in_recovery

-- name: ask_for_keepalives
-- As the clock does; until the end of the transaction.
SELECT set_config('tcp_keepalives_idle', '5', true), set_config('tcp_keepalives_interval', '2', true),
       set_config('tcp_keepalives_count', '3', true)

-- name: keepalives
-- What the server's system made of it: zeros where it has no such thing.
SELECT current_setting('tcp_keepalives_idle'), current_setting('tcp_keepalives_interval'),
       current_setting('tcp_keepalives_count')

-- name: limits
-- What the server's settings leave to us. The reserved connections are those of superusers and, from 16 on, of
-- pg_use_reserved_connections.
SELECT current_setting('autovacuum')::bool AS autovacuum, current_setting('track_counts')::bool AS track_counts,
       EXISTS (SELECT 1 FROM pg_settings WHERE name = 'idle_session_timeout' AND context = 'user') AS idle_timeout,
       current_setting('max_connections')::int AS max_connections,
       current_setting('superuser_reserved_connections')::int
           + coalesce(current_setting('reserved_connections', true)::int, 0) AS reserved,
       (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend')::int AS used

-- name: lacking
-- What the role may not do and the roles of pqclock need: (who needs it, what).
WITH parents AS (
    SELECT c.relname, c.relowner FROM pg_partitioned_table AS p JOIN pg_class AS c ON c.oid = p.partrelid
    WHERE c.relnamespace = to_regnamespace('{schema}') AND p.partstrat = 'r'
)
SELECT needed_by, privilege
FROM (
    SELECT 'everybody', 'USAGE on the schema', has_schema_privilege(to_regnamespace('{schema}')::oid, 'USAGE')
    UNION ALL
    SELECT 'everybody', 'INSERT on table job', has_table_privilege('{schema}.job', 'INSERT')
    UNION ALL
    SELECT 'everybody', 'USAGE on sequence job_id', has_sequence_privilege('{schema}.job_id', 'USAGE')
    UNION ALL
    SELECT 'workers', 'UPDATE and DELETE on table job',
           has_table_privilege('{schema}.job', 'UPDATE') AND has_table_privilege('{schema}.job', 'DELETE')
    UNION ALL
    SELECT 'workers', 'INSERT on table job_history', has_table_privilege('{schema}.job_history', 'INSERT')
    UNION ALL
    SELECT 'the clock', 'INSERT on table tick', has_table_privilege('{schema}.tick', 'INSERT')
    UNION ALL
    SELECT 'the clock', 'CREATE on the schema, for partitions', has_schema_privilege(to_regnamespace('{schema}')::oid, 'CREATE')
    UNION ALL
    SELECT 'the clock', 'the ownership of table ' || min(p.relname) || ', for partitions',
           coalesce(bool_and(pg_has_role(p.relowner, 'USAGE')), false)
    FROM parents AS p
) AS needs (needed_by, privilege, granted)
WHERE NOT granted

-- name: default_partitions
SELECT c.relname
FROM pg_class AS c
WHERE c.relnamespace = to_regnamespace('{schema}') AND c.relispartition
  AND pg_get_expr(c.relpartbound, c.oid) = 'DEFAULT' AND c.relkind = 'r'
ORDER BY c.relname

-- name: clock
-- The leader's beat, the active schedules, and the longest wait of a tick to be planned.
SELECT l.epoch, p.host, p.pid, clock_timestamp() - l.beat_at AS beat_age,
       (SELECT count(*) FROM {schema}.schedule AS s WHERE s.state = 'active') AS schedules,
       (SELECT clock_timestamp() - min(s.next_tick) FROM {schema}.schedule AS s
        WHERE s.state = 'active'
          AND (s.paused_until IS NULL OR s.paused_until <= now())) AS behind
FROM {schema}.leader AS l LEFT JOIN {schema}.process AS p ON p.id = l.process_id

-- name: skews
-- Clocks whose machine's time differs much from the database's, as they last measured it.
SELECT p.host, p.pid, p.skew FROM {schema}.process AS p
WHERE p.kind = 'clock' AND abs(p.skew) > %(limit)s AND p.beat_at > clock_timestamp() - interval '10 seconds'
ORDER BY abs(p.skew) DESC LIMIT 100

-- name: workers
-- Workers by how long ago they were last heard of, and the pools that they work.
SELECT p.id, p.host, p.pid, coalesce(p.doing, '') AS doing, clock_timestamp() - p.beat_at AS beat_age
FROM {schema}.process AS p WHERE p.kind = 'worker' AND p.beat_at > 'epoch' ORDER BY p.id LIMIT %(limit)s

-- name: waiting
-- What is ready to run, by queue and task; some of it, where there is very much.
SELECT w.queue, w.task, count(*) AS jobs, EXISTS (SELECT 1 FROM {schema}.task AS t WHERE t.name = w.task) AS published
FROM (
    SELECT j.queue, j.task FROM {schema}.job AS j
    WHERE j.state = 'ready' ORDER BY j.priority, j.ready_seq LIMIT %(limit)s
) AS w
GROUP BY w.queue, w.task ORDER BY w.queue, w.task

-- name: stuck
-- Rules whose gates ready jobs can never pass as they are: those that nobody has declared, and rates below the units that
-- some jobs need; some of them, where there is very much.
WITH behind AS MATERIALIZED (
    (SELECT l.gates, l.units FROM {schema}.lane AS l LIMIT %(limit)s)
    UNION
    (SELECT a.gates, a.units FROM {schema}.arrival AS a LIMIT %(limit)s)
)
SELECT DISTINCT ON (g.kind, g.name) g.kind || '.' || g.name AS rule, r.rate, b.units
FROM behind AS b
CROSS JOIN LATERAL (
    SELECT split_part(u.gate, ':', 1) AS kind, split_part(u.gate, ':', 2) AS name FROM unnest(b.gates) AS u (gate)) AS g
LEFT JOIN {schema}.rule AS r ON r.kind = g.kind AND r.name = g.name
WHERE g.kind <> 'pause' AND (r.name IS NULL OR (r.state = 'active' AND r.rate < b.units))
ORDER BY g.kind, g.name, b.units DESC

-- name: holders
-- What keeps dead rows from being removed, when it is old: transactions, prepared ones, and slots that nobody reads.
SELECT kind, name, age FROM (
    SELECT 'session' AS kind,
           format('pid %%s of role %%s (%%s)', a.pid, a.usename, coalesce(nullif(a.application_name, ''), 'no name'))
               AS name,
           clock_timestamp() - coalesce(a.xact_start, a.query_start) AS age
    FROM pg_stat_activity AS a
    WHERE (a.backend_xmin IS NOT NULL OR a.backend_xid IS NOT NULL) AND a.pid <> pg_backend_pid()
      AND a.backend_type <> 'autovacuum worker'
    UNION ALL
    SELECT 'prepared transaction', x.gid, clock_timestamp() - x.prepared FROM pg_prepared_xacts AS x
    UNION ALL
    SELECT 'replication slot', r.slot_name, NULL FROM pg_replication_slots AS r
    WHERE NOT r.active AND (r.xmin IS NOT NULL OR r.catalog_xmin IS NOT NULL)
) AS h
WHERE age IS NULL OR age > %(older)s::interval
ORDER BY age DESC NULLS LAST LIMIT 10

-- name: sees_all
SELECT pg_has_role('pg_read_all_stats', 'USAGE')

-- name: notifications
SELECT pg_notification_queue_usage()

-- name: dead_rows
SELECT coalesce(pg_stat_get_dead_tuples(c.oid), 0) AS dead, coalesce(pg_stat_get_live_tuples(c.oid), 0) AS live
FROM pg_class AS c WHERE c.oid = to_regclass('{schema}.job')

-- name: differing_zones
-- Where the server has another offset than the given one: the first instant of each zone. Only zones that it knows are
-- asked for, since any other one is an error.
WITH sample AS MATERIALIZED (
    SELECT w.zone, w.instant, w.seconds
    FROM unnest(%(zones)s::text[], %(instants)s::timestamptz[], %(offsets)s::double precision[]) AS w (zone, instant, seconds)
    WHERE w.zone IN (SELECT n.name FROM pg_timezone_names AS n)
)
SELECT s.zone, min(s.instant) FROM sample AS s
WHERE extract(epoch FROM (s.instant AT TIME ZONE s.zone) - (s.instant AT TIME ZONE 'UTC')) <> s.seconds
GROUP BY s.zone

-- name: zones
-- The zones of the schedules, and whether the server knows each.
SELECT z.zone, EXISTS (SELECT 1 FROM pg_timezone_names AS n WHERE n.name = z.zone) AS known
FROM (SELECT DISTINCT coalesce(s.definition ->> 'timezone', 'UTC') AS zone
      FROM {schema}.schedule AS s WHERE s.state <> 'removed') AS z
ORDER BY z.zone
