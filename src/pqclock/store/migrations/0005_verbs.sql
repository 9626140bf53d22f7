-- What other languages call, and the daily partitions.

-- What waits for the same waits together: the lane of a job behind gates, null for one without any.
CREATE FUNCTION {schema}.lane_of(queue text, task text, gates text[], units bigint) RETURNS uuid
LANGUAGE sql IMMUTABLE
AS $$
    SELECT md5(queue || chr(10) || task || chr(10) || units || chr(10) || array_to_string(gates, chr(10)))::uuid
$$;

-- The one way in for new jobs: call > the published task > the caller's own code > built-in. Ids rise in input order.
CREATE FUNCTION {schema}.insert_jobs(
    tasks text[], args jsonb[], queues text[], run_ats timestamptz[], delays interval[], priorities integer[],
    labels jsonb[], max_attempts integer[], code_defaults jsonb, given_now timestamptz
) RETURNS TABLE (id bigint, state text)
LANGUAGE sql VOLATILE
AS $$
    WITH moment AS MATERIALIZED (SELECT coalesce(given_now, clock_timestamp()) AS now),
    wanted AS MATERIALIZED (
        SELECT nextval('{schema}.job_id') AS id, c.*
        FROM unnest(tasks, args, queues, run_ats, delays, priorities, labels, max_attempts)
             AS c (task, args, queue, run_at, delay, priority, labels, max_attempts)
    ),
    merged AS (
        SELECT w.id, w.task, w.args, m.now,
               greatest(w.run_at, m.now + w.delay, m.now) AS run_at,
               greatest(w.run_at, m.now + w.delay) > m.now AS later,
               coalesce(w.queue, t.queue, code_defaults -> w.task ->> 'queue', 'default') AS queue,
               coalesce(w.priority, t.priority, (code_defaults -> w.task ->> 'priority')::smallint, 0) AS priority,
               coalesce(w.max_attempts, t.max_attempts, (code_defaults -> w.task ->> 'max_attempts')::smallint, 1)
                   AS max_attempts,
               coalesce(
                   (SELECT array_agg(l) FROM jsonb_array_elements_text(w.labels) AS l),
                   CASE WHEN w.labels IS NULL THEN coalesce(
                       t.labels,
                       (SELECT array_agg(l) FROM jsonb_array_elements_text(nullif(code_defaults -> w.task -> 'labels', 'null')) AS l)
                   ) END,
                   ARRAY[]::text[]
               ) AS labels
        FROM wanted AS w CROSS JOIN moment AS m LEFT JOIN {schema}.task AS t ON t.name = w.task
    ),
    inserted AS (
        INSERT INTO {schema}.job (id, ready_seq, run_at, created_at, state, priority, max_attempts, queue, task, args, labels)
        SELECT m.id,
               CASE WHEN m.later THEN NULL ELSE nextval('{schema}.ready_seq') END,
               m.run_at, m.now,
               (CASE WHEN m.later THEN 'scheduled' ELSE 'ready' END)::{schema}.live_state,
               m.priority, m.max_attempts, m.queue, m.task, m.args, m.labels
        FROM merged AS m ORDER BY m.id
        RETURNING id, state, queue, run_at, created_at
    ),
    -- A later job wakes the clock only when it falls due before the clock's next look.
    woken AS MATERIALIZED (
        SELECT pg_notify({channel}, wake)
        FROM (
            SELECT DISTINCT CASE WHEN i.state = 'ready' THEN 'ready ' || i.queue ELSE 'clock' END AS wake
            FROM inserted AS i WHERE i.state = 'ready' OR i.run_at < i.created_at + interval '3 seconds'
        ) AS wakes
    )
    SELECT i.id, i.state::text FROM inserted AS i, (SELECT count(*) FROM woken) AS w ORDER BY i.id
$$;

-- SELECT enqueue('reports.nightly', '{"day": "2026-11-22"}', queue => 'mice'): one job; gives its id.
CREATE FUNCTION {schema}.enqueue(
    task text, args jsonb DEFAULT '{}', queue text DEFAULT NULL, run_at timestamptz DEFAULT NULL,
    delay interval DEFAULT NULL, priority integer DEFAULT NULL, labels text[] DEFAULT NULL,
    max_attempts integer DEFAULT NULL
) RETURNS bigint
LANGUAGE sql VOLATILE
AS $$
    SELECT id FROM {schema}.insert_jobs(
        ARRAY[task], ARRAY[args], ARRAY[queue], ARRAY[run_at], ARRAY[delay], ARRAY[priority],
        ARRAY[to_jsonb(labels)], ARRAY[max_attempts], '{}', NULL
    )
$$;

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
CREATE FUNCTION {schema}.create_day_partition(parent text, instant text, day date) RETURNS boolean
LANGUAGE plpgsql
AS $$
DECLARE
    part text := parent || '_' || to_char(day, 'YYYYMMDD');
    first timestamptz := day::timestamp AT TIME ZONE 'UTC';
    beyond timestamptz := (day + 1)::timestamp AT TIME ZONE 'UTC';
BEGIN
    IF to_regclass(format('{schema}.%I', part)) IS NOT NULL THEN
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

-- The whole numbers in a version text, so that 1.10 comes after 1.9.
CREATE FUNCTION {schema}.version_key(version text) RETURNS numeric[]
LANGUAGE sql IMMUTABLE
AS $$
    SELECT ARRAY(SELECT m[1]::numeric FROM regexp_matches(version, '[0-9]+', 'g') AS m)
$$;
