-- name: roles
-- The roles of pqclock, each with what it needs and no more. Safe to run again, and to be run again after each
-- `pqclock migrate`: by a superuser, or by a role that may create roles and owns the schema.
--
--   {prefix}_owner     owns schema, tables and functions; nobody logs in as it
--   {prefix}_migrator  may become the owner: `pqclock migrate`
--   {prefix}_clock     `pqclock clock`, `pqclock apply`, verbs of schedules, rules, gates and pauses
--   {prefix}_worker    `pqclock worker`, applications with an App, verbs of jobs
--   {prefix}_enqueuer  SELECT {schema}.enqueue(...), and nothing else
--   {prefix}_reader    views and listings; writes nothing
--
-- None of them may log in: grant them to the roles that do, as in GRANT {prefix}_worker TO shop.
BEGIN;

DO $$
DECLARE
    role text;
BEGIN
    FOREACH role IN ARRAY ARRAY['owner', 'migrator', 'clock', 'worker', 'enqueuer', 'reader'] LOOP
        IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = {prefix_literal} || '_' || role) THEN
            EXECUTE pg_catalog.format('CREATE ROLE %I NOLOGIN', {prefix_literal} || '_' || role);
        END IF;
    END LOOP;
END $$;
GRANT {owner} TO {migrator};

DO $$
DECLARE
    thing record;
BEGIN
    IF pg_catalog.to_regnamespace({schema_literal}) IS NULL THEN
        CREATE SCHEMA {schema} AUTHORIZATION {owner};
    END IF;
    ALTER SCHEMA {schema} OWNER TO {owner};
    -- Sequences of identity columns and partitions' indexes follow their tables.
    FOR thing IN
        SELECT CASE c.relkind WHEN 'v' THEN 'VIEW' WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END AS kind, c.oid::regclass AS name
        FROM pg_catalog.pg_class AS c
        WHERE c.relnamespace = {schema_literal}::regnamespace AND c.relkind IN ('r', 'p', 'v', 'S')
          AND c.relowner <> {owner_literal}::regrole
          AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend AS d
                          WHERE d.objid = c.oid AND d.classid = 'pg_class'::regclass AND d.deptype = 'i' AND c.relkind = 'S')
    LOOP
        EXECUTE pg_catalog.format('ALTER %s %s OWNER TO {owner}', thing.kind, thing.name);
    END LOOP;
    -- What lies outside of the days is counted where it lies: these may read it through its parent anyway.
    FOR thing IN
        SELECT c.oid::regclass AS name FROM pg_catalog.pg_class AS c
        WHERE c.relnamespace = {schema_literal}::regnamespace AND c.relkind = 'r' AND c.relispartition
          AND pg_catalog.pg_get_expr(c.relpartbound, c.oid) = 'DEFAULT'
    LOOP
        EXECUTE pg_catalog.format('GRANT SELECT ON %s TO {clock}, {worker}, {reader}', thing.name);
    END LOOP;
    FOR thing IN
        SELECT p.oid::regprocedure AS name FROM pg_catalog.pg_proc AS p
        WHERE p.pronamespace = {schema_literal}::regnamespace AND p.proowner <> {owner_literal}::regrole
    LOOP
        EXECUTE pg_catalog.format('ALTER ROUTINE %s OWNER TO {owner}', thing.name);
    END LOOP;
    FOR thing IN
        SELECT t.oid::regtype AS name FROM pg_catalog.pg_type AS t LEFT JOIN pg_catalog.pg_class AS c ON c.oid = t.typrelid
        WHERE t.typnamespace = {schema_literal}::regnamespace AND t.typowner <> {owner_literal}::regrole
          AND (t.typtype = 'e' OR c.relkind = 'c')
    LOOP
        EXECUTE pg_catalog.format('ALTER TYPE %s OWNER TO {owner}', thing.name);
    END LOOP;
END $$;

REVOKE ALL ON SCHEMA {schema} FROM PUBLIC;
GRANT USAGE ON SCHEMA {schema} TO {clock}, {worker}, {enqueuer}, {reader};

-- All anew, so that what an earlier version gave too much is gone. Daily partitions are reached through their parents.
DO $$
DECLARE
    thing record;
BEGIN
    FOR thing IN
        SELECT c.oid::regclass AS name, c.relname, c.relkind FROM pg_catalog.pg_class AS c
        WHERE c.relnamespace = {schema_literal}::regnamespace AND c.relkind IN ('r', 'p', 'v', 'S') AND NOT c.relispartition
    LOOP
        EXECUTE pg_catalog.format(
            'REVOKE ALL ON %s FROM PUBLIC, {clock}, {worker}, {enqueuer}, {reader}', thing.name);
        IF thing.relkind = 'S' THEN
            EXECUTE pg_catalog.format('GRANT USAGE, SELECT ON SEQUENCE %s TO {clock}, {worker}', thing.name);
            CONTINUE;
        END IF;
        EXECUTE pg_catalog.format('GRANT SELECT ON %s TO {clock}, {worker}, {reader}', thing.name);
        CONTINUE WHEN thing.relkind = 'v' OR thing.relname = 'migration';
        EXECUTE pg_catalog.format('GRANT INSERT, UPDATE, DELETE ON %s TO {clock}', thing.name);
        IF thing.relname IN ('rule', 'set_version', 'owed', 'queue', 'pause', 'leader', 'audit', 'queue_slo') THEN
            CONTINUE;
        -- Publishing a task may take ticks of its schedules back; a retry locks the row of its schedule.
        ELSIF thing.relname = 'schedule' THEN
            EXECUTE pg_catalog.format('GRANT UPDATE ON %s TO {worker}', thing.name);
        ELSIF thing.relname = 'tick' THEN
            EXECUTE pg_catalog.format('GRANT DELETE ON %s TO {worker}', thing.name);
        ELSIF thing.relname = 'attempt' THEN
            EXECUTE pg_catalog.format('GRANT INSERT ON %s TO {worker}', thing.name);
        ELSE
            EXECUTE pg_catalog.format('GRANT INSERT, UPDATE, DELETE ON %s TO {worker}', thing.name);
        END IF;
    END LOOP;
    FOR thing IN
        SELECT p.oid::regprocedure AS name, p.proname, p.prosecdef FROM pg_catalog.pg_proc AS p
        WHERE p.pronamespace = {schema_literal}::regnamespace
    LOOP
        EXECUTE pg_catalog.format(
            'REVOKE ALL ON ROUTINE %s FROM PUBLIC, {clock}, {worker}, {enqueuer}, {reader}', thing.name);
        EXECUTE pg_catalog.format('GRANT EXECUTE ON ROUTINE %s TO %s', thing.name, CASE
            WHEN thing.proname = 'enqueue' THEN '{clock}, {worker}, {enqueuer}'
            -- What runs as the owner is for those alone who need it.
            WHEN thing.prosecdef THEN '{clock}'
            ELSE '{clock}, {worker}, {reader}' END);
    END LOOP;
END $$;

COMMIT;
