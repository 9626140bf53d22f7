-- What people did by hand: who, what, why. Kept for as long as ticks are.

CREATE TABLE {schema}.audit (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    done_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    actor         text NOT NULL,
    origin        text NOT NULL,
    action        text NOT NULL,
    target        text NOT NULL,
    note          text,
    outcome       text NOT NULL
);
COMMENT ON TABLE {schema}.audit IS 'what people did by hand: who, what, why';
CREATE INDEX audit_of_target ON {schema}.audit (target, id);
