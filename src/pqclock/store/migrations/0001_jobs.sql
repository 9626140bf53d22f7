-- Jobs: the live ones in one narrow hot table, the finished ones in history, a row for every attempt.

CREATE SEQUENCE {schema}.job_id;
-- Drawn at each transition to ready: the order in which jobs of equal priority are claimed.
CREATE SEQUENCE {schema}.ready_seq;

CREATE TYPE {schema}.live_state AS ENUM ('scheduled', 'ready', 'running');

-- Names travel in notifications and indexes, and instants through every client: what they cannot carry stays out. As domains
-- they are checked where they are written; a constraint of the table would be so at every transition of a job. A bound
-- inside of a regular expression would cost more than all the rest.
CREATE DOMAIN {schema}.queue_name AS text
    CONSTRAINT queue_is_a_name CHECK (VALUE ~ '^[A-Za-z0-9_][A-Za-z0-9_.-]*$' AND length(VALUE) <= 100);
CREATE DOMAIN {schema}.task_name AS text
    CONSTRAINT task_is_a_name CHECK (VALUE !~ '[^[:graph:]]' AND length(VALUE) BETWEEN 1 AND 200);
CREATE DOMAIN {schema}.job_args AS jsonb
    CONSTRAINT args_are_an_object CHECK (jsonb_typeof(VALUE) = 'object')
    CONSTRAINT args_are_not_too_large CHECK (pg_column_size(VALUE) <= 262144);
CREATE DOMAIN {schema}.attempt_limit AS smallint CONSTRAINT at_least_one_attempt CHECK (VALUE >= 1);
CREATE DOMAIN {schema}.unit_count AS bigint CONSTRAINT at_least_one_unit CHECK (VALUE >= 1);
CREATE DOMAIN {schema}.instant AS timestamptz
    CONSTRAINT run_at_is_in_the_calendar CHECK (VALUE < '9999-01-01' AND VALUE > '0001-01-02');

CREATE TABLE {schema}.task (
    name          text PRIMARY KEY,
    queue         text,
    priority      smallint,
    max_attempts  smallint,
    labels        text[],
    arg_defaults  jsonb NOT NULL,
    options       jsonb NOT NULL,
    code_version  text NOT NULL,
    published_at  timestamptz NOT NULL
);

CREATE TABLE {schema}.job (
    id            bigint PRIMARY KEY,
    ready_seq     bigint,
    run_at        {schema}.instant NOT NULL,
    created_at    timestamptz NOT NULL,
    expires_at    timestamptz,
    claimed_at    timestamptz,
    started_at    timestamptz,
    parent_id     bigint,
    schedule_id   bigint,
    tick          timestamptz,
    worker_id     bigint,
    lease         bigint,
    state         {schema}.live_state NOT NULL,
    priority      smallint NOT NULL,
    attempt       smallint NOT NULL DEFAULT 0,
    max_attempts  {schema}.attempt_limit NOT NULL,
    crashes       smallint NOT NULL DEFAULT 0,
    deaths        smallint NOT NULL DEFAULT 0,
    held          boolean NOT NULL DEFAULT false,
    watched       boolean NOT NULL DEFAULT false,
    review        boolean NOT NULL DEFAULT false,
    awaits        boolean NOT NULL DEFAULT false,
    queue         {schema}.queue_name NOT NULL,
    task          {schema}.task_name NOT NULL,
    args          {schema}.job_args NOT NULL,
    labels        text[] NOT NULL,
    error         text,
    unique_key    text,
    unique_until  text,
    lane          uuid,
    gates         text[],
    units         {schema}.unit_count,
    granted       bigint[],
    run_options   jsonb,
    checkpoint    jsonb,
    cancel_requested_at timestamptz,
    cancel_reason text,
    -- The only one of its kind: each costs every statement some microseconds, for one row as for a thousand. What else must
    -- hold between columns is in the tests, whose database refuses it.
    CONSTRAINT running_has_a_lease CHECK (
        (state = 'running') = (lease IS NOT NULL) AND (lease IS NULL) = (worker_id IS NULL))
) WITH (
    fillfactor = 80,
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_cost_delay = 0,
    autovacuum_analyze_scale_factor = 0,
    autovacuum_analyze_threshold = 5000
);

CREATE INDEX job_claim_any ON {schema}.job (priority, ready_seq) WHERE state = 'ready' AND lane IS NULL;
CREATE INDEX job_claim_queue ON {schema}.job (queue, priority, ready_seq) WHERE state = 'ready' AND lane IS NULL;
CREATE INDEX job_claim_lane ON {schema}.job (lane, priority, ready_seq) WHERE state = 'ready' AND lane IS NOT NULL;
CREATE INDEX job_promote ON {schema}.job (run_at) WHERE state = 'scheduled' AND NOT held;
-- Those that wait until the jobs of their schedule before them have ended.
CREATE INDEX job_release ON {schema}.job (id) WHERE held AND NOT awaits;
CREATE INDEX job_await ON {schema}.job (id) WHERE awaits;
-- Those whose schedule looks at whether they are unfinished: few, so that the others need no place in it.
CREATE INDEX job_of_schedule ON {schema}.job (schedule_id) WHERE watched;
CREATE INDEX job_of_parent ON {schema}.job (parent_id) WHERE parent_id IS NOT NULL;
CREATE INDEX job_rescue ON {schema}.job (worker_id) WHERE state = 'running';
CREATE INDEX job_expire ON {schema}.job (expires_at) WHERE expires_at IS NOT NULL AND state <> 'running';

COMMENT ON COLUMN {schema}.job.review IS 'its worker died while it ran: held until a person has looked at what it did';
COMMENT ON COLUMN {schema}.job.awaits IS 'held until all that job_after names for it have succeeded';
COMMENT ON COLUMN {schema}.job.parent_id IS 'the job or the fan-out whose progress it is a part of';
COMMENT ON COLUMN {schema}.job.gates IS 'the gates that it passes, in order; null for a job that passes none';
COMMENT ON COLUMN {schema}.job.lane IS 'hash of queue, task, gates and units: what waits for the same waits together';
COMMENT ON COLUMN {schema}.job.run_options IS 'timeout (seconds) and history, where call or schedule say other than the task; trace: the trace context of the call';
COMMENT ON COLUMN {schema}.job.checkpoint IS 'how far it has come: cursor, done, total, and the seconds spent on it';
COMMENT ON COLUMN {schema}.job.granted IS 'of the fuses that let it run: gate and epoch, gate and epoch';
COMMENT ON COLUMN {schema}.job.cancel_requested_at IS
    'a person wants it to end: its run is told, and is the last one';

-- Where a client of somebody's web server may ask for one job, without a number that could be counted up.
CREATE TABLE {schema}.status_address (
    digest        bytea PRIMARY KEY,
    job_id        bigint NOT NULL,
    expires_at    timestamptz NOT NULL,
    CONSTRAINT digest_is_sha256 CHECK (length(digest) = 32)
);

CREATE INDEX status_address_expire ON {schema}.status_address (expires_at);

CREATE TABLE {schema}.job_history (
    id            bigint NOT NULL,
    state         text NOT NULL,
    queue         text NOT NULL,
    task          text NOT NULL,
    args          jsonb NOT NULL,
    result        jsonb,
    priority      smallint NOT NULL,
    labels        text[] NOT NULL,
    run_at        timestamptz NOT NULL,
    attempt       smallint NOT NULL,
    max_attempts  smallint NOT NULL,
    unique_key    text,
    unique_until  text,
    gates         text[],
    run_options   jsonb,
    checkpoint    jsonb,
    units         bigint,
    parent_id     bigint,
    schedule_id   bigint,
    tick          timestamptz,
    created_at    timestamptz NOT NULL,
    started_at    timestamptz,
    finished_at   timestamptz NOT NULL,
    error         text,
    worker_id     bigint,
    CONSTRAINT history_is_terminal CHECK (state IN ('succeeded', 'failed', 'cancelled', 'discarded'))
) PARTITION BY LIST (state);

-- Failures that no worker has seen, for the reports of workers that want to hear of them.
CREATE TABLE {schema}.unreported (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    job_id        bigint NOT NULL,
    task          text NOT NULL,
    attempt       smallint NOT NULL,
    reason        text NOT NULL,
    message       text NOT NULL,
    retried       boolean NOT NULL,
    noted_at      timestamptz NOT NULL,
    CONSTRAINT reason_is_known CHECK (reason IN ('crashed', 'expired'))
);
CREATE INDEX unreported_of_task ON {schema}.unreported (task, id);

CREATE TABLE {schema}.attempt (
    job_id        bigint NOT NULL,
    attempt       smallint NOT NULL,
    outcome       text NOT NULL,
    worker_id     bigint,
    started_at    timestamptz,
    finished_at   timestamptz NOT NULL,
    error_type    text,
    error         text,
    traceback     text,
    CONSTRAINT attempt_outcome_is_known CHECK (
        outcome IN ('succeeded', 'failed', 'crashed', 'snoozed', 'cancelled', 'interrupted')
    )
) PARTITION BY LIST (outcome);

DO $$
DECLARE
    part text;
BEGIN
    FOREACH part IN ARRAY ARRAY['succeeded', 'failed', 'cancelled', 'discarded'] LOOP
        EXECUTE format('CREATE TABLE {schema}.%I PARTITION OF {schema}.job_history FOR VALUES IN (%L)
                        PARTITION BY RANGE (finished_at)', 'job_history_' || part, part);
        EXECUTE format('CREATE TABLE {schema}.%I PARTITION OF {schema}.%I DEFAULT',
                       'job_history_' || part || '_default', 'job_history_' || part);
    END LOOP;
    FOREACH part IN ARRAY ARRAY['succeeded', 'failed', 'crashed', 'snoozed', 'cancelled', 'interrupted'] LOOP
        EXECUTE format('CREATE TABLE {schema}.%I PARTITION OF {schema}.attempt FOR VALUES IN (%L)
                        PARTITION BY RANGE (finished_at)', 'attempt_' || part, part);
        EXECUTE format('CREATE TABLE {schema}.%I PARTITION OF {schema}.%I DEFAULT',
                       'attempt_' || part || '_default', 'attempt_' || part);
    END LOOP;
END $$;

CREATE INDEX job_history_show ON {schema}.job_history (id);
CREATE INDEX job_history_of_parent ON {schema}.job_history (parent_id) WHERE parent_id IS NOT NULL;
CREATE INDEX attempt_show ON {schema}.attempt (job_id);
