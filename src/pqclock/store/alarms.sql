-- name: look
-- Whether a schedule is to be judged by now, and the kinds of alarms that are open: most looks end with that.
SELECT EXISTS (
           SELECT FROM {schema}.promise AS p WHERE p.look_at <= coalesce(%(now)s::timestamptz, clock_timestamp())) AS due,
       ARRAY(SELECT DISTINCT a.kind FROM {schema}.alarm AS a WHERE a.ended_at IS NULL) AS open

-- name: judge_schedules
-- Of the schedules whose next run should have begun by now: the tick of which none has, null where all is well, and whether
-- its alarm says otherwise; and when to look again. What a person has paused or cancelled, and what a calendar or an overlap left out, was no promise.
WITH moment AS MATERIALIZED (SELECT coalesce(%(now)s::timestamptz, clock_timestamp()) AS now),
due AS MATERIALIZED (
    SELECT p.schedule_id, p.within, p.since FROM {schema}.promise AS p
    WHERE p.look_at <= (SELECT now FROM moment) ORDER BY p.look_at LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
),
stood AS MATERIALIZED (
    SELECT d.schedule_id, d.within, d.since, s.key, s.next_tick, s.plan_at, s.fault, l.tick, l.job_id,
           s.state = 'active' AND (s.paused_until IS NULL OR s.paused_until <= m.now) AS holds,
           CASE WHEN s.next_tick > d.since AND s.next_tick <= m.now - d.within THEN s.next_tick END AS unplanned
    FROM moment AS m CROSS JOIN due AS d
    -- Each is looked at by itself: joined, all schedules would be.
    CROSS JOIN LATERAL (SELECT * FROM {schema}.schedule AS o WHERE o.id = d.schedule_id OFFSET 0) AS s
    LEFT JOIN LATERAL (
        SELECT t.tick, t.job_id FROM {schema}.tick AS t
        WHERE t.schedule_id = d.schedule_id AND t.tick > d.since AND t.tick <= m.now - d.within
          AND (t.outcome = 'inserted' OR t.reason IN ('missed', 'window', 'limit'))
        ORDER BY t.tick DESC LIMIT 1
    ) AS l ON true
),
judged AS MATERIALIZED (
    SELECT s.*,
           CASE WHEN NOT s.holds THEN NULL
                WHEN s.unplanned IS NOT NULL THEN s.unplanned
                WHEN NOT EXISTS (
                    SELECT FROM (
                        SELECT t.job_id, t.tick FROM {schema}.tick AS t
                        WHERE t.schedule_id = s.schedule_id AND t.tick >= s.tick AND t.tick <= m.now AND t.outcome = 'inserted'
                        ORDER BY t.tick LIMIT 100
                    ) AS t
                    LEFT JOIN {schema}.job AS j ON j.id = t.job_id
                    WHERE j.state = 'running' OR j.attempt > 0
                       OR (j.id IS NULL AND NOT EXISTS (
                           -- Its end is not before its tick; a little less, as jobs can be run ahead of time.
                           SELECT FROM {schema}.job_history AS h
                           WHERE h.id = t.job_id AND h.state = 'discarded' AND h.finished_at >= t.tick - interval '1 hour'
                             AND h.started_at IS NULL AND starts_with(h.error, 'expired')))
                ) THEN s.tick END AS broken
    FROM moment AS m CROSS JOIN stood AS s
),
looked AS (
    UPDATE {schema}.promise AS p SET look_at = CASE
        WHEN g.broken IS NOT NULL THEN m.now + interval '5 seconds'
        WHEN NOT g.holds THEN m.now + interval '15 seconds'
        ELSE coalesce(
            least((SELECT min(t.tick) FROM {schema}.tick AS t
                   WHERE t.schedule_id = g.schedule_id AND t.tick > m.now - g.within
                     AND (t.outcome = 'inserted' OR t.reason IN ('missed', 'window', 'limit'))), g.next_tick)
            -- One that was put just now is planned in a moment.
            + g.within, CASE WHEN g.plan_at IS NOT NULL THEN m.now + interval '5 seconds' END) END
    FROM moment AS m CROSS JOIN judged AS g WHERE p.schedule_id = g.schedule_id
)
SELECT g.key, g.within, g.broken, g.unplanned, g.job_id, g.fault,
       (g.broken IS NOT NULL) <> EXISTS (
           SELECT FROM {schema}.alarm AS a WHERE a.kind = 'missed' AND a.subject = g.key AND a.ended_at IS NULL) AS changes
FROM judged AS g ORDER BY g.key

-- name: oldest_ready
-- The job that waits longest in each queue: of each priority, and of each lane, the first. Queues that a person has paused
-- promise nothing.
WITH RECURSIVE free AS (
    (SELECT j.queue, j.priority, j.run_at, j.id FROM {schema}.job AS j
     WHERE j.state = 'ready' AND j.lane IS NULL ORDER BY j.queue, j.priority, j.ready_seq LIMIT 1)
    UNION ALL
    SELECT n.* FROM free AS f CROSS JOIN LATERAL (
        SELECT j.queue, j.priority, j.run_at, j.id FROM {schema}.job AS j
        WHERE j.state = 'ready' AND j.lane IS NULL AND (j.queue, j.priority) > (f.queue, f.priority)
        ORDER BY j.queue, j.priority, j.ready_seq LIMIT 1) AS n
),
gated AS (
    (SELECT j.lane, j.queue, j.run_at, j.id FROM {schema}.job AS j
     WHERE j.state = 'ready' AND j.lane IS NOT NULL ORDER BY j.lane, j.priority, j.ready_seq LIMIT 1)
    UNION ALL
    SELECT n.* FROM gated AS g CROSS JOIN LATERAL (
        SELECT j.lane, j.queue, j.run_at, j.id FROM {schema}.job AS j
        WHERE j.state = 'ready' AND j.lane IS NOT NULL AND j.lane > g.lane
        ORDER BY j.lane, j.priority, j.ready_seq LIMIT 1) AS n
),
heads AS (
    (SELECT queue, run_at, id FROM free LIMIT %(limit)s) UNION ALL (SELECT queue, run_at, id FROM gated LIMIT %(limit)s)
)
SELECT DISTINCT ON (h.queue) h.queue, h.id AS job_id, h.run_at,
       coalesce(%(now)s::timestamptz, clock_timestamp()) - h.run_at AS waited
FROM heads AS h
WHERE NOT EXISTS (SELECT FROM {schema}.queue AS q WHERE q.name = h.queue AND q.paused_until > now())
ORDER BY h.queue, h.run_at

-- name: slos
SELECT q.queue, q.slo FROM {schema}.queue_slo AS q ORDER BY q.queue, q.set_name

-- name: slos_of_set
SELECT q.queue, q.slo FROM {schema}.queue_slo AS q WHERE q.set_name = %(set_name)s ORDER BY q.queue

-- name: write_slos
WITH gone AS (
    DELETE FROM {schema}.queue_slo AS q WHERE q.set_name = %(set_name)s AND NOT q.queue = ANY(%(queues)s::text[])
)
INSERT INTO {schema}.queue_slo AS q (set_name, queue, slo)
SELECT %(set_name)s, w.queue, w.slo FROM unnest(%(queues)s::text[], %(slos)s::text[]) AS w (queue, slo)
ON CONFLICT (set_name, queue) DO UPDATE SET slo = excluded.slo WHERE q.slo <> excluded.slo

-- name: raise
-- Gives its id when it was not open already.
INSERT INTO {schema}.alarm (kind, subject, message, raised_at)
VALUES (%(kind)s, %(subject)s, %(message)s, coalesce(%(now)s::timestamptz, clock_timestamp()))
ON CONFLICT (kind, subject) WHERE ended_at IS NULL DO NOTHING RETURNING id

-- name: end
UPDATE {schema}.alarm AS a SET ended_at = coalesce(%(now)s::timestamptz, clock_timestamp())
WHERE a.kind = %(kind)s AND a.subject = %(subject)s AND a.ended_at IS NULL RETURNING a.id

-- name: open
SELECT a.id, a.kind, a.subject, a.message, a.raised_at, a.ended_at, a.untold FROM {schema}.alarm AS a
WHERE a.ended_at IS NULL AND (%(kind)s::text IS NULL OR a.kind = %(kind)s::text) ORDER BY a.id LIMIT %(limit)s

-- name: ended
SELECT a.id, a.kind, a.subject, a.message, a.raised_at, a.ended_at, a.untold FROM {schema}.alarm AS a
WHERE a.ended_at IS NOT NULL ORDER BY a.ended_at DESC LIMIT %(limit)s

-- name: claim_untold
-- News for those who tell it; whoever took some and did not tell it in a minute has it taken away. What is older than an
-- hour is no news.
WITH moment AS MATERIALIZED (SELECT clock_timestamp() AS now),
taken AS MATERIALIZED (
    SELECT a.id FROM moment AS m CROSS JOIN {schema}.alarm AS a
    WHERE NOT a.summed_up AND (a.raised_told_at IS NULL OR (a.ended_at IS NOT NULL AND a.ended_told_at IS NULL))
      AND coalesce(a.ended_at, a.raised_at) > m.now - interval '1 hour'
      AND (a.telling_at IS NULL OR a.telling_at < m.now - interval '1 minute') AND a.tries < %(tries)s
    ORDER BY a.id LIMIT %(limit)s
    FOR UPDATE OF a SKIP LOCKED
)
UPDATE {schema}.alarm AS a SET telling_at = m.now, tries = a.tries + 1
FROM taken AS t, moment AS m WHERE a.id = t.id
RETURNING a.id, a.kind, a.subject, a.message, a.raised_at,
          CASE WHEN a.raised_told_at IS NOT NULL THEN a.ended_at END AS ended_at, a.tries

-- name: claim_rest
-- All that is untold, to be told in one sentence: which, the words of the first, and how often that was tried.
WITH moment AS MATERIALIZED (SELECT clock_timestamp() AS now),
untold AS MATERIALIZED (
    SELECT a.id FROM moment AS m CROSS JOIN {schema}.alarm AS a
    WHERE NOT a.summed_up AND (a.raised_told_at IS NULL OR (a.ended_at IS NOT NULL AND a.ended_told_at IS NULL))
      AND coalesce(a.ended_at, a.raised_at) > m.now - interval '1 hour'
      AND (a.telling_at IS NULL OR a.telling_at < m.now - interval '1 minute') AND a.tries < %(tries)s
    FOR UPDATE OF a SKIP LOCKED
),
taken AS (
    UPDATE {schema}.alarm AS a SET telling_at = m.now, tries = a.tries + 1
    FROM untold AS u, moment AS m WHERE a.id = u.id
    RETURNING a.id, a.message, a.raised_at, a.tries
)
SELECT array_agg(t.id ORDER BY t.id), (array_agg(t.message ORDER BY t.id))[1], min(t.raised_at), min(t.tries)
FROM taken AS t HAVING count(*) > 0

-- name: rest_told
UPDATE {schema}.alarm AS a SET summed_up = true, raised_told_at = coalesce(a.raised_told_at, clock_timestamp()), telling_at = NULL,
    untold = %(untold)s
WHERE a.id = ANY(%(ids)s::bigint[])

-- name: told
UPDATE {schema}.alarm AS a
SET raised_told_at = CASE WHEN %(ended)s THEN a.raised_told_at ELSE clock_timestamp() END,
    ended_told_at = CASE WHEN %(ended)s THEN clock_timestamp() ELSE a.ended_told_at END, telling_at = NULL, tries = 0,
    untold = %(untold)s
WHERE a.id = %(id)s

-- name: not_told
UPDATE {schema}.alarm AS a SET untold = %(why)s WHERE a.id = ANY(%(ids)s::bigint[])

-- name: untold
-- Of which somebody was not told lately, and why.
SELECT a.id, a.kind, a.subject, a.message, a.raised_at, a.ended_at, a.untold FROM {schema}.alarm AS a
WHERE a.untold IS NOT NULL AND (a.ended_at IS NULL OR a.ended_at > clock_timestamp() - interval '1 day')
ORDER BY a.id DESC LIMIT %(limit)s

-- name: forget
DELETE FROM {schema}.alarm AS a WHERE a.id = ANY(ARRAY(
    SELECT o.id FROM {schema}.alarm AS o WHERE o.ended_at < %(before)s LIMIT %(limit)s)) RETURNING a.id
