-- name: ledger_begins
-- The beginning of the oldest daily partition of the ledger; null when there is none, and nothing was ever dropped.
SELECT min(to_date(right(c.relname, 8), 'YYYYMMDD'))::timestamp AT TIME ZONE 'UTC'
FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
WHERE i.inhparent = to_regclass('{schema}.tick') AND c.relname ~ '_[0-9]{8}$'

-- name: inserted
-- The ticks from one through another that have a job, or had one.
SELECT t.tick FROM {schema}.tick AS t
WHERE t.schedule_id = %(schedule_id)s AND t.tick BETWEEN %(first)s AND %(last)s AND t.outcome = 'inserted'

-- name: rows
-- What the ledger has of the ticks from one through another, also in rows that begin before.
SELECT t.tick, t.through, t.count, t.nominal, t.outcome, t.reason, t.origin, t.job_id, t.inserted_at
FROM {schema}.tick AS t
WHERE t.schedule_id = %(schedule_id)s AND t.tick BETWEEN %(first)s AND %(last)s
UNION ALL
SELECT t.tick, t.through, t.count, t.nominal, t.outcome, t.reason, t.origin, t.job_id, t.inserted_at
FROM {schema}.tick AS t
WHERE t.schedule_id = %(schedule_id)s AND t.tick < %(first)s AND t.through >= %(first)s AND t.through > t.tick

-- name: take_out
-- Ledger rows that others take the place of, in the same transaction.
DELETE FROM {schema}.tick AS t
WHERE t.schedule_id = %(schedule_id)s AND t.tick = ANY(%(ticks)s::timestamptz[]) AND t.outcome <> 'inserted'

-- name: write
INSERT INTO {schema}.tick (schedule_id, tick, through, count, nominal, outcome, reason, origin, job_id, inserted_at)
SELECT %(schedule_id)s, r.tick, r.through, r.count, r.nominal, r.outcome, r.reason, r.origin, r.job_id, r.inserted_at
FROM jsonb_to_recordset(%(rows)s::jsonb) AS r (
    tick timestamptz, through timestamptz, count bigint, nominal timestamptz, outcome text, reason text, origin text,
    job_id bigint, inserted_at timestamptz)

-- name: adopt
-- Make jobs that were just inserted those of ticks.
UPDATE {schema}.job AS j
SET schedule_id = %(schedule_id)s, watched = true, tick = a.tick, expires_at = j.run_at + %(expires_in)s::interval
FROM unnest(%(ids)s::bigint[], %(ticks)s::timestamptz[]) AS a (id, tick)
WHERE j.id = a.id

-- name: unfinished
-- How many jobs of backfilled ticks of a schedule have not ended yet, whoever inserted them. Those that were inserted
-- ahead are told apart by their time; the ledger is asked for each of the others, since it holds many more ticks.
SELECT count(*) FROM {schema}.job AS j
WHERE j.watched AND j.schedule_id = %(schedule_id)s AND j.created_at > j.tick
  AND (SELECT t.origin FROM {schema}.tick AS t WHERE t.schedule_id = j.schedule_id AND t.tick = j.tick) = 'backfill'

-- name: ended
-- Of these jobs, inserted after an instant, those that have ended, with their state if the history has it.
SELECT i.id, h.state
FROM unnest(%(ids)s::bigint[]) AS i (id)
LEFT JOIN {schema}.job_history AS h ON h.id = i.id AND h.finished_at >= %(since)s
WHERE NOT EXISTS (SELECT FROM {schema}.job AS j WHERE j.id = i.id)
