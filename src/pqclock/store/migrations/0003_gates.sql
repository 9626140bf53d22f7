-- Uniqueness, throttles and fuses: where their rules and their state are kept.

CREATE TABLE {schema}.unique_key (
    task          text NOT NULL,
    key           text NOT NULL,
    job_id        bigint NOT NULL,
    expires_at    timestamptz,
    CONSTRAINT one_job_per_unique_key PRIMARY KEY (task, key)
);
CREATE INDEX unique_key_of_job ON {schema}.unique_key (job_id);

CREATE TABLE {schema}.rule (
    name          text PRIMARY KEY,
    kind          text NOT NULL,
    set_name      text,
    definition    jsonb NOT NULL,
    version       bigint NOT NULL DEFAULT 1,
    updated_at    timestamptz NOT NULL,
    CONSTRAINT rule_kind_is_known CHECK (kind IN ('throttle', 'fuse'))
);

CREATE TABLE {schema}.gate (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    rule          text NOT NULL,
    key           text NOT NULL,
    state         text NOT NULL DEFAULT 'open',
    opens_at      timestamptz,
    CONSTRAINT one_gate_per_rule_and_key UNIQUE (rule, key),
    CONSTRAINT gate_state_is_known CHECK (state IN ('open', 'waiting', 'blown'))
);

CREATE TABLE {schema}.slot (
    gate_id       bigint NOT NULL,
    job_id        bigint NOT NULL,
    lease         bigint NOT NULL,
    CONSTRAINT one_slot_per_gate_and_job PRIMARY KEY (gate_id, job_id)
);

CREATE TABLE {schema}.lane (
    lane          uuid PRIMARY KEY,
    queue         text NOT NULL,
    task          text NOT NULL,
    gate_id       bigint NOT NULL
);
CREATE INDEX lane_wake ON {schema}.lane (gate_id);

CREATE TABLE {schema}.queue (
    name          text PRIMARY KEY,
    paused_until  timestamptz,
    note          text
);
