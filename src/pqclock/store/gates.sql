-- name: list
-- Gates in the order of their names, with the jobs behind each counted up to a bound; or those of these names.
SELECT g.rule, g.kind, g.key, s.state, s.running, s.waiting,
       CASE WHEN s.opens_at IS NOT NULL THEN least(s.opens_at, timestamptz '9999-12-31 00:00:00Z') END AS opens_at,
       CASE WHEN r.state = 'removed' THEN 'removed' WHEN r.name IS NULL THEN 'undeclared'
            WHEN s.state <> 'blown' AND g.blown_until IS NOT NULL THEN 'half open' ELSE s.state END AS standing,
       CASE WHEN r.rate IS NOT NULL
            THEN greatest(0, floor(r.burst - greatest(0, g.tat_ns - {schema}.to_ns(now()))::numeric / r.interval_ns))::bigint
            END AS tokens,
       r.burst, r.rate, r.per, r.concurrency, r.probes,
       CASE WHEN g.closed_until IS NOT NULL THEN least(g.closed_until, timestamptz '9999-12-31 00:00:00Z') END AS closed_until,
       CASE WHEN g.blown_until IS NOT NULL THEN least(g.blown_until, timestamptz '9999-12-31 00:00:00Z') END AS blown_until,
       (SELECT count(*) FROM (
           SELECT FROM {schema}.lane AS l CROSS JOIN LATERAL (
               SELECT FROM {schema}.job AS j WHERE j.lane = l.lane AND j.state = 'ready' AND j.lane IS NOT NULL
               LIMIT %(most)s + 1) AS j
           WHERE l.gate_id = g.id LIMIT %(most)s + 1) AS c) AS waiting_jobs,
       -- What was said of a time that is over says nothing of now.
       CASE WHEN greatest(g.closed_until, g.blown_until) > now() AND r.state IS DISTINCT FROM 'removed' THEN g.note END AS note,
       g.name AS gate
FROM {schema}.gate AS g
JOIN {schema}.gate_states AS s ON s.name = g.name
LEFT JOIN {schema}.rule AS r ON r.kind = g.kind AND r.name = g.rule
WHERE g.kind <> 'pause' AND g.name > %(after)s::text
  AND (%(names)s::text[] IS NULL OR g.name = ANY(%(names)s::text[]))
  AND (%(rule)s::text IS NULL OR g.rule = %(rule)s::text)
  AND (%(kind)s::text IS NULL OR g.kind = %(kind)s::text)
  AND (%(prefix)s::text IS NULL OR starts_with(g.key, %(prefix)s::text))
  AND (%(state)s::text IS NULL
       OR CASE WHEN %(state)s::text <> 'half open' THEN s.state = %(state)s::text AND (s.state <> 'open' OR g.blown_until IS NULL)
               ELSE g.blown_until IS NOT NULL AND s.state <> 'blown' END)
ORDER BY g.name LIMIT %(limit)s

-- name: holding
-- Gates that hold something back: blown or closed ones, and those that a lane waits for.
SELECT g.name FROM {schema}.gate AS g
WHERE g.kind <> 'pause'
  AND (g.blown_until > now() OR g.closed_until > now() OR EXISTS (SELECT FROM {schema}.lane AS l WHERE l.gate_id = g.id))
ORDER BY greatest(g.blown_until, g.closed_until) > now() DESC, g.name LIMIT %(limit)s

-- name: terms
-- What was declared of the rules with this name.
SELECT r.kind, r.name AS rule, r.state, r.source, r.version, r.definition
FROM {schema}.rule AS r WHERE r.name = %(rule)s ORDER BY r.kind DESC

-- name: declared
SELECT r.kind, r.name FROM {schema}.rule AS r WHERE r.state = 'active' ORDER BY r.name LIMIT 10000

-- name: begin_anew
-- Of these rules, those that were removed: their gates are whole when they are declared again. What a throttle let through
-- still counts.
UPDATE {schema}.gate AS g
SET closed_until = NULL, reserved_until = NULL, blown_until = NULL, cool_down = NULL, passed = 0, note = NULL,
    epoch = CASE g.kind WHEN 'fuse' THEN g.epoch + 1 ELSE g.epoch END,
    counts_from = CASE g.kind WHEN 'fuse' THEN coalesce(%(now)s::timestamptz, clock_timestamp()) ELSE g.counts_from END
WHERE g.id IN (
    SELECT o.id FROM {schema}.gate AS o
    WHERE (o.kind, o.rule) IN (SELECT * FROM unnest(%(kinds)s::text[], %(names)s::text[])) ORDER BY o.id FOR UPDATE)

-- name: removed
-- Of these rules, those that were removed.
SELECT r.kind, r.name FROM {schema}.rule AS r
WHERE (r.kind, r.name) IN (SELECT * FROM unnest(%(kinds)s::text[], %(names)s::text[])) AND r.state = 'removed'

-- name: undeclared
-- Of these names, those that no rule in force has.
SELECT u.name FROM unnest(%(names)s::text[]) AS u (name)
WHERE NOT EXISTS (SELECT FROM {schema}.rule AS r WHERE r.name = u.name AND r.state = 'active')

-- name: slots
-- Which jobs have the places of gates, the longest first.
SELECT g.kind, s.job_id, j.task, j.queue, j.worker_id, p.host, p.pid, coalesce(j.started_at, j.claimed_at) AS since
FROM {schema}.gate AS g JOIN {schema}.slot AS s ON s.gate_id = g.id
LEFT JOIN {schema}.job AS j ON j.id = s.job_id
LEFT JOIN {schema}.process AS p ON p.id = j.worker_id
WHERE g.name = ANY(%(names)s::text[])
ORDER BY coalesce(j.started_at, j.claimed_at), s.job_id LIMIT %(limit)s

-- name: lanes
-- The lanes that wait for gates, in the order in which they get their turn, each with its first job.
SELECT g.kind, l.queue, l.task, l.units, l.gates, l.priority, h.id AS job_id, h.run_at,
       (SELECT count(*) FROM (
           SELECT FROM {schema}.job AS j WHERE j.lane = l.lane AND j.state = 'ready' LIMIT %(most)s + 1) AS c) AS jobs
FROM {schema}.gate AS g JOIN {schema}.lane AS l ON l.gate_id = g.id
LEFT JOIN LATERAL (
    SELECT j.id, least(j.run_at, timestamptz '9999-12-31 00:00:00Z') AS run_at FROM {schema}.job AS j
    WHERE j.lane = l.lane AND j.state = 'ready' ORDER BY j.priority, j.ready_seq LIMIT 1) AS h ON true
WHERE g.name = ANY(%(names)s::text[])
ORDER BY l.priority, l.turn LIMIT %(limit)s

-- name: failures
-- What fuses have seen last; `counts` when it was since the fuse was whole, or reset.
SELECT f.failed_at, f.job_id, f.error_type, f.error, f.failed_at > g.counts_from AS counts
FROM {schema}.gate AS g JOIN {schema}.fuse_failure AS f ON f.gate_id = g.id
WHERE g.name = ANY(%(names)s::text[]) ORDER BY f.failed_at DESC LIMIT %(limit)s

-- name: wait_briefly
SELECT set_config('lock_timeout', %(timeout)s, true)

-- name: make
SELECT {schema}.make_gates(%(names)s::text[])

-- name: find
-- The gates of these names, or all of these rules; by id, the order in which they are locked.
SELECT g.id FROM {schema}.gate AS g
WHERE CASE WHEN %(rule)s::text IS NULL THEN g.name = ANY(%(names)s::text[])
           ELSE g.rule = %(rule)s::text AND g.kind = ANY(%(kinds)s::text[]) END
ORDER BY g.id

-- name: lock
SELECT g.id FROM {schema}.gate AS g WHERE g.id = ANY(%(ids)s::bigint[]) ORDER BY g.id FOR UPDATE

-- name: blow
UPDATE {schema}.gate AS g
SET blown_until = coalesce(%(until)s::timestamptz, 'infinity'), cool_down = r.cool_down, epoch = g.epoch + 1, passed = 0,
    note = %(note)s
FROM {schema}.rule AS r
WHERE g.id = ANY(%(ids)s::bigint[]) AND r.kind = g.kind AND r.name = g.rule
RETURNING g.name

-- name: reset
-- What a throttle let through is not forgotten: its limit holds.
UPDATE {schema}.gate AS g
SET closed_until = NULL, reserved_until = NULL, blown_until = NULL, cool_down = NULL, passed = 0, note = NULL,
    epoch = CASE g.kind WHEN 'fuse' THEN g.epoch + 1 ELSE g.epoch END,
    counts_from = CASE g.kind WHEN 'fuse' THEN coalesce(%(now)s::timestamptz, clock_timestamp()) ELSE g.counts_from END
WHERE g.id = ANY(%(ids)s::bigint[])
RETURNING g.name

-- name: cool
SELECT {schema}.cool_gates(%(reference)s, coalesce(%(until)s::timestamptz, 'infinity'))

-- name: note
UPDATE {schema}.gate AS g SET note = %(note)s WHERE g.name = ANY(%(names)s::text[])

-- name: tell
-- Have the lanes that wait for gates, whose rows are locked, looked at again.
SELECT {schema}.tell_waiting(%(ids)s::bigint[], coalesce(%(now)s::timestamptz, clock_timestamp()))
