-- Who is alive, and who leads.

CREATE TABLE {schema}.process (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind          text NOT NULL,
    pid           integer NOT NULL,
    host          text NOT NULL,
    code_version  text NOT NULL,
    doing         text,
    token         text,
    started_at    timestamptz NOT NULL,
    beat_at       timestamptz NOT NULL,
    CONSTRAINT process_kind_is_known CHECK (kind IN ('clock', 'worker'))
) WITH (fillfactor = 50);

CREATE TABLE {schema}.leader (
    only_row      boolean PRIMARY KEY DEFAULT true,
    epoch         bigint NOT NULL,
    process_id    bigint,
    elected_at    timestamptz,
    beat_at       timestamptz,
    CONSTRAINT one_leader CHECK (only_row)
) WITH (fillfactor = 50);

INSERT INTO {schema}.leader (epoch) VALUES (0);
