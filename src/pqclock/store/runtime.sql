-- name: lock
-- Schedules by key, also removed ones, locked in one order. A pause without an end comes as the last day.
SELECT s.id, s.key, s.version, s.set_name, s.source, s.state, s.definition, s.planned_to,
       CASE WHEN s.paused_until < '9999-12-31' THEN s.paused_until WHEN s.paused_until IS NOT NULL THEN '9999-12-31 00:00:00Z' END AS paused_until, s.note, s.created_at
FROM {schema}.schedule AS s WHERE s.key = ANY(%(keys)s::text[]) ORDER BY s.id FOR UPDATE

-- name: find
SELECT s.id, s.definition FROM {schema}.schedule AS s WHERE s.key = %(key)s AND s.state <> 'removed'

-- name: keys_near
-- Keys before and after one in their order, to suggest what was meant.
(SELECT s.key FROM {schema}.schedule AS s WHERE s.key >= %(key)s AND s.state <> 'removed' ORDER BY s.key LIMIT %(limit)s)
UNION ALL
(SELECT s.key FROM {schema}.schedule AS s WHERE s.key < %(key)s AND s.state <> 'removed' ORDER BY s.key DESC LIMIT %(limit)s)

-- name: withdraw
-- Take back the ticks after now that were inserted ahead and are not due yet, and the rows of those left out ahead.
-- It waits for whoever holds a job: what stays was promoted, and lies before all that is taken back.
WITH ahead AS MATERIALIZED (
    SELECT j.id, j.schedule_id, j.tick
    FROM {schema}.tick AS t JOIN {schema}.job AS j ON j.id = t.job_id
    WHERE t.schedule_id = ANY(%(ids)s::bigint[]) AND t.tick > %(now)s AND j.state = 'scheduled' AND j.attempt = 0
    ORDER BY j.id FOR UPDATE OF j
),
gone AS (
    DELETE FROM {schema}.job AS j USING ahead AS a WHERE j.id = a.id
    RETURNING j.id, j.task, j.unique_key, a.schedule_id, a.tick
),
freed AS (
    DELETE FROM {schema}.unique_key AS u USING gone AS g WHERE u.task = g.task AND u.key = g.unique_key AND u.job_id = g.id
),
left_out AS (
    DELETE FROM {schema}.tick AS t
    WHERE t.schedule_id = ANY(%(ids)s::bigint[]) AND t.tick > %(now)s AND t.outcome <> 'inserted'
)
DELETE FROM {schema}.tick AS t USING gone AS g WHERE t.schedule_id = g.schedule_id AND t.tick = g.tick

-- name: kept
-- The last tick after now that could not be taken back any more, of each schedule that has one.
SELECT t.schedule_id, max(t.tick) FROM {schema}.tick AS t
WHERE t.schedule_id = ANY(%(ids)s::bigint[]) AND t.tick > %(now)s GROUP BY t.schedule_id

-- name: rewrite
-- A new version of each schedule.
UPDATE {schema}.schedule AS s
SET key = c.key, set_name = c.set_name, source = c.source, state = c.state, definition = c.definition,
    planned_to = c.planned_to, next_tick = c.next_tick, plan_at = c.plan_at, paused_until = c.paused_until, note = c.note,
    fault = NULL, version = s.version + 1, updated_at = %(now)s
FROM jsonb_to_recordset(%(rows)s::jsonb) AS c (
    id bigint, key text, set_name text, source text, state text, definition jsonb, planned_to timestamptz,
    next_tick timestamptz, plan_at timestamptz, paused_until timestamptz, note text)
WHERE s.id = c.id

-- name: pauses
-- Of these schedules, those with a pause that their planning has not passed yet, and its end.
SELECT s.id, least(s.paused_until, timestamptz '9999-12-31 00:00:00Z')
FROM {schema}.schedule AS s WHERE s.id = ANY(%(ids)s::bigint[]) AND s.paused_until > s.planned_to

-- name: adopt
-- Make a job that was just inserted one of a schedule, without a tick.
UPDATE {schema}.job AS j
SET schedule_id = %(schedule_id)s, watched = %(watched)s, expires_at = j.run_at + %(expires_in)s::interval
WHERE j.id = %(id)s

-- name: begin_to_watch
-- Of these schedules, those whose jobs may overlap until now.
SELECT s.id FROM {schema}.schedule AS s
WHERE s.id = ANY(%(ids)s::bigint[]) AND coalesce(s.definition ->> 'overlap', 'allow') = 'allow'

-- name: watch
-- Look at whether the jobs of these schedules are unfinished from now on. No index finds them: it is for a rare change.
UPDATE {schema}.job AS j SET watched = true WHERE j.schedule_id = ANY(%(ids)s::bigint[]) AND NOT j.watched
