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
    skew          double precision,
    hears         boolean NOT NULL DEFAULT false,
    isolates      boolean NOT NULL DEFAULT false,
    begun         bigint[],
    CONSTRAINT process_kind_is_known CHECK (kind IN ('clock', 'worker'))
) WITH (fillfactor = 50);

COMMENT ON COLUMN {schema}.process.skew IS
    'by how many seconds the clock of the process''s machine is ahead of the database''s; null when it was not measured';

COMMENT ON COLUMN {schema}.process.begun IS
    'the jobs that ran when it died, where that is known: the others that it had claimed did not take it down';
COMMENT ON COLUMN {schema}.process.isolates IS 'a worker that runs jobs under suspicion apart, in processes of their own';
COMMENT ON COLUMN {schema}.process.hears IS 'a worker that reports failures';

CREATE TABLE {schema}.leader (
    only_row      boolean PRIMARY KEY DEFAULT true,
    epoch         bigint NOT NULL,
    process_id    bigint,
    backend_pid   integer,
    elected_at    timestamptz,
    beat_at       timestamptz,
    CONSTRAINT one_leader CHECK (only_row)
) WITH (fillfactor = 50);

COMMENT ON COLUMN {schema}.leader.backend_pid IS 'the server process of the session that was elected';

INSERT INTO {schema}.leader (epoch) VALUES (0);
