-- name: due
-- The schedules with a tick to plan before an instant, the earliest first; without those known to be broken.
SELECT s.id, s.key, s.version, s.definition, s.planned_to, s.created_at
FROM {schema}.schedule AS s
WHERE s.state = 'active' AND s.next_tick <= %(before)s
  AND (s.id, s.version) NOT IN (SELECT * FROM unnest(%(broken_ids)s::bigint[], %(broken_versions)s::bigint[]))
ORDER BY s.next_tick LIMIT %(limit)s

-- name: earliest
-- The first tick that is not planned yet, of all schedules.
SELECT s.next_tick FROM {schema}.schedule AS s
WHERE s.state = 'active' AND s.next_tick IS NOT NULL
  AND (s.id, s.version) NOT IN (SELECT * FROM unnest(%(broken_ids)s::bigint[], %(broken_versions)s::bigint[]))
ORDER BY s.next_tick LIMIT 1

-- name: insert_ticks
-- Ledger rows, their jobs and the schedules' cursors, together; nothing for a term that is over, nor for a schedule
-- that was changed or planned by somebody else since it was read, or that somebody holds locked: the connection that
-- promotes does not wait.
WITH moment AS MATERIALIZED (SELECT coalesce(%(now)s::timestamptz, clock_timestamp()) AS now),
term AS MATERIALIZED (
    SELECT 1 FROM {schema}.leader AS l WHERE %(epoch)s::bigint IS NULL OR l.epoch = %(epoch)s::bigint FOR SHARE
),
reach AS MATERIALIZED (
    SELECT * FROM jsonb_to_recordset(%(cursors)s::jsonb) AS c (
        schedule_id bigint, version bigint, planned_from timestamptz, planned_to timestamptz, next_tick timestamptz)
),
free AS MATERIALIZED (
    SELECT s.id FROM {schema}.schedule AS s JOIN reach AS r ON r.schedule_id = s.id
    WHERE s.version = r.version AND s.planned_to = r.planned_from
      AND (s.state = 'active' OR %(epoch)s::bigint IS NULL)
    ORDER BY s.id FOR UPDATE OF s SKIP LOCKED
),
moved AS (
    UPDATE {schema}.schedule AS s
    SET planned_to = r.planned_to, next_tick = r.next_tick,
        watermark = greatest(s.watermark, least(r.planned_to, m.now))
    FROM free AS f, reach AS r, moment AS m, term
    WHERE s.id = f.id AND r.schedule_id = f.id
    RETURNING s.id, s.definition
),
entry AS MATERIALIZED (
    SELECT e.*, CASE WHEN e.outcome = 'inserted' THEN nextval('{schema}.job_id') END AS job_id, d.definition
    FROM jsonb_to_recordset(%(entries)s::jsonb) AS e (
        schedule_id bigint, tick timestamptz, through timestamptz, count bigint, outcome text, reason text, origin text,
        nominal timestamptz, run_at timestamptz, expires_at timestamptz, args jsonb)
    JOIN moved AS d ON d.id = e.schedule_id
),
ledger AS (
    INSERT INTO {schema}.tick (schedule_id, tick, through, count, nominal, outcome, reason, origin, job_id, inserted_at)
    SELECT e.schedule_id, e.tick, e.through, e.count, coalesce(e.nominal, e.tick), e.outcome, e.reason, e.origin, e.job_id,
           m.now
    FROM entry AS e CROSS JOIN moment AS m
    ON CONFLICT ON CONSTRAINT one_row_per_tick DO NOTHING
    RETURNING schedule_id, tick, outcome
),
inserted AS (
    INSERT INTO {schema}.job (
        id, run_at, created_at, expires_at, schedule_id, tick, state, priority, max_attempts, queue, task, args, labels)
    SELECT e.job_id, e.run_at, m.now, e.expires_at, e.schedule_id, e.tick, 'scheduled',
           coalesce((e.definition ->> 'priority')::smallint, t.priority, 0),
           coalesce((e.definition ->> 'max_attempts')::smallint, t.max_attempts, 1),
           coalesce(e.definition ->> 'queue', t.queue, 'default'),
           e.definition ->> 'task', e.args,
           coalesce(
               CASE WHEN e.definition ? 'labels'
                    THEN ARRAY(SELECT jsonb_array_elements_text(e.definition -> 'labels')) END,
               t.labels, ARRAY[]::text[])
    FROM ledger AS l
    JOIN entry AS e ON e.schedule_id = l.schedule_id AND e.tick = l.tick AND l.outcome = 'inserted'
    CROSS JOIN moment AS m
    LEFT JOIN {schema}.task AS t ON t.name = e.definition ->> 'task'
    RETURNING run_at
)
SELECT (SELECT count(*) FROM term) = 1 AS in_office,
       (SELECT count(*) FROM moved) AS schedules,
       (SELECT count(*) FROM inserted) AS inserted,
       (SELECT min(run_at) FROM inserted) AS first_run_at

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
-- The rows of a set, and those of the same keys elsewhere, locked in one order; with the database's time.
SELECT s.id, s.key, s.version, s.set_name, s.source, s.state, s.definition, s.planned_to, s.next_tick, s.created_at
FROM {schema}.schedule AS s
WHERE s.set_name = %(set_name)s OR s.key = ANY(%(keys)s::text[])
ORDER BY s.id FOR UPDATE

-- name: now
SELECT coalesce(%(now)s::timestamptz, clock_timestamp())

-- name: add
INSERT INTO {schema}.schedule (key, set_name, source, state, definition, planned_to, watermark, next_tick, created_at, updated_at)
SELECT a.key, %(set_name)s, a.source, a.state, a.definition, a.planned_to, %(now)s, a.planned_to, %(now)s, %(now)s
FROM jsonb_to_recordset(%(rows)s::jsonb) AS a (key text, source text, state text, definition jsonb, planned_to timestamptz)
ORDER BY a.key

-- name: change
-- A new version: beside this, what was inserted ahead is withdrawn, and what has passed is written down.
UPDATE {schema}.schedule AS s
SET set_name = %(set_name)s, source = c.source, state = c.state, definition = c.definition,
    version = s.version + 1, updated_at = %(now)s, planned_to = c.planned_to, next_tick = c.planned_to
FROM jsonb_to_recordset(%(rows)s::jsonb) AS c (
    id bigint, source text, state text, definition jsonb, planned_to timestamptz)
WHERE s.id = c.id

-- name: move
-- The same definition at another place of the files.
UPDATE {schema}.schedule AS s SET source = c.source
FROM jsonb_to_recordset(%(rows)s::jsonb) AS c (id bigint, source text)
WHERE s.id = c.id

-- name: withdraw
-- Take back the ticks after now that were inserted ahead and are not due yet, and the rows of those left out ahead: each
-- would keep the place of a tick of the next version.
WITH ahead AS MATERIALIZED (
    SELECT j.id, t.schedule_id, t.tick
    FROM {schema}.tick AS t JOIN {schema}.job AS j ON j.id = t.job_id
    WHERE t.schedule_id = ANY(%(ids)s::bigint[]) AND t.tick > %(now)s AND j.state = 'scheduled' AND j.attempt = 0
    FOR UPDATE OF j SKIP LOCKED
),
gone AS (
    DELETE FROM {schema}.job AS j USING ahead AS a WHERE j.id = a.id RETURNING a.schedule_id, a.tick
),
left_out AS (
    DELETE FROM {schema}.tick AS t
    WHERE t.schedule_id = ANY(%(ids)s::bigint[]) AND t.tick > %(now)s AND t.outcome <> 'inserted'
)
DELETE FROM {schema}.tick AS t USING gone AS g WHERE t.schedule_id = g.schedule_id AND t.tick = g.tick

-- name: wake_clock
SELECT pg_notify({channel}, 'clock')
