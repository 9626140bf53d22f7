-- What a person does with jobs that have ended: they live again, under the same id.

-- Moves jobs in these states from the history back: ready now, with all their attempts, behind the gates they had, and
-- with their unique keys, which they must get first. Where jobs of a schedule must not overlap they wait for the
-- unfinished ones. Gives what became of those it found: `ready`, `held`, or `unique` with the job that has the key.
--
-- The row in the history is the lock: of two that want the same job, the second one finds it gone.
CREATE FUNCTION {schema}.revive_jobs(ids bigint[], states text[], given_now timestamptz)
RETURNS TABLE (id bigint, outcome text, holder bigint)
LANGUAGE plpgsql VOLATILE
AS $$
#variable_conflict use_column
DECLARE
    moment constant timestamptz := coalesce(given_now, clock_timestamp());
    paused constant text[] := {schema}.paused_gates(moment);
    found {schema}.job_history[];
    late bigint[];
    holders bigint[];
    woken bigint;
BEGIN
    -- Whoever decides on ticks holds the row of the schedule while it looks at what is unfinished.
    PERFORM FROM {schema}.schedule AS s
    WHERE s.id = ANY(ARRAY(SELECT h.schedule_id FROM {schema}.job_history AS h WHERE h.id = ANY(ids) AND h.state = ANY(states)))
      AND coalesce(s.definition ->> 'overlap', 'allow') <> 'allow'
    ORDER BY s.id FOR UPDATE;
    found := ARRAY(
        SELECT h FROM {schema}.job_history AS h WHERE h.id = ANY(ids) AND h.state = ANY(states) ORDER BY h.id FOR UPDATE);
    -- A key until the start is given up at the first start for ever, one for a time outlives its job.
    SELECT coalesce(array_agg(t.id), '{}'), coalesce(array_agg(t.met), '{}') INTO late, holders
    FROM {schema}.take_keys(ARRAY(
        SELECT jsonb_populate_record(NULL::{schema}.entry, jsonb_build_object(
            'id', f.id, 'task', f.task, 'unique_key', f.unique_key, 'unique_until', f.unique_until))
        FROM unnest(found) AS f
        WHERE f.unique_until = 'finished' OR (f.unique_until = 'started' AND f.attempt = 0 AND f.started_at IS NULL)
        ORDER BY f.id), moment) AS t;
    WITH gone AS MATERIALIZED (
        DELETE FROM {schema}.job_history AS h
        WHERE h.id = ANY(ARRAY(SELECT f.id FROM unnest(found) AS f WHERE f.id <> ALL(late))) AND h.state = ANY(states)
        RETURNING h.*
    ),
    carried AS MATERIALIZED (
        SELECT g.*, g.state AS was, s.id IS NOT NULL AS watched, p.gates AS now_gates,
               CASE WHEN p.gates IS NOT NULL THEN coalesce(g.units, 1) END AS now_units
        FROM gone AS g
        LEFT JOIN {schema}.schedule AS s
               ON s.id = g.schedule_id AND s.state <> 'removed' AND coalesce(s.definition ->> 'overlap', 'allow') <> 'allow'
        -- A pause may have ended since, and another begun.
        CROSS JOIN LATERAL (
            SELECT nullif(ARRAY(
                SELECT DISTINCT o COLLATE "C" FROM unnest(
                    ARRAY(SELECT n FROM unnest(g.gates) AS n WHERE n NOT LIKE 'pause:%')
                    || {schema}.pauses_of(g.task, g.labels, paused)) AS o
                ORDER BY 1), '{}') AS gates) AS p
    ),
    placed AS (
        SELECT c.*, c.watched AND (
                   row_number() OVER (PARTITION BY c.watched, c.schedule_id ORDER BY c.id) > 1
                   OR EXISTS (SELECT FROM {schema}.job AS j WHERE j.watched AND j.schedule_id = c.schedule_id)) AS held
        FROM carried AS c ORDER BY c.id
    ),
    back AS (
        INSERT INTO {schema}.job (
            id, ready_seq, run_at, created_at, schedule_id, tick, state, priority, max_attempts, held, watched, queue, task,
            args, labels, error, unique_key, unique_until, lane, gates, units,
            run_options, checkpoint, parent_id)
        SELECT p.id, CASE WHEN p.held THEN NULL ELSE nextval('{schema}.ready_seq') END, moment, p.created_at, p.schedule_id,
               p.tick, (CASE WHEN p.held THEN 'scheduled' ELSE 'ready' END)::{schema}.live_state, p.priority,
               p.max_attempts, p.held, p.watched, p.queue, p.task, p.args, p.labels, p.error, p.unique_key, p.unique_until,
               CASE WHEN p.now_gates IS NOT NULL THEN {schema}.lane_of(p.queue, p.task, p.now_gates, p.now_units) END,
               p.now_gates, p.now_units, p.run_options,
               -- What was interrupted goes on; what has come to its end begins anew.
               CASE WHEN p.was <> 'succeeded' THEN p.checkpoint END, p.parent_id
        FROM placed AS p
        RETURNING id, state, queue, task, priority, lane, gates, units, held
    ),
    arrived AS (
        INSERT INTO {schema}.arrival (lane, queue, task, gates, units, priority)
        SELECT DISTINCT ON (b.lane) b.lane, b.queue, b.task, b.gates, b.units, b.priority
        FROM back AS b WHERE b.lane IS NOT NULL AND b.state = 'ready' ORDER BY b.lane, b.priority
    )
    SELECT count(pg_notify({channel}, w.wake)) INTO woken FROM (
        SELECT DISTINCT CASE WHEN b.held THEN 'release' WHEN b.lane IS NULL THEN 'ready ' || b.queue
                             ELSE 'gated ' || b.queue END AS wake
        FROM back AS b
    ) AS w;
    RETURN QUERY
        SELECT f.id, CASE WHEN l.id IS NOT NULL THEN 'unique' WHEN j.held THEN 'held' ELSE 'ready' END, l.met
        FROM unnest(found) AS f
        LEFT JOIN unnest(late, holders) AS l (id, met) ON l.id = f.id
        LEFT JOIN {schema}.job AS j ON j.id = f.id
        ORDER BY f.id;
END $$;
