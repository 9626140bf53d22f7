-- name: insert
-- Enqueue jobs; those that came in, or were met, come back in input order. One row with a fault or a conflict: nothing
-- was inserted. All it takes are texts, which every driver sends alike: it runs on connections of the callers' as well.
SELECT id, state, inserted, fault, conflict, wake FROM {schema}.insert_jobs(
    %(kinds)s::text::jsonb, %(args)s::text::jsonb, %(which)s::text::integer[], %(code_defaults)s::text::jsonb,
    %(now)s::text::timestamptz, %(quiet)s::text::boolean
)

-- name: promote
-- scheduled -> ready for what is due; wakes the queues; gives the count, when the next one is due, and the time it took.
-- A tick's job was inserted ahead, perhaps before its task was published: here it gets the defaults that hold now.
WITH moment AS MATERIALIZED (SELECT coalesce(%(now)s::timestamptz, clock_timestamp()) AS now),
due AS MATERIALIZED (
    SELECT j.id, j.task, j.created_at FROM {schema}.job AS j
    WHERE j.state = 'scheduled' AND NOT j.held AND j.run_at <= (SELECT now FROM moment)
    ORDER BY j.run_at LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
),
-- What was held until the jobs of its schedule before it have ended.
released AS MATERIALIZED (
    SELECT j.id, j.task, j.created_at FROM {schema}.job AS j
    WHERE %(release)s AND j.held AND NOT j.awaits AND NOT j.review AND j.run_at <= (SELECT now FROM moment)
      AND NOT EXISTS (
          SELECT 1 FROM {schema}.job AS p
          WHERE p.watched AND p.schedule_id = j.schedule_id AND (p.id < j.id OR NOT p.held))
    ORDER BY j.id LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
),
-- An UPDATE takes its rows in any order: their places are drawn before it, so that what was due first is claimed first.
placed AS MATERIALIZED (
    SELECT id, task, created_at, nextval('{schema}.ready_seq') AS place
    FROM (SELECT * FROM due UNION ALL SELECT * FROM released) AS d
),
-- Those whose task was published since, or just before. Each is looked at by itself: joined, all jobs would be.
fresh AS MATERIALIZED (
    SELECT p.id, p.place FROM placed AS p
    JOIN {schema}.task AS t ON t.name = p.task AND t.published_at > p.created_at - interval '1 minute'
),
unsettled AS MATERIALIZED (
    SELECT d.* FROM fresh AS f
    CROSS JOIN LATERAL (SELECT * FROM {schema}.tick_defaults AS d WHERE d.job_id = f.id OFFSET 0) AS d
),
-- As arrays, since the planner takes the limit for the number of rows, and would read the whole table for a single one.
-- What is not written needs no check.
as_inserted AS (
    UPDATE {schema}.job AS j SET state = 'ready', ready_seq = p.place, held = false
    FROM unnest(ARRAY(SELECT id FROM placed WHERE id NOT IN (SELECT u.job_id FROM unsettled AS u)),
                ARRAY(SELECT place FROM placed WHERE id NOT IN (SELECT u.job_id FROM unsettled AS u))) AS p (id, place)
    WHERE j.id = p.id
    RETURNING j.queue, j.task, j.priority, j.lane, j.gates, j.units
),
settled AS (
    UPDATE {schema}.job AS j
    SET state = 'ready', ready_seq = p.place, held = false, queue = d.queue, priority = d.priority,
        max_attempts = d.max_attempts, labels = d.labels, gates = d.gates, units = d.units, lane = d.lane
    FROM unsettled AS d JOIN placed AS p ON p.id = d.job_id
    WHERE j.id = d.job_id AND j.id = ANY(ARRAY(SELECT u.job_id FROM unsettled AS u))
    RETURNING j.queue, j.task, j.priority, j.lane, j.gates, j.units
),
promoted AS (SELECT * FROM as_inserted UNION ALL SELECT * FROM settled),
arrived AS (
    INSERT INTO {schema}.arrival (lane, queue, task, gates, units, priority)
    SELECT DISTINCT ON (p.lane) p.lane, p.queue, p.task, p.gates, p.units, p.priority
    FROM promoted AS p WHERE p.lane IS NOT NULL ORDER BY p.lane, p.priority
),
woken AS MATERIALIZED (
    SELECT pg_notify({channel}, w.wake)
    FROM (SELECT DISTINCT CASE WHEN lane IS NULL THEN 'ready ' ELSE 'gated ' END || queue AS wake FROM promoted) AS w
)
SELECT (SELECT count(*) FROM promoted) AS promoted,
       (SELECT min(j.run_at) FROM {schema}.job AS j
        WHERE j.state = 'scheduled' AND NOT j.held AND j.run_at > (SELECT now FROM moment)) AS next_run_at,
       (SELECT now FROM moment) AS now
FROM (SELECT count(*) FROM woken) AS w

-- name: claim_any
-- ready -> running for tasks this worker knows, in all queues; nothing while any of them is paused: then claim_others does it.
WITH moment AS MATERIALIZED (SELECT coalesce(%(now)s::timestamptz, clock_timestamp()) AS now),
-- What is paused; null for nothing, so that it costs nothing, and the planner reckons with most of the jobs.
paused AS MATERIALIZED (
    SELECT array_agg(p.name) FILTER (WHERE p.kind = 'task') AS tasks,
           array_agg(p.name) FILTER (WHERE p.kind = 'label') AS labels
    FROM {schema}.pause AS p WHERE coalesce(p.paused_until > (SELECT now FROM moment), true)
),
chosen AS MATERIALIZED (
    SELECT j.id FROM {schema}.job AS j
    WHERE NOT EXISTS (SELECT FROM {schema}.queue AS q WHERE q.paused_until > (SELECT now FROM moment))
      AND j.state = 'ready' AND j.lane IS NULL AND j.ready_seq > %(low)s AND j.task = ANY(%(tasks)s::text[])
      AND ((SELECT tasks IS NULL FROM paused) OR j.task <> ALL((SELECT tasks FROM paused)::text[]))
      AND ((SELECT labels IS NULL FROM paused) OR NOT j.labels && (SELECT labels FROM paused))
      AND (j.expires_at IS NULL OR j.expires_at > (SELECT now FROM moment))
    ORDER BY j.priority, j.ready_seq LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
),
claimed AS (
    UPDATE {schema}.job AS j
    SET state = 'running', worker_id = %(worker_id)s, lease = %(lease)s, attempt = j.attempt + 1,
        claimed_at = (SELECT now FROM moment), started_at = NULL
    WHERE j.id = ANY(ARRAY(SELECT id FROM chosen))
    RETURNING j.id, j.task, j.args::text AS args, j.queue, j.priority, j.labels, j.attempt, j.max_attempts, j.crashes,
              j.lease, j.run_at, j.schedule_id, j.tick, j.claimed_at, j.ready_seq, j.run_options, j.checkpoint,
              j.unique_until, j.unique_key
),
freed AS (
    DELETE FROM {schema}.unique_key AS u USING claimed AS c
    WHERE c.unique_until = 'started' AND u.task = c.task AND u.key = c.unique_key AND u.job_id = c.id
)
SELECT j.id, j.task, j.args, j.queue, j.priority, j.labels, j.attempt, j.max_attempts, j.crashes, j.lease, j.run_at,
       j.schedule_id, j.tick, j.claimed_at, j.ready_seq, j.run_options, j.checkpoint,
       CASE WHEN j.schedule_id IS NOT NULL
            THEN (SELECT s.key FROM {schema}.schedule AS s WHERE s.id = j.schedule_id) END AS schedule_key,
       false AS gated, false AS fused
FROM claimed AS j

-- name: paused_queues
SELECT q.name FROM {schema}.queue AS q WHERE q.paused_until > coalesce(%(now)s::timestamptz, clock_timestamp())

-- name: claim_others
-- ready -> running for tasks this worker knows, in all queues but these, whose jobs may be many, and first.
WITH RECURSIVE moment AS MATERIALIZED (SELECT coalesce(%(now)s::timestamptz, clock_timestamp()) AS now),
-- What is paused; null for nothing, so that it costs nothing, and the planner reckons with most of the jobs.
paused AS MATERIALIZED (
    SELECT array_agg(p.name) FILTER (WHERE p.kind = 'task') AS tasks,
           array_agg(p.name) FILTER (WHERE p.kind = 'label') AS labels
    FROM {schema}.pause AS p WHERE coalesce(p.paused_until > (SELECT now FROM moment), true)
),
-- Those at the front of all queues are looked through, up to a bound.
front AS MATERIALIZED (
    SELECT j.id, j.priority, j.ready_seq, j.queue, j.task, j.labels, j.expires_at FROM {schema}.job AS j
    WHERE j.state = 'ready' AND j.lane IS NULL
    ORDER BY j.priority, j.ready_seq LIMIT %(limit)s::bigint * 2 + 200
),
fronted AS MATERIALIZED (
    SELECT f.id, f.priority, f.ready_seq FROM front AS f CROSS JOIN paused AS p
    WHERE f.queue <> ALL(%(excluded)s::text[]) AND f.task = ANY(%(tasks)s::text[]) AND (p.tasks IS NULL OR f.task <> ALL(p.tasks))
      AND (p.labels IS NULL OR NOT f.labels && p.labels)
      AND (f.expires_at IS NULL OR f.expires_at > (SELECT now FROM moment))
),
-- Only when that was not enough: one step of the index to each of the other queues, over all that is left out.
deeper AS MATERIALIZED (
    SELECT (SELECT count(*) FROM front) = %(limit)s::bigint * 2 + 200
           AND (SELECT count(*) FROM fronted) < %(limit)s::bigint AS needed
),
other AS (
    (SELECT j.queue FROM {schema}.job AS j
     WHERE (SELECT needed FROM deeper) AND j.state = 'ready' AND j.lane IS NULL ORDER BY j.queue LIMIT 1)
    UNION ALL
    SELECT (SELECT j.queue FROM {schema}.job AS j
            WHERE j.state = 'ready' AND j.lane IS NULL AND j.queue > o.queue ORDER BY j.queue LIMIT 1)
    FROM other AS o WHERE o.queue IS NOT NULL
),
heads AS MATERIALIZED (
    SELECT f.id, f.priority, f.ready_seq FROM fronted AS f WHERE NOT (SELECT needed FROM deeper)
    UNION ALL
    SELECT h.id, h.priority, h.ready_seq
    FROM other AS o CROSS JOIN LATERAL (
        SELECT j.id, j.priority, j.ready_seq FROM {schema}.job AS j
        WHERE j.state = 'ready' AND j.lane IS NULL AND j.queue = o.queue AND j.task = ANY(%(tasks)s::text[])
          AND ((SELECT tasks IS NULL FROM paused) OR j.task <> ALL((SELECT tasks FROM paused)::text[]))
          AND ((SELECT labels IS NULL FROM paused) OR NOT j.labels && (SELECT labels FROM paused))
          AND (j.expires_at IS NULL OR j.expires_at > (SELECT now FROM moment))
        ORDER BY j.priority, j.ready_seq LIMIT %(limit)s::bigint * 2 + 50
    ) AS h
    WHERE o.queue <> ALL(%(excluded)s::text[])
),
-- Locked one after the other, as in claim_queues.
chosen AS MATERIALIZED (
    SELECT j.id
    FROM (SELECT id FROM heads ORDER BY priority, ready_seq) AS h
    CROSS JOIN LATERAL (
        SELECT j.id FROM {schema}.job AS j
        WHERE j.id = h.id AND j.state = 'ready' AND j.lane IS NULL FOR UPDATE SKIP LOCKED
    ) AS j
    LIMIT %(limit)s
),
claimed AS (
    UPDATE {schema}.job AS j
    SET state = 'running', worker_id = %(worker_id)s, lease = %(lease)s, attempt = j.attempt + 1,
        claimed_at = (SELECT now FROM moment), started_at = NULL
    WHERE j.id = ANY(ARRAY(SELECT id FROM chosen))
    RETURNING j.id, j.task, j.args::text AS args, j.queue, j.priority, j.labels, j.attempt, j.max_attempts, j.crashes,
              j.lease, j.run_at, j.schedule_id, j.tick, j.claimed_at, j.ready_seq, j.run_options, j.checkpoint,
              j.unique_until, j.unique_key
),
freed AS (
    DELETE FROM {schema}.unique_key AS u USING claimed AS c
    WHERE c.unique_until = 'started' AND u.task = c.task AND u.key = c.unique_key AND u.job_id = c.id
)
SELECT j.id, j.task, j.args, j.queue, j.priority, j.labels, j.attempt, j.max_attempts, j.crashes, j.lease, j.run_at,
       j.schedule_id, j.tick, j.claimed_at, j.ready_seq, j.run_options, j.checkpoint,
       CASE WHEN j.schedule_id IS NOT NULL
            THEN (SELECT s.key FROM {schema}.schedule AS s WHERE s.id = j.schedule_id) END AS schedule_key,
       false AS gated, false AS fused
FROM claimed AS j

-- name: claim_queue
-- ready -> running for tasks this worker knows, in one queue that is not paused: by its index, locked in its order.
WITH moment AS MATERIALIZED (SELECT coalesce(%(now)s::timestamptz, clock_timestamp()) AS now),
-- What is paused; null for nothing, so that it costs nothing, and the planner reckons with most of the jobs.
paused AS MATERIALIZED (
    SELECT array_agg(p.name) FILTER (WHERE p.kind = 'task') AS tasks,
           array_agg(p.name) FILTER (WHERE p.kind = 'label') AS labels
    FROM {schema}.pause AS p WHERE coalesce(p.paused_until > (SELECT now FROM moment), true)
),
chosen AS MATERIALIZED (
    SELECT j.id FROM {schema}.job AS j
    WHERE NOT EXISTS (
          SELECT FROM {schema}.queue AS q WHERE q.name = %(queue)s AND q.paused_until > (SELECT now FROM moment))
      AND j.state = 'ready' AND j.lane IS NULL AND j.queue = %(queue)s AND j.ready_seq > %(low)s
      AND j.task = ANY(%(tasks)s::text[])
      AND ((SELECT tasks IS NULL FROM paused) OR j.task <> ALL((SELECT tasks FROM paused)::text[]))
      AND ((SELECT labels IS NULL FROM paused) OR NOT j.labels && (SELECT labels FROM paused))
      AND (j.expires_at IS NULL OR j.expires_at > (SELECT now FROM moment))
    ORDER BY j.priority, j.ready_seq LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
),
claimed AS (
    UPDATE {schema}.job AS j
    SET state = 'running', worker_id = %(worker_id)s, lease = %(lease)s, attempt = j.attempt + 1,
        claimed_at = (SELECT now FROM moment), started_at = NULL
    WHERE j.id = ANY(ARRAY(SELECT id FROM chosen))
    RETURNING j.id, j.task, j.args::text AS args, j.queue, j.priority, j.labels, j.attempt, j.max_attempts, j.crashes,
              j.lease, j.run_at, j.schedule_id, j.tick, j.claimed_at, j.ready_seq, j.run_options, j.checkpoint,
              j.unique_until, j.unique_key
),
freed AS (
    DELETE FROM {schema}.unique_key AS u USING claimed AS c
    WHERE c.unique_until = 'started' AND u.task = c.task AND u.key = c.unique_key AND u.job_id = c.id
)
SELECT j.id, j.task, j.args, j.queue, j.priority, j.labels, j.attempt, j.max_attempts, j.crashes, j.lease, j.run_at,
       j.schedule_id, j.tick, j.claimed_at, j.ready_seq, j.run_options, j.checkpoint,
       CASE WHEN j.schedule_id IS NOT NULL
            THEN (SELECT s.key FROM {schema}.schedule AS s WHERE s.id = j.schedule_id) END AS schedule_key,
       false AS gated, false AS fused
FROM claimed AS j

-- name: claim_queues
-- ready -> running for tasks this worker knows, in the named queues that are not paused.
WITH moment AS MATERIALIZED (SELECT coalesce(%(now)s::timestamptz, clock_timestamp()) AS now),
-- What is paused; null for nothing, so that it costs nothing, and the planner reckons with most of the jobs.
paused AS MATERIALIZED (
    SELECT array_agg(p.name) FILTER (WHERE p.kind = 'task') AS tasks,
           array_agg(p.name) FILTER (WHERE p.kind = 'label') AS labels
    FROM {schema}.pause AS p WHERE coalesce(p.paused_until > (SELECT now FROM moment), true)
),
-- Heads are read without locks, since most of them stay: a lock on them would hide them from every other claim. They are
-- more than are wanted, since other claims may have the first ones in their hands: many small ones, or one of the same
-- size. With many more, the planner would rather read and sort the whole queue.
heads AS MATERIALIZED (
    SELECT h.id, h.priority, h.ready_seq
    FROM unnest(%(queues)s::text[]) AS q (name)
    CROSS JOIN LATERAL (
        SELECT j.id, j.priority, j.ready_seq FROM {schema}.job AS j
        WHERE j.state = 'ready' AND j.lane IS NULL AND j.queue = q.name AND j.ready_seq > %(low)s
          AND j.task = ANY(%(tasks)s::text[])
          AND ((SELECT tasks IS NULL FROM paused) OR j.task <> ALL((SELECT tasks FROM paused)::text[]))
          AND ((SELECT labels IS NULL FROM paused) OR NOT j.labels && (SELECT labels FROM paused))
          AND (j.expires_at IS NULL OR j.expires_at > (SELECT now FROM moment))
        ORDER BY j.priority, j.ready_seq LIMIT %(limit)s::bigint * 2 + 50
    ) AS h
    WHERE NOT EXISTS (SELECT FROM {schema}.queue AS p WHERE p.name = q.name AND p.paused_until > (SELECT now FROM moment))
),
-- Locked one after the other, in the order of the subquery, until there are enough: an ORDER BY beside the LIMIT could
-- lock them all first. State and lane are looked at again under the lock.
chosen AS MATERIALIZED (
    SELECT j.id
    FROM (SELECT id FROM heads ORDER BY priority, ready_seq LIMIT %(limit)s::bigint * 2 + 50) AS h
    CROSS JOIN LATERAL (
        SELECT j.id FROM {schema}.job AS j
        WHERE j.id = h.id AND j.state = 'ready' AND j.lane IS NULL FOR UPDATE SKIP LOCKED
    ) AS j
    LIMIT %(limit)s
),
claimed AS (
    UPDATE {schema}.job AS j
    SET state = 'running', worker_id = %(worker_id)s, lease = %(lease)s, attempt = j.attempt + 1,
        claimed_at = (SELECT now FROM moment), started_at = NULL
    WHERE j.id = ANY(ARRAY(SELECT id FROM chosen))
    RETURNING j.id, j.task, j.args::text AS args, j.queue, j.priority, j.labels, j.attempt, j.max_attempts, j.crashes,
              j.lease, j.run_at, j.schedule_id, j.tick, j.claimed_at, j.ready_seq, j.run_options, j.checkpoint,
              j.unique_until, j.unique_key
),
freed AS (
    DELETE FROM {schema}.unique_key AS u USING claimed AS c
    WHERE c.unique_until = 'started' AND u.task = c.task AND u.key = c.unique_key AND u.job_id = c.id
)
SELECT j.id, j.task, j.args, j.queue, j.priority, j.labels, j.attempt, j.max_attempts, j.crashes, j.lease, j.run_at,
       j.schedule_id, j.tick, j.claimed_at, j.ready_seq, j.run_options, j.checkpoint,
       CASE WHEN j.schedule_id IS NOT NULL
            THEN (SELECT s.key FROM {schema}.schedule AS s WHERE s.id = j.schedule_id) END AS schedule_key,
       false AS gated, false AS fused
FROM claimed AS j

-- name: start
-- Note when the handlers of long-running jobs began.
UPDATE {schema}.job AS j SET started_at = s.started_at
FROM unnest(%(ids)s::bigint[], %(leases)s::bigint[], %(started)s::timestamptz[]) AS s (id, lease, started_at)
WHERE j.id = s.id AND j.lease = s.lease

-- name: checkpoint
-- Note how far jobs have come that go on running. A row that is locked has its checkpoint in another transaction's hands.
-- What comes further does not kill its process each time: its crashes are counted anew. To tell of progress is not enough.
UPDATE {schema}.job AS j
SET checkpoint = c.checkpoint,
    crashes = CASE WHEN c.checkpoint ->> 'cursor' IS NOT NULL
                     AND j.checkpoint -> 'cursor' IS DISTINCT FROM c.checkpoint -> 'cursor' THEN 0 ELSE j.crashes END,
    deaths = CASE WHEN c.checkpoint ->> 'cursor' IS NOT NULL
                     AND j.checkpoint -> 'cursor' IS DISTINCT FROM c.checkpoint -> 'cursor' THEN 0 ELSE j.deaths END
FROM unnest(%(ids)s::bigint[], %(leases)s::bigint[], %(checkpoints)s::jsonb[]) AS c (id, lease, checkpoint)
WHERE j.id = ANY(ARRAY(
    SELECT l.id FROM {schema}.job AS l
    WHERE l.id = ANY(%(ids)s::bigint[]) AND l.lease IS NOT NULL FOR UPDATE SKIP LOCKED
  )) AND j.id = c.id AND j.lease = c.lease
  -- The handler may have written a later one meanwhile, in a transaction of its own.
  AND (c.checkpoint -> 'spent')::float8 >= coalesce((j.checkpoint -> 'spent')::float8, 0)

-- name: checkpoint_within
-- Note how far a job has come, in its handler's own transaction; no row when the lease is lost. It takes texts, as `insert`.
UPDATE {schema}.job AS j
SET checkpoint = %(checkpoint)s::text::jsonb,
    crashes = CASE WHEN j.checkpoint -> 'cursor' IS DISTINCT FROM %(checkpoint)s::text::jsonb -> 'cursor'
                   THEN 0 ELSE j.crashes END,
    deaths = CASE WHEN j.checkpoint -> 'cursor' IS DISTINCT FROM %(checkpoint)s::text::jsonb -> 'cursor'
                   THEN 0 ELSE j.deaths END
WHERE j.id = %(id)s::text::bigint AND j.lease = %(lease)s::text::bigint
RETURNING j.id

-- name: crashes
-- How often the processes of these jobs have died since they last came further.
SELECT j.id, j.crashes FROM {schema}.job AS j
JOIN unnest(%(ids)s::bigint[], %(leases)s::bigint[]) AS r (id, lease) ON r.id = j.id AND r.lease = j.lease

-- name: paused_among
-- Those of these jobs whose queue, task or label is paused now.
SELECT j.id FROM {schema}.job AS j
WHERE j.id = ANY(%(ids)s::bigint[])
  AND (EXISTS (SELECT FROM {schema}.queue AS q WHERE q.name = j.queue AND q.paused_until > clock_timestamp())
       OR EXISTS (SELECT FROM {schema}.pause AS p
                  WHERE coalesce(p.paused_until > clock_timestamp(), true)
                    AND (p.kind = 'task' AND p.name = j.task OR p.kind = 'label' AND p.name = ANY(j.labels))))

-- name: strays
-- Jobs that are this worker's without its knowledge, locked: the reply to its claim was lost. With whether gates let them
-- run.
SELECT j.id, j.lease, j.lane IS NOT NULL FROM {schema}.job AS j
WHERE j.state = 'running' AND j.worker_id = %(worker_id)s
  AND NOT EXISTS (
      SELECT 1 FROM unnest(%(ids)s::bigint[], %(leases)s::bigint[]) AS k (id, lease)
      WHERE k.id = j.id AND k.lease = j.lease
  )
FOR UPDATE SKIP LOCKED

-- name: give_back
-- running -> ready for jobs that are locked, at no cost: nobody knows of them, or a stop has cut them off.
WITH stray AS MATERIALIZED (
    SELECT * FROM unnest(%(ids)s::bigint[], %(leases)s::bigint[]) AS s (id, lease)
),
begun AS MATERIALIZED (
    SELECT j.id, j.worker_id, j.started_at FROM {schema}.job AS j
    WHERE j.id = ANY(%(ids)s::bigint[]) AND j.started_at IS NOT NULL
),
again AS (
    UPDATE {schema}.job AS j
    SET state = 'ready', attempt = j.attempt - 1,
        lease = NULL, worker_id = NULL, claimed_at = NULL, started_at = NULL, granted = NULL
    FROM stray AS s
    WHERE j.id = s.id AND j.lease = s.lease
    RETURNING j.*
),
attempts AS (
    INSERT INTO {schema}.attempt (job_id, attempt, outcome, worker_id, started_at, finished_at)
    SELECT a.id, a.attempt + 1, 'interrupted', b.worker_id, b.started_at, coalesce(%(now)s::timestamptz, clock_timestamp())
    FROM again AS a JOIN begun AS b USING (id)
),
arrived AS (
    INSERT INTO {schema}.arrival (lane, queue, task, gates, units, priority)
    SELECT DISTINCT ON (g.lane) g.lane, g.queue, g.task, g.gates, g.units, g.priority
    FROM again AS g WHERE g.lane IS NOT NULL ORDER BY g.lane, g.priority
),
woken AS MATERIALIZED (
    SELECT pg_notify({channel}, w.wake)
    FROM (SELECT DISTINCT CASE WHEN lane IS NULL THEN 'again ' ELSE 'gated ' END || queue AS wake FROM again) AS w
)
SELECT a.id FROM again AS a, (SELECT count(*) FROM woken) AS w

-- name: orphans
-- Jobs of workers that are gone, locked; with whether gates let them run, whether a person is to look at them, and whether
-- they ran apart, in a process of their own: then it was not they who took the worker down; nor was it those that had not begun, where that is known.
SELECT j.id, j.lease, j.lane IS NOT NULL AS gated,
       (SELECT t.options ->> 'on_crash' = 'hold' FROM {schema}.task AS t WHERE t.name = j.task) IS TRUE AS review,
       j.crashes > 0 AND p.isolates IS TRUE AS apart, (p.begun IS NOT NULL AND j.id <> ALL(p.begun)) IS TRUE AS spared
FROM {schema}.job AS j
LEFT JOIN {schema}.process AS p ON p.id = j.worker_id
WHERE j.state = 'running'
  AND (p.id IS NULL OR p.beat_at = 'epoch'
       OR %(silent_too)s AND p.beat_at < coalesce(%(now)s::timestamptz, clock_timestamp()) - %(lease_length)s::interval)
LIMIT %(limit)s
FOR UPDATE OF j SKIP LOCKED

-- name: rescue
-- running -> ready for orphans, scheduled and held for those that a person is to look at, failed after the third crash,
-- or when its workers have died too often although it ran apart;
-- gives what was done to which.
WITH moment AS MATERIALIZED (SELECT coalesce(%(now)s::timestamptz, clock_timestamp()) AS now),
orphan AS MATERIALIZED (
    SELECT * FROM unnest(%(ids)s::bigint[], %(leases)s::bigint[], %(reviews)s::boolean[], %(aparts)s::boolean[]) AS o (id, lease, review, apart)
),
-- Where they ran, and since when, where that was noted: only what runs for a while has its start in the table.
before AS MATERIALIZED (
    SELECT j.id, j.worker_id, j.started_at FROM {schema}.job AS j WHERE j.id = ANY(%(ids)s::bigint[])
),
ended AS (
    DELETE FROM {schema}.job AS j USING orphan AS o
    WHERE j.id = o.id AND j.lease = o.lease AND NOT o.review
      AND (NOT o.apart AND j.crashes + 1 >= %(crash_limit)s OR j.deaths + 1 >= %(death_limit)s)
    RETURNING j.*
),
history AS (
    INSERT INTO {schema}.job_history (
        id, state, queue, task, args, priority, labels, run_at, attempt, max_attempts, unique_key,
        unique_until, gates, units, run_options, checkpoint, parent_id, schedule_id, tick, created_at, started_at, finished_at, error, worker_id)
    SELECT j.id, 'failed', j.queue, j.task, j.args, j.priority, j.labels, j.run_at, j.attempt, j.max_attempts,
           j.unique_key, j.unique_until, j.gates, j.units, j.run_options, j.checkpoint, j.parent_id, j.schedule_id, j.tick, j.created_at, j.started_at, m.now,
           'crashed: its worker died ' || (greatest(j.crashes, j.deaths) + 1) || ' times while it ran', j.worker_id
    FROM ended AS j CROSS JOIN moment AS m
),
noted AS (
    INSERT INTO {schema}.after_note (job_id, state)
    SELECT e.id, 'failed' FROM ended AS e
    WHERE EXISTS (SELECT FROM {schema}.job_after AS a WHERE a.after_id = e.id)
    RETURNING job_id
),
again AS (
    UPDATE {schema}.job AS j
    SET state = (CASE WHEN o.review THEN 'scheduled' ELSE 'ready' END)::{schema}.live_state,
        ready_seq = CASE WHEN NOT o.review THEN j.ready_seq END, held = o.review, review = o.review,
        crashes = j.crashes + CASE WHEN o.apart THEN 0 ELSE 1 END, deaths = j.deaths + 1, attempt = j.attempt - 1,
        error = 'crashed: its worker died while it ran'
                || CASE WHEN o.review THEN ', and it is held until a person has looked at it' ELSE '' END,
        lease = NULL, worker_id = NULL, claimed_at = NULL, started_at = NULL, expires_at = NULL, granted = NULL
    FROM orphan AS o
    WHERE j.id = o.id AND j.lease = o.lease
      AND (o.review OR (o.apart OR j.crashes + 1 < %(crash_limit)s) AND j.deaths + 1 < %(death_limit)s)
    RETURNING j.*, j.attempt + 1 AS ran_as
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
attempts AS (
    INSERT INTO {schema}.attempt (job_id, attempt, outcome, worker_id, started_at, finished_at, error_type, error)
    SELECT a.id, a.ran_as, 'crashed', b.worker_id, b.started_at, m.now, 'Crashed', 'its worker died while it ran'
    FROM (SELECT id, attempt AS ran_as FROM ended UNION ALL SELECT id, ran_as FROM again) AS a JOIN before AS b USING (id)
    CROSS JOIN moment AS m
),
told AS (
    INSERT INTO {schema}.unreported (job_id, task, attempt, reason, message, retried, noted_at)
    SELECT c.id, c.task, c.ran_as, 'crashed', c.message, c.retried, m.now
    FROM (SELECT e.id, e.task, e.attempt AS ran_as, false AS retried,
                 'crashed: its worker died ' || (greatest(e.crashes, e.deaths) + 1) || ' times while it ran' AS message FROM ended AS e
          UNION ALL SELECT a.id, a.task, a.ran_as, a.state = 'ready', a.error FROM again AS a) AS c CROSS JOIN moment AS m
    WHERE EXISTS (SELECT FROM {schema}.process AS p WHERE p.hears)
),
woken AS MATERIALIZED (
    SELECT pg_notify({channel}, w.wake)
    FROM (SELECT DISTINCT CASE WHEN lane IS NULL THEN 'again ' ELSE 'gated ' END || queue AS wake FROM again WHERE state = 'ready') AS w
    UNION ALL SELECT pg_notify({channel}, 'release') WHERE EXISTS (SELECT 1 FROM ended WHERE watched)
    UNION ALL SELECT pg_notify({channel}, 'after') WHERE EXISTS (SELECT FROM noted)
)
SELECT d.id, d.state
FROM (SELECT id, CASE WHEN review THEN 'held' ELSE 'ready' END AS state FROM again UNION ALL SELECT id, 'failed' FROM ended) AS d,
     (SELECT count(*) FROM woken) AS w

-- name: expire
-- scheduled or ready -> discarded for what was not started in time.
WITH moment AS MATERIALIZED (SELECT coalesce(%(now)s::timestamptz, clock_timestamp()) AS now),
stale AS MATERIALIZED (
    SELECT j.id FROM {schema}.job AS j
    WHERE j.expires_at IS NOT NULL AND j.expires_at <= (SELECT now FROM moment) AND j.state <> 'running'
    ORDER BY j.expires_at LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
),
ended AS (
    DELETE FROM {schema}.job AS j WHERE j.id = ANY(ARRAY(SELECT id FROM stale)) AND j.state <> 'running' RETURNING j.*
),
noted AS (
    INSERT INTO {schema}.after_note (job_id, state)
    SELECT e.id, 'discarded' FROM ended AS e
    WHERE EXISTS (SELECT FROM {schema}.job_after AS a WHERE a.after_id = e.id)
    RETURNING job_id
),
freed AS (
    DELETE FROM {schema}.unique_key AS u USING ended AS e
    WHERE e.unique_until <> 'time' AND u.task = e.task AND u.key = e.unique_key AND u.job_id = e.id
),
told AS (
    INSERT INTO {schema}.unreported (job_id, task, attempt, reason, message, retried, noted_at)
    SELECT e.id, e.task, e.attempt, 'expired', 'expired: not started by ' || e.expires_at, false, m.now
    FROM ended AS e CROSS JOIN moment AS m
    WHERE EXISTS (SELECT FROM {schema}.process AS p WHERE p.hears)
),
woken AS MATERIALIZED (
    SELECT pg_notify({channel}, 'release') WHERE EXISTS (SELECT 1 FROM ended WHERE watched)
    UNION ALL SELECT pg_notify({channel}, 'after') WHERE EXISTS (SELECT FROM noted)
)
INSERT INTO {schema}.job_history (
    id, state, queue, task, args, priority, labels, run_at, attempt, max_attempts, unique_key, unique_until,
    gates, units, run_options, checkpoint, parent_id, schedule_id, tick, created_at, finished_at, error)
SELECT j.id, 'discarded', j.queue, j.task, j.args, j.priority, j.labels, j.run_at, j.attempt, j.max_attempts,
       j.unique_key, j.unique_until, j.gates, j.units, j.run_options, j.checkpoint, j.parent_id, j.schedule_id, j.tick, j.created_at, m.now, 'expired: not started by ' || j.expires_at
FROM ended AS j CROSS JOIN moment AS m CROSS JOIN (SELECT count(*) FROM woken) AS w
RETURNING id

-- name: hear_failures
-- Failures of these tasks that nobody was told of, the oldest first: whoever takes them tells.
DELETE FROM {schema}.unreported AS u WHERE u.id = ANY(ARRAY(
    SELECT o.id FROM {schema}.unreported AS o WHERE o.task = ANY(%(tasks)s::text[])
    ORDER BY o.id LIMIT %(limit)s FOR UPDATE SKIP LOCKED
))
RETURNING u.job_id, u.task, u.attempt, u.reason, u.message, u.retried

-- name: drop_unreported
-- Failures of which nobody wanted to hear for long; a bounded slice.
DELETE FROM {schema}.unreported AS u WHERE u.id = ANY(ARRAY(
    SELECT o.id FROM {schema}.unreported AS o
    WHERE o.noted_at < coalesce(%(now)s::timestamptz, clock_timestamp()) - interval '1 day'
    ORDER BY o.id LIMIT %(limit)s FOR UPDATE SKIP LOCKED
))

-- name: result
-- State, result and error of jobs, live or finished.
SELECT j.id, j.state::text AS state, NULL::jsonb AS result, j.error FROM {schema}.job AS j WHERE j.id = %(id)s
UNION ALL
SELECT h.id, h.state, h.result, h.error FROM {schema}.job_history AS h WHERE h.id = %(id)s

-- name: cancel_tasks
-- scheduled or ready -> cancelled for all waiting jobs of these tasks.
WITH moment AS MATERIALIZED (SELECT coalesce(%(now)s::timestamptz, clock_timestamp()) AS now),
ended AS (
    DELETE FROM {schema}.job AS j WHERE j.task = ANY(%(tasks)s::text[]) AND j.state <> 'running' RETURNING j.*
),
noted AS (
    INSERT INTO {schema}.after_note (job_id, state)
    SELECT e.id, 'cancelled' FROM ended AS e
    WHERE EXISTS (SELECT FROM {schema}.job_after AS a WHERE a.after_id = e.id)
    RETURNING job_id
),
freed AS (
    DELETE FROM {schema}.unique_key AS u USING ended AS e
    WHERE e.unique_until <> 'time' AND u.task = e.task AND u.key = e.unique_key AND u.job_id = e.id
)
INSERT INTO {schema}.job_history (
    id, state, queue, task, args, priority, labels, run_at, attempt, max_attempts, unique_key, unique_until,
    gates, units, run_options, checkpoint, parent_id, schedule_id, tick, created_at, finished_at, error)
SELECT j.id, 'cancelled', j.queue, j.task, j.args, j.priority, j.labels, j.run_at, j.attempt, j.max_attempts,
       j.unique_key, j.unique_until, j.gates, j.units, j.run_options, j.checkpoint, j.parent_id, j.schedule_id, j.tick, j.created_at, m.now, %(reason)s::text
FROM ended AS j CROSS JOIN moment AS m
RETURNING id

-- name: drop_expired_keys
-- Unique keys whose time is over; a bounded slice.
WITH over AS MATERIALIZED (
    SELECT u.task, u.key FROM {schema}.unique_key AS u
    WHERE u.expires_at <= coalesce(%(now)s::timestamptz, clock_timestamp())
    ORDER BY u.expires_at LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
)
DELETE FROM {schema}.unique_key AS u USING over AS o WHERE u.task = o.task AND u.key = o.key
