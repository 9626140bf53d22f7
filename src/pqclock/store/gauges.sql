-- name: overall
SELECT l.epoch AS term, l.process_id IS NOT NULL AS leads,
       coalesce(extract(epoch FROM clock_timestamp() - l.beat_at), 0)::float8 AS beat_age,
       greatest(0, coalesce(extract(epoch FROM clock_timestamp() - (
           SELECT min(s.next_tick) FROM {schema}.schedule AS s
           WHERE s.state = 'active' AND s.fault IS NULL AND (s.paused_until IS NULL OR s.paused_until <= now()))), 0))::float8
           AS behind,
       (SELECT count(*) FROM {schema}.schedule AS s WHERE s.state = 'active') AS schedules,
       (SELECT count(*) FROM {schema}.schedule AS s WHERE s.state = 'active' AND s.fault IS NOT NULL) AS set_aside,
       (SELECT count(*) FROM {schema}.schedule AS s WHERE s.state = 'active' AND s.paused_until > now()) AS paused,
       greatest(0, coalesce((
           SELECT extract(epoch FROM clock_timestamp() - min(a.xact_start)) FROM pg_stat_activity AS a
           WHERE (a.backend_xmin IS NOT NULL OR a.backend_xid IS NOT NULL) AND a.pid <> pg_backend_pid()
             AND a.backend_type <> 'autovacuum worker'), 0))::float8 AS xmin_age,
       coalesce(pg_stat_get_dead_tuples(to_regclass('{schema}.job')), 0) AS dead_rows,
       pg_notification_queue_usage() AS notification_queue
FROM {schema}.leader AS l

-- name: rules
-- How long a lane waits is told by its first job.
WITH waiting AS (
    SELECT r.name, count(*) AS lanes,
           max(extract(epoch FROM clock_timestamp() - (
               SELECT j.run_at FROM {schema}.job AS j WHERE j.state = 'ready' AND j.lane = l.lane
               ORDER BY j.priority, j.ready_seq LIMIT 1))) AS blocked
    FROM {schema}.lane AS l CROSS JOIN LATERAL (
        SELECT DISTINCT split_part(g.name, ':', 1) || ':' || split_part(g.name, ':', 2) AS name FROM unnest(l.gates) AS g (name)) AS r
    GROUP BY r.name
)
SELECT g.kind, g.rule, count(*) AS gates,
       count(*) FILTER (WHERE g.blown_until > now() OR g.closed_until > now()) AS closed,
       coalesce(max(w.lanes), 0) AS lanes, greatest(0, coalesce(max(w.blocked), 0))::float8 AS blocked
FROM {schema}.gate AS g LEFT JOIN waiting AS w ON w.name = g.kind || ':' || g.rule
WHERE g.kind IN ('throttle', 'fuse')
GROUP BY g.kind, g.rule ORDER BY g.kind, g.rule LIMIT %(limit)s

-- name: alarms
SELECT k.kind, (SELECT count(*) FROM {schema}.alarm AS a WHERE a.kind = k.kind AND a.ended_at IS NULL) AS open
FROM unnest(ARRAY['silence', 'ledger', 'missed', 'slo']) AS k (kind)

-- name: processes
SELECT p.kind, count(*) FILTER (WHERE p.beat_at > clock_timestamp() - interval '15 seconds') AS alive
FROM {schema}.process AS p GROUP BY p.kind ORDER BY p.kind

-- name: clocks
SELECT p.host, max(p.skew) AS skew FROM {schema}.process AS p
WHERE p.kind = 'clock' AND p.skew IS NOT NULL AND p.beat_at > clock_timestamp() - interval '15 seconds'
GROUP BY p.host ORDER BY p.host LIMIT %(limit)s
