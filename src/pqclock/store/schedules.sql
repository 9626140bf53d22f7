-- name: due
-- The schedules that are to be planned before an instant, by when their ticks are due: what is planned ahead has time,
-- what is judged at its time has none. Without those known to be broken.
SELECT s.id, s.key, s.version, s.definition, s.planned_to, s.created_at,
       coalesce((SELECT t.options ? 'unique' FROM {schema}.task AS t WHERE t.name = s.definition ->> 'task'), false)
           AS unique_task
FROM (
    (SELECT a.*, a.plan_at + %(ahead)s::interval AS due_at FROM {schema}.schedule AS a
     WHERE a.state = 'active' AND a.plan_at <= %(before)s AND NOT a.judged
       AND (a.id, a.version) NOT IN (SELECT * FROM unnest(%(broken_ids)s::bigint[], %(broken_versions)s::bigint[]))
     ORDER BY a.plan_at LIMIT %(limit)s)
    UNION ALL
    (SELECT j.*, j.plan_at AS due_at FROM {schema}.schedule AS j
     WHERE j.state = 'active' AND j.plan_at <= %(before)s AND j.judged
       AND (j.id, j.version) NOT IN (SELECT * FROM unnest(%(broken_ids)s::bigint[], %(broken_versions)s::bigint[]))
     ORDER BY j.plan_at LIMIT %(limit)s)
) AS s
ORDER BY s.due_at LIMIT %(limit)s

-- name: earliest
-- When the first schedule is to be planned.
SELECT s.plan_at FROM {schema}.schedule AS s
WHERE s.state = 'active' AND s.plan_at IS NOT NULL
  AND (s.id, s.version) NOT IN (SELECT * FROM unnest(%(broken_ids)s::bigint[], %(broken_versions)s::bigint[]))
ORDER BY s.plan_at LIMIT 1

-- name: owed
-- Spans of missed ticks, the first noticed first; with what became of their schedules since.
SELECT o.id, o.schedule_id, s.key, s.version, s.state, o.definition, o.after, o.upto, o.noticed_at, s.created_at,
       coalesce((SELECT t.options ? 'unique' FROM {schema}.task AS t WHERE t.name = o.definition ->> 'task'), false)
           AS unique_task,
       CASE WHEN s.paused_until < '9999-12-31' THEN s.paused_until WHEN s.paused_until IS NOT NULL THEN '9999-12-31 00:00:00Z' END AS paused_until
FROM {schema}.owed AS o JOIN {schema}.schedule AS s ON s.id = o.schedule_id
WHERE o.id <> ALL(%(broken)s::bigint[])
ORDER BY o.id LIMIT %(limit)s

-- name: owed_since
SELECT min(o.after) FROM {schema}.owed AS o WHERE o.schedule_id = %(schedule_id)s

-- name: owed_by
-- All spans of missed ticks of these schedules.
SELECT o.id, o.schedule_id, s.key, s.version, s.state, o.definition, o.after, o.upto, o.noticed_at, s.created_at,
       NULL::timestamptz AS paused_until, false AS unique_task
FROM {schema}.owed AS o JOIN {schema}.schedule AS s ON s.id = o.schedule_id
WHERE o.schedule_id = ANY(%(ids)s::bigint[]) ORDER BY o.id FOR UPDATE OF o

-- name: hold
-- Of these schedules, those whose rows nobody else holds: no backfill inserts beside what is judged now.
SELECT s.id FROM {schema}.schedule AS s WHERE s.id = ANY(%(ids)s::bigint[]) ORDER BY s.id FOR UPDATE SKIP LOCKED

-- name: hold_unfinished
-- The jobs of these schedules that have not ended and that nobody else holds.
SELECT j.schedule_id FROM {schema}.job AS j
WHERE j.watched AND j.schedule_id = ANY(%(ids)s::bigint[]) ORDER BY j.id FOR UPDATE SKIP LOCKED

-- name: unfinished
-- Of these schedules, those with jobs that have not ended: how many, whether one is held until the others end, and the
-- last tick of them.
SELECT j.schedule_id, count(*), bool_or(j.held), max(j.tick)
FROM {schema}.job AS j WHERE j.watched AND j.schedule_id = ANY(%(ids)s::bigint[]) GROUP BY j.schedule_id

-- name: insert_ticks
-- Ledger rows, their jobs and the schedules' cursors, together; nothing for a term that is over, nor for a schedule
-- that was changed or planned by somebody else since it was read, or that somebody holds locked: the connection that
-- promotes does not wait. A cursor is that of a schedule, or with `owed_id` that of a span of missed ticks.
WITH moment AS MATERIALIZED (SELECT coalesce(%(now)s::timestamptz, clock_timestamp()) AS now),
-- Without an epoch it is a change, which must not hold up the leader's beat until it ends: the row is left alone.
term AS MATERIALIZED (
    SELECT 1 FROM {schema}.leader AS l WHERE l.epoch = %(epoch)s::bigint FOR SHARE
),
office AS MATERIALIZED (
    SELECT %(epoch)s::bigint IS NULL OR EXISTS (SELECT 1 FROM term) AS held
),
reach AS MATERIALIZED (
    SELECT * FROM jsonb_to_recordset(%(cursors)s::jsonb) AS c (
        schedule_id bigint, version bigint, planned_from timestamptz, planned_to timestamptz, next_tick timestamptz,
        plan_at timestamptz, owed_after timestamptz, owed_upto timestamptz, noticed_at timestamptz, owed_id bigint,
        unique_task boolean)
),
free AS MATERIALIZED (
    SELECT s.id FROM {schema}.schedule AS s JOIN reach AS r ON r.schedule_id = s.id AND r.owed_id IS NULL
    WHERE s.version = r.version AND s.planned_to = r.planned_from
      AND (s.state = 'active' OR %(epoch)s::bigint IS NULL)
    ORDER BY s.id FOR UPDATE OF s SKIP LOCKED
),
moved AS (
    UPDATE {schema}.schedule AS s
    SET planned_to = r.planned_to, next_tick = r.next_tick, plan_at = r.plan_at,
        unique_task = coalesce(r.unique_task, false), fault = NULL,
        watermark = greatest(s.watermark, least(r.planned_to, m.now, r.owed_after, (
            SELECT min(o.after) FROM {schema}.owed AS o WHERE o.schedule_id = s.id)))
    FROM free AS f, reach AS r, moment AS m
    WHERE s.id = f.id AND r.schedule_id = f.id AND (SELECT held FROM office)
    RETURNING s.id, s.definition
),
noticed AS (
    INSERT INTO {schema}.owed (schedule_id, after, upto, noticed_at, definition)
    SELECT r.schedule_id, r.owed_after, r.owed_upto, r.noticed_at, d.definition
    FROM moved AS d JOIN reach AS r ON r.schedule_id = d.id
    WHERE r.owed_after IS NOT NULL
),
free_span AS MATERIALIZED (
    SELECT o.id, o.schedule_id, o.definition, r.planned_to, r.planned_to >= o.upto AS done
    FROM {schema}.owed AS o
    JOIN reach AS r ON r.owed_id = o.id
    JOIN {schema}.schedule AS s ON s.id = o.schedule_id AND s.version = r.version
    WHERE o.after = r.planned_from AND (SELECT held FROM office)
    ORDER BY o.id FOR UPDATE OF o, s SKIP LOCKED
),
shortened AS (
    UPDATE {schema}.owed AS o SET after = f.planned_to FROM free_span AS f WHERE o.id = f.id AND NOT f.done
),
paid AS (
    DELETE FROM {schema}.owed AS o USING free_span AS f WHERE o.id = f.id AND f.done
),
entry AS MATERIALIZED (
    SELECT e.*, CASE WHEN e.outcome = 'inserted' THEN nextval('{schema}.job_id') END AS job_id, d.definition
    FROM jsonb_to_recordset(%(entries)s::jsonb) AS e (
        schedule_id bigint, owed_id bigint, tick timestamptz, through timestamptz, count bigint, outcome text, reason text,
        origin text, nominal timestamptz, run_at timestamptz, expires_at timestamptz, args jsonb, held boolean,
        replaces boolean, keyed boolean)
    JOIN (SELECT id, NULL::bigint AS owed_id, definition FROM moved
          UNION ALL SELECT schedule_id, id, definition FROM free_span) AS d
      ON d.id = e.schedule_id AND d.owed_id IS NOT DISTINCT FROM e.owed_id
),
ledger AS (
    INSERT INTO {schema}.tick (schedule_id, tick, through, count, nominal, outcome, reason, origin, job_id, inserted_at)
    SELECT e.schedule_id, e.tick, e.through, e.count, coalesce(e.nominal, e.tick), e.outcome, e.reason, e.origin, e.job_id,
           m.now
    FROM entry AS e CROSS JOIN moment AS m
    ON CONFLICT ON CONSTRAINT one_row_per_tick DO NOTHING
    RETURNING job_id
),
paused AS MATERIALIZED (SELECT {schema}.paused_gates((SELECT now FROM moment)) AS gates),
merged AS (
    SELECT e.*, coalesce((e.definition ->> 'priority')::smallint, t.priority, 0) AS priority,
           coalesce((e.definition ->> 'max_attempts')::smallint, t.max_attempts, 1) AS max_attempts,
           coalesce(e.definition ->> 'queue', t.queue, 'default') AS queue,
           e.definition ->> 'task' AS task,
           coalesce(
               CASE WHEN e.definition ? 'labels'
                    THEN ARRAY(SELECT jsonb_array_elements_text(e.definition -> 'labels')) END,
               t.labels, ARRAY[]::text[]) AS labels,
           t.options, t.arg_defaults
    FROM entry AS e
    LEFT JOIN {schema}.task AS t ON t.name = e.definition ->> 'task'
    -- IS TRUE makes it a look into a hash: how many rows there are is not known, and a join would be a nested loop.
    WHERE (e.job_id IN (SELECT l.job_id FROM ledger AS l)) IS TRUE
),
-- Unique keys are for those ticks that are decided on at their time.
carried AS MATERIALIZED (
    SELECT g.*, x.unique_key, x.unique_until, x.key_expires_at, x.on_conflict, x.replaces AS renewed, x.lane, x.gates, x.units, x.fault
    FROM merged AS g CROSS JOIN moment AS m CROSS JOIN paused AS p
    LEFT JOIN LATERAL (
        -- OFFSET 0 keeps the condition before the function: for the most part there is nothing to carry.
        SELECT c.* FROM (
            SELECT WHERE g.keyed OR g.definition ?| ARRAY['throttle', 'fuse'] OR g.options ?| ARRAY['throttle', 'fuse']
                         OR p.gates IS NOT NULL
            OFFSET 0
        ) AS n CROSS JOIN LATERAL {schema}.entrance(
            g.task, g.args, g.queue, g.labels, NULL,
            CASE WHEN g.keyed THEN g.definition ELSE g.definition - 'unique' END,
            {schema}.own_terms(CASE WHEN g.keyed THEN g.options ELSE g.options - 'unique' END, g.arg_defaults),
            p.gates, m.now) AS c
    ) AS x ON true
),
inserted AS (
    INSERT INTO {schema}.job (
        id, run_at, created_at, expires_at, schedule_id, tick, state, priority, max_attempts, held, watched, queue, task,
        args, labels, unique_key, unique_until, lane, gates, units, run_options)
    SELECT c.job_id, c.run_at, m.now, c.expires_at, c.schedule_id, c.tick, 'scheduled', c.priority, c.max_attempts,
           coalesce(c.held, false),
           coalesce(c.definition ->> 'overlap', 'allow') <> 'allow',
           c.queue, c.task, CASE WHEN c.fault IS NULL THEN c.args ELSE {schema}.refuse(c.fault) END,
           c.labels, c.unique_key, c.unique_until, c.lane, c.gates, c.units,
           CASE WHEN c.definition ?| ARRAY['timeout', 'history'] THEN {schema}.run_options(NULL, c.definition) END
    FROM carried AS c CROSS JOIN moment AS m
    RETURNING id, run_at
),
-- In the place of all that is unfinished of the same schedule: a run that goes on has lost its lease.
replacing AS MATERIALIZED (
    SELECT e.schedule_id, e.tick FROM entry AS e WHERE e.replaces AND (e.job_id IN (SELECT i.id FROM inserted AS i)) IS TRUE
      -- Not where it is about to meet a unique key that stays: nothing would run then.
      AND NOT EXISTS (
          SELECT FROM carried AS c JOIN {schema}.unique_key AS u ON u.task = c.task AND u.key = c.unique_key
          WHERE c.job_id = e.job_id AND coalesce(u.expires_at > (SELECT now FROM moment), true)
            AND NOT EXISTS (
                SELECT FROM {schema}.job AS h
                WHERE h.id = u.job_id AND h.watched AND h.schedule_id = e.schedule_id AND h.unique_until <> 'time'))
),
replaced AS (
    DELETE FROM {schema}.job AS j
    WHERE j.watched AND j.schedule_id = ANY(ARRAY(SELECT schedule_id FROM replacing)) RETURNING j.*
),
noted AS (
    INSERT INTO {schema}.after_note (job_id, state)
    SELECT e.id, 'cancelled' FROM replaced AS e
    WHERE EXISTS (SELECT FROM {schema}.job_after AS a WHERE a.after_id = e.id)
    RETURNING job_id
),
freed AS (
    DELETE FROM {schema}.unique_key AS u USING replaced AS r
    WHERE r.unique_until <> 'time' AND u.task = r.task AND u.key = r.unique_key AND u.job_id = r.id
),
history AS (
    INSERT INTO {schema}.job_history (
        id, state, queue, task, args, priority, labels, run_at, attempt, max_attempts, unique_key, unique_until, gates,
        units, run_options, checkpoint, parent_id, schedule_id, tick, created_at, started_at, finished_at, error, worker_id)
    SELECT r.id, 'cancelled', r.queue, r.task, r.args, r.priority, r.labels, r.run_at, r.attempt, r.max_attempts,
           r.unique_key, r.unique_until, r.gates, r.units, r.run_options, r.checkpoint, r.parent_id, r.schedule_id, r.tick,
           r.created_at, r.started_at, m.now,
           'replaced by the job of the tick ' || to_char(b.tick AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
           r.worker_id
    FROM replaced AS r JOIN replacing AS b USING (schedule_id) CROSS JOIN moment AS m
),
attempts AS (
    INSERT INTO {schema}.attempt (job_id, attempt, outcome, worker_id, started_at, finished_at, error)
    SELECT r.id, r.attempt, 'cancelled', r.worker_id, r.started_at, m.now, 'replaced by the job of a later tick'
    FROM replaced AS r CROSS JOIN moment AS m WHERE r.state = 'running'
),
told AS MATERIALIZED (
    SELECT pg_notify({channel}, 'cancelled ' || r.worker_id || ' ' || r.id) FROM replaced AS r WHERE r.state = 'running'
    UNION ALL SELECT pg_notify({channel}, 'after') WHERE EXISTS (SELECT FROM noted)
)
SELECT (SELECT held FROM office) AS in_office,
       ARRAY(SELECT id FROM moved) AS moved,
       (SELECT count(*) FROM free_span) AS spans,
       (SELECT count(*) FROM inserted) AS inserted,
       (SELECT min(run_at) FROM inserted) AS first_run_at,
       (SELECT jsonb_agg(jsonb_build_object('id', c.job_id, 'expires_at', c.key_expires_at, 'on_conflict', c.on_conflict,
                                            'replaces', c.renewed))
        FROM carried AS c WHERE c.unique_key IS NOT NULL) AS keyed
FROM (SELECT count(*) FROM told) AS t

-- name: set_aside
-- Why the clock does not plan a schedule, for those who look; as long as it is at this version.
UPDATE {schema}.schedule AS s SET fault = %(fault)s WHERE s.id = %(id)s AND s.version = %(version)s

-- name: set_span_aside
-- The same for missed ticks.
UPDATE {schema}.owed AS o SET fault = %(fault)s WHERE o.id = %(id)s AND %(version)s::bigint IS NOT NULL

-- name: admit_ticks
-- Of ticks whose jobs were just inserted: those that meet a unique key are left out; gives their number.
SELECT {schema}.admit_ticks(%(keyed)s::jsonb, %(now)s::timestamptz)

-- name: allow_time
-- An application may wait for others, and be long: within its transaction the limits of a clock's connection are wider.
SELECT set_config('lock_timeout', '20s', true), set_config('statement_timeout', '60s', true),
       set_config('idle_in_transaction_session_timeout', '60s', true)

-- name: lock_set
-- One application of a set at a time.
SELECT pg_advisory_xact_lock(hashtext('pqclock apply'), hashtext({channel} || ' ' || %(set_name)s::text))

-- name: set_versions
-- Which contents of a set were applied; the greatest serial rules.
SELECT v.content_hash, v.serial FROM {schema}.set_version AS v WHERE v.set_name = %(set_name)s ORDER BY v.serial

-- name: record_version
-- Note that this content rules now; an older content that is applied again gets a new serial.
INSERT INTO {schema}.set_version (set_name, content_hash, applied_at)
SELECT %(set_name)s, %(content_hash)s, coalesce(%(now)s::timestamptz, clock_timestamp())
ON CONFLICT ON CONSTRAINT one_serial_per_content DO UPDATE SET serial = DEFAULT, applied_at = excluded.applied_at

-- name: lock_known
-- The rows of a set, and those of the same keys or former keys elsewhere, locked in one order. A pause without an end
-- comes as the last day.
SELECT s.id, s.key, s.version, s.set_name, s.source, s.state, s.definition, s.planned_to,
       CASE WHEN s.paused_until < '9999-12-31' THEN s.paused_until WHEN s.paused_until IS NOT NULL THEN '9999-12-31 00:00:00Z' END AS paused_until, s.note, s.created_at
FROM {schema}.schedule AS s
WHERE s.set_name = %(set_name)s OR s.key = ANY(%(keys)s::text[])
ORDER BY s.id FOR UPDATE

-- name: now
SELECT coalesce(%(now)s::timestamptz, clock_timestamp())

-- name: add
COPY {schema}.schedule (
    key, set_name, source, state, definition, planned_to, watermark, next_tick, plan_at, created_at, updated_at) FROM STDIN

-- name: move
-- The same definition at another place of the files.
UPDATE {schema}.schedule AS s SET source = c.source
FROM jsonb_to_recordset(%(rows)s::jsonb) AS c (id bigint, source text)
WHERE s.id = c.id

-- name: wake_clock
SELECT pg_notify({channel}, 'clock')
