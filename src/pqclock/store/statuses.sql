-- name: accept
-- Texts alone, since the caller's connection may be of any library.
INSERT INTO {schema}.status_address (digest, job_id, expires_at)
VALUES (decode(%(digest)s::text, 'hex'), %(job_id)s::text::bigint, clock_timestamp() + %(keep)s::text::interval)
RETURNING job_id

-- name: find
-- Where the job of an address stands; nothing for an address that nobody gave out, or whose job is gone.
WITH moment AS MATERIALIZED (SELECT clock_timestamp() AS now),
address AS MATERIALIZED (SELECT a.job_id FROM {schema}.status_address AS a WHERE a.digest = decode(%(digest)s::text, 'hex'))
SELECT j.state::text AS state, j.attempt, j.max_attempts, j.created_at, coalesce(j.started_at, j.claimed_at) AS started_at,
       NULL::timestamptz AS finished_at, NULL::jsonb AS result, NULL::text AS error,
       j.checkpoint - 'cursor' AS progress,
       extract(epoch FROM m.now - coalesce(j.started_at, j.claimed_at))::float8 AS runs_for,
       extract(epoch FROM j.run_at - m.now)::float8 AS due_in
FROM address AS a JOIN {schema}.job AS j ON j.id = a.job_id CROSS JOIN moment AS m
UNION ALL
SELECT h.state, h.attempt, h.max_attempts, h.created_at, h.started_at, h.finished_at, h.result, h.error, NULL, NULL, NULL
FROM address AS a JOIN {schema}.job_history AS h ON h.id = a.job_id
ORDER BY finished_at DESC NULLS FIRST LIMIT 1

-- name: forget
-- Addresses whose time is over, of jobs that have ended; a bounded slice.
WITH over AS MATERIALIZED (
    SELECT a.digest FROM {schema}.status_address AS a
    WHERE a.expires_at <= coalesce(%(now)s::timestamptz, clock_timestamp())
      AND NOT EXISTS (SELECT FROM {schema}.job AS j WHERE j.id = a.job_id)
    ORDER BY a.expires_at LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
)
DELETE FROM {schema}.status_address AS a USING over AS o WHERE a.digest = o.digest
