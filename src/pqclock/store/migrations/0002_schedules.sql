-- Schedules, the ledger of their ticks, and which files were applied.

CREATE TABLE {schema}.schedule (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key           text NOT NULL,
    set_name      text,
    source        text NOT NULL,
    state         text NOT NULL,
    definition    jsonb NOT NULL,
    version       bigint NOT NULL DEFAULT 1,
    unique_task   boolean NOT NULL DEFAULT false,
    judged        boolean NOT NULL GENERATED ALWAYS AS (
        unique_task OR definition ? 'unique' OR coalesce(definition ->> 'overlap', 'allow') <> 'allow') STORED,
    planned_to    timestamptz NOT NULL,
    watermark     timestamptz NOT NULL,
    next_tick     timestamptz,
    plan_at       timestamptz,
    paused_until  timestamptz,
    note          text,
    fault         text,
    created_at    timestamptz NOT NULL,
    updated_at    timestamptz NOT NULL,
    CONSTRAINT one_schedule_per_key UNIQUE (key),
    CONSTRAINT schedule_state_is_known CHECK (state IN ('active', 'disabled', 'removed'))
) WITH (fillfactor = 80);

COMMENT ON COLUMN {schema}.schedule.next_tick IS
    'first tick that is not planned yet; null when none will come, or a pause has to be looked at first';
COMMENT ON COLUMN {schema}.schedule.plan_at IS
    'when it is to be planned next: ahead of its next tick, or at it where it is judged; null for never';

COMMENT ON COLUMN {schema}.schedule.fault IS 'why the clock has set it aside: it is not planned until it or its task is changed';
COMMENT ON COLUMN {schema}.schedule.unique_task IS 'its task says that its jobs are unique, as far as planning has seen';
COMMENT ON COLUMN {schema}.schedule.judged IS 'its ticks are decided on at their time, by what is unfinished then';

CREATE INDEX schedule_plan ON {schema}.schedule (plan_at) WHERE state = 'active';
CREATE INDEX schedule_judge ON {schema}.schedule (plan_at) WHERE state = 'active' AND judged;

-- Spans of missed ticks that are still to be decided on, under the definition that held when they came due. They are
-- worked off in slices, behind the ticks of the present.
CREATE TABLE {schema}.owed (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    schedule_id   bigint NOT NULL,
    after         timestamptz NOT NULL,
    upto          timestamptz NOT NULL,
    noticed_at    timestamptz NOT NULL,
    definition    jsonb NOT NULL,
    fault         text,
    CONSTRAINT owed_span_has_a_length CHECK (after < upto)
) WITH (fillfactor = 80);
CREATE INDEX owed_of_schedule ON {schema}.owed (schedule_id, after);

CREATE TABLE {schema}.tick (
    schedule_id   bigint NOT NULL,
    tick          timestamptz NOT NULL,
    through       timestamptz NOT NULL,
    count         bigint NOT NULL DEFAULT 1,
    nominal       timestamptz NOT NULL,
    outcome       text NOT NULL,
    reason        text,
    origin        text NOT NULL,
    job_id        bigint,
    inserted_at   timestamptz NOT NULL,
    CONSTRAINT one_row_per_tick PRIMARY KEY (schedule_id, tick),
    CONSTRAINT tick_outcome_is_known CHECK (outcome IN ('inserted', 'coalesced', 'skipped')),
    CONSTRAINT tick_origin_is_known CHECK (origin IN ('clock', 'catch_up', 'backfill')),
    CONSTRAINT inserted_tick_has_a_job CHECK (outcome <> 'inserted' OR (job_id IS NOT NULL AND count = 1)),
    CONSTRAINT skipped_tick_has_a_reason CHECK (outcome <> 'skipped' OR reason IS NOT NULL)
) PARTITION BY RANGE (tick);

-- Rows of the ledger that stand for many ticks are few: this finds those that reach over an instant from before it.
CREATE INDEX tick_run ON {schema}.tick (schedule_id, through) WHERE through > tick;

CREATE TABLE {schema}.tick_default PARTITION OF {schema}.tick DEFAULT;

-- Each content of a set's files gets a serial number when it is first applied; the greatest one rules.
CREATE TABLE {schema}.set_version (
    set_name      text NOT NULL,
    content_hash  text NOT NULL,
    serial        bigint GENERATED ALWAYS AS IDENTITY,
    applied_at    timestamptz NOT NULL,
    CONSTRAINT one_serial_per_content PRIMARY KEY (set_name, content_hash)
);
CREATE INDEX set_version_newest ON {schema}.set_version (set_name, serial);
