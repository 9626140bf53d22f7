-- name: begin
-- One look at one instant that writes nothing, right after BEGIN.
SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY

-- name: limit_time
SELECT set_config('statement_timeout', %(timeout)s, true)

-- name: now
SELECT clock_timestamp()

-- name: job_ids
-- The newest jobs that pass all filters, below an id: each table gives its own newest by its index on id. Their rows are
-- read from the view afterwards, which as a union could not use the order of these indexes.
WITH wanted AS (SELECT (SELECT s.id FROM {schema}.schedule AS s WHERE s.key = %(schedule)s::text) AS schedule_id),
live AS (
    SELECT j.id FROM {schema}.job AS j
    WHERE j.id < %(before)s::bigint AND j.id > %(above)s::bigint
      AND (%(state)s::text IS NULL OR j.state::text = %(state)s::text)
      AND (%(queue)s::text IS NULL OR j.queue = %(queue)s::text)
      AND (%(task)s::text IS NULL OR j.task = %(task)s::text)
      AND (%(label)s::text IS NULL OR %(label)s::text = ANY(j.labels))
      AND (%(schedule)s::text IS NULL OR j.schedule_id = (SELECT schedule_id FROM wanted))
      AND (%(parent)s::bigint IS NULL OR j.parent_id = %(parent)s::bigint)
    ORDER BY j.id DESC LIMIT %(limit)s
),
past AS (
    SELECT h.id FROM {schema}.job_history AS h
    WHERE h.id < %(before)s::bigint AND h.id > %(above)s::bigint
      AND (%(state)s::text IS NULL OR h.state = %(state)s::text)
      AND (%(queue)s::text IS NULL OR h.queue = %(queue)s::text)
      AND (%(task)s::text IS NULL OR h.task = %(task)s::text)
      AND (%(label)s::text IS NULL OR %(label)s::text = ANY(h.labels))
      AND (%(schedule)s::text IS NULL OR h.schedule_id = (SELECT schedule_id FROM wanted))
      AND (%(parent)s::bigint IS NULL OR h.parent_id = %(parent)s::bigint)
    ORDER BY h.id DESC LIMIT %(limit)s
)
SELECT id FROM live UNION ALL SELECT id FROM past ORDER BY id DESC LIMIT %(limit)s

-- name: jobs
-- Jobs by their ids. A run_at beyond the calendar ('infinity') comes as its last day.
SELECT v.id, v.state, v.queue, v.task, v.args, v.result, v.priority, v.labels,
       least(v.run_at, timestamptz '9999-12-31 00:00:00Z') AS run_at, v.attempt, v.max_attempts, v.unique_key,
       v.schedule_key, v.tick, v.created_at, v.started_at, v.finished_at, v.error, v.worker_id
FROM {schema}.jobs AS v WHERE v.id = ANY(%(ids)s::bigint[]) ORDER BY v.id DESC

-- name: progress
-- How far these jobs have come, those that have told.
SELECT j.id, j.checkpoint - 'cursor' AS progress FROM {schema}.job AS j
WHERE j.id = ANY(%(ids)s::bigint[]) AND j.checkpoint IS NOT NULL
UNION ALL
SELECT h.id, h.checkpoint - 'cursor' FROM {schema}.job_history AS h
WHERE h.id = ANY(%(ids)s::bigint[]) AND h.checkpoint IS NOT NULL

-- name: trace
-- The trace context that a job carries.
SELECT j.run_options -> 'trace' FROM {schema}.job AS j WHERE j.id = %(id)s
UNION ALL
SELECT h.run_options -> 'trace' FROM {schema}.job_history AS h WHERE h.id = %(id)s

-- name: attempts
SELECT a.attempt, a.outcome, a.worker_id, a.started_at, a.finished_at, a.error_type, a.error, a.traceback
FROM {schema}.attempt AS a WHERE a.job_id = %(job_id)s ORDER BY a.attempt, a.finished_at LIMIT %(limit)s

-- name: schedules
-- Schedules in the order of their keys; removed ones only when they are asked for.
SELECT v.key, v.source, v.state, v.cron, v.every, v.timezone, v.task, v.queue, v.next_tick, v.watermark,
       CASE WHEN v.paused_until = 'infinity' THEN '9999-12-31 00:00:00Z' ELSE v.paused_until END AS paused_until,
       nullif(concat_ws('; ', 'set aside: ' || f.fault, v.note), '') AS note
FROM {schema}.schedules AS v
JOIN {schema}.schedule_faults AS f ON f.key = v.key
WHERE v.key > %(after)s::text
  AND CASE WHEN %(state)s::text IS NULL THEN v.state <> 'removed' ELSE v.state = %(state)s::text END
  AND (%(task)s::text IS NULL OR v.task = %(task)s::text)
ORDER BY v.key LIMIT %(limit)s

-- name: schedule
SELECT v.key, v.source, v.state, v.cron, v.every, v.timezone, v.task, v.queue, v.next_tick, v.watermark,
       CASE WHEN v.paused_until = 'infinity' THEN '9999-12-31 00:00:00Z' ELSE v.paused_until END AS paused_until,
       nullif(concat_ws('; ', 'set aside: ' || f.fault, v.note), '') AS note
FROM {schema}.schedules AS v JOIN {schema}.schedule_faults AS f ON f.key = v.key WHERE v.key = %(key)s

-- name: set_aside
-- The schedules that the clock has set aside.
SELECT f.key, f.fault FROM {schema}.schedule_faults AS f WHERE f.fault IS NOT NULL ORDER BY f.key LIMIT %(limit)s

-- name: schedule_keys
SELECT s.key FROM {schema}.schedule AS s WHERE s.state <> 'removed' ORDER BY s.key LIMIT %(limit)s

-- name: definitions
-- What active schedules are made of: those of the given keys, or those that tick first and are not paused.
SELECT s.key, s.definition FROM {schema}.schedule AS s
WHERE s.state = 'active'
  AND CASE WHEN %(keys)s::text[] IS NULL THEN s.paused_until IS NULL OR s.paused_until <= now()
           ELSE s.key = ANY(%(keys)s::text[]) END
ORDER BY s.next_tick LIMIT %(limit)s

-- name: ticks
-- The newest rows of a schedule's ledger.
SELECT %(key)s::text AS schedule_key, t.tick, t.through, t.count, t.nominal, t.outcome, t.reason, t.origin, t.job_id,
       t.inserted_at
FROM {schema}.tick AS t
WHERE t.schedule_id = (SELECT s.id FROM {schema}.schedule AS s WHERE s.key = %(key)s::text)
ORDER BY t.tick DESC LIMIT %(limit)s

-- name: due_ticks
-- Of each schedule the newest rows of its ledger that are due: one look into each day's primary key, newest first.
SELECT s.key AS schedule_key, t.tick, t.outcome, t.reason, t.job_id, t.inserted_at
FROM {schema}.schedule AS s
CROSS JOIN LATERAL (
    SELECT l.tick, l.outcome, l.reason, l.job_id, l.inserted_at FROM {schema}.tick AS l
    WHERE l.schedule_id = s.id AND l.tick <= coalesce(%(now)s::timestamptz, now())
    ORDER BY l.tick DESC LIMIT %(limit)s
) AS t
WHERE s.key = ANY(%(keys)s::text[])
ORDER BY s.key, t.tick DESC

-- name: runs
-- Where jobs stand. None of them ended before the first of their ticks was inserted, so older days are not looked into.
SELECT j.id, j.state::text AS state, j.attempt, j.max_attempts, j.run_at, j.started_at, NULL::timestamptz AS finished_at,
       split_part(ltrim(j.error, E' \t\r\n'), E'\n', 1) AS error
FROM {schema}.job AS j WHERE j.id = ANY(%(ids)s::bigint[])
UNION ALL
SELECT h.id, h.state, h.attempt, h.max_attempts, h.run_at, h.started_at, h.finished_at,
       split_part(ltrim(h.error, E' \t\r\n'), E'\n', 1)
FROM {schema}.job_history AS h WHERE h.id = ANY(%(ids)s::bigint[]) AND h.finished_at >= %(since)s::timestamptz

-- name: queues
SELECT v.queue,
       CASE WHEN v.paused_until = 'infinity' THEN '9999-12-31 00:00:00Z' ELSE v.paused_until END AS paused_until, v.note,
       v.scheduled, v.ready, v.running, v.oldest_ready_at
FROM {schema}.queues AS v
WHERE v.queue > %(after)s::text AND (%(only)s::text IS NULL OR v.queue = %(only)s::text)
ORDER BY v.queue LIMIT %(limit)s

-- name: tasks
-- Tasks that are published or paused. Their jobs are counted among the newest live ones, up to a bound.
WITH live AS MATERIALIZED (SELECT j.task, j.state FROM {schema}.job AS j ORDER BY j.id DESC LIMIT %(most)s),
counted AS MATERIALIZED (
    SELECT l.task, count(*) FILTER (WHERE l.state = 'scheduled') AS scheduled,
           count(*) FILTER (WHERE l.state = 'ready') AS ready, count(*) FILTER (WHERE l.state = 'running') AS running
    FROM live AS l GROUP BY l.task
),
paused AS MATERIALIZED (
    SELECT p.name, least(coalesce(p.paused_until, 'infinity'), timestamptz '9999-12-31 00:00:00Z') AS paused_until, p.note
    FROM {schema}.pause AS p WHERE p.kind = 'task' AND coalesce(p.paused_until > now(), true)
)
SELECT n.name AS task, t.queue, t.priority, t.max_attempts, t.labels, t.arg_defaults, t.code_version, t.published_at,
       p.paused_until, p.note, coalesce(c.scheduled, 0) AS scheduled, coalesce(c.ready, 0) AS ready,
       coalesce(c.running, 0) AS running, (SELECT count(*) FROM live) = %(most)s AS at_least
FROM (SELECT t.name FROM {schema}.task AS t UNION SELECT p.name FROM paused AS p) AS n
LEFT JOIN {schema}.task AS t ON t.name = n.name
LEFT JOIN paused AS p ON p.name = n.name
LEFT JOIN counted AS c ON c.task = n.name
WHERE n.name > %(after)s::text AND (%(only)s::text IS NULL OR n.name = %(only)s::text) ORDER BY n.name LIMIT %(limit)s

-- name: labels
-- Labels that are paused, or that the newest live jobs have, which are looked through up to a bound.
WITH live AS MATERIALIZED (SELECT j.labels, j.state FROM {schema}.job AS j ORDER BY j.id DESC LIMIT %(most)s),
counted AS MATERIALIZED (
    SELECT u.label, count(*) FILTER (WHERE l.state = 'scheduled') AS scheduled,
           count(*) FILTER (WHERE l.state = 'ready') AS ready, count(*) FILTER (WHERE l.state = 'running') AS running
    FROM live AS l CROSS JOIN LATERAL unnest(l.labels) AS u (label) GROUP BY u.label
),
paused AS MATERIALIZED (
    SELECT p.name, least(coalesce(p.paused_until, 'infinity'), timestamptz '9999-12-31 00:00:00Z') AS paused_until, p.note
    FROM {schema}.pause AS p WHERE p.kind = 'label' AND coalesce(p.paused_until > now(), true)
)
SELECT n.label, p.paused_until, p.note, coalesce(c.scheduled, 0) AS scheduled, coalesce(c.ready, 0) AS ready,
       coalesce(c.running, 0) AS running, (SELECT count(*) FROM live) = %(most)s AS at_least
FROM (SELECT c.label FROM counted AS c UNION SELECT p.name FROM paused AS p) AS n
LEFT JOIN paused AS p ON p.name = n.label
LEFT JOIN counted AS c ON c.label = n.label
WHERE n.label > %(after)s::text AND (%(only)s::text IS NULL OR n.label = %(only)s::text) ORDER BY n.label LIMIT %(limit)s

-- name: pauses
-- What is paused now: queues, tasks and labels.
SELECT kind, name, least(paused_until, timestamptz '9999-12-31 00:00:00Z') AS paused_until, note FROM (
    SELECT 'queue' AS kind, q.name, q.paused_until, q.note FROM {schema}.queue AS q
    UNION ALL
    SELECT p.kind, p.name, coalesce(p.paused_until, 'infinity'), p.note FROM {schema}.pause AS p
) AS u
WHERE paused_until > now() ORDER BY kind, name LIMIT %(limit)s

-- name: processes
SELECT v.id, v.kind, v.pid, v.host, v.leader, v.epoch, v.started_at, v.beat_at
FROM {schema}.processes AS v WHERE v.id > %(after)s::bigint ORDER BY v.id LIMIT %(limit)s

-- name: leader
SELECT l.epoch, p.host, p.pid, l.elected_at, l.beat_at
FROM {schema}.leader AS l LEFT JOIN {schema}.process AS p ON p.id = l.process_id

-- name: coming
-- The next ticks: those whose jobs wait already, and the first of each schedule that is not planned yet.
SELECT key, tick FROM (
    (SELECT s.key, j.tick
     FROM {schema}.job AS j JOIN {schema}.schedule AS s ON s.id = j.schedule_id
     WHERE j.state = 'scheduled' AND j.tick > now()
     ORDER BY j.run_at LIMIT %(limit)s)
    UNION
    (SELECT s.key, s.next_tick
     FROM {schema}.schedule AS s
     WHERE s.state = 'active' AND s.next_tick > s.planned_to AND (s.paused_until IS NULL OR s.paused_until <= now())
     ORDER BY s.next_tick LIMIT %(limit)s)
) AS c
ORDER BY tick, key LIMIT %(limit)s

-- name: failures
-- The newest jobs that failed for good.
SELECT h.id, h.task, h.queue, h.attempt, h.finished_at, h.error,
       (SELECT s.key FROM {schema}.schedule AS s WHERE s.id = h.schedule_id) AS schedule_key
FROM {schema}.job_history AS h WHERE h.state = 'failed' ORDER BY h.id DESC LIMIT %(limit)s
