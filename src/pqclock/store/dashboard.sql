-- name: counts
-- Live jobs by state; none of them is counted beyond a bound, so that a backlog costs no more to look at than a queue.
SELECT 'scheduled' AS state, count(*) FROM (SELECT FROM {schema}.job AS j WHERE j.state = 'scheduled' LIMIT %(most)s) AS s
UNION ALL
SELECT 'ready', count(*) FROM (
    -- Each part has an index of its own.
    (SELECT FROM {schema}.job AS j WHERE j.state = 'ready' AND j.lane IS NULL LIMIT %(most)s)
    UNION ALL
    (SELECT FROM {schema}.job AS j WHERE j.state = 'ready' AND j.lane IS NOT NULL LIMIT %(most)s)
    LIMIT %(most)s
) AS r
UNION ALL
SELECT 'running', count(*) FROM (SELECT FROM {schema}.job AS j WHERE j.state = 'running' LIMIT %(most)s) AS u

-- name: ended_of
-- The newest finished jobs of one state, as many as are needed to know whether there are more than that.
SELECT count(*) FROM (SELECT FROM {schema}.job_history AS h WHERE h.state = %(state)s LIMIT %(most)s) AS e

-- name: pace
-- Of the newest jobs that have ended, by queue: how many, since when, and how long they waited and ran.
WITH newest AS MATERIALIZED (
    SELECT h.queue, h.state, h.finished_at,
           extract(epoch FROM h.started_at - h.run_at) AS waited, extract(epoch FROM h.finished_at - h.started_at) AS ran
    FROM {schema}.job_history AS h ORDER BY h.id DESC LIMIT %(most)s
)
SELECT n.queue, count(*) AS ended, count(*) FILTER (WHERE n.state = 'failed') AS failed,
       extract(epoch FROM clock_timestamp() - min(n.finished_at))::float8 AS seconds,
       -- Of what ended before it began there are none.
       coalesce(percentile_cont(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (ORDER BY n.waited)::float8[], '{NULL,NULL,NULL}') AS waited,
       coalesce(percentile_cont(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (ORDER BY n.ran)::float8[], '{NULL,NULL,NULL}') AS ran
FROM newest AS n WHERE n.finished_at > clock_timestamp() - %(within)s::interval GROUP BY n.queue ORDER BY n.queue

-- name: fleet
-- Clocks and workers, with what they do and how far their clocks are off.
SELECT p.id, p.kind, p.host, p.pid, p.code_version, coalesce(p.doing, '') AS doing, p.skew, p.started_at, p.beat_at,
       l.process_id IS NOT NULL AS leader, l.epoch, l.elected_at,
       (SELECT count(*) FROM {schema}.job AS j WHERE j.state = 'running' AND j.worker_id = p.id) AS running
FROM {schema}.process AS p LEFT JOIN {schema}.leader AS l ON l.process_id = p.id
ORDER BY p.kind, p.id LIMIT %(limit)s

-- name: sizes
-- The largest tables and families of partitions, in bytes with their indexes; rows are the server's estimate.
SELECT f.name, sum(pg_total_relation_size(f.oid))::bigint AS bytes, sum(greatest(f.reltuples, 0))::bigint AS rows,
       count(*) AS parts
FROM (
    SELECT c.oid, c.reltuples, coalesce(
        (SELECT r.relname FROM pg_partition_ancestors(c.oid) AS a (relid) JOIN pg_class AS r ON r.oid = a.relid
         WHERE NOT r.relispartition LIMIT 1), c.relname) AS name
    FROM pg_class AS c
    WHERE c.relnamespace = to_regnamespace('{schema}') AND c.relkind = 'r'
) AS f
GROUP BY f.name ORDER BY bytes DESC, f.name LIMIT %(limit)s

-- name: vacuumed
-- When the table of live jobs was last vacuumed, by whomever.
SELECT greatest(pg_stat_get_last_vacuum_time(c.oid), pg_stat_get_last_autovacuum_time(c.oid))
FROM pg_class AS c WHERE c.oid = to_regclass('{schema}.job')

-- name: newest
-- The id that was drawn last.
SELECT last_value FROM {schema}.job_id

-- name: state
-- Changes with everything that is committed in this database.
SELECT pg_snapshot_xmax(pg_current_snapshot())::text

-- name: sets
-- What was last applied of each set of schedule files.
SELECT DISTINCT ON (v.set_name) v.set_name, v.content_hash, v.applied_at FROM {schema}.set_version AS v
ORDER BY v.set_name, v.applied_at DESC

-- name: definition
SELECT s.definition, s.source, s.set_name, s.version FROM {schema}.schedule AS s WHERE s.key = %(key)s
