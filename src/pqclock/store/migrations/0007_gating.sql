-- What gets out: the claim of jobs behind gates, and what the end of a run means for the gates that let it through.
--
-- Locks are taken in one order: lanes, then gates by id, then ready jobs. Lanes and ready jobs only with SKIP LOCKED, so
-- nobody waits for one while holding a gate; and a gate is held for the length of one statement of the server, since
-- all of this happens in one call.

-- An instant in nanoseconds since 1970, and back: upwards, since a start must never come too early.
CREATE FUNCTION {schema}.to_ns(moment timestamptz) RETURNS bigint
LANGUAGE sql IMMUTABLE
AS $$ SELECT (extract(epoch FROM moment) * 1000000)::bigint * 1000 $$;

CREATE FUNCTION {schema}.from_ns(ns bigint) RETURNS timestamptz
LANGUAGE sql IMMUTABLE
AS $$ SELECT timestamptz '1970-01-01 00:00Z' + ((ns + 999) / 1000)::double precision * interval '1 microsecond' $$;

-- How gates stand at an instant: whether one is closed to everybody and until when (null: nobody knows), the places it
-- has left (null: it does not count them), and its rate. A rule that nobody has declared closes its gates, one that was
-- removed opens them.
CREATE FUNCTION {schema}.gate_standings(ids bigint[], moment timestamptz) RETURNS TABLE (
    gate_id bigint, name text, kind text, closed boolean, closed_to timestamptz, places bigint, takes_slot boolean,
    tat_ns bigint, interval_ns bigint, burst bigint, epoch bigint
)
LANGUAGE sql STABLE
AS $$
    SELECT g.id, g.name, g.kind, c.closed,
           CASE WHEN c.closed THEN nullif(c.closed_to, 'infinity') END,
           t.places - (SELECT count(*) FROM {schema}.slot AS s WHERE t.places IS NOT NULL AND s.gate_id = g.id),
           t.places IS NOT NULL,
           g.tat_ns, r.interval_ns, r.burst, g.epoch
    FROM {schema}.gate AS g
    LEFT JOIN {schema}.rule AS r ON r.kind = g.kind AND r.name = g.rule AND r.state = 'active'
    LEFT JOIN {schema}.pause AS p ON g.kind = 'pause' AND p.kind = g.rule AND p.name = g.key
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

-- How lanes stand at an instant: whether a gate is in the way, on which one such a lane is to wait and when that opens
-- (null: nobody knows). It waits on what is closed for an unknown time, else on what opens last: one write for a gate.
-- `reserves` when others with fewer units could pass: the gate is kept for it, else it might never get its turn.
CREATE FUNCTION {schema}.lane_standings(lanes uuid[], moment timestamptz) RETURNS TABLE (
    lane uuid, shut boolean, waits_on bigint, waits_to timestamptz, reserves boolean
)
LANGUAGE sql STABLE
AS $$
    WITH passes AS MATERIALIZED (
        SELECT l.lane, l.units, n.name FROM {schema}.lane AS l CROSS JOIN unnest(l.gates) AS n (name)
        WHERE l.lane = ANY(lanes)
    ),
    standing AS MATERIALIZED (
        SELECT s.* FROM {schema}.gate_standings(
            ARRAY(SELECT g.id FROM {schema}.gate AS g WHERE g.name = ANY(ARRAY(SELECT DISTINCT p.name FROM passes AS p))), moment
        ) AS s
    ),
    judged AS (
        SELECT p.lane, s.gate_id, s.closed, s.closed_to, s.places <= 0 AS full,
               s.tat_ns + (p.units - s.burst) * s.interval_ns AS due_ns,
               s.tat_ns + (1 - s.burst) * s.interval_ns AS one_due_ns,
               {schema}.to_ns(moment) AS now_ns
        FROM passes AS p LEFT JOIN standing AS s ON s.name = p.name
    ),
    told AS (
        SELECT j.lane, j.gate_id,
               -- A gate that has just gone is made again by the next claim.
               j.gate_id IS NULL OR j.closed OR coalesce(j.full, false) OR coalesce(j.due_ns > j.now_ns, false) AS shut,
               j.closed AND j.closed_to IS NULL AS unknown,
               CASE WHEN j.closed THEN j.closed_to
                    WHEN j.due_ns > j.now_ns AND NOT coalesce(j.full, false) THEN {schema}.from_ns(j.due_ns) END AS opens_at,
               NOT j.closed AND NOT coalesce(j.full, false) AND j.due_ns > j.now_ns AND j.one_due_ns <= j.now_ns AS reserves
        FROM judged AS j
    )
    SELECT DISTINCT ON (t.lane) t.lane, t.shut, t.gate_id, t.opens_at, coalesce(t.reserves, false)
    FROM told AS t
    ORDER BY t.lane, t.shut DESC, t.unknown DESC NULLS LAST, t.opens_at DESC NULLS LAST, t.gate_id
$$;

-- Makes lanes of what has arrived; gives how many arrivals were settled, and whether some had to be left for later.
CREATE FUNCTION {schema}.admit_arrivals(most integer, OUT settled integer, OUT left_over boolean)
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    ids bigint[];
BEGIN
    ids := ARRAY(SELECT a.id FROM {schema}.arrival AS a ORDER BY a.id LIMIT most FOR UPDATE SKIP LOCKED);
    settled := 0;
    left_over := false;
    IF ids = '{}' THEN
        RETURN;
    END IF;
    WITH wanted AS MATERIALIZED (
        SELECT DISTINCT ON (a.lane) a.* FROM {schema}.arrival AS a WHERE a.id = ANY(ids) ORDER BY a.lane, a.priority, a.id
    ),
    -- A lane in the hands of another claim, which may find it empty just now, is looked at again.
    held AS MATERIALIZED (
        SELECT l.lane FROM {schema}.lane AS l JOIN wanted AS w USING (lane) ORDER BY l.lane FOR UPDATE OF l SKIP LOCKED
    ),
    better AS (
        UPDATE {schema}.lane AS l SET priority = w.priority FROM wanted AS w
        WHERE l.lane = w.lane AND l.priority > w.priority AND (l.lane IN (SELECT h.lane FROM held AS h)) IS TRUE
    ),
    -- Who came first is served first.
    placed AS MATERIALIZED (
        SELECT n.*, nextval('{schema}.lane_turn') AS turn FROM (
            SELECT * FROM wanted AS w WHERE NOT EXISTS (SELECT FROM {schema}.lane AS l WHERE l.lane = w.lane) ORDER BY w.id
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

-- Makes the rows of gates that are met for the first time.
CREATE FUNCTION {schema}.make_gates(names text[]) RETURNS void
LANGUAGE sql VOLATILE
AS $$
    INSERT INTO {schema}.gate (name, kind, rule, key)
    SELECT n.name, split_part(n.name, ':', 1), split_part(n.name, ':', 2),
           substr(n.name, length(split_part(n.name, ':', 1)) + length(split_part(n.name, ':', 2)) + 3)
    FROM (SELECT DISTINCT u.name FROM unnest(names) AS u (name)) AS n
    WHERE NOT EXISTS (SELECT FROM {schema}.gate AS g WHERE g.name = n.name)
    ORDER BY n.name
    ON CONFLICT DO NOTHING
$$;

-- After a decision: when the lanes that wait for these gates are to be looked at again, and in which queues they are.
-- Of the lanes given, those that were parked just now may be in queues that the gates do not know yet.
CREATE FUNCTION {schema}.note_waiting(ids bigint[], lanes uuid[], moment timestamptz) RETURNS void
LANGUAGE sql VOLATILE
AS $$
    UPDATE {schema}.gate AS g SET opens_at = n.opens_at, queues = n.queues
    FROM (
        SELECT s.gate_id,
               CASE WHEN NOT w.waiting THEN NULL
                    WHEN s.closed THEN s.closed_to
                    WHEN s.places <= 0 THEN NULL
                    ELSE greatest(moment, {schema}.from_ns(s.tat_ns + (1 - s.burst) * s.interval_ns)) END AS opens_at,
               CASE WHEN w.waiting
                    THEN ARRAY(SELECT unnest(o.queues) UNION SELECT l.queue FROM {schema}.lane AS l
                               WHERE l.lane = ANY(lanes) AND l.gate_id = s.gate_id ORDER BY 1)
                    ELSE '{}' END AS queues
        FROM {schema}.gate_standings(ids, moment) AS s
        JOIN {schema}.gate AS o ON o.id = s.gate_id
        CROSS JOIN LATERAL (SELECT EXISTS (SELECT FROM {schema}.lane AS l WHERE l.gate_id = s.gate_id) AS waiting) AS w
    ) AS n
    WHERE g.id = n.gate_id AND (g.opens_at, g.queues) IS DISTINCT FROM (n.opens_at, n.queues)
$$;

-- ready -> running for jobs behind gates, of tasks this worker knows: the lane with the best priority at its head first,
-- ties in turn. Beside free jobs of the same priority it takes half of the room; `odd` says who gets the odd one.
-- The last row has no job: whether another look now is worth it, and when the first of the gates opens that were met.
CREATE FUNCTION {schema}.claim_gated(
    in_queues text[], but_queues text[], tasks text[], room integer, worker bigint, new_lease bigint, odd integer,
    given_now timestamptz, OUT job {schema}.job, OUT again boolean, OUT wake_at timestamptz
) RETURNS SETOF record
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    most constant integer := room + 20;
    moment timestamptz := coalesce(given_now, clock_timestamp());
    moment_ns bigint;
    arrivals record;
    paused_queues text[]; paused_tasks text[]; paused_labels text[];
    lanes uuid[]; open_lanes uuid[]; served uuid[];
    gate_ids bigint[]; tats bigint[]; intervals bigint[]; bursts bigint[]; places bigint[]; kept boolean[]; old_tats bigint[];
    lane_units bigint[]; lane_gates integer[]; lane_from integer[]; lane_to integer[]; lane_fuses text[];
    job_ids bigint[]; job_lanes integer[]; job_priorities smallint[]; free_priorities smallint[];
    grants bigint[] := '{}'; grant_lanes integer[] := '{}';
    better bigint; alike bigint; before bigint := 0; at_this bigint := 0; level smallint; share bigint;
    lane_no integer; need bigint; fits boolean; cut boolean := false; changed bigint;
BEGIN
    again := false;
    SELECT a.* INTO arrivals FROM {schema}.admit_arrivals(1000) AS a;
    SELECT coalesce(array_agg(q.name), '{}') INTO paused_queues FROM {schema}.queue AS q WHERE q.paused_until > moment;
    SELECT coalesce(array_agg(p.name) FILTER (WHERE p.kind = 'task'), '{}'),
           coalesce(array_agg(p.name) FILTER (WHERE p.kind = 'label'), '{}')
    INTO paused_tasks, paused_labels
    FROM {schema}.pause AS p WHERE coalesce(p.paused_until > moment, true);

    -- Lanes that are open, and those that wait for a gate whose time has come.
    WITH due AS MATERIALIZED (
        SELECT g.id FROM {schema}.gate AS g
        WHERE g.opens_at <= moment AND (in_queues IS NULL OR g.queues && in_queues)
          AND NOT g.queues <@ (but_queues || paused_queues)
        ORDER BY g.opens_at LIMIT 100
    ),
    near AS MATERIALIZED (
        SELECT l.* FROM unnest(in_queues) AS q (name) CROSS JOIN LATERAL (
            SELECT l.lane, l.priority, l.turn FROM {schema}.lane AS l
            WHERE l.gate_id IS NULL AND l.queue = q.name AND l.task = ANY(tasks) AND l.task <> ALL(paused_tasks)
            ORDER BY l.priority, l.turn LIMIT most) AS l
        WHERE q.name <> ALL(paused_queues)
        UNION ALL
        (SELECT l.lane, l.priority, l.turn FROM {schema}.lane AS l
         WHERE in_queues IS NULL AND l.gate_id IS NULL AND l.queue <> ALL(but_queues || paused_queues)
           AND l.task = ANY(tasks) AND l.task <> ALL(paused_tasks)
         ORDER BY l.priority, l.turn LIMIT most)
        UNION ALL
        SELECT l.* FROM due AS d CROSS JOIN LATERAL (
            SELECT l.lane, l.priority, l.turn FROM {schema}.lane AS l
            WHERE l.gate_id = d.id AND l.task = ANY(tasks) AND l.task <> ALL(paused_tasks)
              AND l.queue <> ALL(but_queues || paused_queues) AND (in_queues IS NULL OR l.queue = ANY(in_queues))
            ORDER BY l.priority, l.turn LIMIT most) AS l
    ),
    chosen AS MATERIALIZED (
        SELECT l.lane, n.priority, n.turn
        FROM (SELECT * FROM near ORDER BY priority, turn LIMIT most) AS n
        CROSS JOIN LATERAL (SELECT l.lane FROM {schema}.lane AS l WHERE l.lane = n.lane FOR UPDATE SKIP LOCKED) AS l
    )
    SELECT array_agg(c.lane ORDER BY c.priority, c.turn) INTO lanes FROM chosen AS c;
    IF lanes IS NULL THEN
        again := arrivals.settled > 0;
        RETURN NEXT;
        RETURN;
    END IF;

    -- Only what is read under the locks of the gates counts, and only a time that is read then.
    PERFORM {schema}.make_gates(ARRAY(SELECT unnest(l.gates) FROM {schema}.lane AS l WHERE l.lane = ANY(lanes)));
    gate_ids := ARRAY(
        SELECT g.id FROM {schema}.gate AS g
        WHERE g.name = ANY(ARRAY(SELECT unnest(l.gates) FROM {schema}.lane AS l WHERE l.lane = ANY(lanes)))
        ORDER BY g.id FOR UPDATE);
    moment := coalesce(given_now, clock_timestamp());
    moment_ns := {schema}.to_ns(moment);
    open_lanes := ARRAY(
        SELECT s.lane FROM {schema}.lane_standings(lanes, moment) AS s WHERE NOT s.shut ORDER BY array_position(lanes, s.lane));

    -- The first jobs of the open lanes, in rounds of one from each; as many rounds as the room may take.
    WITH head AS MATERIALIZED (
        SELECT j.id, j.priority, j.ready_seq, o.no::integer AS no
        FROM unnest(open_lanes) WITH ORDINALITY AS o (lane, no)
        CROSS JOIN LATERAL (
            SELECT j.id, j.priority, j.ready_seq FROM {schema}.job AS j
            WHERE j.lane = o.lane AND j.state = 'ready' AND NOT j.labels && paused_labels
              AND (j.expires_at IS NULL OR j.expires_at > moment)
            ORDER BY j.priority, j.ready_seq
            LIMIT (room + cardinality(open_lanes) - 1) / greatest(cardinality(open_lanes), 1)
            FOR UPDATE SKIP LOCKED) AS j
    ),
    round AS (
        SELECT h.*, row_number() OVER (PARTITION BY h.no ORDER BY h.priority, h.ready_seq) AS round FROM head AS h
    )
    SELECT array_agg(r.id ORDER BY r.priority, r.round, r.no), array_agg(r.no ORDER BY r.priority, r.round, r.no),
           array_agg(r.priority ORDER BY r.priority, r.round, r.no)
    INTO job_ids, job_lanes, job_priorities FROM round AS r;

    IF job_ids IS NOT NULL THEN
        SELECT array_agg(s.tat_ns ORDER BY s.gate_id), array_agg(s.interval_ns ORDER BY s.gate_id),
               array_agg(s.burst ORDER BY s.gate_id), array_agg(s.places ORDER BY s.gate_id),
               array_agg(s.gate_id ORDER BY s.gate_id), array_agg(false)
        INTO tats, intervals, bursts, places, gate_ids, kept
        FROM {schema}.gate_standings(gate_ids, moment) AS s;
        old_tats := tats;
        -- The gates of all lanes in one array: those of lane n are at lane_from[n] to lane_to[n].
        SELECT array_agg(array_position(gate_ids, g.id) ORDER BY o.no, g.id) INTO lane_gates
        FROM unnest(open_lanes) WITH ORDINALITY AS o (lane, no) JOIN {schema}.lane AS l ON l.lane = o.lane
        JOIN {schema}.gate AS g ON g.name = ANY(l.gates);
        SELECT array_agg(x.units ORDER BY x.no), array_agg(x.upto - x.number + 1 ORDER BY x.no),
               array_agg(x.upto ORDER BY x.no), array_agg(x.fuses ORDER BY x.no)
        INTO lane_units, lane_from, lane_to, lane_fuses
        FROM (
            SELECT o.no, l.units, n.number, n.fuses, (sum(n.number) OVER (ORDER BY o.no))::integer AS upto
            FROM unnest(open_lanes) WITH ORDINALITY AS o (lane, no) JOIN {schema}.lane AS l ON l.lane = o.lane
            CROSS JOIN LATERAL (
                SELECT count(*)::integer AS number,
                       '{' || string_agg(g.id || ',' || g.epoch, ',' ORDER BY g.id) FILTER (WHERE g.kind = 'fuse') || '}' AS fuses
                FROM {schema}.gate AS g WHERE g.name = ANY(l.gates)) AS n
        ) AS x;
        -- What free jobs have a claim to.
        SELECT coalesce(array_agg(f.priority), '{}') INTO free_priorities FROM (
            SELECT j.* FROM unnest(in_queues) AS q (name) CROSS JOIN LATERAL (
                SELECT j.priority FROM {schema}.job AS j
                WHERE j.state = 'ready' AND j.lane IS NULL AND j.queue = q.name AND j.task = ANY(tasks)
                ORDER BY j.priority, j.ready_seq LIMIT room) AS j
            WHERE q.name <> ALL(paused_queues)
            UNION ALL
            (SELECT j.priority FROM {schema}.job AS j
             WHERE in_queues IS NULL AND j.state = 'ready' AND j.lane IS NULL AND j.task = ANY(tasks)
               AND j.queue <> ALL(but_queues || paused_queues)
             ORDER BY j.priority, j.ready_seq LIMIT room)
            ORDER BY 1 LIMIT room
        ) AS f;

        FOR i IN 1 .. cardinality(job_ids) LOOP
            EXIT WHEN cardinality(grants) >= room;
            IF level IS DISTINCT FROM job_priorities[i] THEN
                level := job_priorities[i];
                before := cardinality(grants);
                at_this := 0;
                SELECT count(*) FILTER (WHERE f < level), count(*) FILTER (WHERE f = level)
                INTO better, alike FROM unnest(free_priorities) AS f;
                share := room - better - before;
                share := greatest(share - alike, (share + odd) / 2);
            END IF;
            IF at_this >= share THEN
                cut := true;
                CONTINUE;
            END IF;
            lane_no := job_lanes[i];
            need := lane_units[lane_no];
            fits := true;
            FOR k IN lane_from[lane_no] .. lane_to[lane_no] LOOP
                IF kept[lane_gates[k]] OR places[lane_gates[k]] <= 0 THEN
                    fits := false;
                ELSIF tats[lane_gates[k]] + (need - bursts[lane_gates[k]]) * intervals[lane_gates[k]] > moment_ns THEN
                    fits := false;
                    -- Whose turn it is waits for its units; others with fewer would take them away for ever.
                    kept[lane_gates[k]] := true;
                END IF;
            END LOOP;
            CONTINUE WHEN NOT fits;
            FOR k IN lane_from[lane_no] .. lane_to[lane_no] LOOP
                IF intervals[lane_gates[k]] IS NOT NULL THEN
                    tats[lane_gates[k]] := greatest(tats[lane_gates[k]], moment_ns) + need * intervals[lane_gates[k]];
                END IF;
                places[lane_gates[k]] := places[lane_gates[k]] - 1;
            END LOOP;
            grants := grants || job_ids[i];
            grant_lanes := grant_lanes || lane_no;
            at_this := at_this + 1;
        END LOOP;
    END IF;

    IF grants <> '{}' THEN
        RETURN QUERY
            WITH claimed AS (
                UPDATE {schema}.job AS j
                SET state = 'running', worker_id = worker, lease = new_lease, attempt = j.attempt + 1, claimed_at = moment,
                    started_at = NULL, granted = lane_fuses[g.lane_no]::bigint[]
                FROM unnest(grants, grant_lanes) AS g (id, lane_no)
                WHERE j.id = g.id
                RETURNING j AS job
            ),
            freed AS (
                DELETE FROM {schema}.unique_key AS u USING claimed AS c
                WHERE (c.job).unique_until = 'started' AND u.task = (c.job).task AND u.key = (c.job).unique_key
                  AND u.job_id = (c.job).id
            )
            SELECT c.job, NULL::boolean, NULL::timestamptz FROM claimed AS c;
        INSERT INTO {schema}.slot (gate_id, job_id, lease)
        SELECT s.gate_id, g.id, new_lease
        FROM unnest(grants, grant_lanes) AS g (id, lane_no)
        CROSS JOIN LATERAL unnest(lane_gates[lane_from[g.lane_no]:lane_to[g.lane_no]]) AS x (no)
        JOIN {schema}.gate_standings(gate_ids, moment) AS s ON s.gate_id = gate_ids[x.no]
        WHERE s.takes_slot;
        UPDATE {schema}.gate AS g SET tat_ns = t.tat_ns
        FROM unnest(gate_ids, tats, old_tats) AS t (id, tat_ns, old)
        WHERE g.id = t.id AND t.tat_ns <> t.old;
    END IF;

    -- Where the lanes are from now on: gone without a job, parked on a gate, or open. Those that were served go to the end
    -- of the turn, with those whose jobs are all in somebody else's hands.
    served := ARRAY(SELECT o.lane FROM unnest(open_lanes) WITH ORDINALITY AS o (lane, no)
                    WHERE o.no = ANY(grant_lanes) OR o.no <> ALL(coalesce(job_lanes, '{}')));
    DELETE FROM {schema}.lane AS l
    WHERE l.lane = ANY(served)
      AND NOT EXISTS (SELECT FROM {schema}.job AS j WHERE j.lane = l.lane AND j.state = 'ready');
    GET DIAGNOSTICS changed = ROW_COUNT;
    WITH standing AS MATERIALIZED (SELECT s.* FROM {schema}.lane_standings(lanes, moment) AS s),
    parked AS (
        UPDATE {schema}.lane AS l
        SET gate_id = CASE WHEN s.shut THEN s.waits_on END,
            turn = CASE WHEN s.lane = ANY(served) THEN nextval('{schema}.lane_turn') ELSE l.turn END,
            priority = coalesce(h.priority, l.priority)
        FROM standing AS s
        LEFT JOIN LATERAL (
            SELECT j.priority FROM {schema}.job AS j
            WHERE s.lane = ANY(served) AND j.lane = s.lane AND j.state = 'ready'
            ORDER BY j.priority, j.ready_seq LIMIT 1) AS h ON true
        WHERE l.lane = s.lane
        RETURNING l.gate_id
    ),
    reserved AS (
        UPDATE {schema}.gate AS g SET reserved_until = r.waits_to
        FROM (SELECT s.waits_on, min(s.waits_to) AS waits_to FROM standing AS s
              WHERE s.reserves AND s.lane <> ALL(served) GROUP BY 1) AS r
        WHERE g.id = r.waits_on
    )
    SELECT cut OR count(*) FILTER (WHERE p.gate_id IS NULL) > 0, changed + count(*) FILTER (WHERE p.gate_id IS NOT NULL)
    INTO again, changed FROM parked AS p;
    PERFORM {schema}.note_waiting(
        ARRAY(SELECT g.id FROM {schema}.gate AS g
              WHERE g.name = ANY(ARRAY(SELECT unnest(l.gates) FROM {schema}.lane AS l WHERE l.lane = ANY(lanes)))
                 OR g.id = ANY(gate_ids) AND g.queues <> '{}'),
        lanes, moment);
    again := (again OR arrivals.left_over OR cardinality(lanes) = most)
             AND (grants <> '{}' OR changed > 0 OR arrivals.settled > 0);
    wake_at := (SELECT min(g.opens_at) FROM {schema}.gate AS g WHERE g.id = ANY(gate_ids) AND g.opens_at > moment);
    job := NULL;
    RETURN NEXT;
END $$;

-- Closes the gates of one reference (RULE or RULE:KEY) until an instant: those whose rule is declared. Gives their number.
CREATE FUNCTION {schema}.cool_gates(reference text, until timestamptz) RETURNS bigint
LANGUAGE sql VOLATILE
AS $$
    SELECT {schema}.make_gates(ARRAY(
        SELECT r.kind || ':' || reference FROM {schema}.rule AS r
        WHERE r.name = split_part(reference, ':', 1) AND r.state = 'active'));
    WITH met AS MATERIALIZED (
        SELECT g.id FROM {schema}.gate AS g
        WHERE g.name IN ('throttle:' || reference, 'fuse:' || reference) ORDER BY g.id FOR UPDATE
    ),
    closed AS (
        UPDATE {schema}.gate AS g
        SET closed_until = greatest(g.closed_until, until), opens_at = greatest(g.opens_at, until)
        FROM met AS m WHERE g.id = m.id RETURNING g.id
    )
    SELECT count(*) FROM closed
$$;

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
LANGUAGE sql VOLATILE
AS $$
    SELECT {schema}.note_waiting(ids, '{}', moment);
    SELECT pg_notify({channel}, w.wake) FROM (
        SELECT DISTINCT CASE WHEN g.opens_at <= moment THEN 'gated ' || q.name ELSE 'clock' END AS wake
        FROM {schema}.gate AS g CROSS JOIN LATERAL unnest(g.queues) AS q (name)
        WHERE g.id = ANY(ids) AND g.opens_at IS NOT NULL
    ) AS w
$$;

-- What the end of runs means for their gates: places are free again, fuses count, a cooldown closes. Only for runs that
-- still hold their lease, and in the transaction that ends them. Gives the number of runs that still held it.
CREATE FUNCTION {schema}.settle_gates(ends jsonb, given_now timestamptz) RETURNS bigint
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    ours jsonb;
    gate_ids bigint[];
    moment timestamptz;
    told record;
BEGIN
    SELECT jsonb_agg(to_jsonb(o) ORDER BY o.number) INTO ours FROM (
        SELECT w.number, w.id, w.lease, w.outcome, w.error_names, w.error_type, w.error, w.cools, w.cools_for, j.granted
        FROM jsonb_to_recordset(ends) AS w (
            number bigint, id bigint, lease bigint, outcome text, error_names text[], error_type text, error text,
            cools text, cools_for double precision)
        JOIN {schema}.job AS j ON j.id = w.id AND j.lease = w.lease AND j.state = 'running'
        ORDER BY j.id FOR UPDATE OF j
    ) AS o;
    IF ours IS NULL THEN
        RETURN 0;
    END IF;
    PERFORM {schema}.make_gates(ARRAY(
        SELECT r.kind || ':' || (o ->> 'cools') FROM jsonb_array_elements(ours) AS o
        JOIN {schema}.rule AS r ON r.name = split_part(o ->> 'cools', ':', 1) AND r.state = 'active'));
    gate_ids := ARRAY(
        SELECT g.id FROM {schema}.gate AS g
        WHERE g.id IN (
            SELECT s.gate_id FROM jsonb_array_elements(ours) AS o
            JOIN {schema}.slot AS s ON s.job_id = (o ->> 'id')::bigint AND s.lease = (o ->> 'lease')::bigint
            UNION ALL
            -- A success is of no interest to a fuse that is whole and counts failures only.
            SELECT f.id FROM jsonb_array_elements(ours) AS o
            CROSS JOIN LATERAL jsonb_array_elements(nullif(o -> 'granted', 'null')) WITH ORDINALITY AS x (value, place)
            JOIN {schema}.gate AS f ON f.id = x.value::bigint AND x.place % 2 = 1
            LEFT JOIN {schema}.rule AS r ON r.kind = f.kind AND r.name = f.rule
            WHERE o ->> 'outcome' <> 'succeeded' OR f.blown_until IS NOT NULL OR r.failure_rate IS NOT NULL
            UNION ALL
            SELECT c.id FROM jsonb_array_elements(ours) AS o
            JOIN {schema}.gate AS c ON c.name IN ('throttle:' || (o ->> 'cools'), 'fuse:' || (o ->> 'cools')))
        ORDER BY g.id FOR UPDATE);
    moment := coalesce(given_now, clock_timestamp());
    DELETE FROM {schema}.slot AS s USING jsonb_array_elements(ours) AS o
    WHERE s.job_id = (o ->> 'id')::bigint AND s.lease = (o ->> 'lease')::bigint;
    FOR told IN
        SELECT o.value AS run, (o.value #>> ARRAY['granted', (x.place - 1)::text])::bigint AS gate,
               (o.value #>> ARRAY['granted', x.place::text])::bigint AS epoch
        FROM jsonb_array_elements(ours) WITH ORDINALITY AS o (value, number)
        CROSS JOIN LATERAL generate_series(1, jsonb_array_length(nullif(o.value -> 'granted', 'null')) - 1, 2) AS x (place)
        WHERE o.value ->> 'outcome' IN ('succeeded', 'failed', 'crashed', 'timed_out')
        ORDER BY o.number, x.place
    LOOP
        IF told.gate = ANY(gate_ids) THEN
            PERFORM {schema}.count_outcome(
                told.gate, told.epoch, (told.run ->> 'id')::bigint, told.run ->> 'outcome',
                ARRAY(SELECT jsonb_array_elements_text(nullif(told.run -> 'error_names', 'null'))),
                told.run ->> 'error_type', told.run ->> 'error', moment);
        END IF;
    END LOOP;
    UPDATE {schema}.gate AS g SET closed_until = greatest(g.closed_until, c.closes_to)
    FROM (
        SELECT o ->> 'cools' AS reference, max(moment + make_interval(secs => (o ->> 'cools_for')::double precision)) AS closes_to
        FROM jsonb_array_elements(ours) AS o WHERE o ->> 'cools' IS NOT NULL GROUP BY 1
    ) AS c
    WHERE g.id = ANY(gate_ids) AND g.name IN ('throttle:' || c.reference, 'fuse:' || c.reference);
    PERFORM {schema}.tell_waiting(gate_ids, moment);
    RETURN jsonb_array_length(ours);
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
-- every claim would come across the gates of tasks that nobody works. Gives the number of lanes.
CREATE FUNCTION {schema}.open_overdue(older timestamptz, most integer) RETURNS bigint
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    gate_ids bigint[];
    opened bigint;
BEGIN
    gate_ids := ARRAY(
        SELECT g.id FROM {schema}.gate AS g WHERE g.opens_at <= older ORDER BY g.opens_at LIMIT 100 FOR UPDATE SKIP LOCKED);
    IF gate_ids = '{}' THEN
        RETURN 0;
    END IF;
    WITH waiting AS MATERIALIZED (
        SELECT l.lane FROM {schema}.lane AS l WHERE l.gate_id = ANY(gate_ids) LIMIT most FOR UPDATE SKIP LOCKED
    )
    UPDATE {schema}.lane AS l SET gate_id = NULL FROM waiting AS w WHERE l.lane = w.lane;
    GET DIAGNOSTICS opened = ROW_COUNT;
    PERFORM {schema}.tell_waiting(gate_ids, clock_timestamp());
    RETURN opened;
END $$;
