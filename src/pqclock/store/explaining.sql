-- name: job
SELECT j.id, j.state::text AS state, j.queue, j.task, j.labels, least(j.run_at, timestamptz '9999-12-31 00:00:00Z') AS run_at,
       j.held, j.review,
       CASE WHEN j.held THEN (SELECT min(p.id) FROM {schema}.job AS p
                              WHERE p.watched AND p.schedule_id = j.schedule_id AND (p.id < j.id OR NOT p.held)) END AS held_by,
       (SELECT s.key FROM {schema}.schedule AS s WHERE s.id = j.schedule_id) AS schedule_key,
       j.expires_at, j.gates, j.units, j.worker_id, coalesce(j.started_at, j.claimed_at) AS running_since,
       EXISTS (SELECT FROM {schema}.task AS t WHERE t.name = j.task) AS published,
       CASE WHEN q.name IS NOT NULL THEN least(q.paused_until, timestamptz '9999-12-31 00:00:00Z') END AS queue_paused_until,
       q.note AS queue_note, a.ahead, j.error, j.lane::text AS lane,
       j.cancel_requested_at, j.cancel_reason
FROM {schema}.job AS j
LEFT JOIN {schema}.queue AS q ON q.name = j.queue AND q.paused_until > clock_timestamp()
-- A bounded walk along the index of the lane, or of the queue, to the place of the job.
CROSS JOIN LATERAL (
    SELECT CASE
        WHEN j.state <> 'ready' THEN 0
        WHEN j.lane IS NOT NULL THEN (SELECT count(*) FROM (
            SELECT FROM {schema}.job AS b
            WHERE b.lane = j.lane AND b.state = 'ready' AND b.lane IS NOT NULL
              AND (b.priority, b.ready_seq) < (j.priority, j.ready_seq) LIMIT %(most)s + 1) AS c)
        ELSE (SELECT count(*) FROM (
            SELECT FROM {schema}.job AS b
            WHERE b.queue = j.queue AND b.state = 'ready' AND b.lane IS NULL
              AND (b.priority, b.ready_seq) < (j.priority, j.ready_seq) LIMIT %(most)s + 1) AS c)
    END AS ahead
) AS a
WHERE j.id = %(id)s

-- name: gates
-- How gates stand, also those that nobody has met; and when their rate allows so many units.
SELECT n.name AS gate, n.kind, n.rule, n.key, r.state AS declared,
       CASE WHEN greatest(g.closed_until, g.reserved_until) IS NOT NULL
            THEN least(greatest(g.closed_until, g.reserved_until), timestamptz '9999-12-31 00:00:00Z') END AS closed_until,
       CASE WHEN g.blown_until IS NOT NULL THEN least(g.blown_until, timestamptz '9999-12-31 00:00:00Z') END AS blown_until,
       (SELECT count(*) FROM {schema}.slot AS s WHERE s.gate_id = g.id) AS running,
       CASE WHEN r.kind = 'throttle' THEN r.concurrency
            WHEN g.blown_until <= clock_timestamp() THEN r.probes END AS places,
       ARRAY(SELECT s.job_id FROM {schema}.slot AS s WHERE s.gate_id = g.id ORDER BY s.job_id LIMIT 10) AS running_jobs,
       r.rate, r.per, r.burst, r.interval_ns / 1000 * interval '1 microsecond' AS interval,
       CASE WHEN {schema}.from_ns(d.due_ns) > clock_timestamp() THEN {schema}.from_ns(d.due_ns) END AS due_at,
       CASE WHEN r.rate IS NOT NULL THEN {schema}.from_ns(coalesce(g.tat_ns, 0)) END AS tat,
       -- A bounded walk over the jobs of the other lanes that wait for it.
       (SELECT count(*) FROM (
           SELECT FROM {schema}.lane AS l CROSS JOIN LATERAL (
               SELECT FROM {schema}.job AS j WHERE j.lane = l.lane AND j.state = 'ready' AND j.lane IS NOT NULL
               LIMIT %(most)s + 1) AS j
           WHERE l.gate_id = g.id AND l.lane IS DISTINCT FROM %(lane)s::uuid LIMIT %(most)s + 1) AS c) AS others,
       f.failed_at, CASE WHEN starts_with(f.error, f.error_type) THEN w.line ELSE concat_ws(': ', f.error_type, w.line) END AS failure, g.note
FROM (SELECT u.name, split_part(u.name, ':', 1) AS kind, split_part(u.name, ':', 2) AS rule,
             substr(u.name, length(split_part(u.name, ':', 1)) + length(split_part(u.name, ':', 2)) + 3) AS key
      FROM unnest(%(names)s::text[]) AS u (name)) AS n
LEFT JOIN {schema}.gate AS g ON g.name = n.name
LEFT JOIN {schema}.rule AS r ON r.kind = n.kind AND r.name = n.rule
LEFT JOIN LATERAL (
    SELECT coalesce(g.tat_ns, 0) + (%(units)s - r.burst) * r.interval_ns AS due_ns) AS d ON true
LEFT JOIN LATERAL (
    SELECT f.* FROM {schema}.fuse_failure AS f WHERE f.gate_id = g.id ORDER BY f.failed_at DESC LIMIT 1) AS f ON true
LEFT JOIN LATERAL (SELECT split_part(ltrim(f.error, E' \t\r\n'), E'\n', 1) AS line) AS w ON true
ORDER BY n.name

-- name: pauses
SELECT p.kind, p.name, p.paused_at,
       least(coalesce(p.paused_until, 'infinity'), timestamptz '9999-12-31 00:00:00Z') AS paused_until, p.note
FROM {schema}.pause AS p
WHERE coalesce(p.paused_until > clock_timestamp(), true)
  AND CASE p.kind WHEN 'task' THEN p.name = %(task)s ELSE p.name = ANY(%(labels)s::text[]) END
ORDER BY p.kind DESC, p.name

-- name: workers
-- What living workers work.
SELECT DISTINCT p.doing FROM {schema}.process AS p
WHERE p.kind = 'worker' AND p.doing IS NOT NULL AND p.beat_at > clock_timestamp() - %(lease_length)s::interval
