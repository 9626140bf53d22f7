-- name: finish_plain
-- running -> succeeded for what needs no more than that: no result, no checkpoint, no unique key, nobody who waits for it, nobody who asked it to end. Gives the ids; the others are for `finish`. The lease says that it runs: to ask for the
-- state as well would have the planner go through all that runs, for each of them.
WITH outcome AS MATERIALIZED (
    SELECT * FROM unnest(%(ids)s::text::bigint[], %(leases)s::text::bigint[]) AS o (id, lease)
)
DELETE FROM {schema}.job AS j USING outcome AS o
WHERE j.id = o.id AND j.lease = o.lease
  AND j.unique_until IS NULL AND j.cancel_requested_at IS NULL AND NOT j.watched
  AND NOT EXISTS (SELECT FROM {schema}.job_after AS a WHERE a.after_id = j.id)
RETURNING j.id

-- name: finish_plain_kept
-- The same, with a row in the history, and one of the attempt. Times are seconds after `base`.
WITH outcome AS MATERIALIZED (
    SELECT o.id, o.lease, %(base)s::timestamptz + o.began * interval '1 microsecond' AS started_at,
           %(base)s::timestamptz + o.ended * interval '1 microsecond' AS finished_at
    FROM unnest(%(ids)s::text::bigint[], %(leases)s::text::bigint[], %(began)s::text::bigint[], %(ended)s::text::bigint[])
         AS o (id, lease, began, ended)
),
ended AS (
    DELETE FROM {schema}.job AS j USING outcome AS o
    WHERE j.id = o.id AND j.lease = o.lease
      AND j.unique_until IS NULL AND j.cancel_requested_at IS NULL AND NOT j.watched
      AND NOT EXISTS (SELECT FROM {schema}.job_after AS a WHERE a.after_id = j.id)
    RETURNING j.id, j.queue, j.task, j.args, j.priority, j.labels, j.run_at, j.attempt, j.max_attempts, j.gates, j.units,
              j.run_options, j.checkpoint, j.parent_id, j.schedule_id, j.tick, j.created_at, j.worker_id, o.started_at, o.finished_at
),
history AS (
    INSERT INTO {schema}.job_history (
        id, state, queue, task, args, priority, labels, run_at, attempt, max_attempts, gates, units, run_options, checkpoint,
        parent_id, schedule_id, tick, created_at, worker_id, started_at, finished_at)
    SELECT e.id, 'succeeded', e.queue, e.task, e.args, e.priority, e.labels, e.run_at, e.attempt, e.max_attempts,
           e.gates, e.units, e.run_options, e.checkpoint, e.parent_id, e.schedule_id, e.tick, e.created_at, e.worker_id, e.started_at,
           e.finished_at
    FROM ended AS e
),
attempts AS (
    INSERT INTO {schema}.attempt (job_id, attempt, outcome, worker_id, started_at, finished_at)
    SELECT e.id, e.attempt, 'succeeded', e.worker_id, e.started_at, e.finished_at FROM ended AS e
)
SELECT id FROM ended

-- name: finish
-- running -> its outcome, fenced by the lease, which says that it runs; gives the ids whose outcome was accepted.
WITH moment AS MATERIALIZED (SELECT coalesce(%(now)s::timestamptz, clock_timestamp()) AS now),
outcome AS MATERIALIZED (
    SELECT * FROM jsonb_to_recordset(%(outcomes)s::jsonb) AS o (
        id bigint, lease bigint, state text, outcome text, charged boolean, delay double precision, result jsonb,
        error_type text, error text, traceback text, started_at timestamptz, finished_at timestamptz,
        checkpoint jsonb, kept boolean, crashed boolean, keeps_place boolean
    )
),
-- What the outcome says stays beside what the job was: joined later, each would be looked for among all the others.
ended AS (
    DELETE FROM {schema}.job AS j USING outcome AS o
    WHERE j.id = o.id AND j.lease = o.lease
      -- What was asked to end is not tried again.
      AND (o.state NOT IN ('scheduled', 'ready', 'held') OR j.cancel_requested_at IS NOT NULL)
    RETURNING j.id, j.queue, j.task, j.args, j.priority, j.labels, j.run_at, j.attempt, j.max_attempts, j.unique_key,
              j.unique_until, j.gates, j.units, j.run_options, coalesce(o.checkpoint, j.checkpoint) AS checkpoint,
              j.parent_id, j.schedule_id, j.tick, j.created_at, j.worker_id, j.watched, j.cancel_requested_at,
              j.cancel_reason, o.outcome, o.result, o.error, o.error_type, o.traceback, o.started_at, o.finished_at,
              o.kept, o.state AS came_to,
              CASE WHEN j.cancel_requested_at IS NULL OR o.state = 'succeeded' THEN o.state ELSE 'cancelled' END AS state
),
history AS (
    INSERT INTO {schema}.job_history (
        id, state, queue, task, args, result, priority, labels, run_at, attempt, max_attempts, unique_key,
        unique_until, gates, units, run_options, checkpoint, parent_id, schedule_id, tick, created_at, started_at, finished_at, error,
        worker_id)
    SELECT e.id, e.state, e.queue, e.task, e.args, e.result, e.priority, e.labels, e.run_at,
           e.attempt - CASE WHEN e.outcome IS NULL THEN 1 ELSE 0 END, e.max_attempts,
           e.unique_key, e.unique_until, e.gates, e.units, e.run_options, e.checkpoint, e.parent_id, e.schedule_id,
           e.tick, e.created_at, e.started_at, coalesce(e.finished_at, m.now),
           CASE WHEN e.came_to = 'succeeded' THEN e.error ELSE coalesce(e.cancel_reason, e.error) END, e.worker_id
    FROM ended AS e CROSS JOIN moment AS m
    WHERE e.kept OR e.cancel_requested_at IS NOT NULL
),
-- Others may wait for them: whoever leads is told, in a table that is empty for the most part.
noted AS (
    INSERT INTO {schema}.after_note (job_id, state)
    SELECT e.id, e.state FROM ended AS e
    WHERE EXISTS (SELECT FROM {schema}.job_after AS a WHERE a.after_id = e.id)
    RETURNING job_id
),
again AS (
    UPDATE {schema}.job AS j
    SET state = (CASE WHEN o.delay > 0 OR o.state = 'held' THEN 'scheduled' ELSE 'ready' END)::{schema}.live_state,
        run_at = CASE WHEN o.delay > 0 THEN m.now + make_interval(secs => o.delay) ELSE j.run_at END,
        ready_seq = CASE WHEN o.delay > 0 OR o.state = 'held' THEN NULL
                         WHEN o.keeps_place THEN j.ready_seq ELSE nextval('{schema}.ready_seq') END,
        held = o.state = 'held', review = o.state = 'held',
        crashes = CASE WHEN o.checkpoint ->> 'cursor' IS NOT NULL
                         AND j.checkpoint -> 'cursor' IS DISTINCT FROM o.checkpoint -> 'cursor' THEN 0 ELSE j.crashes END + CASE WHEN o.crashed THEN 1 ELSE 0 END,
        deaths = CASE WHEN o.checkpoint ->> 'cursor' IS NOT NULL
                         AND j.checkpoint -> 'cursor' IS DISTINCT FROM o.checkpoint -> 'cursor' THEN 0 ELSE j.deaths END,
        attempt = j.attempt - CASE WHEN o.charged THEN 0 ELSE 1 END,
        error = coalesce(o.error, j.error), lease = NULL, worker_id = NULL, claimed_at = NULL, started_at = NULL,
        granted = NULL, checkpoint = coalesce(o.checkpoint, j.checkpoint),
        -- Only what has not begun can expire.
        expires_at = CASE WHEN o.outcome IS NULL THEN j.expires_at END
    FROM outcome AS o, moment AS m
    WHERE j.id = o.id AND j.lease = o.lease AND o.state IN ('scheduled', 'ready', 'held')
      AND j.cancel_requested_at IS NULL
    RETURNING j.id, j.state, j.queue, j.task, j.lane, j.gates, j.units, j.priority, j.held, j.run_at,
              j.attempt + CASE WHEN o.charged THEN 0 ELSE 1 END AS ran_as,
              o.outcome, o.error, o.error_type, o.traceback, o.started_at, o.finished_at, o.kept
),
freed AS (
    DELETE FROM {schema}.unique_key AS u USING ended AS e
    WHERE e.unique_until = 'finished' AND u.task = e.task AND u.key = e.unique_key AND u.job_id = e.id
),
arrived AS (
    INSERT INTO {schema}.arrival (lane, queue, task, gates, units, priority)
    SELECT DISTINCT ON (g.lane) g.lane, g.queue, g.task, g.gates, g.units, g.priority
    FROM again AS g WHERE g.lane IS NOT NULL AND g.state = 'ready' ORDER BY g.lane, g.priority
),
accepted AS (
    SELECT id, attempt AS ran_as, worker_id, outcome, error, error_type, traceback, started_at, finished_at, kept FROM ended
    UNION ALL
    SELECT id, ran_as, %(worker_id)s::bigint, outcome, error, error_type, traceback, started_at, finished_at, kept FROM again
),
attempts AS (
    INSERT INTO {schema}.attempt (job_id, attempt, outcome, worker_id, started_at, finished_at, error_type, error, traceback)
    SELECT a.id, a.ran_as, a.outcome, a.worker_id, a.started_at, coalesce(a.finished_at, m.now),
           a.error_type, a.error, a.traceback
    FROM accepted AS a CROSS JOIN moment AS m
    WHERE a.outcome IS NOT NULL AND a.kept
),
woken AS MATERIALIZED (
    SELECT pg_notify({channel}, w.wake) FROM (
        SELECT DISTINCT CASE WHEN g.state <> 'ready' THEN 'clock'
                             WHEN g.lane IS NULL THEN 'again ' || g.queue ELSE 'gated ' || g.queue END AS wake
        FROM again AS g CROSS JOIN moment AS m
        WHERE g.state = 'ready' OR NOT g.held AND g.run_at < m.now + interval '3 seconds'
        UNION
        SELECT 'release' FROM ended AS e
        WHERE e.watched
          AND EXISTS (SELECT 1 FROM {schema}.job AS h WHERE h.watched AND h.schedule_id = e.schedule_id AND h.held)
        UNION ALL SELECT 'after' WHERE EXISTS (SELECT FROM noted)
    ) AS w
)
SELECT a.id FROM accepted AS a, (SELECT count(*) FROM woken) AS w

-- name: written
-- Which of these outcomes are there already, word for word: their write was done, and only its reply was lost.
SELECT DISTINCT o.id
FROM jsonb_to_recordset(%(outcomes)s::jsonb) AS o (id bigint, outcome text, started_at timestamptz, finished_at timestamptz)
JOIN {schema}.attempt AS a
  ON a.job_id = o.id AND a.outcome = o.outcome AND a.started_at IS NOT DISTINCT FROM o.started_at
 AND (o.finished_at IS NULL OR a.finished_at = o.finished_at)
