-- What other languages call, what a job carries when it gets in, and the daily partitions.

-- What waits for the same waits together: the lane of a job behind gates, null for one without any.
CREATE FUNCTION {schema}.lane_of(queue text, task text, gates text[], units bigint) RETURNS uuid
LANGUAGE sql IMMUTABLE
AS $$
    SELECT md5(queue || chr(10) || task || chr(10) || units || chr(10) || array_to_string(gates, chr(10)))::uuid
$$;

-- A template of a key, its holes filled from the fields of `scope`: {account}, {customer.id}; {{ and }} stand for braces.
-- `fault` is the rest of a sentence that begins with the template.
CREATE FUNCTION {schema}.fill_template(template text, scope jsonb, OUT filled text, OUT fault text)
LANGUAGE plpgsql IMMUTABLE
AS $$
DECLARE
    piece text;
    name text;
    field jsonb;
    kind text;
BEGIN
    IF template !~ '[{}]' THEN
        filled := template;
        RETURN;
    END IF;
    -- Most are of one hole, and most holes name a field of the first level.
    IF template ~ '^\{[a-z0-9_]+\}$' THEN
        field := scope -> btrim(template, '{}');
        IF jsonb_typeof(field) IN ('string', 'number', 'boolean') THEN
            filled := field #>> '{}';
            RETURN;
        END IF;
    END IF;
    filled := '';
    FOR piece IN SELECT m[1] FROM regexp_matches(template, '(\{\{|\}\}|\{[^{}]*\}|[{}]|[^{}]+)', 'g') AS m LOOP
        IF piece IN ('{{', '}}') THEN
            filled := filled || left(piece, 1);
        ELSIF piece IN ('{', '}') THEN
            fault := format('has the brace "%s" without a partner: write "%s" for a brace itself', piece, piece || piece);
        ELSIF piece LIKE '{%' THEN
            name := substr(piece, 2, length(piece) - 2);
            field := scope #> string_to_array(name, '.');
            kind := coalesce(jsonb_typeof(field), 'missing');
            IF kind IN ('string', 'number', 'boolean') THEN
                filled := filled || (field #>> '{}');
            ELSIF kind = 'missing' THEN
                fault := format('needs the argument %L, which is missing: pass it, or give it a default', name);
            ELSIF kind = 'null' THEN
                fault := format('needs the argument %L, which is null: pass a value', name);
            ELSE
                fault := format('needs the argument %L, which is an %s: name a single value in it', name, kind);
            END IF;
        ELSE
            filled := filled || piece;
        END IF;
        IF fault IS NOT NULL THEN
            filled := NULL;
            RETURN;
        END IF;
    END LOOP;
END $$;

-- The names of the gates of a task or of labels that are paused now; null for the most part.
CREATE FUNCTION {schema}.paused_gates(moment timestamptz) RETURNS text[]
LANGUAGE sql STABLE
AS $$
    SELECT array_agg('pause:' || p.kind || ':' || p.name) FROM {schema}.pause AS p
    WHERE coalesce(p.paused_until > moment, true)
$$;

-- Those of the paused gates that a job of this task and these labels has to pass.
CREATE FUNCTION {schema}.pauses_of(task text, labels text[], paused text[]) RETURNS text[]
LANGUAGE sql IMMUTABLE
AS $$
    SELECT ARRAY(
        SELECT p.name FROM unnest(paused) AS p (name)
        WHERE p.name = 'pause:task:' || task OR p.name = ANY(ARRAY(SELECT 'pause:label:' || l FROM unnest(labels) AS l)))
$$;

-- What a job carries: its unique key and its gates, by the first of call, schedule, and task (`own`) that says so. The
-- templates of a schedule name {args.account}, all others {account}. With a `fault`, what cannot be filled stands as it
-- was written, so that a job which is in already keeps its gates.
CREATE FUNCTION {schema}.entrance(
    task text, args jsonb, queue text, labels text[], call jsonb, schedule jsonb, own jsonb, paused text[],
    moment timestamptz, OUT unique_key text, OUT unique_until text, OUT key_expires_at timestamptz, OUT on_conflict text,
    OUT replaces text[], OUT gates text[], OUT units bigint, OUT lane uuid, OUT fault text
)
LANGUAGE plpgsql STABLE
AS $$
DECLARE
    all_args constant jsonb := coalesce(own -> 'arg_defaults', '{}') || args;
    -- A call may change single terms of what the others say.
    terms constant jsonb :=
        coalesce(call -> 'unique', schedule -> 'unique', own -> 'unique', '{}') || coalesce(call -> 'terms', '{}');
    kind text;
    template text;
    scope jsonb;
    found record;
    problem text;
BEGIN
    IF call ? 'unique_key' THEN
        unique_key := call ->> 'unique_key';
    ELSIF terms ? 'key' THEN
        scope := CASE WHEN NOT coalesce(call ? 'unique', false) AND schedule ? 'unique'
                      THEN jsonb_build_object('args', all_args) ELSE all_args END;
        found := {schema}.fill_template(terms ->> 'key', scope);
        unique_key := coalesce(found.filled, terms ->> 'key');
        IF found.fault IS NOT NULL THEN
            problem := 'unique key ' || quote_literal(terms ->> 'key') || ' ' || found.fault;
        END IF;
    END IF;
    IF octet_length(unique_key) NOT BETWEEN 1 AND 512 THEN
        problem := format('unique key %L must have 1 to 512 bytes, not %s', left(unique_key, 60), octet_length(unique_key));
    END IF;
    IF unique_key IS NOT NULL THEN
        unique_until := coalesce(terms ->> 'until', 'finished');
        IF unique_until NOT IN ('started', 'finished') THEN
            -- In seconds, since a day is not as long in every zone.
            key_expires_at := moment + extract(epoch FROM regexp_replace(
                unique_until, '([a-z])([0-9])', '\1 \2', 'g')::interval)::double precision * interval '1 second';
            unique_until := 'time';
        END IF;
        on_conflict := coalesce(terms ->> 'on_conflict', 'skip');
        replaces := '{args,run_at,priority}';
        IF jsonb_typeof(terms -> 'replace') = 'array' AND terms -> 'replace' <> '[]' THEN
            replaces := ARRAY(SELECT jsonb_array_elements_text(terms -> 'replace'));
        END IF;
    END IF;
    IF problem IS NULL AND paused IS NULL AND NOT call ?| ARRAY['throttle', 'fuse'] IS TRUE
       AND NOT schedule ?| ARRAY['throttle', 'fuse'] IS TRUE AND NOT own ?| ARRAY['throttle', 'fuse'] IS TRUE
    THEN
        RETURN;
    END IF;
    gates := {schema}.pauses_of(task, labels, paused);
    FOREACH kind IN ARRAY ARRAY['throttle', 'fuse'] LOOP
        scope := CASE WHEN NOT coalesce(call ? kind, false) AND schedule ? kind
                      THEN jsonb_build_object('args', all_args) ELSE all_args END;
        FOR template IN SELECT jsonb_array_elements_text(coalesce(call -> kind, schedule -> kind, own -> kind)) LOOP
            SELECT f.* INTO found FROM {schema}.fill_template(template, scope) AS f;
            gates := gates || (kind || ':' || coalesce(found.filled, template));
            -- Names of gates are told apart by lines where they are hashed.
            IF found.filled ~ '[[:cntrl:]]' THEN
                found.fault := 'is filled with a control character: pass a value without one';
            ELSIF found.filled ~ '^[^:]*:$' THEN
                found.fault := 'is filled to a key that is empty: pass a value that is not, or leave ":" and the key out';
            ELSIF octet_length(found.filled) > 512 THEN
                found.fault := format('is filled with %s bytes, and 512 are the limit', octet_length(found.filled));
            END IF;
            problem := coalesce(problem, kind || ' ' || quote_literal(template) || ' ' || found.fault);
        END LOOP;
    END LOOP;
    gates := nullif(ARRAY(SELECT DISTINCT g COLLATE "C" FROM unnest(gates) AS g ORDER BY 1), '{}');
    IF gates IS NOT NULL THEN
        units := coalesce((call ->> 'units')::bigint, (schedule ->> 'units')::bigint, (own ->> 'units')::bigint, 1);
        lane := {schema}.lane_of(queue, task, gates, units);
    END IF;
    fault := 'task ' || quote_literal(task) || ': ' || problem;
END $$;

-- What a task says of its jobs, with the defaults of its arguments.
CREATE FUNCTION {schema}.own_terms(options jsonb, arg_defaults jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE
AS $$
    SELECT coalesce(options, '{}') || jsonb_build_object('arg_defaults', coalesce(arg_defaults, '{}'))
$$;

-- A job on its way in.
CREATE TYPE {schema}.entry AS (
    id bigint, run_at timestamptz, later boolean, priority smallint, max_attempts smallint, queue text, task text, args jsonb,
    labels text[], unique_key text, unique_until text, key_expires_at timestamptz, on_conflict text, replaces text[],
    lane uuid, gates text[], units bigint, fault text, run_options jsonb,
    awaits boolean, parent_id bigint
);

-- How its run is to be, where call or schedule say other than the task: timeout in seconds, and history; and the trace
-- context of the call.
CREATE FUNCTION {schema}.run_options(call jsonb, schedule jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE
AS $$
    SELECT nullif(jsonb_strip_nulls(jsonb_build_object(
        'timeout', coalesce(
            call -> 'timeout', to_jsonb(extract(epoch FROM regexp_replace(
                schedule ->> 'timeout', '([a-z])([0-9])', '\1 \2', 'g')::interval)::double precision)),
        'history', coalesce(call -> 'history', schedule -> 'history'),
        'trace', call -> 'trace')), '{}')
$$;

-- Takes the unique keys of entries; gives those that came too late, each with the job that has its key. Of entries with
-- the same key the first one wins. A key that another transaction has just taken is waited for; one that is only met is
-- not locked, so that nobody who frees it has to wait. Keys are waited for in one order: with `gives_up`, when one of the
-- first would have to be waited for while later ones are held, this ends with `try_again`, to be called anew without them.
CREATE FUNCTION {schema}.take_keys(
    entries {schema}.entry[], moment timestamptz, is_first boolean DEFAULT true, gives_up boolean DEFAULT false
) RETURNS TABLE (id bigint, met bigint)
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    firsts {schema}.entry[];
    wanting {schema}.entry[];
    taken bigint[];
    late bigint[] := '{}';
    holders bigint[] := '{}';
    found_late bigint[];
    found_holders bigint[];
BEGIN
    firsts := ARRAY(
        SELECT DISTINCT ON (e.task COLLATE "C", e.unique_key COLLATE "C") e FROM unnest(entries) AS e
        WHERE e.unique_key IS NOT NULL ORDER BY e.task COLLATE "C", e.unique_key COLLATE "C", e.id);
    wanting := firsts;
    LOOP
        IF NOT is_first THEN
            WITH over AS MATERIALIZED (
                SELECT u.task, u.key FROM unnest(wanting) AS w
                JOIN {schema}.unique_key AS u ON u.task = w.task AND u.key = w.unique_key
                WHERE u.expires_at <= moment ORDER BY u.task COLLATE "C", u.key COLLATE "C" FOR UPDATE OF u
            )
            DELETE FROM {schema}.unique_key AS u USING over AS o WHERE u.task = o.task AND u.key = o.key;
        END IF;
        WITH added AS (
            INSERT INTO {schema}.unique_key AS u (task, key, job_id, expires_at)
            SELECT w.task, w.unique_key, w.id, w.key_expires_at FROM unnest(wanting) AS w
            ON CONFLICT ON CONSTRAINT one_job_per_unique_key DO NOTHING
            RETURNING u.job_id
        )
        SELECT coalesce(array_agg(a.job_id), '{}') INTO taken FROM added AS a;
        EXIT WHEN cardinality(taken) = cardinality(wanting);
        SELECT coalesce(array_agg(w.id), '{}'), coalesce(array_agg(u.job_id), '{}') INTO found_late, found_holders
        FROM unnest(wanting) AS w JOIN {schema}.unique_key AS u ON u.task = w.task AND u.key = w.unique_key
        WHERE (w.id IN (SELECT unnest(taken))) IS NOT TRUE AND coalesce(u.expires_at > moment, true);
        late := late || found_late;
        holders := holders || found_holders;
        wanting := ARRAY(
            SELECT w FROM unnest(wanting) AS w
            WHERE (w.id IN (SELECT unnest(taken || found_late))) IS NOT TRUE
            ORDER BY w.task COLLATE "C", w.unique_key COLLATE "C");
        EXIT WHEN wanting = '{}';
        -- Whoever had these keys has freed them meanwhile, or has them no longer by the time it is.
        IF gives_up AND taken <> '{}' THEN
            RAISE SQLSTATE 'PQ001' USING MESSAGE = 'try_again';
        END IF;
        is_first := false;
    END LOOP;
    RETURN QUERY
        SELECT e.id, coalesce(l.holder, f.id)
        FROM unnest(entries) AS e
        JOIN unnest(firsts) AS f ON f.task = e.task AND f.unique_key = e.unique_key
        LEFT JOIN unnest(late, holders) AS l (id, holder) ON l.id = f.id
        WHERE e.id <> coalesce(l.holder, f.id);
END $$;

-- Writes jobs with what wakes those who are to run them.
CREATE FUNCTION {schema}.put_jobs(entries {schema}.entry[], moment timestamptz) RETURNS void
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    woken bigint;
BEGIN
    WITH inserted AS (
        INSERT INTO {schema}.job (
            id, ready_seq, run_at, created_at, state, priority, max_attempts, queue, task, args, labels, unique_key,
            unique_until, lane, gates, units, run_options, parent_id, held, awaits)
        SELECT e.id, CASE WHEN e.later THEN NULL ELSE nextval('{schema}.ready_seq') END, e.run_at, moment,
               (CASE WHEN e.later THEN 'scheduled' ELSE 'ready' END)::{schema}.live_state,
               e.priority, e.max_attempts, e.queue, e.task, e.args, e.labels, e.unique_key, e.unique_until, e.lane,
               e.gates, e.units, e.run_options, e.parent_id, coalesce(e.awaits, false), coalesce(e.awaits, false)
        FROM unnest(entries) AS e
        RETURNING id, state, queue, task, run_at, priority, lane, gates, units
    ),
    arrived AS (
        INSERT INTO {schema}.arrival (lane, queue, task, gates, units, priority)
        SELECT DISTINCT ON (i.lane) i.lane, i.queue, i.task, i.gates, i.units, i.priority
        FROM inserted AS i WHERE i.lane IS NOT NULL AND i.state = 'ready' ORDER BY i.lane, i.priority
    )
    -- A later job wakes the clock only when it falls due before the clock's next look.
    SELECT count(pg_notify({channel}, w.wake)) INTO woken FROM (
        SELECT DISTINCT CASE WHEN i.state <> 'ready' THEN 'clock'
                             WHEN i.lane IS NULL THEN 'ready ' || i.queue ELSE 'gated ' || i.queue END AS wake
        FROM inserted AS i WHERE i.state = 'ready' OR i.run_at < moment + interval '3 seconds'
    ) AS w;
END $$;

-- Changes a job that has the key of an entry in its place, if it still waits: the fields that the entry names are the
-- entry's then. False when it does not wait any more.
CREATE FUNCTION {schema}.replace_waiting(
    met bigint, entry {schema}.entry, paused text[], moment timestamptz
) RETURNS boolean
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    job {schema}.job;
    own_gates text[];
BEGIN
    -- A row that was waited for, and runs now, is not kept locked: its worker wants to end it.
    BEGIN
        SELECT j.* INTO STRICT job FROM {schema}.job AS j WHERE j.id = met AND j.state <> 'running' FOR UPDATE;
    EXCEPTION WHEN no_data_found THEN
        RETURN false;
    END;
    own_gates := job.gates;
    IF 'args' = ANY(entry.replaces) THEN
        job.args := entry.args;
        own_gates := entry.gates;
        job.units := entry.units;
    END IF;
    IF 'priority' = ANY(entry.replaces) THEN job.priority := entry.priority; END IF;
    IF 'queue' = ANY(entry.replaces) THEN job.queue := entry.queue; END IF;
    IF 'labels' = ANY(entry.replaces) THEN job.labels := entry.labels; END IF;
    IF 'max_attempts' = ANY(entry.replaces) THEN
        job.max_attempts := greatest(entry.max_attempts, job.attempt + 1);
    END IF;
    IF 'run_at' = ANY(entry.replaces) THEN
        job.expires_at := job.expires_at + (entry.run_at - job.run_at);
        job.run_at := entry.run_at;
        IF entry.later THEN
            job.state := 'scheduled';
            job.ready_seq := NULL;
        ELSIF job.state = 'scheduled' AND NOT job.held THEN
            job.state := 'ready';
            job.ready_seq := nextval('{schema}.ready_seq');
        END IF;
    END IF;
    job.gates := nullif(ARRAY(
        SELECT DISTINCT g COLLATE "C" FROM unnest(
            ARRAY(SELECT o FROM unnest(own_gates) AS o WHERE o NOT LIKE 'pause:%')
            || {schema}.pauses_of(job.task, job.labels, paused)) AS g
        ORDER BY 1), '{}');
    job.units := CASE WHEN job.gates IS NOT NULL THEN coalesce(job.units, 1) END;
    job.lane := CASE WHEN job.gates IS NOT NULL THEN {schema}.lane_of(job.queue, job.task, job.gates, job.units) END;
    UPDATE {schema}.job AS j
    SET args = job.args, priority = job.priority, queue = job.queue, labels = job.labels, max_attempts = job.max_attempts,
        run_at = job.run_at, expires_at = job.expires_at, state = job.state, ready_seq = job.ready_seq, gates = job.gates,
        units = job.units, lane = job.lane
    WHERE j.id = met;
    IF job.state = 'ready' AND job.lane IS NOT NULL THEN
        INSERT INTO {schema}.arrival (lane, queue, task, gates, units, priority)
        VALUES (job.lane, job.queue, job.task, job.gates, job.units, job.priority);
    END IF;
    IF job.state = 'ready' OR job.run_at < moment + interval '3 seconds' THEN
        PERFORM pg_notify({channel}, CASE WHEN job.state <> 'ready' THEN 'clock'
                                          WHEN job.lane IS NULL THEN 'again ' || job.queue
                                          ELSE 'gated ' || job.queue END);
    END IF;
    RETURN true;
END $$;

-- Where a job stands that was met; `gone` when even its history was dropped.
CREATE FUNCTION {schema}.state_of(job_id bigint) RETURNS text
LANGUAGE sql STABLE
AS $$
    SELECT coalesce((SELECT j.state::text FROM {schema}.job AS j WHERE j.id = job_id),
                    (SELECT h.state FROM {schema}.job_history AS h WHERE h.id = job_id LIMIT 1), 'gone')
$$;

-- Gets entries in, or has them meet the jobs that have their keys: gives each that did, with the job. With a `conflict`
-- nothing was written, since somebody wants to hear of a key that is taken. Of entries that `are_there` as jobs already,
-- only the keys are written. Ends with `try_again` when keys that were met have been freed meanwhile.
CREATE FUNCTION {schema}.admit_once(
    entries {schema}.entry[], paused text[], moment timestamptz, are_there boolean, is_first boolean,
    OUT late bigint[], OUT holders bigint[], OUT holder bigint, OUT conflict text
)
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    one record;
BEGIN
    SELECT coalesce(array_agg(t.id), '{}'), coalesce(array_agg(t.met), '{}') INTO late, holders
    FROM {schema}.take_keys(entries, moment, is_first, true) AS t;
    SELECT CASE WHEN l.met NOT IN (SELECT e.id FROM unnest(entries) AS e) THEN l.met END,
           format('task %L: the unique key %L is taken by %s', e.task, e.unique_key,
                  CASE WHEN l.met IN (SELECT e.id FROM unnest(entries) AS e) THEN 'another job of the same enqueue'
                       ELSE format('job %s, which %s', l.met, CASE {schema}.state_of(l.met)
                           WHEN 'succeeded' THEN 'has succeeded' WHEN 'failed' THEN 'has failed'
                           WHEN 'cancelled' THEN 'was cancelled' WHEN 'discarded' THEN 'was discarded'
                           ELSE 'is ' || {schema}.state_of(l.met) END) END)
    INTO holder, conflict
    FROM unnest(late, holders) AS l (id, met) JOIN unnest(entries) AS e ON e.id = l.id
    WHERE e.on_conflict = 'raise' ORDER BY e.id LIMIT 1;
    IF conflict IS NOT NULL THEN
        DELETE FROM {schema}.unique_key AS u WHERE u.job_id = ANY(ARRAY(SELECT e.id FROM unnest(entries) AS e));
        RETURN;
    END IF;
    PERFORM {schema}.put_jobs(
        CASE WHEN are_there THEN '{}' WHEN late = '{}' THEN entries
             ELSE ARRAY(SELECT e FROM unnest(entries) AS e
                        WHERE (e.id IN (SELECT unnest(late))) IS NOT TRUE ORDER BY e.id) END, moment);
    FOR one IN
        SELECT e AS entry, e.task, e.unique_key, l.met
        FROM unnest(late, holders) AS l (id, met) JOIN unnest(entries) AS e ON e.id = l.id
        WHERE e.on_conflict = 'replace' ORDER BY l.met, e.id
    LOOP
        -- What runs keeps its key; one that has ended just now may have freed it.
        IF NOT {schema}.replace_waiting(one.met, one.entry, paused, moment) AND NOT EXISTS (
            SELECT FROM {schema}.unique_key AS u
            WHERE u.task = one.task AND u.key = one.unique_key AND u.job_id = one.met)
        THEN
            RAISE SQLSTATE 'PQ001' USING MESSAGE = 'try_again';
        END IF;
    END LOOP;
END $$;

-- The same until it is done. Each time everything is given up first, the locks of jobs and keys with it: keys that others
-- are about to take are waited for by those only who hold nothing that these may want.
CREATE FUNCTION {schema}.admit(
    entries {schema}.entry[], paused text[], moment timestamptz, are_there boolean, OUT late bigint[], OUT holders bigint[],
    OUT holder bigint, OUT conflict text
)
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    is_first boolean := true;
    deadlocks integer := 0;
BEGIN
    LOOP
        BEGIN
            SELECT a.* INTO late, holders, holder, conflict
            FROM {schema}.admit_once(entries, paused, moment, are_there, is_first) AS a;
            RETURN;
        EXCEPTION
            WHEN SQLSTATE 'PQ001' THEN
                NULL;
            -- What else the transactions hold, this cannot give up.
            WHEN deadlock_detected THEN
                deadlocks := deadlocks + 1;
                IF deadlocks = 3 THEN
                    RAISE;
                END IF;
        END;
        is_first := false;
    END LOOP;
END $$;

-- What calls ask for, with what they leave to others: call > the published task > the caller's own code > built-in.
-- Jobs of one kind differ in their `args` alone: what it says is looked at once. `which` has the number of each job's kind,
-- and is empty when all are of the first.
CREATE FUNCTION {schema}.merged_jobs(
    kinds jsonb, args jsonb, which integer[], code_defaults jsonb, moment timestamptz
) RETURNS TABLE (
    no bigint, task text, args jsonb, run_at timestamptz, later boolean, queue text, priority smallint,
    max_attempts smallint, labels text[], options jsonb, own jsonb, marked boolean
)
LANGUAGE sql STABLE
AS $$
    SELECT w.no, k.task, w.args, k.run_at, k.later, k.queue, k.priority, k.max_attempts, k.labels, k.options, k.own, k.marked
    FROM ROWS FROM (jsonb_array_elements(args), unnest(which)) WITH ORDINALITY AS w (args, kind, no)
    JOIN (
        SELECT s.no, s.task, greatest(s.run_at, moment + s.delay, moment) AS run_at,
               coalesce(greatest(s.run_at, moment + s.delay) > moment, false) AS later,
               coalesce(s.queue, d.queue) AS queue, coalesce(s.priority, d.priority)::smallint AS priority,
               coalesce(s.max_attempts, d.max_attempts)::smallint AS max_attempts,
               CASE WHEN s.labels IS NULL THEN d.labels
                    ELSE ARRAY(SELECT jsonb_array_elements_text(s.labels)) END AS labels,
               s.options, d.own, d.own ?| ARRAY['unique', 'throttle', 'fuse'] AS marked
        FROM ROWS FROM (
            jsonb_to_recordset(kinds) AS (
                task text, queue text, run_at timestamptz, delay interval, priority integer, labels jsonb,
                max_attempts integer, options jsonb)
        ) WITH ORDINALITY AS s (task, queue, run_at, delay, priority, labels, max_attempts, options, no)
        LEFT JOIN (
            SELECT c.name, coalesce(t.queue, c.code ->> 'queue', 'default') AS queue,
                   coalesce(t.priority, (c.code ->> 'priority')::smallint, 0) AS priority,
                   coalesce(t.max_attempts, (c.code ->> 'max_attempts')::smallint, 1) AS max_attempts,
                   coalesce(
                       t.labels,
                       (SELECT array_agg(l) FROM jsonb_array_elements_text(nullif(c.code -> 'labels', 'null')) AS l),
                       ARRAY[]::text[]) AS labels,
                   {schema}.own_terms(
                       coalesce(c.code -> 'options', '{}') || coalesce(t.options, '{}'),
                       coalesce(t.arg_defaults, c.code -> 'arg_defaults')) AS own
            FROM (
                SELECT DISTINCT u.task AS name, code_defaults -> u.task AS code
                FROM jsonb_to_recordset(kinds) AS u (task text)
            ) AS c
            LEFT JOIN {schema}.task AS t ON t.name = c.name
            OFFSET 0
        ) AS d ON d.name = s.task
        OFFSET 0
    ) AS k ON k.no = coalesce(w.kind, 1)
$$;

-- Those that carry something, or that may have to pass the gate of a pause.
CREATE FUNCTION {schema}.admit_jobs(
    kinds jsonb, args jsonb, which integer[], code_defaults jsonb, paused text[], moment timestamptz
) RETURNS TABLE (id bigint, state text, inserted boolean, fault text, conflict text)
LANGUAGE plpgsql VOLATILE
AS $$
#variable_conflict use_column
DECLARE
    entries {schema}.entry[];
    keyed boolean;
    problem text;
    late bigint[] := '{}';
    holders bigint[] := '{}';
    holder bigint;
    clash text;
    relations record;
BEGIN
    SELECT r.* INTO relations FROM {schema}.related(kinds) AS r;
    IF relations.fault IS NOT NULL THEN
        RETURN QUERY SELECT NULL::bigint, NULL::text, false, relations.fault, NULL::text;
        RETURN;
    END IF;
    entries := ARRAY(
        SELECT ROW(
            m.id, m.run_at, m.later OR m.options ?| ARRAY['after', 'beside'] IS TRUE, m.priority, m.max_attempts, m.queue,
            m.task, m.args, m.labels, x.unique_key,
            x.unique_until, x.key_expires_at,
            CASE WHEN m.options ? 'lenient' THEN replace(x.on_conflict, 'raise', 'skip') ELSE x.on_conflict END,
            x.replaces, x.lane, x.gates, x.units, x.fault,
            CASE WHEN m.options IS NOT NULL THEN {schema}.run_options(m.options, m.options -> 'schedule') END,
            m.options ?| ARRAY['after', 'beside'], (m.options ->> 'parent')::bigint
        )::{schema}.entry
        FROM (
            SELECT nextval('{schema}.job_id') AS id, o.* FROM (
                SELECT j.* FROM {schema}.merged_jobs(relations.looked_at, args, which, code_defaults, moment) AS j ORDER BY j.no
            ) AS o
        ) AS m
        LEFT JOIN LATERAL (
            SELECT e.* FROM (
                SELECT WHERE m.options - ARRAY['after', 'beside', 'fresh', 'parent', 'fan', 'trace'] <> '{}' OR m.marked OR paused IS NOT NULL
                OFFSET 0
            ) AS n CROSS JOIN LATERAL {schema}.entrance(
                m.task, m.args, m.queue, m.labels, m.options - 'schedule', m.options -> 'schedule', m.own, paused, moment
            ) AS e
        ) AS x ON true
        ORDER BY m.no);
    SELECT bool_or(e.unique_key IS NOT NULL), min(e.fault) INTO keyed, problem FROM unnest(entries) AS e;
    IF problem IS NOT NULL THEN
        RETURN QUERY SELECT NULL::bigint, NULL::text, false, problem, NULL::text;
        RETURN;
    ELSIF keyed THEN
        SELECT a.* INTO late, holders, holder, clash FROM {schema}.admit(entries, paused, moment, false) AS a;
        IF clash IS NOT NULL THEN
            RETURN QUERY SELECT holder, {schema}.state_of(holder), false, NULL::text, clash;
            RETURN;
        END IF;
    ELSE
        PERFORM {schema}.put_jobs(entries, moment);
    END IF;
    IF (SELECT bool_or(e.awaits OR e.parent_id IS NOT NULL) FROM unnest(entries) AS e) THEN
        PERFORM {schema}.put_relations(
            relations.looked_at, which, ARRAY(SELECT e.id FROM unnest(entries) AS e), late, holders, moment);
    END IF;
    RETURN QUERY
        SELECT coalesce(l.met, e.id),
               CASE WHEN l.met IS NOT NULL THEN {schema}.state_of(l.met) WHEN e.later THEN 'scheduled' ELSE 'ready' END,
               l.met IS NULL, NULL::text, NULL::text
        FROM unnest(entries) AS e LEFT JOIN unnest(late, holders) AS l (id, met) ON l.id = e.id
        ORDER BY e.id;
END $$;

-- Jobs of one kind that carry nothing, as `insert_jobs`; no rows when they do, by what their task says.
CREATE FUNCTION {schema}.insert_plain(
    kind jsonb, args jsonb, code_defaults jsonb, moment timestamptz, quiet boolean
) RETURNS TABLE (id bigint, state text, inserted boolean, fault text, conflict text, wake text)
LANGUAGE plpgsql VOLATILE
AS $$
#variable_conflict use_column
DECLARE
    task_name constant text := kind ->> 'task';
    code constant jsonb := code_defaults -> task_name;
    wanted constant timestamptz := greatest((kind ->> 'run_at')::timestamptz, moment + (kind ->> 'delay')::interval);
    later constant boolean := coalesce(wanted > moment, false);
    due constant timestamptz := greatest(wanted, moment);
    reached constant {schema}.live_state := CASE WHEN later THEN 'scheduled' ELSE 'ready' END;
    known {schema}.task;
    said jsonb;
    to_queue text;
    urgency smallint;
    attempts smallint;
    marks text[];
BEGIN
    SELECT t.* INTO known FROM {schema}.task AS t WHERE t.name = task_name;
    IF known.options ?| ARRAY['unique', 'throttle', 'fuse'] OR code -> 'options' ?| ARRAY['unique', 'throttle', 'fuse'] THEN
        RETURN;
    END IF;
    to_queue := coalesce(kind ->> 'queue', known.queue, code ->> 'queue', 'default');
    urgency := coalesce((kind ->> 'priority')::smallint, known.priority, (code ->> 'priority')::smallint, 0);
    attempts := coalesce((kind ->> 'max_attempts')::smallint, known.max_attempts, (code ->> 'max_attempts')::smallint, 1);
    said := nullif(coalesce(kind -> 'labels', 'null'), 'null');
    IF said IS NULL THEN
        marks := known.labels;
        said := CASE WHEN marks IS NULL THEN nullif(code -> 'labels', 'null') END;
    END IF;
    IF said IS NOT NULL THEN
        marks := ARRAY(SELECT jsonb_array_elements_text(said));
    END IF;
    RETURN QUERY
        WITH added AS (
            INSERT INTO {schema}.job (id, ready_seq, run_at, created_at, state, priority, max_attempts, queue, task, args, labels)
            SELECT nextval('{schema}.job_id'), CASE WHEN later THEN NULL ELSE nextval('{schema}.ready_seq') END,
                   due, moment, reached, urgency, attempts, to_queue, task_name, a.one, coalesce(marks, '{}')
            FROM jsonb_array_elements(args) AS a (one)
            RETURNING id
        )
        SELECT a.id, reached::text, true, NULL::text, NULL::text,
               CASE WHEN quiet IS NOT NULL AND NOT later THEN 'ready ' || to_queue END
        FROM added AS a;
    -- A later job wakes the clock only when it falls due before the clock's next look.
    IF later THEN
        IF due < moment + interval '3 seconds' THEN
            PERFORM pg_notify({channel}, 'clock');
        END IF;
    ELSIF quiet IS NOT TRUE THEN
        PERFORM pg_notify({channel}, 'ready ' || to_queue);
    END IF;
END $$;

-- The one way in for new jobs. Ids rise in input order. `args` is a list of objects; the `options` of a kind are what else
-- the calls say: unique, unique_key, throttle, fuse, units; under `schedule` what a schedule says.
-- Nothing was inserted when a row has a `fault`, about what a template cannot be filled with, or a `conflict`, with the job
-- that has the key: an error would be the end of the caller's transaction.
-- A caller that says that it is `quiet` tells workers itself of free jobs that are ready, by the `wake` that it gets; one
-- that says that it is not gets that as well, and a null is for those who do not care.
CREATE FUNCTION {schema}.insert_jobs(
    kinds jsonb, args jsonb, which integer[], code_defaults jsonb, given_now timestamptz, quiet boolean
) RETURNS TABLE (id bigint, state text, inserted boolean, fault text, conflict text, wake text)
LANGUAGE plpgsql VOLATILE
-- To plan for each call what is the same for all of them would take longer than to do it.
SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
DECLARE
    moment constant timestamptz := coalesce(given_now, clock_timestamp());
    paused constant boolean := EXISTS (SELECT FROM {schema}.pause);
BEGIN
    -- What most calls are: to find that out field by field is faster than the statement for all kinds.
    IF NOT paused AND jsonb_array_length(kinds) = 1 AND coalesce(kinds -> 0 -> 'options', 'null') = 'null' THEN
        RETURN QUERY SELECT p.* FROM {schema}.insert_plain(kinds -> 0, args, code_defaults, moment, quiet) AS p;
        IF FOUND THEN
            RETURN;
        END IF;
    END IF;
    IF paused OR EXISTS (
        SELECT FROM jsonb_to_recordset(kinds) AS k (task text, options jsonb) LEFT JOIN {schema}.task AS t ON t.name = k.task
        WHERE k.options IS NOT NULL OR t.options ?| ARRAY['unique', 'throttle', 'fuse']
           OR code_defaults -> k.task -> 'options' ?| ARRAY['unique', 'throttle', 'fuse'])
    THEN
        RETURN QUERY SELECT j.*, NULL::text FROM {schema}.admit_jobs(
            kinds, args, which, code_defaults, {schema}.paused_gates(moment), moment
        ) AS j;
        RETURN;
    END IF;
    RETURN QUERY
        WITH added AS (
            INSERT INTO {schema}.job (id, ready_seq, run_at, created_at, state, priority, max_attempts, queue, task, args, labels)
            SELECT nextval('{schema}.job_id'), CASE WHEN m.later THEN NULL ELSE nextval('{schema}.ready_seq') END,
                   m.run_at, moment, (CASE WHEN m.later THEN 'scheduled' ELSE 'ready' END)::{schema}.live_state,
                   m.priority, m.max_attempts, m.queue, m.task, m.args, m.labels
            FROM {schema}.merged_jobs(kinds, args, which, code_defaults, moment) AS m ORDER BY m.no
            RETURNING id, state, queue, run_at
        ),
        -- A later job wakes the clock only when it falls due before the clock's next look.
        woken AS MATERIALIZED (
            SELECT pg_notify({channel}, w.wake) FROM (
                SELECT DISTINCT CASE WHEN a.state = 'ready' THEN 'ready ' || a.queue ELSE 'clock' END AS wake
                FROM added AS a
                WHERE CASE WHEN a.state = 'ready' THEN quiet IS NOT TRUE ELSE a.run_at < moment + interval '3 seconds' END
            ) AS w
        )
        SELECT a.id, a.state::text, true, NULL::text, NULL::text,
               CASE WHEN quiet IS NOT NULL AND a.state = 'ready' THEN 'ready ' || a.queue END
        FROM added AS a, (SELECT count(*) FROM woken) AS w ORDER BY a.id;
END $$;

-- Refuses to write what carries a fault.
CREATE FUNCTION {schema}.refuse(fault text) RETURNS jsonb
LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
    RAISE invalid_parameter_value USING MESSAGE = fault;
END $$;

-- Takes the unique keys of ticks' jobs that were just inserted. One that meets a job that has its key is left out, and the
-- ledger says so. Gives their number.
CREATE FUNCTION {schema}.admit_ticks(keyed jsonb, given_now timestamptz) RETURNS bigint
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    moment constant timestamptz := coalesce(given_now, clock_timestamp());
    met bigint[];
    left_out bigint;
BEGIN
    SELECT a.late INTO met FROM {schema}.admit(
        ARRAY(
            SELECT ROW(j.id, j.run_at, j.run_at > moment, j.priority, j.max_attempts, j.queue, j.task, j.args, j.labels,
                       j.unique_key, j.unique_until, k.expires_at, replace(k.on_conflict, 'raise', 'skip'), k.replaces,
                       j.lane, j.gates, j.units, NULL, j.run_options, j.awaits, j.parent_id)::{schema}.entry
            FROM jsonb_to_recordset(keyed) AS k (id bigint, expires_at timestamptz, on_conflict text, replaces text[])
            JOIN {schema}.job AS j USING (id) ORDER BY j.id),
        {schema}.paused_gates(moment), moment, true) AS a;
    WITH gone AS (DELETE FROM {schema}.job AS j WHERE j.id = ANY(met) RETURNING j.schedule_id, j.tick)
    UPDATE {schema}.tick AS t SET outcome = 'skipped', reason = 'unique', job_id = NULL
    FROM gone AS g WHERE t.schedule_id = g.schedule_id AND t.tick = g.tick;
    GET DIAGNOSTICS left_out = ROW_COUNT;
    RETURN left_out;
END $$;

-- What is to become of the schedules of tasks that were published anew. Those that could not be planned are tried again.
-- Has the ticks of these tasks' schedules decided on at their time from now on, where the tasks say that their jobs are
-- unique: those inserted ahead without a key are taken back. Gives the number of schedules.
CREATE FUNCTION {schema}.judge_from_now_on(names text[]) RETURNS bigint
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    moment constant timestamptz := clock_timestamp();
    own_names text[];
    ids bigint[];
BEGIN
    UPDATE {schema}.schedule AS s SET version = s.version + 1, fault = NULL
    WHERE s.fault IS NOT NULL AND s.definition ->> 'task' = ANY(names);
    IF FOUND THEN
        PERFORM pg_notify({channel}, 'clock');
    END IF;
    own_names := ARRAY(SELECT t.name FROM {schema}.task AS t WHERE t.name = ANY(names) AND t.options ? 'unique');
    IF own_names = '{}' THEN
        RETURN 0;
    END IF;
    ids := ARRAY(
        SELECT s.id FROM {schema}.schedule AS s
        WHERE s.definition ->> 'task' = ANY(own_names) AND s.state <> 'removed' AND (NOT s.judged OR EXISTS (
            SELECT FROM {schema}.tick AS t JOIN {schema}.job AS j ON j.id = t.job_id
            WHERE t.schedule_id = s.id AND t.tick > moment AND j.state = 'scheduled' AND j.unique_key IS NULL))
        ORDER BY s.id FOR UPDATE OF s);
    WITH ahead AS MATERIALIZED (
        SELECT j.id, t.schedule_id, t.tick FROM {schema}.tick AS t JOIN {schema}.job AS j ON j.id = t.job_id
        WHERE t.schedule_id = ANY(ids) AND t.tick > moment AND j.state = 'scheduled' AND j.attempt = 0
        ORDER BY j.id FOR UPDATE OF j
    ),
    gone AS (DELETE FROM {schema}.job AS j USING ahead AS a WHERE j.id = a.id RETURNING a.schedule_id, a.tick)
    DELETE FROM {schema}.tick AS t USING gone AS g WHERE t.schedule_id = g.schedule_id AND t.tick = g.tick;
    DELETE FROM {schema}.tick AS t WHERE t.schedule_id = ANY(ids) AND t.tick > moment AND t.outcome <> 'inserted';
    -- What became ready ahead of its tick stays, and is not planned again.
    UPDATE {schema}.schedule AS s
    SET unique_task = true, version = s.version + 1, updated_at = moment, planned_to = n.planned_to, next_tick = NULL,
        plan_at = n.planned_to - interval '1 minute'
    FROM (
        SELECT o.id, CASE WHEN o.planned_to < moment THEN o.planned_to ELSE coalesce(
            (SELECT max(t.tick) FROM {schema}.tick AS t WHERE t.schedule_id = o.id AND t.tick > moment), moment) END AS planned_to
        FROM {schema}.schedule AS o WHERE o.id = ANY(ids)
    ) AS n
    WHERE s.id = n.id;
    IF ids <> '{}' THEN
        PERFORM pg_notify({channel}, 'clock');
    END IF;
    RETURN cardinality(ids);
END $$;

-- What is wrong with a reference to a gate; null when it is RULE, or RULE:KEY where KEY is a template.
CREATE FUNCTION {schema}.reference_fault(reference text) RETURNS text
LANGUAGE sql IMMUTABLE
AS $$
    SELECT CASE
        WHEN reference IS NULL OR reference ~ '[[:cntrl:]]' THEN 'must be a printable text that is not empty'
        WHEN octet_length(reference) > 512 THEN 'must have at most 512 bytes'
        WHEN reference ~ '^(throttle|fuse)[.:].' THEN 'begins with the kind of a rule: write its name alone'
        WHEN reference !~ '^[A-Za-z0-9_][A-Za-z0-9._-]{0,99}(:.+)?$' THEN
            'must be the name of a rule, or NAME:KEY such as ''stripe:{account}'': names are up to 100 letters, digits, '
            '''_'', ''.'' and ''-'''
    END
$$;

-- What is wrong with a call of `enqueue`, as Python says it; null when nothing is.
CREATE FUNCTION {schema}.call_fault(
    task text, delay interval, unique_key text, unique_until text, on_conflict text, throttle text[], fuse text[],
    units integer
) RETURNS text
LANGUAGE plpgsql STABLE
AS $$
DECLARE
    kind text;
    reference text;
    fault text;
BEGIN
    IF coalesce(task !~ '^[A-Za-z0-9_][A-Za-z0-9_.:-]{0,199}$', true) THEN
        RETURN format('task name %L cannot be used: write up to 200 letters, digits and ''_'', ''.'', '':'', ''-'', for '
                      'example ''reports.nightly''', left(task, 60));
    ELSIF delay < interval '0' THEN
        RETURN format('delay %L must not be negative', delay);
    ELSIF on_conflict NOT IN ('skip', 'replace', 'raise') THEN
        RETURN format('on_conflict %L must be skip, replace or raise', left(on_conflict, 60));
    ELSIF unique_key ~ '[[:cntrl:]]' THEN
        RETURN format('unique_key %L must be a printable text of 1 to 512 bytes',
                      regexp_replace(left(unique_key, 60), '[[:cntrl:]]', '?', 'g'));
    ELSIF coalesce(on_conflict, unique_until) IS NOT NULL AND unique_key IS NULL
        AND NOT EXISTS (SELECT FROM {schema}.task AS t WHERE t.name = call_fault.task AND t.options ? 'unique') THEN
        RETURN format('%s says something of a unique key, and there is none: give unique_key, or let the task be unique',
                      CASE WHEN on_conflict IS NULL THEN 'unique_until' ELSE 'on_conflict' END);
    ELSIF units NOT BETWEEN 1 AND 1000000 THEN
        RETURN format('units %s must be a whole number from 1 to 1000000', units);
    ELSIF greatest(cardinality(throttle), cardinality(fuse)) > 16 THEN
        RETURN 'throttle and fuse must be lists of at most 16 each';
    END IF;
    IF unique_until NOT IN ('started', 'finished') THEN
        BEGIN
            IF regexp_replace(unique_until, '([a-z])([0-9])', '\1 \2', 'g')::interval < interval '1 second' THEN
                fault := '';
            END IF;
        EXCEPTION WHEN data_exception THEN
            fault := '';
        END;
        IF fault IS NOT NULL THEN
            RETURN format('unique_until %L must be started, finished, or an interval of a second at least, such as ''1 hour''',
                          left(unique_until, 60));
        END IF;
    END IF;
    FOR kind, reference IN
        SELECT 'throttle', u.name FROM unnest(throttle) AS u (name) UNION ALL SELECT 'fuse', u.name FROM unnest(fuse) AS u (name)
    LOOP
        fault := {schema}.reference_fault(reference);
        IF fault IS NOT NULL THEN
            RETURN format('%s %L %s', kind, regexp_replace(left(reference, 60), '[[:cntrl:]]', '?', 'g'), fault);
        END IF;
    END LOOP;
    RETURN NULL;
END $$;

-- SELECT enqueue('reports.nightly', '{"day": "2026-11-22"}', queue => 'mice'): one job; gives its id, or that of the job
-- that has its unique key. Whoever may call it needs no other right. `unique_until` is `started`, `finished` or an interval; throttle and fuse are templates.
-- `after` are the ids of jobs that must have succeeded first, `parent` that of the job or fan-out that it is a part of.
CREATE FUNCTION {schema}.enqueue(
    task text, args jsonb DEFAULT '{}', queue text DEFAULT NULL, run_at timestamptz DEFAULT NULL,
    delay interval DEFAULT NULL, priority integer DEFAULT NULL, labels text[] DEFAULT NULL,
    max_attempts integer DEFAULT NULL, unique_key text DEFAULT NULL, unique_until text DEFAULT NULL,
    on_conflict text DEFAULT NULL, throttle text[] DEFAULT NULL, fuse text[] DEFAULT NULL, units integer DEFAULT NULL,
    after bigint[] DEFAULT NULL, parent bigint DEFAULT NULL
) RETURNS bigint
LANGUAGE plpgsql VOLATILE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    said jsonb := jsonb_strip_nulls(jsonb_build_object(
        'unique_key', unique_key, 'throttle', throttle, 'fuse', fuse, 'units', units,
        'after', nullif(after, '{}'), 'parent', parent,
        'terms', nullif(jsonb_strip_nulls(jsonb_build_object('until', unique_until, 'on_conflict', on_conflict)), '{}')));
    came record;
    problem constant text := {schema}.call_fault(
        task, delay, unique_key, unique_until, on_conflict, throttle, fuse, units);
BEGIN
    IF problem IS NOT NULL THEN
        RAISE invalid_parameter_value
            USING MESSAGE = CASE WHEN problem LIKE 'task name %' THEN problem ELSE format('task %L: %s', task, problem) END;
    END IF;
    SELECT j.* INTO came FROM {schema}.insert_jobs(
        jsonb_build_array(jsonb_build_object(
            'task', task, 'queue', queue, 'run_at', run_at, 'delay', delay, 'priority', priority, 'labels', labels,
            'max_attempts', max_attempts, 'options', nullif(said, '{}'))),
        jsonb_build_array(args), '{}', '{}', NULL, NULL
    ) AS j;
    IF came.fault IS NOT NULL THEN
        RAISE invalid_parameter_value USING MESSAGE = came.fault;
    ELSIF came.conflict IS NOT NULL THEN
        RAISE unique_violation USING MESSAGE = came.conflict;
    END IF;
    RETURN came.id;
END $$;

-- The daily partitions that should exist and do not, the nearest days first.
CREATE FUNCTION {schema}.wanted_partitions(first date, last date) RETURNS TABLE (parent text, instant text, day date)
LANGUAGE sql STABLE
AS $$
    SELECT c.relname::text, a.attname::text, d.day
    FROM pg_partitioned_table AS p
    JOIN pg_class AS c ON c.oid = p.partrelid
    JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = p.partattrs[0]
    CROSS JOIN (SELECT generate_series(first, last, interval '1 day')::date AS day) AS d
    WHERE c.relnamespace = to_regnamespace('{schema}') AND p.partstrat = 'r'
      AND to_regclass(format('{schema}.%I', c.relname || '_' || to_char(d.day, 'YYYYMMDD'))) IS NULL
    ORDER BY d.day, c.relname
$$;

-- Creates the partition of one day of one partitioned table, moving out of its DEFAULT partition what arrived there in
-- the meantime; false when it exists already.
-- As the owner of the tables, whoever calls it: a clock has no right to change the schema.
CREATE FUNCTION {schema}.create_day_partition(parent text, instant text, day date) RETURNS boolean
LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    part text := parent || '_' || to_char(day, 'YYYYMMDD');
    first timestamptz := day::timestamp AT TIME ZONE 'UTC';
    beyond timestamptz := (day + 1)::timestamp AT TIME ZONE 'UTC';
BEGIN
    IF NOT EXISTS (SELECT FROM {schema}.wanted_partitions(day, day) AS w WHERE w.parent = $1 AND w.instant = $2) THEN
        RETURN false;
    END IF;
    -- Rows that arrive meanwhile would stand in the way of the new partition's bounds.
    EXECUTE format('LOCK TABLE {schema}.%I IN SHARE ROW EXCLUSIVE MODE', parent || '_default');
    EXECUTE format('CREATE TABLE {schema}.%I (LIKE {schema}.%I INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', part, parent);
    EXECUTE format('WITH moved AS (DELETE FROM {schema}.%I WHERE %I >= %L AND %I < %L RETURNING *)
                    INSERT INTO {schema}.%I SELECT * FROM moved',
                   parent || '_default', instant, first, instant, beyond, part);
    EXECUTE format('ALTER TABLE {schema}.%I ATTACH PARTITION {schema}.%I FOR VALUES FROM (%L) TO (%L)',
                   parent, part, first, beyond);
    RETURN true;
END $$;

-- Drops a daily partition of a day before yesterday, as the owner; false when it is none of ours, or gone.
CREATE FUNCTION {schema}.drop_day_partition(name text) RETURNS boolean
LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF name !~ '_[0-9]{8}$' OR NOT EXISTS (
           SELECT FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
           WHERE c.relname = name AND c.relnamespace = to_regnamespace('{schema}') AND c.relkind = 'r'
             AND to_date(right(c.relname, 8), 'YYYYMMDD') < (now() AT TIME ZONE 'UTC')::date - 1) THEN
        RETURN false;
    END IF;
    EXECUTE format('DROP TABLE {schema}.%I', name);
    RETURN true;
END $$;

-- The whole numbers in a version text, so that 1.10 comes after 1.9.
CREATE FUNCTION {schema}.version_key(version text) RETURNS numeric[]
LANGUAGE sql IMMUTABLE
AS $$
    SELECT ARRAY(SELECT m[1]::numeric FROM regexp_matches(version, '[0-9]+', 'g') AS m)
$$;
