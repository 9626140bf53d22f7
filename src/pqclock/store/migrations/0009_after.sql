-- Jobs that wait until others have succeeded, and jobs that are parts of something larger.

-- What each job that `awaits` still waits for. Who is named here was there before, and nothing is added later: no circle
-- can come about.
CREATE TABLE {schema}.job_after (
    job_id        bigint NOT NULL,
    after_id      bigint NOT NULL,
    CONSTRAINT named_once PRIMARY KEY (job_id, after_id),
    CONSTRAINT after_another CHECK (after_id <> job_id)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000, autovacuum_analyze_scale_factor = 0,
        autovacuum_analyze_threshold = 1000);
CREATE INDEX job_after_ended ON {schema}.job_after (after_id);

-- Jobs at which whoever leads has to look, since others wait for them: they have ended in this `state`; or, without one,
-- somebody began to wait for them, and did not see whether they ended meanwhile.
CREATE TABLE {schema}.after_note (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    job_id        bigint NOT NULL,
    state         text,
    look_at       timestamptz
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

-- A collection that was split into jobs: they have its id as their parent.
CREATE TABLE {schema}.fan_out (
    id            bigint PRIMARY KEY,
    task          text NOT NULL,
    total         bigint NOT NULL,
    created_at    timestamptz NOT NULL
);
CREATE INDEX fan_out_forget ON {schema}.fan_out (created_at);

-- Looks at what kinds of jobs say of others: `after` without those that have succeeded, whose place is not needed. The
-- `fault` tells of a job or a parent that nobody knows.
CREATE FUNCTION {schema}.related(kinds jsonb, OUT looked_at jsonb, OUT fault text)
LANGUAGE plpgsql STABLE
AS $$
DECLARE
    found record;
    unfinished bigint[];
BEGIN
    looked_at := kinds;
    IF NOT jsonb_path_exists(kinds, '$[*].options ? (exists(@.after) || exists(@.parent))') THEN
        RETURN;
    END IF;
    SELECT array_agg(w.id) FILTER (WHERE w.state <> 'succeeded') AS unfinished, min(w.id) FILTER (WHERE w.state IS NULL) AS lost,
           min(w.task) FILTER (WHERE w.state IS NULL) AS task, bool_or(w.id IS NULL) AS nameless, min(w.task) AS any_task
    INTO found
    FROM (
        SELECT n.id, n.task, coalesce(
                   (SELECT 'live' FROM {schema}.job AS j WHERE j.id = n.id),
                   (SELECT h.state FROM {schema}.job_history AS h WHERE h.id = n.id LIMIT 1)) AS state
        FROM (
            SELECT a.id::bigint, min(k.kind ->> 'task') AS task
            FROM jsonb_array_elements(kinds) AS k (kind)
            CROSS JOIN LATERAL jsonb_array_elements_text(k.kind #> '{options,after}') AS a (id) GROUP BY 1
        ) AS n
    ) AS w;
    IF found.nameless THEN
        fault := format('task %L: after has a NULL among its ids: name jobs by their ids', found.any_task);
    ELSIF found.lost IS NOT NULL THEN
        fault := format('task %L: after names job %s, which the database does not have: it was never committed, or is not yet, '
                        'or its history was not kept', found.task, found.lost);
    END IF;
    SELECT coalesce(fault, format(
               'task %L: the parent %s is no job and no fan-out that the database has: pass a handle, or an id of one',
               k.kind ->> 'task', k.kind #>> '{options,parent}'))
    INTO fault
    FROM jsonb_array_elements(kinds) AS k (kind)
    WHERE fault IS NOT NULL OR k.kind #> '{options,parent}' IS NOT NULL AND k.kind #> '{options,fan}' IS NULL
      AND NOT EXISTS (SELECT FROM {schema}.job AS j WHERE j.id = (k.kind #>> '{options,parent}')::bigint)
      AND NOT EXISTS (SELECT FROM {schema}.fan_out AS f WHERE f.id = (k.kind #>> '{options,parent}')::bigint)
      AND NOT EXISTS (SELECT FROM {schema}.job_history AS h WHERE h.id = (k.kind #>> '{options,parent}')::bigint)
    LIMIT 1;
    unfinished := coalesce(found.unfinished, '{}');
    looked_at := (
        SELECT jsonb_agg(
            CASE WHEN k.kind #> '{options,after}' IS NULL THEN k.kind
                 WHEN l.ids IS NULL THEN k.kind #- '{options,after}'
                 ELSE jsonb_set(k.kind, '{options,after}', l.ids) END ORDER BY k.no)
        FROM jsonb_array_elements(kinds) WITH ORDINALITY AS k (kind, no)
        CROSS JOIN LATERAL (
            SELECT jsonb_agg(DISTINCT a.id) AS ids FROM jsonb_array_elements(k.kind #> '{options,after}') AS a (id)
            WHERE a.id::text::bigint IN (SELECT unnest(unfinished))
        ) AS l);
END $$;

-- Writes for what the jobs wait that an enqueue has let in; `late` ones met others, the `holders`. `beside` names jobs of
-- the same call, by their numbers in it. Of a fan-out the parts are counted.
--
-- Nothing here touches the row of a job that is waited for: that may end meanwhile, unseen, so the leader has to look at it
-- once this is committed. Jobs of the caller's own transaction cannot: they are `fresh`.
CREATE FUNCTION {schema}.put_relations(
    kinds jsonb, which integer[], ids bigint[], late bigint[], holders bigint[], moment timestamptz
) RETURNS void
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    woken bigint;
BEGIN
    WITH named AS (
        SELECT k.no, a.id::text::bigint AS after_id, NOT k.kind -> 'options' ? 'fresh' AS noted
        FROM jsonb_array_elements(kinds) WITH ORDINALITY AS k (kind, no)
        CROSS JOIN LATERAL jsonb_array_elements(k.kind #> '{options,after}') AS a (id)
        UNION ALL
        SELECT k.no, ids[b.number::text::integer], false
        FROM jsonb_array_elements(kinds) WITH ORDINALITY AS k (kind, no)
        CROSS JOIN LATERAL jsonb_array_elements(k.kind #> '{options,beside}') AS b (number)
    ),
    awaited AS MATERIALIZED (
        SELECT n.no, coalesce(l.met, n.after_id) AS after_id, n.noted OR l.met IS NOT NULL AS noted
        FROM named AS n LEFT JOIN unnest(late, holders) AS l (id, met) ON l.id = n.after_id
    ),
    placed AS MATERIALIZED (
        SELECT e.id, coalesce(which[e.no::integer], 1) AS kind, (e.id IN (SELECT unnest(late))) IS TRUE AS late
        FROM unnest(ids) WITH ORDINALITY AS e (id, no)
    ),
    waiting AS (
        INSERT INTO {schema}.job_after (job_id, after_id)
        SELECT DISTINCT p.id, a.after_id FROM placed AS p JOIN awaited AS a ON a.no = p.kind WHERE NOT p.late
    ),
    counted AS (
        INSERT INTO {schema}.fan_out AS f (id, task, total, created_at)
        SELECT (k.kind #>> '{options,parent}')::bigint, min(k.kind ->> 'task'), count(*) FILTER (WHERE NOT p.late), moment
        FROM placed AS p
        JOIN jsonb_array_elements(kinds) WITH ORDINALITY AS k (kind, no) ON k.no = p.kind
        WHERE k.kind -> 'options' ? 'fan' GROUP BY 1
        ON CONFLICT (id) DO UPDATE SET total = f.total + excluded.total
    ),
    noted AS (
        INSERT INTO {schema}.after_note (job_id) SELECT DISTINCT a.after_id FROM awaited AS a WHERE a.noted RETURNING id
    )
    SELECT count(pg_notify({channel}, 'after')) INTO woken FROM (SELECT FROM noted LIMIT 1) AS n;
END $$;

-- What follows for the jobs that wait for these, which have ended in these states. Those for which one of them ended
-- otherwise than well end as cancelled, and are noted for those that wait for them; those that wait for nothing more are
-- the next promotion's. The rows of the waiting jobs are the locks: of two that look, the second sees what the first did.
CREATE FUNCTION {schema}.follow(
    ids bigint[], states text[], most integer, moment timestamptz, OUT released bigint, OUT cancelled bigint
)
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    candidates bigint[];
    chosen bigint[];
    settled bigint[];
BEGIN
    candidates := ARRAY(SELECT DISTINCT a.job_id FROM {schema}.job_after AS a WHERE a.after_id = ANY(ids) LIMIT most);
    chosen := ARRAY(
        SELECT j.id FROM {schema}.job AS j WHERE j.id = ANY(candidates) AND j.awaits ORDER BY j.id FOR UPDATE SKIP LOCKED);
    WITH bad AS MATERIALIZED (
        SELECT DISTINCT ON (a.job_id) a.job_id,
               CASE s.state WHEN 'failed' THEN format('job %s failed', s.id)
                            WHEN 'gone' THEN format('job %s is gone: it has left no history', s.id)
                            ELSE format('job %s was %s', s.id, s.state) END AS reason
        FROM unnest(ids, states) AS s (id, state) JOIN {schema}.job_after AS a ON a.after_id = s.id
        WHERE s.state <> 'succeeded' AND a.job_id = ANY(chosen) ORDER BY a.job_id, a.after_id
    ),
    ended AS (
        DELETE FROM {schema}.job AS j USING bad AS b WHERE j.id = b.job_id RETURNING j.*, b.reason
    ),
    freed AS (
        DELETE FROM {schema}.unique_key AS u USING ended AS e
        WHERE e.unique_until <> 'time' AND u.task = e.task AND u.key = e.unique_key AND u.job_id = e.id
    ),
    unlinked AS (DELETE FROM {schema}.job_after AS a USING ended AS e WHERE a.job_id = e.id),
    noted AS (
        INSERT INTO {schema}.after_note (job_id, state)
        SELECT e.id, 'cancelled' FROM ended AS e
        WHERE EXISTS (SELECT FROM {schema}.job_after AS a WHERE a.after_id = e.id)
    ),
    history AS (
        INSERT INTO {schema}.job_history (
            id, state, queue, task, args, priority, labels, run_at, attempt, max_attempts, unique_key, unique_until,
            gates, units, run_options, checkpoint, parent_id, schedule_id, tick, created_at, finished_at, error)
        SELECT e.id, 'cancelled', e.queue, e.task, e.args, e.priority, e.labels, e.run_at, e.attempt, e.max_attempts,
               e.unique_key, e.unique_until, e.gates, e.units, e.run_options, e.checkpoint, e.parent_id, e.schedule_id,
               e.tick, e.created_at, moment, e.reason
        FROM ended AS e
        RETURNING id
    )
    SELECT count(*) INTO cancelled FROM history;
    -- Those that do not wait any more, by somebody else's hand, are not locked, and not there.
    settled := ARRAY(
        SELECT c.id FROM unnest(candidates) AS c (id)
        WHERE c.id IN (SELECT unnest(chosen)) OR NOT EXISTS (SELECT FROM {schema}.job AS j WHERE j.id = c.id AND j.awaits));
    DELETE FROM {schema}.job_after AS a WHERE a.after_id = ANY(ids) AND a.job_id = ANY(settled);
    WITH free AS (
        UPDATE {schema}.job AS j SET awaits = false, held = false, run_at = greatest(j.run_at, moment)
        WHERE j.id = ANY(chosen) AND j.awaits AND NOT EXISTS (SELECT FROM {schema}.job_after AS a WHERE a.job_id = j.id)
        RETURNING j.id
    )
    SELECT count(*) INTO released FROM free;
    -- For some it was too much at once, or they were locked: a little later.
    INSERT INTO {schema}.after_note (job_id, state, look_at)
    SELECT s.id, s.state, CASE WHEN cardinality(candidates) < most OR chosen = '{}' THEN moment + interval '0.5 seconds' END
    FROM unnest(ids, states) AS s (id, state)
    WHERE EXISTS (SELECT FROM {schema}.job_after AS a WHERE a.after_id = s.id);
END $$;

-- Looks at the jobs that were noted, at most so many at a time, and does what follows for those that wait for them. `more`
-- tells that some are left. A chain that ends is followed for some links.
CREATE FUNCTION {schema}.resolve_after(most integer, given_now timestamptz, OUT released bigint, OUT cancelled bigint, OUT more boolean)
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    moment constant timestamptz := coalesce(given_now, clock_timestamp());
    seen record;
    came record;
BEGIN
    released := 0;
    cancelled := 0;
    FOR link IN 1..20 LOOP
        WITH taken AS (
            DELETE FROM {schema}.after_note AS n WHERE n.id = ANY(ARRAY(
                SELECT o.id FROM {schema}.after_note AS o WHERE coalesce(o.look_at <= moment, true)
                ORDER BY o.id LIMIT most FOR UPDATE SKIP LOCKED))
            RETURNING n.job_id, n.state, n.look_at
        ),
        noted AS (
            SELECT t.job_id, max(t.state) AS state, bool_or(t.look_at IS NULL) AS again FROM taken AS t GROUP BY 1
        ),
        standing AS MATERIALIZED (
            SELECT n.job_id, n.again, CASE WHEN EXISTS (SELECT FROM {schema}.job AS j WHERE j.id = n.job_id) THEN 'live' ELSE coalesce(
                       (SELECT h.state FROM {schema}.job_history AS h WHERE h.id = n.job_id LIMIT 1), n.state, 'gone') END AS state
            FROM noted AS n
        ),
        -- What ends one may have begun before it was known that somebody waits: it is looked at once more.
        later AS (
            INSERT INTO {schema}.after_note (job_id, look_at)
            SELECT s.job_id, moment + interval '3 seconds' FROM standing AS s
            WHERE s.state = 'live' AND s.again AND EXISTS (SELECT FROM {schema}.job_after AS a WHERE a.after_id = s.job_id)
        )
        SELECT count(*) AS looked, array_agg(s.job_id) FILTER (WHERE s.state <> 'live') AS ids,
               array_agg(s.state) FILTER (WHERE s.state <> 'live') AS states INTO seen
        FROM standing AS s;
        EXIT WHEN seen.looked = 0;
        CONTINUE WHEN seen.ids IS NULL;
        SELECT f.* INTO came FROM {schema}.follow(seen.ids, seen.states, most, moment) AS f;
        released := released + came.released;
        cancelled := cancelled + came.cancelled;
        EXIT WHEN released + cancelled >= most;
    END LOOP;
    more := EXISTS (SELECT FROM {schema}.after_note AS n WHERE coalesce(n.look_at <= moment, true));
END $$;

-- Notes a slice of the jobs that are waited for and that are not there any more, whoever forgot to; gives where to go on,
-- null at the end.
CREATE FUNCTION {schema}.walk_after(beyond bigint, most integer) RETURNS bigint
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    looked bigint[];
BEGIN
    looked := ARRAY(
        SELECT a.after_id FROM {schema}.job_after AS a WHERE a.after_id > beyond ORDER BY a.after_id LIMIT most);
    INSERT INTO {schema}.after_note (job_id)
    SELECT DISTINCT l.id FROM unnest(looked) AS l (id) WHERE NOT EXISTS (SELECT FROM {schema}.job AS j WHERE j.id = l.id);
    -- As many rows as are looked at may have the same one: those behind them were noted with it.
    RETURN CASE WHEN cardinality(looked) = most THEN looked[most] END;
END $$;
