-- name: summary
-- What became of a set's ticks from an instant on: inserted, run, and how late their first attempts began.
WITH due AS MATERIALIZED (
    SELECT t.schedule_id, t.tick, t.job_id, t.outcome
    FROM {schema}.tick AS t JOIN {schema}.schedule AS s ON s.id = t.schedule_id
    WHERE s.set_name = %(set_name)s AND t.tick >= %(since)s
      AND t.tick <= coalesce(%(now)s::timestamptz, clock_timestamp())
),
begun AS MATERIALIZED (
    -- A snooze and an interruption spend no attempt, so a job may have several rows of its first one.
    SELECT DISTINCT ON (a.job_id) extract(epoch FROM a.started_at - d.tick) * 1000 AS late_ms
    FROM due AS d JOIN {schema}.attempt AS a ON a.job_id = d.job_id AND a.attempt = 1 AND a.finished_at >= %(since)s
    WHERE d.outcome = 'inserted'
    ORDER BY a.job_id, a.started_at
)
SELECT (SELECT count(*) FROM due WHERE outcome = 'inserted') AS ticks_inserted,
       (SELECT count(*) FROM due WHERE outcome <> 'inserted') AS ticks_skipped,
       (SELECT count(*) FROM begun) AS ticks_begun,
       (SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY late_ms) FROM begun)::double precision AS lateness_p50_ms,
       (SELECT percentile_cont(0.99) WITHIN GROUP (ORDER BY late_ms) FROM begun)::double precision AS lateness_p99_ms,
       (SELECT max(late_ms) FROM begun)::double precision AS lateness_max_ms

-- name: outcomes
-- How many attempts ended in which way from an instant on, for the jobs of a set.
SELECT a.outcome, count(*)
FROM {schema}.attempt AS a
JOIN {schema}.tick AS t ON t.job_id = a.job_id AND t.tick >= %(since)s
JOIN {schema}.schedule AS s ON s.id = t.schedule_id AND s.set_name = %(set_name)s
WHERE a.finished_at >= %(since)s
GROUP BY a.outcome ORDER BY a.outcome

-- name: recent
-- The latest ticks of a set that are due, with where their jobs stand.
SELECT s.key, t.tick, j.state, j.queue, j.attempt, j.max_attempts, j.started_at, j.finished_at, j.run_at, j.error, j.result
FROM {schema}.tick AS t
JOIN {schema}.schedule AS s ON s.id = t.schedule_id
JOIN {schema}.jobs AS j ON j.id = t.job_id
WHERE s.set_name = %(set_name)s AND t.tick >= %(since)s
  AND t.tick <= coalesce(%(now)s::timestamptz, clock_timestamp())
ORDER BY t.tick DESC, s.key LIMIT %(limit)s

-- name: ahead
-- Per schedule of a set: the next tick, and how many are inserted ahead.
SELECT s.key, min(t.tick) AS next_tick, count(t.tick) AS inserted_ahead, s.definition ->> 'description' AS description,
       coalesce(s.definition ->> 'cron', 'every ' || (s.definition ->> 'every'), s.definition ->> 'at') AS timing
FROM {schema}.schedule AS s
LEFT JOIN {schema}.tick AS t ON t.schedule_id = s.id AND t.tick > clock_timestamp() AND t.outcome = 'inserted'
WHERE s.set_name = %(set_name)s AND s.state = 'active'
GROUP BY s.id ORDER BY s.key
