-- name: pause_queue
INSERT INTO {schema}.queue (name, paused_until, note)
VALUES (%(name)s, coalesce(%(until)s::timestamptz, 'infinity'), %(note)s)
ON CONFLICT (name) DO UPDATE SET paused_until = excluded.paused_until, note = excluded.note

-- name: resume_queue
-- Gives whether it was paused.
WITH resumed AS (
    DELETE FROM {schema}.queue AS q WHERE q.name = %(name)s
    RETURNING q.name, q.paused_until > coalesce(%(now)s::timestamptz, clock_timestamp()) AS was_paused
),
woken AS MATERIALIZED (
    SELECT pg_notify({channel}, w.kind || r.name) FROM resumed AS r CROSS JOIN (VALUES ('ready '), ('gated ')) AS w (kind)
)
SELECT coalesce(r.was_paused, false) FROM resumed AS r, (SELECT count(*) FROM woken) AS w

-- name: pause
-- Its waiting jobs are looked through from the beginning.
INSERT INTO {schema}.pause (kind, name, paused_until, note, paused_at)
VALUES (%(kind)s, %(name)s, %(until)s, %(note)s, coalesce(%(now)s::timestamptz, clock_timestamp()))
ON CONFLICT (kind, name) DO UPDATE SET paused_until = excluded.paused_until, note = excluded.note,
    paused_at = excluded.paused_at, seen_to = NULL, walked_at = NULL

-- name: resume
DELETE FROM {schema}.pause AS p WHERE p.kind = %(kind)s AND p.name = %(name)s
RETURNING coalesce(p.paused_until > coalesce(%(now)s::timestamptz, clock_timestamp()), true)

-- name: make_gates
-- Also when a claim is about to make them, uncommitted: this waits for it.
SELECT {schema}.make_gates(%(names)s::text[])

-- name: look_again
-- Have the lanes that wait for gates looked at again; the next claim sees how the gates stand now.
SELECT {schema}.tell_waiting(ARRAY(
    SELECT g.id FROM {schema}.gate AS g WHERE g.name = ANY(%(names)s::text[]) ORDER BY g.id FOR UPDATE
), coalesce(%(now)s::timestamptz, clock_timestamp()))

-- name: wake
-- Tell the queues in which jobs may wait that no gate knows of: free ones, and lanes that are not parked.
SELECT pg_notify({channel}, w.wake) FROM (
    SELECT DISTINCT 'ready ' || f.queue AS wake FROM (
        SELECT j.queue FROM {schema}.job AS j WHERE j.state = 'ready' AND j.lane IS NULL LIMIT 1000) AS f
    UNION
    SELECT 'gated ' || l.queue FROM {schema}.lane AS l WHERE l.gates && %(names)s::text[]
    UNION
    SELECT 'gated ' || a.queue FROM {schema}.arrival AS a WHERE a.gates && %(names)s::text[]
) AS w

-- name: end
-- Forget the pauses that are over: the gates of tasks and labels, and the queues, which are told.
WITH moment AS MATERIALIZED (SELECT coalesce(%(now)s::timestamptz, clock_timestamp()) AS now),
over AS (
    DELETE FROM {schema}.pause AS p WHERE p.ctid = ANY(ARRAY(
        SELECT o.ctid FROM {schema}.pause AS o WHERE o.paused_until <= (SELECT now FROM moment) FOR UPDATE SKIP LOCKED))
    RETURNING 'pause:' || p.kind || ':' || p.name AS gate
),
resumed AS (
    DELETE FROM {schema}.queue AS q WHERE q.ctid = ANY(ARRAY(
        SELECT o.ctid FROM {schema}.queue AS o WHERE o.paused_until <= (SELECT now FROM moment) FOR UPDATE SKIP LOCKED))
    RETURNING q.name
),
woken AS MATERIALIZED (
    SELECT pg_notify({channel}, w.kind || r.name) FROM resumed AS r CROSS JOIN (VALUES ('ready '), ('gated ')) AS w (kind)
)
SELECT ARRAY(SELECT o.gate FROM over AS o) FROM (SELECT count(*) FROM woken) AS w

-- name: hold
-- One slice of a walk over live jobs: those of a paused task or label that wait get the gate of its pause, and with it
-- another lane. Gives how many were moved; no row when no walk is due, or another session does it.
WITH moment AS MATERIALIZED (SELECT coalesce(%(now)s::timestamptz, clock_timestamp()) AS now),
held AS MATERIALIZED (
    SELECT p.kind, p.name, coalesce(p.seen_to, -1) AS seen_to, 'pause:' || p.kind || ':' || p.name AS gate
    FROM {schema}.pause AS p CROSS JOIN moment AS m
    WHERE coalesce(p.paused_until > m.now, true) AND coalesce(p.walked_at < m.now - %(again_after)s::interval, true)
    ORDER BY p.walked_at NULLS FIRST, p.paused_at, p.name LIMIT 1
    FOR UPDATE OF p SKIP LOCKED
),
walked AS MATERIALIZED (
    SELECT j.id,
           j.state <> 'running' AND (h.gate = ANY(j.gates)) IS NOT TRUE
           AND CASE h.kind WHEN 'task' THEN j.task = h.name ELSE h.name = ANY(j.labels) END AS hit
    FROM held AS h CROSS JOIN LATERAL (
        SELECT j.* FROM {schema}.job AS j WHERE j.id > h.seen_to ORDER BY j.id LIMIT %(most_seen)s) AS j
),
hits AS MATERIALIZED (SELECT w.id FROM walked AS w WHERE w.hit ORDER BY w.id LIMIT %(most_held)s),
-- What is in other hands is left to the next walk.
chosen AS MATERIALIZED (
    SELECT j.id, n.gates, {schema}.lane_of(j.queue, j.task, n.gates, coalesce(j.units, 1)) AS lane
    FROM hits AS h CROSS JOIN held AS p CROSS JOIN LATERAL (
        SELECT j.* FROM {schema}.job AS j WHERE j.id = h.id AND j.state <> 'running' FOR UPDATE SKIP LOCKED
    ) AS j
    CROSS JOIN LATERAL (SELECT ARRAY(SELECT DISTINCT u.gate COLLATE "C" FROM unnest(j.gates || p.gate) AS u (gate) ORDER BY 1) AS gates) AS n
),
-- As arrays, since the planner takes the limit for the number of rows.
moved AS (
    UPDATE {schema}.job AS j SET gates = c.gates, units = coalesce(j.units, 1), lane = c.lane
    FROM chosen AS c WHERE j.id = c.id AND j.id = ANY(ARRAY(SELECT h.id FROM hits AS h))
    RETURNING j.lane, j.queue, j.task, j.gates, j.units, j.priority, j.state
),
arrived AS (
    INSERT INTO {schema}.arrival (lane, queue, task, gates, units, priority)
    SELECT DISTINCT ON (m.lane) m.lane, m.queue, m.task, m.gates, m.units, m.priority
    FROM moved AS m WHERE m.state = 'ready' ORDER BY m.lane, m.priority
),
woken AS MATERIALIZED (
    SELECT pg_notify({channel}, 'gated ' || q.queue) FROM (SELECT DISTINCT m.queue FROM moved AS m WHERE m.state = 'ready') AS q
),
reached AS MATERIALIZED (
    SELECT CASE WHEN (SELECT count(*) FROM hits) = %(most_held)s THEN (SELECT max(h.id) FROM hits AS h)
                WHEN (SELECT count(*) FROM walked) = %(most_seen)s THEN (SELECT max(w.id) FROM walked AS w) END AS upto
),
noted AS (
    UPDATE {schema}.pause AS p
    SET seen_to = r.upto, walked_at = CASE WHEN r.upto IS NULL THEN m.now ELSE p.walked_at END
    FROM held AS h, reached AS r, moment AS m WHERE p.kind = h.kind AND p.name = h.name
    RETURNING p.name
)
SELECT (SELECT count(*) FROM moved) FROM noted AS n, (SELECT count(*) FROM woken) AS w
