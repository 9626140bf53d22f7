-- name: publish
-- Write what differs, unless newer code has published the task; gives the names written.
INSERT INTO {schema}.task AS t (
    name, queue, priority, max_attempts, labels, arg_defaults, options, code_version, published_at)
SELECT p.name, p.queue, p.priority, p.max_attempts, p.labels, p.arg_defaults, p.options, p.code_version,
       coalesce(%(now)s::timestamptz, clock_timestamp())
FROM jsonb_to_recordset(%(tasks)s::jsonb) AS p (
    name text, queue text, priority smallint, max_attempts smallint, labels text[], arg_defaults jsonb, options jsonb,
    code_version text)
ORDER BY p.name
ON CONFLICT (name) DO UPDATE
SET queue = excluded.queue, priority = excluded.priority, max_attempts = excluded.max_attempts,
    labels = excluded.labels, arg_defaults = excluded.arg_defaults, options = excluded.options,
    code_version = excluded.code_version, published_at = excluded.published_at
WHERE (t.queue, t.priority, t.max_attempts, t.labels, t.arg_defaults, t.options, t.code_version)
      IS DISTINCT FROM
      (excluded.queue, excluded.priority, excluded.max_attempts, excluded.labels, excluded.arg_defaults,
       excluded.options, excluded.code_version)
  AND NOT {schema}.version_key(t.code_version) > {schema}.version_key(excluded.code_version)
RETURNING t.name

-- name: described
SELECT t.name, t.arg_defaults, t.options FROM {schema}.task AS t WHERE t.name = ANY(%(names)s::text[])

-- name: names
SELECT t.name FROM {schema}.task AS t ORDER BY t.name LIMIT 10000

-- name: settle
-- Give the waiting jobs of ticks the defaults of tasks that were published after they were inserted.
WITH settled AS (
    UPDATE {schema}.job AS j
    SET queue = d.queue, priority = d.priority, max_attempts = d.max_attempts, labels = d.labels, gates = d.gates,
        units = d.units, lane = d.lane
    FROM {schema}.tick_defaults AS d
    WHERE d.job_id = j.id AND j.task = ANY(%(names)s::text[]) AND j.state <> 'running' AND j.attempt = 0
      AND (j.queue, j.priority, j.max_attempts, j.labels, j.lane)
          IS DISTINCT FROM (d.queue, d.priority, d.max_attempts, d.labels, d.lane)
    RETURNING j.queue, j.state, j.task, j.priority, j.lane, j.gates, j.units
),
arrived AS (
    INSERT INTO {schema}.arrival (lane, queue, task, gates, units, priority)
    SELECT DISTINCT ON (s.lane) s.lane, s.queue, s.task, s.gates, s.units, s.priority
    FROM settled AS s WHERE s.lane IS NOT NULL AND s.state = 'ready' ORDER BY s.lane, s.priority
),
woken AS MATERIALIZED (
    SELECT pg_notify({channel}, w.wake) FROM (
        SELECT DISTINCT CASE WHEN lane IS NULL THEN 'again ' ELSE 'gated ' END || queue AS wake
        FROM settled WHERE state = 'ready'
    ) AS w
)
SELECT {schema}.judge_from_now_on(%(names)s::text[]) FROM (SELECT count(*) FROM woken) AS w
