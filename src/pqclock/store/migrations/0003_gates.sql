-- Uniqueness, throttles, fuses and pauses: where their rules and their state are kept.

-- Keys that are taken, each by one job; one with an end is free from then on, whatever became of its job.
CREATE TABLE {schema}.unique_key (
    task          text NOT NULL,
    key           text NOT NULL,
    job_id        bigint NOT NULL,
    expires_at    timestamptz,
    CONSTRAINT one_job_per_unique_key PRIMARY KEY (task, key)
) WITH (fillfactor = 80);
CREATE INDEX unique_key_of_job ON {schema}.unique_key (job_id);
CREATE INDEX unique_key_expire ON {schema}.unique_key (expires_at) WHERE expires_at IS NOT NULL;

-- `definition` is what was declared; the columns after it are the same in numbers, for the claim.
CREATE TABLE {schema}.rule (
    kind          text NOT NULL,
    name          text NOT NULL,
    set_name      text,
    source        text NOT NULL,
    state         text NOT NULL DEFAULT 'active',
    version       bigint NOT NULL DEFAULT 1,
    updated_at    timestamptz NOT NULL,
    definition    jsonb NOT NULL,
    rate          bigint,
    per           interval,
    interval_ns   bigint,
    burst         bigint,
    concurrency   bigint,
    failures      bigint,
    failure_rate  double precision,
    minimum       bigint,
    within        interval,
    cool_down     interval,
    max_cool_down interval,
    probes        bigint,
    only_names    text[],
    ignored_names text[],
    reviewed_to   bigint,
    CONSTRAINT one_rule_per_kind_and_name PRIMARY KEY (kind, name),
    CONSTRAINT rule_kind_is_known CHECK (kind IN ('throttle', 'fuse')),
    CONSTRAINT rule_state_is_known CHECK (state IN ('active', 'removed')),
    CONSTRAINT rate_has_an_interval CHECK ((rate IS NULL) = (interval_ns IS NULL) AND (rate IS NULL) = (burst IS NULL)),
    CONSTRAINT throttle_limits_something CHECK (kind <> 'throttle' OR rate IS NOT NULL OR concurrency IS NOT NULL),
    CONSTRAINT fuse_is_complete CHECK (
        kind <> 'fuse'
        OR (coalesce(failures, minimum) IS NOT NULL AND within IS NOT NULL AND cool_down IS NOT NULL
            AND max_cool_down IS NOT NULL AND probes IS NOT NULL))
);

COMMENT ON COLUMN {schema}.rule.reviewed_to IS 'how far its gates were looked through since it was changed; null for all of them';
COMMENT ON COLUMN {schema}.rule.interval_ns IS 'nanoseconds between two starts once the burst is used up, rounded up';

-- One rule applied to one key, or the pause of a task or a label; `name` is KIND:RULE or KIND:RULE:KEY.
CREATE TABLE {schema}.gate (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name          text NOT NULL,
    kind          text NOT NULL,
    rule          text NOT NULL,
    key           text NOT NULL,
    tat_ns        bigint NOT NULL DEFAULT 0,
    closed_until  timestamptz,
    reserved_until timestamptz,
    blown_until   timestamptz,
    cool_down     interval,
    epoch         bigint NOT NULL DEFAULT 0,
    passed        bigint NOT NULL DEFAULT 0,
    counts_from   timestamptz NOT NULL DEFAULT '-infinity',
    opens_at      timestamptz,
    queues        text[] NOT NULL DEFAULT '{}',
    note          text,
    CONSTRAINT one_gate_per_name UNIQUE (name),
    CONSTRAINT gate_kind_is_known CHECK (kind IN ('throttle', 'fuse', 'pause'))
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX gate_wake ON {schema}.gate (opens_at) WHERE opens_at IS NOT NULL;
CREATE INDEX gate_of_rule ON {schema}.gate (kind, rule, id);

COMMENT ON COLUMN {schema}.gate.tat_ns IS 'when the next start would be due if starts came evenly: nanoseconds since 1970';
COMMENT ON COLUMN {schema}.gate.closed_until IS 'closed by a handler or a person until then';
COMMENT ON COLUMN {schema}.gate.reserved_until IS 'closed to all others, for the lane whose turn it is and that needs several units';
COMMENT ON COLUMN {schema}.gate.blown_until IS 'a fuse that blew, half open from then on; null while it is whole';
COMMENT ON COLUMN {schema}.gate.cool_down IS 'how long it was blown the last time';
COMMENT ON COLUMN {schema}.gate.epoch IS 'rises when a fuse blows or heals: outcomes count only in the epoch they started in';
COMMENT ON COLUMN {schema}.gate.passed IS 'how many probes of this epoch have succeeded';
COMMENT ON COLUMN {schema}.gate.counts_from IS 'outcomes before it do not count any more';
COMMENT ON COLUMN {schema}.gate.opens_at IS 'when the lanes that wait for it are to be looked at; null when nobody waits, or nobody knows when';
COMMENT ON COLUMN {schema}.gate.queues IS 'the queues of the lanes that wait for it';

-- A place that a running job has at a gate; gone with the lease.
CREATE TABLE {schema}.slot (
    gate_id       bigint NOT NULL,
    job_id        bigint NOT NULL,
    lease         bigint NOT NULL,
    CONSTRAINT one_slot_per_gate_and_job PRIMARY KEY (gate_id, job_id)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX slot_of_job ON {schema}.slot (job_id);

-- Jobs of one queue and task that pass the same gates, as long as some of them are ready; `gate_id` is the closed gate
-- on which it is parked, 0 for one at rest. Only claims write it.
CREATE SEQUENCE {schema}.lane_turn;
CREATE TABLE {schema}.lane (
    lane          uuid PRIMARY KEY,
    queue         text NOT NULL,
    task          text NOT NULL,
    gates         text[] NOT NULL,
    units         bigint NOT NULL,
    priority      smallint NOT NULL,
    turn          bigint NOT NULL,
    gate_id       bigint
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX lane_serve_any ON {schema}.lane (priority, turn) WHERE gate_id IS NULL;
CREATE INDEX lane_serve ON {schema}.lane (queue, task, priority, turn) WHERE gate_id IS NULL;
CREATE INDEX lane_wake ON {schema}.lane (gate_id, priority, turn) WHERE gate_id IS NOT NULL;

-- Written beside jobs that become ready behind gates, one row for each lane: the next claim turns it into a lane.
-- Writers meet nobody here, so that an open transaction of a user holds nobody up.
CREATE TABLE {schema}.arrival (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    lane          uuid NOT NULL,
    queue         text NOT NULL,
    task          text NOT NULL,
    gates         text[] NOT NULL,
    units         bigint NOT NULL,
    priority      smallint NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0);

-- What fuses have seen: failures one by one, successes counted by short spans where a share of failures is asked for.
CREATE TABLE {schema}.fuse_failure (
    gate_id       bigint NOT NULL,
    failed_at     timestamptz NOT NULL,
    job_id        bigint NOT NULL,
    error_type    text,
    error         text
);
CREATE INDEX fuse_failure_window ON {schema}.fuse_failure (gate_id, failed_at);
CREATE TABLE {schema}.fuse_success (
    gate_id       bigint NOT NULL,
    span          timestamptz NOT NULL,
    successes     bigint NOT NULL,
    CONSTRAINT one_count_per_gate_and_span PRIMARY KEY (gate_id, span)
) WITH (fillfactor = 70);

-- Pauses of tasks and labels. Their waiting jobs get the gate of the pause, in slices; `seen_to` is how far that came, and
-- `walked_at` when it came to the end. What was in other hands then is met by the next walk, and until then by each claim.
CREATE TABLE {schema}.pause (
    kind          text NOT NULL,
    name          text NOT NULL,
    paused_until  timestamptz,
    note          text,
    paused_at     timestamptz NOT NULL,
    seen_to       bigint,
    walked_at     timestamptz,
    CONSTRAINT one_pause_per_kind_and_name PRIMARY KEY (kind, name),
    CONSTRAINT pause_kind_is_known CHECK (kind IN ('task', 'label'))
);

CREATE TABLE {schema}.queue (
    name          text PRIMARY KEY,
    paused_until  timestamptz,
    note          text
);
