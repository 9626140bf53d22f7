-- name: drawn
-- The last place that was drawn; read before `writers`.
SELECT last_value FROM {schema}.ready_seq

-- name: writers
-- The transactions that may have drawn places and are not committed: who draws has locked the table before.
SELECT coalesce(array_agg(l.virtualtransaction), '{{}}') FROM pg_locks AS l
WHERE l.locktype = 'relation' AND l.relation = '{schema}.job'::regclass AND l.pid IS DISTINCT FROM pg_backend_pid()
  AND l.database = (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database())
  AND l.mode NOT IN ('AccessShareLock', 'ShareUpdateExclusiveLock')

-- name: lowest_any
-- The lowest place of a ready job, beyond the mark: one step of the index to each priority.
WITH RECURSIVE level AS (
    (SELECT j.priority, j.ready_seq FROM {schema}.job AS j
     WHERE j.state = 'ready' AND j.lane IS NULL AND j.ready_seq > %(low)s ORDER BY j.priority, j.ready_seq LIMIT 1)
    UNION ALL
    SELECT n.priority, n.ready_seq FROM level AS l CROSS JOIN LATERAL (
        SELECT j.priority, j.ready_seq FROM {schema}.job AS j
        WHERE j.state = 'ready' AND j.lane IS NULL AND j.priority > l.priority AND j.ready_seq > %(low)s
        ORDER BY j.priority, j.ready_seq LIMIT 1) AS n
)
SELECT min(l.ready_seq) FROM level AS l

-- name: lowest_queues
-- The same in the named queues.
SELECT min(h.ready_seq) FROM unnest(%(queues)s::text[]) AS q (name) CROSS JOIN LATERAL (
    WITH RECURSIVE level AS (
        (SELECT j.priority, j.ready_seq FROM {schema}.job AS j
         WHERE j.state = 'ready' AND j.lane IS NULL AND j.queue = q.name AND j.ready_seq > %(low)s
         ORDER BY j.priority, j.ready_seq LIMIT 1)
        UNION ALL
        SELECT n.priority, n.ready_seq FROM level AS l CROSS JOIN LATERAL (
            SELECT j.priority, j.ready_seq FROM {schema}.job AS j
            WHERE j.state = 'ready' AND j.lane IS NULL AND j.queue = q.name AND j.priority > l.priority
              AND j.ready_seq > %(low)s
            ORDER BY j.priority, j.ready_seq LIMIT 1) AS n
    )
    SELECT min(l.ready_seq) AS ready_seq FROM level AS l
) AS h
