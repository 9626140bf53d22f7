-- name: register
INSERT INTO {schema}.process (kind, pid, host, code_version, doing, token, hears, isolates, started_at, beat_at)
SELECT %(kind)s, %(pid)s, %(host)s, %(code_version)s, %(doing)s, %(token)s, %(hears)s, %(isolates)s, m.now, m.now
FROM (SELECT coalesce(%(now)s::timestamptz, clock_timestamp()) AS now) AS m
RETURNING id

-- name: beat
-- Gives the database's time; no row when the process was declared dead and its jobs were given to others.
UPDATE {schema}.process AS p SET beat_at = m.now, skew = %(skew)s
FROM (SELECT coalesce(%(now)s::timestamptz, clock_timestamp()) AS now) AS m
WHERE p.id = %(id)s AND p.beat_at > 'epoch'
RETURNING m.now

-- name: leave
DELETE FROM {schema}.process WHERE id = %(id)s

-- name: bury
-- Declare dead what a supervisor saw die, or has cut off, with the jobs that may have had to do with it; its jobs are rescued at the clock's next look, which this brings
-- about.
WITH buried AS (
    UPDATE {schema}.process SET beat_at = 'epoch', begun = %(begun)s::bigint[]
    WHERE token = %(token)s AND beat_at > 'epoch'
    RETURNING id
)
SELECT pg_notify({channel}, 'rescue'), id FROM buried

-- name: sweep
-- Forget processes that stopped beating long ago and hold no job.
DELETE FROM {schema}.process AS p
WHERE p.beat_at < coalesce(%(now)s::timestamptz, clock_timestamp()) - %(silence)s::interval
  AND NOT EXISTS (SELECT 1 FROM {schema}.job AS j WHERE j.state = 'running' AND j.worker_id = p.id)
RETURNING p.id
