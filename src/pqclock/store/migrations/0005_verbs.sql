-- What other languages call, and the daily partitions.

-- The one way in for new jobs: call > the published task > the caller's own code > built-in. Ids rise in input order.
CREATE FUNCTION {schema}.insert_jobs(
    tasks text[], args jsonb[], queues text[], run_ats timestamptz[], priorities integer[], labels jsonb[],
    max_attempts integer[], code_defaults jsonb, given_now timestamptz
) RETURNS TABLE (id bigint, state text)
LANGUAGE sql VOLATILE
AS $$
    WITH moment AS MATERIALIZED (SELECT coalesce(given_now, clock_timestamp()) AS now),
    wanted AS MATERIALIZED (
        SELECT nextval('{schema}.job_id') AS id, c.*
        FROM unnest(tasks, args, queues, run_ats, priorities, labels, max_attempts)
             AS c (task, args, queue, run_at, priority, labels, max_attempts)
    ),
    merged AS (
        SELECT w.id, w.task, w.args, m.now,
               greatest(w.run_at, m.now) AS run_at,
               w.run_at > m.now AS later,
               coalesce(w.queue, t.queue, code_defaults -> w.task ->> 'queue', 'default') AS queue,
               coalesce(w.priority, t.priority, (code_defaults -> w.task ->> 'priority')::smallint, 0) AS priority,
               coalesce(w.max_attempts, t.max_attempts, (code_defaults -> w.task ->> 'max_attempts')::smallint, 1)
                   AS max_attempts,
               coalesce(
                   (SELECT array_agg(l) FROM jsonb_array_elements_text(w.labels) AS l),
                   CASE WHEN w.labels IS NULL THEN coalesce(
                       t.labels,
                       (SELECT array_agg(l) FROM jsonb_array_elements_text(code_defaults -> w.task -> 'labels') AS l)
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
    priority integer DEFAULT NULL, labels text[] DEFAULT NULL, max_attempts integer DEFAULT NULL
) RETURNS bigint
LANGUAGE sql VOLATILE
AS $$
    SELECT id FROM {schema}.insert_jobs(
        ARRAY[task], ARRAY[args], ARRAY[queue], ARRAY[coalesce(run_at, '-infinity')], ARRAY[priority],
        ARRAY[to_jsonb(labels)], ARRAY[max_attempts], '{}', NULL
    )
$$;

-- Creates the daily partitions of every partitioned table from `first` to `last`, moving out of the DEFAULT partition
-- what arrived there in the meantime; gives the number of partitions made.
CREATE FUNCTION {schema}.create_day_partitions(first date, last date) RETURNS integer
LANGUAGE plpgsql
AS $$
DECLARE
    parent record;
    day date;
    part text;
    made integer := 0;
BEGIN
    FOR parent IN
        SELECT c.relname AS name, a.attname AS instant
        FROM pg_partitioned_table AS p
        JOIN pg_class AS c ON c.oid = p.partrelid
        JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = p.partattrs[0]
        WHERE c.relnamespace = to_regnamespace('{schema}') AND p.partstrat = 'r'
        ORDER BY c.relname
    LOOP
        FOR day IN SELECT generate_series(first, last, interval '1 day')::date LOOP
            part := parent.name || '_' || to_char(day, 'YYYYMMDD');
            CONTINUE WHEN to_regclass(format('{schema}.%I', part)) IS NOT NULL;
            EXECUTE format('CREATE TABLE {schema}.%I (LIKE {schema}.%I INCLUDING DEFAULTS INCLUDING CONSTRAINTS)',
                           part, parent.name);
            EXECUTE format('WITH moved AS (DELETE FROM {schema}.%1$I WHERE %2$I >= %3$L AND %2$I < %4$L RETURNING *)
                            INSERT INTO {schema}.%5$I SELECT * FROM moved',
                           parent.name || '_default', parent.instant,
                           day::timestamp AT TIME ZONE 'UTC', (day + 1)::timestamp AT TIME ZONE 'UTC', part);
            EXECUTE format('ALTER TABLE {schema}.%I ATTACH PARTITION {schema}.%I FOR VALUES FROM (%L) TO (%L)',
                           parent.name, part,
                           day::timestamp AT TIME ZONE 'UTC', (day + 1)::timestamp AT TIME ZONE 'UTC');
            made := made + 1;
        END LOOP;
    END LOOP;
    RETURN made;
END $$;

-- Drops the daily partitions of days before `keep_from`; gives the number of partitions dropped.
CREATE FUNCTION {schema}.drop_day_partitions(keep_from date) RETURNS integer
LANGUAGE plpgsql
AS $$
DECLARE
    part record;
    dropped integer := 0;
BEGIN
    FOR part IN
        SELECT c.relname AS name
        FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
        WHERE c.relnamespace = to_regnamespace('{schema}') AND c.relname ~ '_[0-9]{8}$'
          AND to_date(right(c.relname, 8), 'YYYYMMDD') < keep_from
    LOOP
        EXECUTE format('DROP TABLE {schema}.%I', part.name);
        dropped := dropped + 1;
    END LOOP;
    RETURN dropped;
END $$;
