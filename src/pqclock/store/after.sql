-- name: resolve
-- Do what follows from the end of jobs that others wait for.
SELECT r.released, r.cancelled, r.more FROM {schema}.resolve_after(%(limit)s, %(now)s::timestamptz) AS r

-- name: walk
SELECT {schema}.walk_after(%(beyond)s, %(limit)s)

-- name: next_id
SELECT nextval('{schema}.job_id')

-- name: waiting
-- For what jobs wait: how many others, and the first of them with where they stand.
SELECT a.job_id, a.many, a.after_id, {schema}.state_of(a.after_id) AS state
FROM (
    SELECT w.job_id, w.after_id, count(*) OVER (PARTITION BY w.job_id) AS many,
           row_number() OVER (PARTITION BY w.job_id ORDER BY w.after_id) AS place
    FROM {schema}.job_after AS w WHERE w.job_id = ANY(%(ids)s::bigint[])
) AS a
WHERE a.place <= %(most)s ORDER BY a.job_id, a.after_id

-- name: parents
-- Whose parts these jobs are.
SELECT j.id, j.parent_id FROM {schema}.job AS j WHERE j.id = ANY(%(ids)s::bigint[]) AND j.parent_id IS NOT NULL
UNION ALL
SELECT h.id, h.parent_id FROM {schema}.job_history AS h WHERE h.id = ANY(%(ids)s::bigint[]) AND h.parent_id IS NOT NULL

-- name: progress
-- How far the parts of something have come; no row where nobody knows it, and no job says that it is a part of it.
-- Of a fan-out the number of its parts was noted: those that are neither there nor in the history have ended, unkept.
SELECT coalesce(f.total, l.live + p.succeeded + p.ended) - l.live - p.ended AS done, p.ended AS failed,
       coalesce(f.total, l.live + p.succeeded + p.ended) AS total
FROM (SELECT count(*) AS live FROM {schema}.job AS j WHERE j.parent_id = %(id)s) AS l
CROSS JOIN (
    SELECT count(*) FILTER (WHERE h.state = 'succeeded') AS succeeded, count(*) FILTER (WHERE h.state <> 'succeeded') AS ended
    FROM {schema}.job_history AS h
    WHERE h.parent_id = %(id)s
      AND h.finished_at >= coalesce(
          (SELECT f.created_at FROM {schema}.fan_out AS f WHERE f.id = %(id)s), timestamptz '-infinity') - interval '1 day'
) AS p
LEFT JOIN {schema}.fan_out AS f ON f.id = %(id)s
WHERE f.id IS NOT NULL OR l.live + p.succeeded + p.ended > 0

-- name: unfinished
-- Whether parts of it are not ended; no row where nobody knows it.
SELECT EXISTS (SELECT FROM {schema}.job AS j WHERE j.parent_id = %(id)s)
WHERE EXISTS (SELECT FROM {schema}.fan_out AS f WHERE f.id = %(id)s)

-- name: fan_out
SELECT f.id, f.task, f.total, f.created_at FROM {schema}.fan_out AS f WHERE f.id = %(id)s

-- name: forget
-- Fan-outs of long ago whose parts have ended, a bounded slice.
DELETE FROM {schema}.fan_out AS f WHERE f.id = ANY(ARRAY(
    SELECT o.id FROM {schema}.fan_out AS o
    WHERE o.created_at < coalesce(%(now)s::timestamptz, clock_timestamp()) - %(keep)s::interval
      AND NOT EXISTS (SELECT FROM {schema}.job AS j WHERE j.parent_id = o.id)
    ORDER BY o.created_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED
))
