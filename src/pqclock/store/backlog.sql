-- name: queues
-- The queues that have live jobs or are paused. In each the ready jobs are counted up to a bound, and of the scheduled ones
-- those that are due first: whatever waits, this reads no more than some ten thousands of index entries.
WITH RECURSIVE heads AS (
    (SELECT j.queue::text AS queue, j.priority, j.run_at FROM {schema}.job AS j
     WHERE j.state = 'ready' AND j.lane IS NULL ORDER BY j.queue, j.priority, j.ready_seq LIMIT 1)
    UNION ALL
    SELECT n.* FROM heads AS h CROSS JOIN LATERAL (
        SELECT j.queue::text, j.priority, j.run_at FROM {schema}.job AS j
        WHERE j.state = 'ready' AND j.lane IS NULL AND (j.queue, j.priority) > (h.queue, h.priority)
        ORDER BY j.queue, j.priority, j.ready_seq LIMIT 1) AS n
),
firsts AS MATERIALIZED (SELECT h.queue, min(h.run_at) AS oldest FROM (SELECT * FROM heads LIMIT %(names)s) AS h GROUP BY h.queue),
free AS (
    SELECT f.queue, f.oldest, c.number FROM firsts AS f CROSS JOIN LATERAL (
        SELECT count(*) AS number FROM (
            SELECT FROM {schema}.job AS j WHERE j.state = 'ready' AND j.lane IS NULL AND j.queue = f.queue LIMIT %(most)s + 1
        ) AS s) AS c
),
gated AS (
    SELECT g.queue, min(g.run_at) AS oldest, count(*) AS number FROM (
        SELECT j.queue::text AS queue, j.run_at FROM {schema}.job AS j
        WHERE j.state = 'ready' AND j.lane IS NOT NULL LIMIT %(most)s + 1) AS g
    GROUP BY g.queue
),
running AS (
    SELECT j.queue::text AS queue, count(*) AS number FROM {schema}.job AS j WHERE j.state = 'running' GROUP BY j.queue
),
coming AS MATERIALIZED (
    SELECT s.queue FROM (
        SELECT j.queue::text AS queue FROM {schema}.job AS j WHERE j.state = 'scheduled' AND NOT j.held
        ORDER BY j.run_at LIMIT %(most)s + 1) AS s
    UNION ALL
    SELECT s.queue FROM (SELECT j.queue::text AS queue FROM {schema}.job AS j WHERE j.held AND NOT j.awaits LIMIT %(most)s + 1) AS s
    UNION ALL
    SELECT s.queue FROM (SELECT j.queue::text AS queue FROM {schema}.job AS j WHERE j.awaits LIMIT %(most)s + 1) AS s
),
later AS (SELECT c.queue, count(*) AS number FROM coming AS c GROUP BY c.queue),
names AS (
    SELECT queue FROM free UNION SELECT queue FROM gated UNION SELECT queue FROM running UNION SELECT queue FROM later
    UNION SELECT q.name FROM {schema}.queue AS q
)
SELECT n.queue,
       CASE WHEN q.paused_until = 'infinity' THEN '9999-12-31 00:00:00Z' ELSE q.paused_until END AS paused_until, q.note,
       coalesce(l.number, 0) AS scheduled, coalesce(f.number, 0) + coalesce(g.number, 0) AS ready,
       coalesce(r.number, 0) AS running, least(f.oldest, g.oldest) AS oldest_ready_at,
       (f.number > %(most)s) IS TRUE
           OR (g.number > 0 AND (SELECT sum(t.number) FROM gated AS t) > %(most)s) IS TRUE
           OR (l.number > 0 AND (SELECT count(*) FROM coming) > %(most)s) IS TRUE AS at_least
FROM names AS n
LEFT JOIN {schema}.queue AS q ON q.name = n.queue
LEFT JOIN free AS f ON f.queue = n.queue
LEFT JOIN gated AS g ON g.queue = n.queue
LEFT JOIN running AS r ON r.queue = n.queue
LEFT JOIN later AS l ON l.queue = n.queue
WHERE n.queue > %(after)s::text
ORDER BY n.queue LIMIT %(limit)s
