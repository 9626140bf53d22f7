-- name: patience
-- A person's verb waits a while for a transaction that is in its way, and not for ever; within its transaction.
SELECT set_config('lock_timeout', '2s', true)

-- name: standing
-- Where jobs stand, live or finished.
SELECT j.id, j.state::text FROM {schema}.job AS j WHERE j.id = ANY(%(ids)s::bigint[])
UNION ALL
SELECT h.id, h.state FROM {schema}.job_history AS h WHERE h.id = ANY(%(ids)s::bigint[])

-- name: schedule_id
SELECT s.id FROM {schema}.schedule AS s WHERE s.key = %(key)s::text

-- name: count_live
-- How many live jobs pass a filter, by state.
SELECT j.state::text, count(*) FROM {schema}.job AS j
WHERE j.state::text = ANY(%(states)s::text[])
  AND (%(task)s::text IS NULL OR j.task = %(task)s::text)
  AND (%(queue)s::text IS NULL OR j.queue = %(queue)s::text)
  AND (%(label)s::text IS NULL OR %(label)s::text = ANY(j.labels))
  AND (%(schedule_id)s::bigint IS NULL OR j.schedule_id = %(schedule_id)s::bigint)
  AND (%(error)s::text IS NULL OR strpos(lower(j.error), lower(%(error)s::text)) > 0)
  AND (%(since)s::timestamptz IS NULL OR j.created_at >= %(since)s::timestamptz)
  AND j.created_at < coalesce(%(until)s::timestamptz, 'infinity')
GROUP BY 1

-- name: count_past
-- How many finished jobs pass a filter, by state.
SELECT h.state, count(*) FROM {schema}.job_history AS h
WHERE h.state = ANY(%(states)s::text[])
  AND (%(task)s::text IS NULL OR h.task = %(task)s::text)
  AND (%(queue)s::text IS NULL OR h.queue = %(queue)s::text)
  AND (%(label)s::text IS NULL OR %(label)s::text = ANY(h.labels))
  AND (%(schedule_id)s::bigint IS NULL OR h.schedule_id = %(schedule_id)s::bigint)
  AND (%(error)s::text IS NULL OR strpos(lower(h.error), lower(%(error)s::text)) > 0)
  AND (%(since)s::timestamptz IS NULL OR h.finished_at >= %(since)s::timestamptz)
  AND h.finished_at < coalesce(%(until)s::timestamptz, 'infinity')
GROUP BY 1

-- name: choose_live
-- The next slice of them, by id.
SELECT j.id FROM {schema}.job AS j
WHERE j.id > %(after)s::bigint AND j.state::text = ANY(%(states)s::text[])
  AND (%(task)s::text IS NULL OR j.task = %(task)s::text)
  AND (%(queue)s::text IS NULL OR j.queue = %(queue)s::text)
  AND (%(label)s::text IS NULL OR %(label)s::text = ANY(j.labels))
  AND (%(schedule_id)s::bigint IS NULL OR j.schedule_id = %(schedule_id)s::bigint)
  AND (%(error)s::text IS NULL OR strpos(lower(j.error), lower(%(error)s::text)) > 0)
  AND (%(since)s::timestamptz IS NULL OR j.created_at >= %(since)s::timestamptz)
  AND j.created_at < coalesce(%(until)s::timestamptz, 'infinity')
ORDER BY j.id LIMIT %(most)s

-- name: choose_past
SELECT h.id FROM {schema}.job_history AS h
WHERE h.id > %(after)s::bigint AND h.state = ANY(%(states)s::text[])
  AND (%(task)s::text IS NULL OR h.task = %(task)s::text)
  AND (%(queue)s::text IS NULL OR h.queue = %(queue)s::text)
  AND (%(label)s::text IS NULL OR %(label)s::text = ANY(h.labels))
  AND (%(schedule_id)s::bigint IS NULL OR h.schedule_id = %(schedule_id)s::bigint)
  AND (%(error)s::text IS NULL OR strpos(lower(h.error), lower(%(error)s::text)) > 0)
  AND (%(since)s::timestamptz IS NULL OR h.finished_at >= %(since)s::timestamptz)
  AND h.finished_at < coalesce(%(until)s::timestamptz, 'infinity')
ORDER BY h.id LIMIT %(most)s

-- name: revive
SELECT r.id, r.outcome, r.holder FROM {schema}.revive_jobs(%(ids)s::bigint[], %(states)s::text[], %(now)s::timestamptz) AS r

-- name: due
-- Scheduled jobs are due now: the next promotion, which this brings about, makes them ready as it does all others.
WITH moment AS MATERIALIZED (SELECT coalesce(%(now)s::timestamptz, clock_timestamp()) AS now),
chosen AS MATERIALIZED (
    SELECT j.id FROM {schema}.job AS j
    WHERE j.id = ANY(%(ids)s::bigint[]) AND j.state = 'scheduled' ORDER BY j.id FOR UPDATE
),
due AS (
    UPDATE {schema}.job AS j SET run_at = least(j.run_at, m.now), review = false,
        -- What a person was to look at was looked at; what waits for other jobs goes on waiting.
        held = j.held AND (j.watched OR j.awaits)
    FROM moment AS m WHERE j.id = ANY(ARRAY(SELECT id FROM chosen)) AND j.state = 'scheduled'
    RETURNING j.id, j.held
),
woken AS MATERIALIZED (
    SELECT pg_notify({channel}, w.wake) FROM (SELECT DISTINCT CASE WHEN held THEN 'release' ELSE 'clock' END AS wake FROM due) AS w
)
SELECT d.id, CASE WHEN d.held THEN 'held' ELSE 'due' END FROM due AS d, (SELECT count(*) FROM woken) AS w

-- name: end_waiting
-- scheduled or ready -> cancelled or discarded.
WITH moment AS MATERIALIZED (SELECT coalesce(%(now)s::timestamptz, clock_timestamp()) AS now),
chosen AS MATERIALIZED (
    SELECT j.id FROM {schema}.job AS j
    WHERE j.id = ANY(%(ids)s::bigint[]) AND j.state::text = ANY(%(states)s::text[]) AND j.state <> 'running'
    ORDER BY j.id FOR UPDATE
),
ended AS (
    DELETE FROM {schema}.job AS j WHERE j.id = ANY(ARRAY(SELECT id FROM chosen)) AND j.state <> 'running' RETURNING j.*
),
noted AS (
    INSERT INTO {schema}.after_note (job_id, state)
    SELECT e.id, %(state)s::text FROM ended AS e
    WHERE EXISTS (SELECT FROM {schema}.job_after AS a WHERE a.after_id = e.id)
    RETURNING job_id
),
freed AS (
    DELETE FROM {schema}.unique_key AS u USING ended AS e
    WHERE e.unique_until <> 'time' AND u.task = e.task AND u.key = e.unique_key AND u.job_id = e.id
),
woken AS MATERIALIZED (
    SELECT pg_notify({channel}, 'release') WHERE EXISTS (SELECT 1 FROM ended WHERE watched)
    UNION ALL SELECT pg_notify({channel}, 'after') WHERE EXISTS (SELECT FROM noted)
)
INSERT INTO {schema}.job_history (
    id, state, queue, task, args, priority, labels, run_at, attempt, max_attempts, unique_key, unique_until,
    gates, units, run_options, checkpoint, parent_id, schedule_id, tick, created_at, finished_at, error)
SELECT j.id, %(state)s::text, j.queue, j.task, j.args, j.priority, j.labels, j.run_at, j.attempt, j.max_attempts,
       j.unique_key, j.unique_until, j.gates, j.units, j.run_options, j.checkpoint, j.parent_id, j.schedule_id, j.tick, j.created_at, m.now, %(reason)s::text
FROM ended AS j CROSS JOIN moment AS m CROSS JOIN (SELECT count(*) FROM woken) AS w
RETURNING id

-- name: ask
-- running: it is to end. Its worker is told, and the write of what the run comes to sees it.
WITH moment AS MATERIALIZED (SELECT coalesce(%(now)s::timestamptz, clock_timestamp()) AS now),
chosen AS MATERIALIZED (
    SELECT j.id FROM {schema}.job AS j
    WHERE j.id = ANY(%(ids)s::bigint[]) AND j.lease IS NOT NULL ORDER BY j.id FOR UPDATE
),
asked AS (
    UPDATE {schema}.job AS j
    SET cancel_requested_at = coalesce(j.cancel_requested_at, m.now), cancel_reason = coalesce(j.cancel_reason, %(reason)s::text)
    FROM moment AS m WHERE j.id = ANY(ARRAY(SELECT id FROM chosen)) AND j.lease IS NOT NULL
    RETURNING j.id, j.worker_id
),
told AS MATERIALIZED (SELECT pg_notify({channel}, 'cancelled ' || a.worker_id || ' ' || a.id) FROM asked AS a)
SELECT a.id FROM asked AS a, (SELECT count(*) FROM told) AS t

-- name: asked
-- The running jobs of a worker that are to end: for those that did not hear of it.
SELECT j.id FROM {schema}.job AS j
WHERE j.state = 'running' AND j.worker_id = %(worker_id)s AND j.cancel_requested_at IS NOT NULL

-- name: lock_running
SELECT j.id, j.lease, j.lane IS NOT NULL AS gated FROM {schema}.job AS j
WHERE j.id = ANY(%(ids)s::bigint[]) AND j.lease IS NOT NULL ORDER BY j.id FOR UPDATE

-- name: end_running
-- running -> cancelled at once, as a later tick that replaces it does: the run has lost its lease, and is told so.
WITH moment AS MATERIALIZED (SELECT coalesce(%(now)s::timestamptz, clock_timestamp()) AS now),
ended AS (
    DELETE FROM {schema}.job AS j USING unnest(%(ids)s::bigint[], %(leases)s::bigint[]) AS o (id, lease)
    WHERE j.id = o.id AND j.lease = o.lease RETURNING j.*
),
noted AS (
    INSERT INTO {schema}.after_note (job_id, state)
    SELECT e.id, 'cancelled' FROM ended AS e
    WHERE EXISTS (SELECT FROM {schema}.job_after AS a WHERE a.after_id = e.id)
    RETURNING job_id
),
freed AS (
    DELETE FROM {schema}.unique_key AS u USING ended AS e
    WHERE e.unique_until <> 'time' AND u.task = e.task AND u.key = e.unique_key AND u.job_id = e.id
),
attempts AS (
    INSERT INTO {schema}.attempt (job_id, attempt, outcome, worker_id, started_at, finished_at, error)
    SELECT e.id, e.attempt, 'cancelled', e.worker_id, e.started_at, m.now, %(reason)s::text
    FROM ended AS e CROSS JOIN moment AS m
),
told AS MATERIALIZED (
    SELECT pg_notify({channel}, 'cancelled ' || e.worker_id || ' ' || e.id) FROM ended AS e
    UNION ALL SELECT pg_notify({channel}, 'release') WHERE EXISTS (SELECT 1 FROM ended WHERE watched)
    UNION ALL SELECT pg_notify({channel}, 'after') WHERE EXISTS (SELECT FROM noted)
)
INSERT INTO {schema}.job_history (
    id, state, queue, task, args, priority, labels, run_at, attempt, max_attempts, unique_key, unique_until,
    gates, units, run_options, checkpoint, parent_id, schedule_id, tick, created_at, started_at, finished_at, error, worker_id)
SELECT j.id, 'cancelled', j.queue, j.task, j.args, j.priority, j.labels, j.run_at, j.attempt, j.max_attempts,
       j.unique_key, j.unique_until, j.gates, j.units, j.run_options, j.checkpoint, j.parent_id, j.schedule_id, j.tick, j.created_at, j.started_at, m.now,
       %(reason)s::text, j.worker_id
FROM ended AS j CROSS JOIN moment AS m CROSS JOIN (SELECT count(*) FROM told) AS w
RETURNING id

-- name: end_asked
-- ready -> cancelled for what was asked to end while it ran, and came back instead: its worker died, or never began it.
WITH moment AS MATERIALIZED (SELECT coalesce(%(now)s::timestamptz, clock_timestamp()) AS now),
ended AS (
    DELETE FROM {schema}.job AS j
    WHERE j.id = ANY(%(ids)s::bigint[]) AND j.state <> 'running' AND j.cancel_requested_at IS NOT NULL RETURNING j.*
),
noted AS (
    INSERT INTO {schema}.after_note (job_id, state)
    SELECT e.id, 'cancelled' FROM ended AS e
    WHERE EXISTS (SELECT FROM {schema}.job_after AS a WHERE a.after_id = e.id)
    RETURNING job_id
),
freed AS (
    DELETE FROM {schema}.unique_key AS u USING ended AS e
    WHERE e.unique_until <> 'time' AND u.task = e.task AND u.key = e.unique_key AND u.job_id = e.id
),
woken AS MATERIALIZED (
    SELECT pg_notify({channel}, 'release') WHERE EXISTS (SELECT 1 FROM ended WHERE watched)
    UNION ALL SELECT pg_notify({channel}, 'after') WHERE EXISTS (SELECT FROM noted)
)
INSERT INTO {schema}.job_history (
    id, state, queue, task, args, priority, labels, run_at, attempt, max_attempts, unique_key, unique_until,
    gates, units, run_options, checkpoint, parent_id, schedule_id, tick, created_at, finished_at, error)
SELECT j.id, 'cancelled', j.queue, j.task, j.args, j.priority, j.labels, j.run_at, j.attempt, j.max_attempts,
       j.unique_key, j.unique_until, j.gates, j.units, j.run_options, j.checkpoint, j.parent_id, j.schedule_id, j.tick, j.created_at, m.now, j.cancel_reason
FROM ended AS j CROSS JOIN moment AS m CROSS JOIN (SELECT count(*) FROM woken) AS w
RETURNING id
