-- name: claim
-- ready -> running for jobs behind gates. The last row has no job: whether another look is worth it, whether jobs wait for
-- the sake of free ones, whether `odd` decided, and when the gates open that were met closed, also in seconds from now.
SELECT (c.job).id, (c.job).task, (c.job).args::text AS args, (c.job).queue, (c.job).priority, (c.job).labels,
       (c.job).attempt, (c.job).max_attempts, (c.job).crashes, (c.job).lease, (c.job).run_at, (c.job).schedule_id,
       (c.job).tick, (c.job).claimed_at, (c.job).ready_seq, (c.job).run_options, (c.job).checkpoint,
       (SELECT s.key FROM {schema}.schedule AS s WHERE s.id = (c.job).schedule_id) AS schedule_key,
       true AS gated, (c.job).granted IS NOT NULL AS fused, c.again, c.cut, c.turned, c.wakes,
       ARRAY(SELECT extract(epoch FROM w.at - coalesce(%(now)s::timestamptz, clock_timestamp()))::double precision
             FROM unnest(c.wakes) AS w (at)) AS wakes_in
FROM {schema}.claim_gated(
    %(queues)s::text[], %(excluded)s::text[], %(tasks)s::text[], %(room)s::integer, %(fused_room)s::integer,
    %(worker_id)s::bigint, %(lease)s::bigint, %(odd)s::integer, %(now)s::timestamptz
) AS c

-- name: settle
SELECT {schema}.settle_gates(%(ends)s::jsonb, %(now)s::timestamptz)

-- name: waking
-- Notify the queues of the gates whose time came between two instants; gives when the next one comes, and the time.
WITH moment AS MATERIALIZED (SELECT coalesce(%(now)s::timestamptz, clock_timestamp()) AS now),
woken AS MATERIALIZED (
    SELECT pg_notify({channel}, 'gated ' || q.name) FROM (
        SELECT DISTINCT u.name FROM {schema}.gate AS g CROSS JOIN LATERAL unnest(g.queues) AS u (name)
        WHERE g.opens_at > %(since)s::timestamptz AND g.opens_at <= (SELECT now FROM moment)
    ) AS q
)
SELECT (SELECT min(g.opens_at) FROM {schema}.gate AS g WHERE g.opens_at > (SELECT now FROM moment)),
       (SELECT now FROM moment)
FROM (SELECT count(*) FROM woken) AS w

-- name: free_void_slots
SELECT {schema}.free_void_slots()

-- name: open_overdue
SELECT {schema}.open_overdue(clock_timestamp() - %(overdue)s::interval, %(most)s::integer)

-- name: forget_outcomes
-- What fuses have seen and no window reaches any more; a bounded slice.
WITH old_failures AS (
    DELETE FROM {schema}.fuse_failure AS f
    WHERE f.ctid = ANY(ARRAY(
        SELECT o.ctid FROM {schema}.fuse_failure AS o
        WHERE o.failed_at < clock_timestamp() - greatest(%(age)s::interval, (SELECT max(r.within) FROM {schema}.rule AS r))
        LIMIT %(most)s FOR UPDATE SKIP LOCKED))
    RETURNING 1
),
old_successes AS (
    DELETE FROM {schema}.fuse_success AS f
    WHERE f.ctid = ANY(ARRAY(
        SELECT o.ctid FROM {schema}.fuse_success AS o
        WHERE o.span < clock_timestamp() - 2 * coalesce((SELECT max(r.within) FROM {schema}.rule AS r), interval '0')
        LIMIT %(most)s FOR UPDATE SKIP LOCKED))
    RETURNING 1
)
SELECT (SELECT count(*) FROM old_failures) + (SELECT count(*) FROM old_successes)

-- name: forget_gates
SELECT {schema}.forget_gates(%(most)s::integer)

-- name: rouse
-- Have the lanes at rest looked at again.
SELECT {schema}.rouse_lanes(%(most)s::integer)
