-- name: carried
-- Runs of jobs that passed gates of a rule, in the order of their starts, once for each of its gates.
SELECT substr(g.name, length(%(gate)s) + 2) AS key, coalesce(a.started_at, a.finished_at) AS started_at, a.finished_at,
       a.outcome, a.error_type, NULL::jsonb AS args
FROM (
    SELECT h.id, h.gates FROM {schema}.job_history AS h
    WHERE h.gates IS NOT NULL AND h.finished_at >= %(since)s AND (%(tasks)s::text[] IS NULL OR h.task = ANY(%(tasks)s))
    UNION ALL
    SELECT j.id, j.gates FROM {schema}.job AS j
    WHERE j.gates IS NOT NULL AND (%(tasks)s::text[] IS NULL OR j.task = ANY(%(tasks)s))
) AS j
CROSS JOIN LATERAL unnest(j.gates) AS g (name)
JOIN {schema}.attempt AS a ON a.job_id = j.id
WHERE (g.name = %(gate)s OR starts_with(g.name, %(gate)s || ':'))
  AND a.finished_at >= %(since)s AND coalesce(a.started_at, a.finished_at) >= %(since)s
  AND coalesce(a.started_at, a.finished_at) < %(until)s
ORDER BY coalesce(a.started_at, a.finished_at), a.job_id

-- name: runs
-- Runs of tasks, in the order of their starts, whatever gates they passed; with the arguments for the key.
SELECT ''::text AS key, coalesce(a.started_at, a.finished_at) AS started_at, a.finished_at, a.outcome, a.error_type, j.args
FROM (
    SELECT h.id, h.args FROM {schema}.job_history AS h WHERE h.task = ANY(%(tasks)s) AND h.finished_at >= %(since)s
    UNION ALL
    SELECT j.id, j.args FROM {schema}.job AS j WHERE j.task = ANY(%(tasks)s)
) AS j
JOIN {schema}.attempt AS a ON a.job_id = j.id
WHERE a.finished_at >= %(since)s AND coalesce(a.started_at, a.finished_at) >= %(since)s
  AND coalesce(a.started_at, a.finished_at) < %(until)s
ORDER BY coalesce(a.started_at, a.finished_at), a.job_id
