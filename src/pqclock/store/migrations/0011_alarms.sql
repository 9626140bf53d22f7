-- What is watched, and what was found wrong.

-- A run of the schedule is to begin within so long after each tick from `since` on.
CREATE TABLE {schema}.promise (
    schedule_id   bigint PRIMARY KEY,
    within        interval NOT NULL,
    since         timestamptz NOT NULL,
    look_at       timestamptz
) WITH (fillfactor = 80);
CREATE INDEX promise_look ON {schema}.promise (look_at);
COMMENT ON COLUMN {schema}.promise.within IS 'alert_after, and what spread and jitter may add to the start';
COMMENT ON COLUMN {schema}.promise.look_at IS 'when the next run should have begun; null when none will come';

-- How long the oldest ready job of a queue may wait, as files say. Of several sets the shortest counts.
CREATE TABLE {schema}.queue_slo (
    set_name      text NOT NULL,
    queue         text NOT NULL,
    slo           text NOT NULL,
    CONSTRAINT one_slo_per_set_and_queue PRIMARY KEY (set_name, queue)
);

CREATE TABLE {schema}.alarm (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind          text NOT NULL,
    subject       text NOT NULL,
    message       text NOT NULL,
    raised_at     timestamptz NOT NULL,
    ended_at      timestamptz,
    raised_told_at timestamptz,
    ended_told_at timestamptz,
    telling_at    timestamptz,
    tries         smallint NOT NULL DEFAULT 0,
    summed_up     boolean NOT NULL DEFAULT false,
    untold        text,
    CONSTRAINT alarm_kind_is_known CHECK (kind IN ('silence', 'ledger', 'missed', 'slo'))
);
CREATE UNIQUE INDEX one_open_alarm ON {schema}.alarm (kind, subject) WHERE ended_at IS NULL;
CREATE INDEX alarm_untold ON {schema}.alarm (id)
    WHERE NOT summed_up AND (raised_told_at IS NULL OR (ended_at IS NOT NULL AND ended_told_at IS NULL));
CREATE INDEX alarm_ended ON {schema}.alarm (ended_at);
COMMENT ON COLUMN {schema}.alarm.summed_up IS 'told as one of many: its end is told to nobody';
COMMENT ON COLUMN {schema}.alarm.untold IS 'why somebody could not be told, when that was tried last';
COMMENT ON TABLE {schema}.alarm IS 'what was found wrong, from when to when, and whether somebody was told';

-- The promise of a schedule follows its definition, whoever writes that.
CREATE FUNCTION {schema}.follow_promise() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    IF NEW.state = 'active' AND NEW.definition ? 'alert_after' THEN
        INSERT INTO {schema}.promise AS p (schedule_id, within, since, look_at)
        SELECT NEW.id, sum(regexp_replace(w.length, '([a-z])([0-9])', '\1 \2', 'g')::interval), NEW.updated_at, NEW.updated_at
        FROM (VALUES (NEW.definition ->> 'alert_after'), (NEW.definition ->> 'spread'), (NEW.definition ->> 'jitter')) AS w (length)
        ON CONFLICT (schedule_id) DO UPDATE SET within = excluded.within, look_at = excluded.look_at;
        IF TG_OP = 'UPDATE' AND OLD.key <> NEW.key THEN
            UPDATE {schema}.alarm AS a SET subject = NEW.key
            WHERE a.kind = 'missed' AND a.subject = OLD.key AND a.ended_at IS NULL;
        END IF;
    ELSIF TG_OP = 'UPDATE' THEN
        DELETE FROM {schema}.promise AS p WHERE p.schedule_id = NEW.id;
        UPDATE {schema}.alarm AS a SET ended_at = clock_timestamp()
        WHERE a.kind = 'missed' AND a.subject = OLD.key AND a.ended_at IS NULL;
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER promise_begins AFTER INSERT ON {schema}.schedule
    FOR EACH ROW WHEN (NEW.definition ? 'alert_after') EXECUTE FUNCTION {schema}.follow_promise();
CREATE TRIGGER promise_changes AFTER UPDATE OF definition, state ON {schema}.schedule
    FOR EACH ROW WHEN (OLD.definition ? 'alert_after' OR NEW.definition ? 'alert_after')
    EXECUTE FUNCTION {schema}.follow_promise();
