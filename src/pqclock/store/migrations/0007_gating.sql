-- What gets out: the claim of jobs behind gates, and what the end of a run means for the gates that let it through.
--
-- Locks are taken in one order: lanes, then gates by id, then ready jobs. Lanes and ready jobs only with SKIP LOCKED, so
-- nobody waits for one while holding a gate; and a gate is held for the length of one statement of the server, since
-- all of this happens in one call.
--
-- Plans are made once a session, perhaps while a table is empty: each row is asked for by its key, so that there is no
-- other plan, and what looks redundant beside a join says so to the planner. What is found so is joined by hashing, since
-- loops would compare all with all; where one row is asked for at a time, a LATERAL leaves no choice.

-- An instant in nanoseconds since 1970, and back: upwards, since a start must never come too early. What is beyond the
-- numbers, as a closing for three hundred years, is looked at again where they end.
CREATE FUNCTION {schema}.to_ns(moment timestamptz) RETURNS bigint
LANGUAGE sql IMMUTABLE
AS $$
    SELECT (extract(epoch FROM CASE WHEN moment > '2260-01-01 00:00Z' THEN timestamptz '2260-01-01 00:00Z'
                                    ELSE moment END) * 1000000)::bigint * 1000
$$;

CREATE FUNCTION {schema}.from_ns(ns bigint) RETURNS timestamptz
LANGUAGE sql IMMUTABLE
AS $$ SELECT timestamptz '1970-01-01 00:00Z' + ((ns + 999) / 1000)::double precision * interval '1 microsecond' $$;

-- How gates stand at an instant: whether one is closed to everybody and until when (null: nobody knows), the places it
-- has left (null: it does not count them), and its rate. A rule that nobody has declared closes its gates, one that was
-- removed opens them.
CREATE FUNCTION {schema}.gate_standings(ids bigint[], moment timestamptz) RETURNS TABLE (
    gate_id bigint, name text, kind text, closed boolean, closed_to timestamptz, places bigint, takes_slot boolean,
    tat_ns bigint, interval_ns bigint, burst bigint, rate bigint, epoch bigint, waited boolean
)
LANGUAGE sql STABLE
AS $$
    SELECT g.id, g.name, g.kind, c.closed,
           CASE WHEN c.closed THEN nullif(c.closed_to, 'infinity') END,
           t.places - (SELECT count(*) FROM {schema}.slot AS s WHERE t.places IS NOT NULL AND s.gate_id = g.id),
           t.places IS NOT NULL,
           g.tat_ns, r.interval_ns, r.burst, r.rate, g.epoch, g.queues <> '{}'
    FROM {schema}.gate AS g
    LEFT JOIN LATERAL (
        SELECT f.* FROM {schema}.rule AS f WHERE f.kind = g.kind AND f.name = g.rule AND f.state = 'active' LIMIT 1
    ) AS r ON true
    LEFT JOIN LATERAL (
        SELECT f.* FROM {schema}.pause AS f WHERE g.kind = 'pause' AND f.kind = g.rule AND f.name = g.key LIMIT 1
    ) AS p ON true
    CROSS JOIN LATERAL (SELECT CASE
        WHEN g.kind = 'pause' THEN p.paused_until
        WHEN r.name IS NOT NULL THEN greatest(g.closed_until, g.reserved_until, g.blown_until)
    END AS closed_to) AS u
    CROSS JOIN LATERAL (SELECT u.closed_to, CASE
        WHEN g.kind = 'pause' THEN p.name IS NOT NULL AND coalesce(p.paused_until > moment, true)
        WHEN r.name IS NOT NULL THEN coalesce(u.closed_to > moment, false)
        ELSE NOT EXISTS (SELECT FROM {schema}.rule AS e WHERE e.kind = g.kind AND e.name = g.rule)
    END AS closed) AS c
    CROSS JOIN LATERAL (SELECT CASE
        WHEN r.kind = 'throttle' THEN r.concurrency
        WHEN r.kind = 'fuse' AND g.blown_until <= moment THEN r.probes
    END AS places) AS t
    WHERE g.id = ANY(ids)
$$;

-- Makes lanes of what has arrived; gives how many arrivals were settled, and whether some had to be left for later.
CREATE FUNCTION {schema}.admit_arrivals(most integer, OUT settled integer, OUT left_over boolean)
LANGUAGE plpgsql VOLATILE
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_bitmapscan = off SET enable_nestloop = off
SET enable_mergejoin = off
AS $$
DECLARE
    ids bigint[];
BEGIN
    settled := 0;
    left_over := false;
    ids := ARRAY(SELECT a.id FROM {schema}.arrival AS a ORDER BY a.id LIMIT most FOR UPDATE SKIP LOCKED);
    IF ids = '{}' THEN
        RETURN;
    END IF;
    WITH wanted AS MATERIALIZED (
        SELECT DISTINCT ON (a.lane) a.* FROM {schema}.arrival AS a WHERE a.id = ANY(ids) ORDER BY a.lane, a.priority, a.id
    ),
    -- A lane in the hands of another claim, which may find it empty just now, is looked at again.
    held AS MATERIALIZED (
        SELECT l.lane FROM {schema}.lane AS l WHERE l.lane = ANY(ARRAY(SELECT w.lane FROM wanted AS w))
        ORDER BY l.lane FOR UPDATE SKIP LOCKED
    ),
    better AS (
        UPDATE {schema}.lane AS l SET priority = least(l.priority, w.priority), gate_id = nullif(l.gate_id, 0) FROM wanted AS w
        WHERE l.lane = w.lane AND (l.priority > w.priority OR l.gate_id = 0)
          AND l.lane = ANY(ARRAY(SELECT h.lane FROM held AS h))
    ),
    -- Who came first is served first.
    placed AS MATERIALIZED (
        SELECT n.*, nextval('{schema}.lane_turn') AS turn FROM (
            SELECT * FROM wanted AS w WHERE (SELECT l.lane FROM {schema}.lane AS l WHERE l.lane = w.lane) IS NULL ORDER BY w.id
        ) AS n
    ),
    added AS (
        INSERT INTO {schema}.lane (lane, queue, task, gates, units, priority, turn)
        SELECT p.lane, p.queue, p.task, p.gates, p.units, p.priority, p.turn FROM placed AS p ORDER BY p.lane
        ON CONFLICT DO NOTHING
        RETURNING lane
    ),
    done AS (
        DELETE FROM {schema}.arrival AS a
        WHERE a.id = ANY(ids) AND (a.lane IN (SELECT lane FROM held UNION ALL SELECT lane FROM added)) IS TRUE
        RETURNING a.id
    )
    SELECT count(*) INTO settled FROM done;
    left_over := settled = most OR settled < cardinality(ids);
END $$;

-- Locks gates in the order of their ids; gives these.
CREATE FUNCTION {schema}.lock_gates(names text[]) RETURNS bigint[]
LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
    RETURN ARRAY(
        SELECT l.id FROM (
            SELECT (SELECT g.id FROM {schema}.gate AS g WHERE g.name = n.name) AS id FROM unnest(names) AS n (name) ORDER BY 1
        ) AS k
        CROSS JOIN LATERAL (SELECT g.id FROM {schema}.gate AS g WHERE g.id = k.id FOR UPDATE) AS l);
END $$;

-- Makes the rows of gates that are met for the first time.
CREATE FUNCTION {schema}.make_gates(names text[]) RETURNS void
LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
    INSERT INTO {schema}.gate (name, kind, rule, key)
    SELECT n.name, split_part(n.name, ':', 1), split_part(n.name, ':', 2),
           substr(n.name, length(split_part(n.name, ':', 1)) + length(split_part(n.name, ':', 2)) + 3)
    FROM (SELECT DISTINCT u.name FROM unnest(names) AS u (name)) AS n
    WHERE (SELECT g.id FROM {schema}.gate AS g WHERE g.name = n.name) IS NULL
    ORDER BY n.name
    ON CONFLICT DO NOTHING;
END $$;

-- Locks gates, and makes those that are met for the first time; gives their ids. Those that are there are locked before
-- others are made: whoever meets the new ones waits for the one who makes them, and must find him waiting for nobody.
CREATE FUNCTION {schema}.meet_gates(names text[]) RETURNS bigint[]
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    ids bigint[] := {schema}.lock_gates(names);
BEGIN
    IF cardinality(ids) < cardinality(names) THEN
        PERFORM {schema}.make_gates(names);
        ids := {schema}.lock_gates(names);
    END IF;
    RETURN ids;
END $$;

-- When the lanes that wait for these gates are to be looked at again, by how the gates stand now; nobody waits any more
-- for those without lanes. The caller holds their locks.
CREATE FUNCTION {schema}.note_waiting(ids bigint[], moment timestamptz) RETURNS void
LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
    UPDATE {schema}.gate AS g SET opens_at = n.opens_at, queues = n.queues
    FROM (
        SELECT o.id,
               CASE WHEN NOT w.fitting THEN NULL
                    WHEN s.closed THEN s.closed_to
                    WHEN s.places <= 0 THEN NULL
                    ELSE greatest(moment, {schema}.from_ns(s.tat_ns + (1 - s.burst) * s.interval_ns)) END AS opens_at,
               CASE WHEN w.waiting THEN o.queues ELSE '{}' END AS queues
        FROM {schema}.gate_standings(ids, moment) AS s
        JOIN {schema}.gate AS o ON o.id = s.gate_id AND o.id = ANY(ids) AND o.queues <> '{}'
        -- To what needs more units than the rate no instant is of use, only another rule.
        CROSS JOIN LATERAL (
            SELECT EXISTS (SELECT FROM {schema}.lane AS l WHERE l.gate_id = o.id) AS waiting,
                   EXISTS (SELECT FROM {schema}.lane AS l
                           WHERE l.gate_id = o.id AND (s.rate IS NULL OR l.units <= s.rate)) AS fitting) AS w
    ) AS n
    WHERE g.id = n.id AND g.id = ANY(ids) AND (g.opens_at, g.queues) IS DISTINCT FROM (n.opens_at, n.queues);
END $$;

-- Lanes none of whose jobs could be taken, each in somebody else's hands, expired or paused, rest: no claim comes across
-- them. They are looked at again when something arrives in them, or with the next look of a worker that was not called.
CREATE FUNCTION {schema}.rouse_lanes(most integer) RETURNS bigint
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    roused bigint;
BEGIN
    UPDATE {schema}.lane AS l SET gate_id = NULL WHERE l.lane = ANY(ARRAY(
        SELECT r.lane FROM {schema}.lane AS r WHERE r.gate_id = 0 ORDER BY r.priority, r.turn LIMIT most
        FOR UPDATE SKIP LOCKED));
    GET DIAGNOSTICS roused = ROW_COUNT;
    RETURN roused;
END $$;

-- ready -> running for jobs behind gates, of tasks this worker knows: the lane with the best priority at its head first,
-- ties in turn. Beside free jobs of the same priority it takes half of the room; `odd` says who gets the odd one, and
-- null that free jobs do not count. Of jobs that pass fuses it takes no more than `fused_room`.
-- The last row has no job: whether another look now is worth it, whether jobs were left to wait for the sake of free
-- ones, whether `odd` has decided anything, and when the gates open that lanes were parked on.
--
-- What is read under the locks is decided on in memory, since a statement costs more than all that is done in it.
CREATE FUNCTION {schema}.claim_gated(
    in_queues text[], but_queues text[], tasks text[], room integer, fused_room integer, worker bigint, new_lease bigint,
    odd integer, given_now timestamptz, OUT job {schema}.job, OUT again boolean, OUT cut boolean, OUT turned boolean,
    OUT wakes timestamptz[]
) RETURNS SETOF record
LANGUAGE plpgsql VOLATILE
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_bitmapscan = off SET enable_nestloop = off
SET enable_mergejoin = off
AS $$
DECLARE
    most constant integer := room + 5;
    -- Other claims may have the first ones in their hands.
    deep constant integer := 2 * most + 20;
    moment timestamptz := coalesce(given_now, clock_timestamp());
    now_ns bigint;
    arrivals record;
    paused_queues text[]; paused_tasks text[]; paused_labels text[];
    -- Lanes, in the order of their turns; those of a lane's gates are at lane_from to lane_to in lane_gates.
    lanes uuid[]; lane_needs bigint[]; lane_queues text[]; lane_names text[]; parked_on bigint[];
    lane_gates integer[]; gate_lanes integer[]; lane_from integer[]; lane_to integer[];
    parks integer[]; served boolean[]; barren boolean[]; open_lanes integer[];
    -- Gates, in the order of their ids.
    ids bigint[]; names text[]; closed boolean[]; opens bigint[]; places bigint[]; slots boolean[];
    tats bigint[]; intervals bigint[]; bursts bigint[]; rates bigint[]; fuses boolean[]; epochs bigint[]; waited boolean[];
    touched boolean[]; reserved bigint[];
    job_ids bigint[]; job_lanes integer[]; job_levels smallint[]; free_levels smallint[];
    grants bigint[] := '{}'; grant_lanes integer[] := '{}'; grant_fuses text[] := '{}';
    slot_gates bigint[] := '{}'; slot_jobs bigint[] := '{}';
    level smallint; better bigint; alike bigint; before bigint; at_this bigint; share bigint;
    x integer; n integer; need bigint; due bigint; rank integer; best integer; fits boolean; wanting integer[];
    fused boolean; fused_left integer := fused_room;
    hindered boolean; is_odd boolean; passed text; progress bigint; met bigint; open_left boolean := false; first_ns bigint;
BEGIN
    -- A change of rules is not committed while a claim goes by what it read of them before.
    PERFORM pg_advisory_xact_lock_shared(hashtext('rules and claims'), hashtext({channel}));
    again := false;
    cut := false;
    turned := false;
    SELECT a.* INTO arrivals FROM {schema}.admit_arrivals(1000) AS a;
    SELECT coalesce(array_agg(q.name), '{}') INTO paused_queues FROM {schema}.queue AS q WHERE q.paused_until > moment;
    SELECT coalesce(array_agg(p.name) FILTER (WHERE p.kind = 'task'), '{}'),
           coalesce(array_agg(p.name) FILTER (WHERE p.kind = 'label'), '{}')
    INTO paused_tasks, paused_labels
    FROM {schema}.pause AS p WHERE coalesce(p.paused_until > moment, true);

    -- Lanes that are open, and those that wait for a gate whose time has come. A lane of a paused task that has no gate for
    -- that yet is left alone; the others can be parked.
    -- Those at the front of all lanes are looked through, up to a bound.
    WITH RECURSIVE front AS MATERIALIZED (
        SELECT l.lane, l.priority, l.turn, l.queue, l.task, l.gates FROM {schema}.lane AS l
        WHERE l.gate_id IS NULL ORDER BY l.priority, l.turn LIMIT deep
    ),
    fronted AS MATERIALIZED (
        SELECT f.lane, f.priority, f.turn FROM front AS f
        WHERE f.queue <> ALL(but_queues || paused_queues) AND (in_queues IS NULL OR f.queue = ANY(in_queues))
          AND f.task = ANY(tasks) AND (f.task <> ALL(paused_tasks) OR 'pause:task:' || f.task = ANY(f.gates))
    ),
    -- Only when that was not enough: one step of the index to each queue and task that has open lanes, over all lanes of
    -- the others.
    deeper AS MATERIALIZED (
        SELECT (SELECT count(*) FROM front) = deep AND (SELECT count(*) FROM fronted) < most AS needed
    ),
    pair AS (
        (SELECT l.queue, l.task FROM {schema}.lane AS l
         WHERE (SELECT d.needed FROM deeper AS d) AND l.gate_id IS NULL ORDER BY l.queue, l.task LIMIT 1)
        UNION ALL
        SELECT f.queue, f.task FROM pair AS p CROSS JOIN LATERAL (
            SELECT l.queue, l.task FROM {schema}.lane AS l
            WHERE l.gate_id IS NULL AND (l.queue, l.task) > (p.queue, p.task) ORDER BY l.queue, l.task LIMIT 1) AS f
    ),
    mine AS MATERIALIZED (
        SELECT p.queue, p.task FROM pair AS p
        WHERE p.task = ANY(tasks) AND p.queue <> ALL(but_queues || paused_queues)
          AND (in_queues IS NULL OR p.queue = ANY(in_queues))
    ),
    -- Gates that only others wait for must not hide those behind them.
    due AS MATERIALIZED (
        SELECT g.id FROM {schema}.gate AS g
        WHERE g.opens_at <= moment AND (in_queues IS NULL OR g.queues && in_queues)
          AND NOT g.queues <@ (but_queues || paused_queues)
          AND (SELECT true FROM {schema}.lane AS l
               WHERE l.gate_id = g.id AND l.task = ANY(tasks)
                 AND (l.task <> ALL(paused_tasks) OR 'pause:task:' || l.task = ANY(l.gates))
                 AND l.queue <> ALL(but_queues || paused_queues) AND (in_queues IS NULL OR l.queue = ANY(in_queues))
               LIMIT 1)
        ORDER BY g.opens_at LIMIT 100
    ),
    near AS MATERIALIZED (
        SELECT f.* FROM fronted AS f WHERE NOT (SELECT d.needed FROM deeper AS d)
        UNION ALL
        SELECT l.* FROM mine AS p CROSS JOIN LATERAL (
            SELECT l.lane, l.priority, l.turn FROM {schema}.lane AS l
            WHERE l.gate_id IS NULL AND l.queue = p.queue AND l.task = p.task
              AND (l.task <> ALL(paused_tasks) OR 'pause:task:' || l.task = ANY(l.gates))
            ORDER BY l.priority, l.turn LIMIT CASE WHEN (SELECT count(*) FROM mine) <= 4 THEN deep ELSE most END) AS l
        UNION ALL
        SELECT l.* FROM due AS d CROSS JOIN LATERAL (
            SELECT l.lane, l.priority, l.turn FROM {schema}.lane AS l
            WHERE l.gate_id = d.id AND l.task = ANY(tasks)
              AND (l.task <> ALL(paused_tasks) OR 'pause:task:' || l.task = ANY(l.gates))
              AND l.queue <> ALL(but_queues || paused_queues) AND (in_queues IS NULL OR l.queue = ANY(in_queues))
            ORDER BY l.priority, l.turn LIMIT most) AS l
    ),
    -- Locked one after the other, in the order of the subquery, until there are enough.
    locked AS MATERIALIZED (
        SELECT l.*, n.priority, n.turn FROM (SELECT * FROM near ORDER BY priority, turn LIMIT deep) AS n
        CROSS JOIN LATERAL (
            SELECT l.lane, l.units, l.queue, l.gates, l.gate_id FROM {schema}.lane AS l
            WHERE l.lane = n.lane FOR UPDATE SKIP LOCKED) AS l
        LIMIT most
    ),
    chosen AS MATERIALIZED (
        SELECT l.*, row_number() OVER (ORDER BY l.priority, l.turn) AS no FROM locked AS l
    )
    SELECT array_agg(c.lane ORDER BY c.no), array_agg(c.units ORDER BY c.no), array_agg(c.queue ORDER BY c.no),
           array_agg(c.gate_id ORDER BY c.no),
           ARRAY(SELECT DISTINCT unnest(u.gates) FROM chosen AS u), (SELECT count(*) FROM near)
    INTO lanes, lane_needs, lane_queues, parked_on, lane_names, met FROM chosen AS c;
    IF lanes IS NULL THEN
        again := arrivals.settled > 0;
        -- Whoever comes a moment too early comes again, and who meets only what other claims have in their hands.
        wakes := ARRAY(SELECT g.opens_at FROM {schema}.gate AS g
                       WHERE g.opens_at > moment AND g.opens_at < moment + interval '5 ms' ORDER BY g.opens_at LIMIT 1)
                 || CASE WHEN met > 0 THEN ARRAY[moment + interval '10 ms'] END;
        RETURN NEXT;
        RETURN;
    END IF;

    -- Only what is read under the locks of the gates counts, and only a time that is read then.
    ids := {schema}.meet_gates(lane_names);
    moment := coalesce(given_now, clock_timestamp());
    now_ns := {schema}.to_ns(moment);
    SELECT array_agg(s.gate_id), array_agg(s.name), array_agg(s.closed), array_agg({schema}.to_ns(s.closed_to)),
           array_agg(s.places), array_agg(s.takes_slot), array_agg(s.tat_ns), array_agg(s.interval_ns), array_agg(s.burst),
           array_agg(s.rate), array_agg(s.kind = 'fuse'), array_agg(s.epoch), array_agg(s.waited), array_agg(s.waited),
           array_agg(NULL::bigint)
    INTO ids, names, closed, opens, places, slots, tats, intervals, bursts, rates, fuses, epochs, waited, touched,
         reserved
    FROM (SELECT * FROM {schema}.gate_standings(ids, moment) AS s ORDER BY s.gate_id) AS s;
    SELECT array_agg(g.no ORDER BY o.no, g.no), array_agg(o.no ORDER BY o.no, g.no) INTO lane_gates, gate_lanes
    FROM unnest(lanes) WITH ORDINALITY AS o (lane, no)
    JOIN {schema}.lane AS l ON l.lane = o.lane AND l.lane = ANY(lanes)
    CROSS JOIN LATERAL unnest(l.gates) AS u (name)
    JOIN unnest(names) WITH ORDINALITY AS g (name, no) ON g.name = u.name;
    parks := array_fill(0, ARRAY[cardinality(lanes)]);
    served := array_fill(false, ARRAY[cardinality(lanes)]);
    barren := array_fill(false, ARRAY[cardinality(lanes)]);
    lane_from := array_fill(1, ARRAY[cardinality(lanes)]);
    lane_to := array_fill(0, ARRAY[cardinality(lanes)]);
    FOR i IN 1 .. cardinality(gate_lanes) LOOP
        n := gate_lanes[i];
        IF lane_to[n] = 0 THEN
            lane_from[n] := i;
        END IF;
        lane_to[n] := i;
    END LOOP;

    -- First every lane is judged; then jobs are granted; then, if there was room for more, every lane once more: while
    -- others have jobs, a lane that was served needs no place to wait, since its next turn is far.
    FOR pass IN 1 .. 2 LOOP
        EXIT WHEN pass = 2 AND cardinality(grants) >= room;
        open_lanes := '{}';
        FOR i IN 1 .. cardinality(lanes) LOOP
            -- It waits on what is closed nobody knows how long, else on what opens last: one write for each gate.
            parks[i] := 0;
            best := 0;
            due := 0;
            wanting := '{}';
            hindered := false;
            FOR k IN lane_from[i] .. lane_to[i] LOOP
                x := lane_gates[k];
                rank := 0;
                IF lane_needs[i] > rates[x] THEN
                    -- No window would ever hold them.
                    rank := 3;
                    first_ns := NULL;
                ELSIF closed[x] THEN
                    rank := CASE WHEN opens[x] IS NULL THEN 3 ELSE 2 END;
                    first_ns := opens[x];
                ELSIF places[x] <= 0 THEN
                    rank := 1;
                    first_ns := NULL;
                ELSIF intervals[x] IS NOT NULL THEN
                    first_ns := tats[x] + (lane_needs[i] - bursts[x]) * intervals[x];
                    IF first_ns > now_ns THEN
                        rank := 2;
                        wanting := wanting || x;
                    END IF;
                END IF;
                hindered := hindered OR rank > 0 AND x <> ALL(wanting);
                IF rank > best OR rank = 2 AND best = 2 AND first_ns > due THEN
                    best := rank;
                    due := coalesce(first_ns, 0);
                    parks[i] := x;
                END IF;
            END LOOP;
            -- Others with fewer units would take them away for ever from the one whose turn it is; but one that could not
            -- run with all the units keeps nobody from them.
            IF lane_needs[i] > 1 AND NOT served[i] AND NOT hindered THEN
                FOREACH x IN ARRAY wanting LOOP
                    IF tats[x] + (1 - bursts[x]) * intervals[x] <= now_ns THEN
                        reserved[x] := tats[x] + (lane_needs[i] - bursts[x]) * intervals[x];
                        closed[x] := true;
                        opens[x] := reserved[x];
                        touched[x] := true;
                    END IF;
                END LOOP;
            END IF;
            IF parks[i] = 0 THEN
                open_lanes := open_lanes || i;
            END IF;
        END LOOP;
        EXIT WHEN pass = 2 OR open_lanes = '{}';

        -- The first jobs of the open lanes, in rounds of one from each; as many rounds as the room may take.
        WITH head AS MATERIALIZED (
            SELECT j.id, j.priority, j.ready_seq, o.no
            FROM unnest(open_lanes) AS o (no)
            CROSS JOIN LATERAL (
                SELECT j.id, j.priority, j.ready_seq FROM {schema}.job AS j
                WHERE j.lane = lanes[o.no] AND j.state = 'ready' AND NOT j.labels && paused_labels
                  AND (j.expires_at IS NULL OR j.expires_at > moment)
                ORDER BY j.priority, j.ready_seq
                LIMIT (room + cardinality(open_lanes) - 1) / cardinality(open_lanes)
                FOR UPDATE SKIP LOCKED) AS j
        ),
        round AS (
            SELECT h.*, row_number() OVER (PARTITION BY h.no ORDER BY h.priority, h.ready_seq) AS round FROM head AS h
        )
        SELECT array_agg(r.id ORDER BY r.priority, r.round, r.no), array_agg(r.no ORDER BY r.priority, r.round, r.no),
               array_agg(r.priority ORDER BY r.priority, r.round, r.no)
        INTO job_ids, job_lanes, job_levels FROM round AS r;
        FOREACH n IN ARRAY open_lanes LOOP
            -- None of its jobs can be taken, or it has none any more.
            barren[n] := n <> ALL(coalesce(job_lanes, '{}'));
            served[n] := barren[n];
        END LOOP;
        CONTINUE WHEN job_ids IS NULL;
        -- What free jobs have a claim to.
        free_levels := '{}';
        IF odd IS NOT NULL THEN
            SELECT coalesce(array_agg(f.priority), '{}') INTO free_levels FROM (
                SELECT j.* FROM unnest(in_queues) AS q (name) CROSS JOIN LATERAL (
                    SELECT j.priority FROM {schema}.job AS j
                    WHERE j.state = 'ready' AND j.lane IS NULL AND j.queue = q.name AND j.task = ANY(tasks)
                      AND j.task <> ALL(paused_tasks) AND NOT j.labels && paused_labels
                      AND (j.expires_at IS NULL OR j.expires_at > moment)
                    ORDER BY j.priority, j.ready_seq LIMIT room) AS j
                WHERE q.name <> ALL(paused_queues)
                UNION ALL
                (SELECT j.priority FROM {schema}.job AS j
                 WHERE in_queues IS NULL AND j.state = 'ready' AND j.lane IS NULL AND j.task = ANY(tasks)
                   AND j.task <> ALL(paused_tasks) AND NOT j.labels && paused_labels
                   AND j.queue <> ALL(but_queues || paused_queues) AND (j.expires_at IS NULL OR j.expires_at > moment)
                 ORDER BY j.priority, j.ready_seq LIMIT room)
                ORDER BY 1 LIMIT room
            ) AS f;
        END IF;

        level := NULL;
        FOR i IN 1 .. cardinality(job_ids) LOOP
            EXIT WHEN cardinality(grants) >= room;
            IF level IS DISTINCT FROM job_levels[i] THEN
                level := job_levels[i];
                before := cardinality(grants);
                at_this := 0;
                SELECT count(*) FILTER (WHERE f < level), count(*) FILTER (WHERE f = level)
                INTO better, alike FROM unnest(free_levels) AS f;
                share := room - better - before;
                is_odd := share % 2 = 1 AND 2 * alike > share;
                share := greatest(share - alike, (share + odd) / 2);
            END IF;
            IF at_this >= share THEN
                cut := true;
                turned := turned OR is_odd AND odd = 0;
                CONTINUE;
            END IF;
            n := job_lanes[i];
            need := lane_needs[n];
            fits := true;
            fused := false;
            FOR k IN lane_from[n] .. lane_to[n] LOOP
                x := lane_gates[k];
                fused := fused OR fuses[x];
                fits := fits AND NOT closed[x] AND coalesce(places[x] > 0, true)
                        AND coalesce(tats[x] + (need - bursts[x]) * intervals[x] <= now_ns, true);
            END LOOP;
            CONTINUE WHEN NOT fits OR fused AND fused_left <= 0;
            IF fused THEN
                fused_left := fused_left - 1;
            END IF;
            passed := NULL;
            FOR k IN lane_from[n] .. lane_to[n] LOOP
                x := lane_gates[k];
                IF intervals[x] IS NOT NULL THEN
                    tats[x] := greatest(tats[x], now_ns) + need * intervals[x];
                    touched[x] := true;
                END IF;
                IF slots[x] THEN
                    places[x] := places[x] - 1;
                    slot_gates := slot_gates || ids[x];
                    slot_jobs := slot_jobs || job_ids[i];
                END IF;
                IF fuses[x] THEN
                    passed := concat_ws(',', passed, ids[x], epochs[x]);
                END IF;
            END LOOP;
            grants := grants || job_ids[i];
            grant_fuses := grant_fuses || ('{' || passed || '}');
            served[n] := true;
            at_this := at_this + 1;
            turned := turned OR is_odd AND odd = 1 AND at_this = share;
        END LOOP;
    END LOOP;

    IF grants <> '{}' THEN
        RETURN QUERY
            WITH claimed AS (
                UPDATE {schema}.job AS j
                SET state = 'running', worker_id = worker, lease = new_lease, attempt = j.attempt + 1, claimed_at = moment,
                    started_at = NULL, granted = g.fuses::bigint[]
                FROM unnest(grants, grant_fuses) AS g (id, fuses)
                WHERE j.id = g.id AND j.id = ANY(grants)
                RETURNING j AS job
            ),
            freed AS (
                DELETE FROM {schema}.unique_key AS u USING claimed AS c
                WHERE (c.job).unique_until = 'started' AND u.task = (c.job).task AND u.key = (c.job).unique_key
                  AND u.job_id = (c.job).id AND u.job_id = ANY(grants)
            )
            SELECT c.job, NULL::boolean, NULL::boolean, NULL::boolean, NULL::timestamptz[] FROM claimed AS c;
        INSERT INTO {schema}.slot (gate_id, job_id, lease)
        SELECT s.gate_id, s.job_id, new_lease FROM unnest(slot_gates, slot_jobs) AS s (gate_id, job_id)
        -- What an earlier run of the job may have left behind must not be in the way of all others.
        ON CONFLICT ON CONSTRAINT one_slot_per_gate_and_job DO UPDATE SET lease = excluded.lease;
    END IF;

    -- Where the lanes are from now on: gone without a job, parked on a gate, at rest, or open, and at the end of the turn
    -- if they were served.
    WITH now_at AS MATERIALIZED (
        SELECT l.lane, l.served, t.gate_id, h.priority, l.served AND h.priority IS NULL AS gone
        FROM unnest(lanes, served, barren, parks, parked_on) AS l (lane, served, barren, park, parked_on)
        CROSS JOIN LATERAL (SELECT CASE WHEN l.park > 0 THEN ids[l.park] WHEN l.barren THEN 0 END AS gate_id) AS t
        LEFT JOIN LATERAL (
            SELECT j.priority FROM {schema}.job AS j WHERE l.served AND j.lane = l.lane AND j.state = 'ready'
            ORDER BY j.priority, j.ready_seq LIMIT 1) AS h ON true
        WHERE l.served OR l.parked_on IS DISTINCT FROM t.gate_id
    ),
    gone AS (
        DELETE FROM {schema}.lane AS l USING now_at AS a
        WHERE l.lane = a.lane AND l.lane = ANY(lanes) AND a.gone RETURNING 1
    ),
    moved AS (
        UPDATE {schema}.lane AS l
        SET gate_id = a.gate_id, priority = coalesce(a.priority, l.priority),
            turn = CASE WHEN a.served THEN nextval('{schema}.lane_turn') ELSE l.turn END
        FROM now_at AS a WHERE l.lane = a.lane AND l.lane = ANY(lanes) AND NOT a.gone
        RETURNING l.gate_id
    )
    -- A lane that is open as it was is no progress.
    SELECT (SELECT count(*) FROM gone) + (SELECT count(m.gate_id) FROM moved AS m) INTO progress;
    FOR i IN 1 .. cardinality(lanes) LOOP
        IF parks[i] > 0 THEN
            touched[parks[i]] := true;
            waited[parks[i]] := true;
        ELSIF NOT barren[i] THEN
            open_left := true;
        END IF;
    END LOOP;

    UPDATE {schema}.gate AS g
    SET tat_ns = t.tat_ns, reserved_until = coalesce({schema}.from_ns(t.reserved), g.reserved_until),
        opens_at = CASE WHEN w.fitting THEN t.opens_at END,
        queues = CASE WHEN w.waiting
                      THEN ARRAY(SELECT unnest(g.queues) UNION SELECT p.queue FROM unnest(lane_queues, parks) AS p (queue, park)
                                 WHERE p.park = t.no ORDER BY 1)
                      ELSE '{}' END
    FROM (
        SELECT u.no, u.id, u.tat_ns, u.reserved, u.waited, u.rate,
               CASE WHEN u.closed THEN {schema}.from_ns(u.opens)
                    WHEN u.places <= 0 THEN NULL
                    ELSE greatest(moment, {schema}.from_ns(u.tat_ns + (1 - u.burst) * u.every)) END AS opens_at
        FROM unnest(ids, tats, reserved, waited, touched, closed, opens, places, bursts, intervals, rates) WITH ORDINALITY
             AS u (id, tat_ns, reserved, waited, touched, closed, opens, places, burst, every, rate, no)
        WHERE u.touched
    ) AS t
    CROSS JOIN LATERAL (
        SELECT t.waited AND EXISTS (SELECT FROM {schema}.lane AS l WHERE l.gate_id = t.id) AS waiting,
               t.waited AND EXISTS (SELECT FROM {schema}.lane AS l
                                    WHERE l.gate_id = t.id AND (t.rate IS NULL OR l.units <= t.rate)) AS fitting) AS w
    WHERE g.id = t.id AND g.id = ANY(ids);

    again := (open_left OR arrivals.left_over OR cardinality(lanes) >= most)
             AND (grants <> '{}' OR progress > 0 OR arrivals.settled > 0);
    wakes := ARRAY(
        SELECT w.opens_at FROM (
            SELECT DISTINCT {schema}.from_ns(CASE WHEN closed[u.x] THEN opens[u.x] WHEN coalesce(places[u.x] > 0, true)
                                                  THEN tats[u.x] + (1 - bursts[u.x]) * intervals[u.x] END) AS opens_at
            FROM unnest(parks) AS u (x) WHERE u.x > 0) AS w
        WHERE w.opens_at > moment ORDER BY w.opens_at)
        -- Others may leave open what they had in their hands.
        || CASE WHEN NOT again AND cardinality(grants) < room AND cardinality(lanes) < least(met, most)
                THEN ARRAY[moment + interval '10 ms'] END;
    job := NULL;
    RETURN NEXT;
END $$;

-- Closes the gates of one reference (RULE or RULE:KEY) until an instant: those whose rule is declared. Gives their number.
CREATE FUNCTION {schema}.cool_gates(reference text, until timestamptz) RETURNS bigint
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    ids bigint[];
BEGIN
    ids := {schema}.meet_gates(ARRAY(
        SELECT r.kind || ':' || reference FROM {schema}.rule AS r
        WHERE r.name = split_part(reference, ':', 1) AND r.state = 'active'));
    UPDATE {schema}.gate AS g
    SET closed_until = greatest(g.closed_until, until),
        opens_at = CASE WHEN g.queues <> '{}' THEN nullif(greatest(g.opens_at, until), 'infinity') END
    WHERE g.id = ANY(ids);
    RETURN cardinality(ids);
END $$;

-- One outcome of a job that a fuse let run, in the epoch of its grant; the gate is locked.
CREATE FUNCTION {schema}.count_outcome(
    gate bigint, grant_epoch bigint, job bigint, outcome text, names text[], kind_of_error text, words text, moment timestamptz
) RETURNS void
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    g {schema}.gate;
    r {schema}.rule;
    failed boolean;
    failures bigint; successes numeric;
    pause interval;
BEGIN
    SELECT * INTO g FROM {schema}.gate AS e WHERE e.id = gate AND e.epoch = grant_epoch;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    SELECT * INTO r FROM {schema}.rule AS e WHERE e.kind = g.kind AND e.name = g.rule AND e.state = 'active';
    IF NOT FOUND THEN
        RETURN;
    END IF;
    failed := outcome <> 'succeeded';
    -- What the rule leaves out counts neither way: it says nothing of what the fuse watches.
    IF failed AND (NOT coalesce(names && r.only_names, true) OR coalesce(names && r.ignored_names, false)) THEN
        RETURN;
    END IF;
    IF failed THEN
        INSERT INTO {schema}.fuse_failure (gate_id, failed_at, job_id, error_type, error)
        VALUES (gate, moment, job, kind_of_error, left(words, 1000));
    END IF;
    IF g.blown_until IS NOT NULL THEN
        -- A probe: a failure blows the fuse again for longer, and when enough have passed it is whole.
        IF failed THEN
            pause := least(g.cool_down * 2, r.max_cool_down);
            UPDATE {schema}.gate AS e
            SET blown_until = moment + pause, cool_down = pause, epoch = e.epoch + 1, passed = 0 WHERE e.id = gate;
        ELSIF g.passed + 1 >= r.probes THEN
            UPDATE {schema}.gate AS e
            SET blown_until = NULL, cool_down = NULL, epoch = e.epoch + 1, passed = 0, counts_from = moment WHERE e.id = gate;
        ELSE
            UPDATE {schema}.gate AS e SET passed = e.passed + 1 WHERE e.id = gate;
        END IF;
        RETURN;
    END IF;
    IF r.failure_rate IS NOT NULL THEN
        -- Successes are counted by spans of a sixtieth of the window, failures each by itself.
        IF NOT failed THEN
            INSERT INTO {schema}.fuse_success AS f (gate_id, span, successes)
            VALUES (gate, date_bin(greatest(r.within / 60, interval '1 ms'), moment, timestamptz '2000-01-01 00:00Z'), 1)
            ON CONFLICT (gate_id, span) DO UPDATE SET successes = f.successes + 1;
        END IF;
        SELECT coalesce(sum(f.successes), 0) INTO successes FROM {schema}.fuse_success AS f
        WHERE f.gate_id = gate AND f.span > moment - r.within AND f.span >= g.counts_from;
    ELSIF NOT failed THEN
        RETURN;
    END IF;
    SELECT count(*) INTO failures FROM {schema}.fuse_failure AS f
    WHERE f.gate_id = gate AND f.failed_at > moment - r.within AND f.failed_at > g.counts_from;
    IF failures >= r.failures
       OR (failures + successes >= r.minimum AND failures >= r.failure_rate * (failures + successes)) THEN
        UPDATE {schema}.gate AS e
        SET blown_until = moment + r.cool_down, cool_down = r.cool_down, epoch = e.epoch + 1, passed = 0 WHERE e.id = gate;
    END IF;
END $$;

-- Tells workers and the clock what became of gates that lanes wait for, their rows locked by the caller.
CREATE FUNCTION {schema}.tell_waiting(ids bigint[], moment timestamptz) RETURNS void
LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM {schema}.gate AS g WHERE g.id = ANY(ids) AND g.queues <> '{}') THEN
        RETURN;
    END IF;
    PERFORM {schema}.note_waiting(ids, moment);
    PERFORM pg_notify({channel}, w.wake) FROM (
        SELECT DISTINCT CASE WHEN g.opens_at <= moment THEN 'gated ' || q.name ELSE 'clock' END AS wake
        FROM {schema}.gate AS g CROSS JOIN LATERAL unnest(g.queues) AS q (name)
        WHERE g.id = ANY(ids) AND g.opens_at IS NOT NULL
    ) AS w;
END $$;

-- What the end of runs means for their gates: places are free again, fuses count, a cooldown closes. Only for runs that
-- still hold their lease, and in the transaction that ends them. Gives the number of runs that still held it.
CREATE FUNCTION {schema}.settle_gates(ends jsonb, given_now timestamptz) RETURNS bigint
LANGUAGE plpgsql VOLATILE
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_bitmapscan = off SET enable_nestloop = off
SET enable_mergejoin = off
AS $$
DECLARE
    jobs bigint[]; leases bigint[]; gate_ids bigint[] := '{}'; cooled text[];
    moment timestamptz;
    fused boolean; cools boolean;
    told record;
BEGIN
    SELECT array_agg(o.id ORDER BY o.id), array_agg(o.lease ORDER BY o.id), bool_or(o.granted IS NOT NULL), bool_or(o.cools)
    INTO jobs, leases, fused, cools FROM (
        SELECT j.id, j.lease, j.granted, w.cools IS NOT NULL AS cools
        FROM (SELECT * FROM jsonb_to_recordset(ends) AS e (id bigint, lease bigint, cools text) ORDER BY e.id) AS w
        CROSS JOIN LATERAL (
            SELECT j.id, j.lease, j.granted FROM {schema}.job AS j
            WHERE j.id = w.id AND j.lease = w.lease FOR UPDATE) AS j
    ) AS o;
    IF jobs IS NULL THEN
        RETURN 0;
    END IF;
    IF cools THEN
        cooled := ARRAY(
            SELECT DISTINCT r.kind || ':' || w.cools FROM jsonb_to_recordset(ends) AS w (cools text)
            JOIN {schema}.rule AS r ON r.name = split_part(w.cools, ':', 1) AND r.state = 'active');
        gate_ids := ARRAY(SELECT g.id FROM {schema}.gate AS g WHERE g.name = ANY(cooled));
    END IF;
    IF fused THEN
        -- A success is of no interest to a fuse that is whole and counts failures only.
        gate_ids := gate_ids || ARRAY(
            SELECT g.id FROM jsonb_to_recordset(ends) AS w (id bigint, outcome text)
            JOIN {schema}.job AS j ON j.id = w.id AND j.id = ANY(jobs)
            CROSS JOIN LATERAL unnest(j.granted) WITH ORDINALITY AS x (value, place)
            CROSS JOIN LATERAL (
                SELECT e.* FROM {schema}.gate AS e WHERE e.id = x.value AND x.place % 2 = 1 LIMIT 1) AS g
            LEFT JOIN LATERAL (
                SELECT e.* FROM {schema}.rule AS e WHERE e.kind = g.kind AND e.name = g.rule LIMIT 1) AS r ON true
            WHERE w.outcome <> 'succeeded' OR g.blown_until IS NOT NULL OR r.failure_rate IS NOT NULL);
    END IF;
    gate_ids := gate_ids || ARRAY(
        SELECT s.gate_id FROM unnest(jobs, leases) AS o (id, lease)
        JOIN {schema}.slot AS s ON s.job_id = o.id AND s.lease = o.lease AND s.job_id = ANY(jobs));
    PERFORM FROM {schema}.gate AS g WHERE g.id = ANY(gate_ids) ORDER BY g.id FOR UPDATE;
    IF cools THEN
        gate_ids := gate_ids || {schema}.meet_gates(cooled);
    END IF;
    moment := coalesce(given_now, clock_timestamp());
    DELETE FROM {schema}.slot AS s USING unnest(jobs, leases) AS o (id, lease)
    WHERE s.job_id = o.id AND s.lease = o.lease AND s.job_id = ANY(jobs);
    IF fused THEN
        FOR told IN
            SELECT w.*, x.value AS gate, j.granted[x.place + 1] AS epoch
            FROM jsonb_to_recordset(ends) AS w (
                number bigint, id bigint, lease bigint, outcome text, error_names text[], error_type text, error text)
            JOIN {schema}.job AS j ON j.id = w.id AND j.lease = w.lease AND j.id = ANY(jobs)
            CROSS JOIN LATERAL unnest(j.granted) WITH ORDINALITY AS x (value, place)
            WHERE x.place % 2 = 1 AND x.value = ANY(gate_ids) AND w.outcome IN ('succeeded', 'failed', 'crashed', 'timed_out')
            ORDER BY w.number, x.place
        LOOP
            PERFORM {schema}.count_outcome(
                told.gate, told.epoch, told.id, told.outcome, told.error_names, told.error_type, told.error, moment);
        END LOOP;
    END IF;
    IF cools THEN
        UPDATE {schema}.gate AS g SET closed_until = greatest(g.closed_until, c.closes_to)
        FROM (
            SELECT w.cools AS reference, max(moment + make_interval(secs => w.cools_for)) AS closes_to
            FROM jsonb_to_recordset(ends) AS w (id bigint, cools text, cools_for double precision)
            WHERE w.id = ANY(jobs) AND w.cools IS NOT NULL GROUP BY 1
        ) AS c
        WHERE g.id = ANY(gate_ids) AND g.name IN ('throttle:' || c.reference, 'fuse:' || c.reference);
    END IF;
    PERFORM {schema}.tell_waiting(gate_ids, moment);
    RETURN cardinality(jobs);
END $$;

-- Frees the places of runs that are over without having said so, as when a later tick replaced them; gives the gates' number.
CREATE FUNCTION {schema}.free_void_slots() RETURNS bigint
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    gate_ids bigint[];
BEGIN
    gate_ids := ARRAY(
        SELECT DISTINCT s.gate_id FROM {schema}.slot AS s
        WHERE NOT EXISTS (SELECT FROM {schema}.job AS j WHERE j.id = s.job_id AND j.state = 'running' AND j.lease = s.lease));
    IF gate_ids = '{}' THEN
        RETURN 0;
    END IF;
    PERFORM FROM {schema}.gate AS g WHERE g.id = ANY(gate_ids) ORDER BY g.id FOR UPDATE;
    DELETE FROM {schema}.slot AS s
    WHERE s.gate_id = ANY(gate_ids)
      AND NOT EXISTS (SELECT FROM {schema}.job AS j WHERE j.id = s.job_id AND j.state = 'running' AND j.lease = s.lease);
    PERFORM {schema}.tell_waiting(gate_ids, clock_timestamp());
    RETURN cardinality(gate_ids);
END $$;

-- Opens lanes of gates whose time came before an instant and that no claim has looked at, a bounded slice: without it,
-- every claim would come across the gates of tasks that nobody works. Gives the number of gates.
CREATE FUNCTION {schema}.open_overdue(older timestamptz, most integer) RETURNS bigint
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    gate_ids bigint[];
BEGIN
    gate_ids := ARRAY(
        SELECT g.id FROM {schema}.gate AS g WHERE g.opens_at <= older ORDER BY g.opens_at LIMIT most FOR UPDATE SKIP LOCKED);
    IF gate_ids = '{}' THEN
        RETURN 0;
    END IF;
    WITH waiting AS MATERIALIZED (
        SELECT l.lane FROM {schema}.lane AS l WHERE l.gate_id = ANY(gate_ids) LIMIT 10 * most FOR UPDATE SKIP LOCKED
    )
    UPDATE {schema}.lane AS l SET gate_id = NULL FROM waiting AS w WHERE l.lane = w.lane;
    PERFORM {schema}.tell_waiting(gate_ids, clock_timestamp());
    RETURN cardinality(gate_ids);
END $$;

-- Deletes throttles' and pauses' gates without anything to remember, a bounded slice: new rows would say the same. What
-- they have is looked at under their locks, since a claim may just have granted a place. Gives the number of those found, 0 when none was left.
CREATE FUNCTION {schema}.forget_gates(most integer) RETURNS bigint
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    found_ids bigint[];
    ids bigint[];
    deleted bigint;
BEGIN
    found_ids := ARRAY(
        SELECT o.id FROM {schema}.gate AS o
        WHERE o.kind <> 'fuse' AND o.opens_at IS NULL AND o.queues = '{}'
          AND o.tat_ns < {schema}.to_ns(clock_timestamp() - interval '1 day')
          AND coalesce(greatest(o.closed_until, o.reserved_until) < clock_timestamp(), true)
          AND NOT EXISTS (SELECT FROM {schema}.slot AS s WHERE s.gate_id = o.id)
          AND NOT EXISTS (SELECT FROM {schema}.lane AS l WHERE l.gate_id = o.id)
        ORDER BY o.id LIMIT most);
    ids := ARRAY(SELECT o.id FROM {schema}.gate AS o WHERE o.id = ANY(found_ids) ORDER BY o.id FOR UPDATE SKIP LOCKED);
    DELETE FROM {schema}.gate AS g
    WHERE g.id = ANY(ids) AND g.opens_at IS NULL AND g.queues = '{}'
      AND g.tat_ns < {schema}.to_ns(clock_timestamp() - interval '1 day')
      AND coalesce(greatest(g.closed_until, g.reserved_until) < clock_timestamp(), true)
      AND NOT EXISTS (SELECT FROM {schema}.slot AS s WHERE s.gate_id = g.id)
      AND NOT EXISTS (SELECT FROM {schema}.lane AS l WHERE l.gate_id = g.id);
    GET DIAGNOSTICS deleted = ROW_COUNT;
    RETURN CASE WHEN deleted > 0 THEN cardinality(found_ids) ELSE 0 END;
END $$;
