-- name: lock_changes
-- One change of rules at a time: names that are new have no rows yet to be locked.
SELECT pg_advisory_xact_lock(hashtext('pqclock rules change'), hashtext({channel}))

-- name: known
-- The rules of a set, and those of the same kinds and names elsewhere, also removed ones.
SELECT r.kind, r.name, r.set_name, r.source, r.state, r.version, r.definition, r.updated_at
FROM {schema}.rule AS r
WHERE r.set_name = %(set_name)s
   OR (r.kind, r.name) IN (SELECT * FROM unnest(%(kinds)s::text[], %(names)s::text[]))
ORDER BY r.kind, r.name

-- name: write
INSERT INTO {schema}.rule AS r (
    kind, name, set_name, source, updated_at, definition, rate, per, interval_ns, burst, concurrency,
    failures, failure_rate, minimum, within, cool_down, max_cool_down, probes, only_names, ignored_names)
SELECT c.kind, c.name, %(set_name)s, c.source, %(now)s, c.definition, c.rate, c.per, c.interval_ns, c.burst, c.concurrency,
       c.failures, c.failure_rate, c.minimum, c.within, c.cool_down, c.max_cool_down, c.probes, c.only_names,
       c.ignored_names
FROM jsonb_to_recordset(%(rows)s::jsonb) AS c (
    kind text, name text, source text, definition jsonb, rate bigint, per interval, interval_ns bigint, burst bigint,
    concurrency bigint, failures bigint, failure_rate double precision, minimum bigint, within interval,
    cool_down interval, max_cool_down interval, probes bigint, only_names text[], ignored_names text[])
ON CONFLICT ON CONSTRAINT one_rule_per_kind_and_name DO UPDATE
SET set_name = excluded.set_name, source = excluded.source, state = 'active', version = r.version + 1,
    updated_at = excluded.updated_at, definition = excluded.definition, rate = excluded.rate, per = excluded.per,
    interval_ns = excluded.interval_ns, burst = excluded.burst, concurrency = excluded.concurrency,
    failures = excluded.failures, failure_rate = excluded.failure_rate, minimum = excluded.minimum,
    within = excluded.within, cool_down = excluded.cool_down, max_cool_down = excluded.max_cool_down,
    probes = excluded.probes, only_names = excluded.only_names, ignored_names = excluded.ignored_names

-- name: remove
-- A tombstone: the gates of such a rule are open.
UPDATE {schema}.rule AS r SET state = 'removed', version = r.version + 1, updated_at = %(now)s
FROM unnest(%(kinds)s::text[], %(names)s::text[]) AS c (kind, name)
WHERE r.kind = c.kind AND r.name = c.name AND r.state <> 'removed'

-- name: move
-- The same definition at another place of the files.
UPDATE {schema}.rule AS r SET source = c.source
FROM unnest(%(kinds)s::text[], %(names)s::text[], %(sources)s::text[]) AS c (kind, name, source)
WHERE r.kind = c.kind AND r.name = c.name

-- name: keep_out_claims
-- No claim is under way from here to the end of the transaction: one that has read the rule as it was could park its
-- lane by that after the look at the gates, and nobody would look at it again.
SELECT pg_advisory_xact_lock(hashtext('rules and claims'), hashtext({channel}))

-- name: fill_places
-- What runs counts, also when it was let through while its rule had no limit of places. Claims are kept out. A row that
-- another transaction has locked as a whole is about to end.
WITH changed AS MATERIALIZED (
    SELECT r.kind || ':' || r.name AS name FROM {schema}.rule AS r
    WHERE (r.kind, r.name) IN (SELECT * FROM unnest(%(kinds)s::text[], %(names)s::text[]))
      AND r.state = 'active' AND r.concurrency IS NOT NULL
),
running AS MATERIALIZED (
    SELECT j.id, j.lease, j.gates FROM {schema}.job AS j
    WHERE j.state = 'running' AND j.lane IS NOT NULL AND EXISTS (SELECT FROM changed)
    ORDER BY j.id FOR KEY SHARE SKIP LOCKED
)
INSERT INTO {schema}.slot (gate_id, job_id, lease)
SELECT g.id, j.id, j.lease
FROM running AS j CROSS JOIN LATERAL unnest(j.gates) AS u (name)
JOIN changed AS c ON u.name = c.name OR starts_with(u.name, c.name || ':')
JOIN {schema}.gate AS g ON g.name = u.name
ON CONFLICT DO NOTHING

-- name: leave_the_rest
-- There are more gates than should be looked through while claims wait.
UPDATE {schema}.rule AS r SET reviewed_to = 0
WHERE (r.kind, r.name) IN (SELECT * FROM unnest(%(kinds)s::text[], %(names)s::text[]))

-- name: unreviewed
-- A rule of whose gates some are still to be looked through, locked.
SELECT r.kind, r.name, r.reviewed_to FROM {schema}.rule AS r
WHERE r.reviewed_to IS NOT NULL ORDER BY r.kind, r.name LIMIT 1
FOR UPDATE SKIP LOCKED

-- name: note_review
UPDATE {schema}.rule AS r SET reviewed_to = %(reviewed_to)s::bigint WHERE r.kind = %(kind)s AND r.name = %(name)s

-- name: review
-- A slice of the gates of changed rules, so that nobody waits for what the rule said before. An instant that a slower rule left behind
-- is brought down to the latest that the new one could have written by itself, a job of as many units as its rate:
-- lower, and a window that reaches back over the change could see too much. A turn that was reserved for several units
-- is given up, since the next look reserves it anew, for as long as it takes now.
WITH changed AS MATERIALIZED (
    SELECT r.kind, r.name,
           {schema}.to_ns(coalesce(%(now)s::timestamptz, clock_timestamp())) + r.rate * r.interval_ns AS latest_ns
    FROM {schema}.rule AS r
    WHERE (r.kind, r.name) IN (SELECT * FROM unnest(%(kinds)s::text[], %(names)s::text[]))
),
met AS MATERIALIZED (
    SELECT g.id, c.latest_ns FROM {schema}.gate AS g JOIN changed AS c ON c.kind = g.kind AND c.name = g.rule
    WHERE g.id > %(after)s::bigint
      AND (g.queues <> '{}' OR g.tat_ns > c.latest_ns OR g.reserved_until IS NOT NULL)
    ORDER BY g.id LIMIT %(most)s FOR UPDATE OF g
),
written AS (
    UPDATE {schema}.gate AS g SET tat_ns = least(g.tat_ns, m.latest_ns), reserved_until = NULL
    FROM met AS m WHERE g.id = m.id AND (g.tat_ns > m.latest_ns OR g.reserved_until IS NOT NULL)
)
SELECT m.id FROM met AS m ORDER BY m.id

-- name: tell
-- Have the lanes behind these gates looked at, when they open by the rules as they are now.
SELECT {schema}.tell_waiting(%(ids)s::bigint[], coalesce(%(now)s::timestamptz, clock_timestamp()))

-- name: list
SELECT r.kind || '.' || r.name AS rule, r.kind, r.name, r.source, r.set_name AS set, r.state, r.version, r.definition,
       r.updated_at
FROM {schema}.rule AS r
WHERE (%(kind)s::text IS NULL OR r.kind = %(kind)s) AND r.kind || '.' || r.name > %(after)s::text
  AND CASE WHEN %(removed)s THEN r.state = 'removed' ELSE r.state <> 'removed' END
ORDER BY r.kind || '.' || r.name LIMIT %(limit)s

-- name: show
SELECT r.kind || '.' || r.name AS rule, r.kind, r.name, r.source, r.set_name AS set, r.state, r.version, r.definition,
       r.updated_at
FROM {schema}.rule AS r WHERE r.kind = %(kind)s AND r.name = %(name)s

-- name: gates
-- How many gates a rule has, and how many of them lanes wait for; counted no further than the limit.
SELECT count(*), count(*) FILTER (WHERE g.queues <> '{}')
FROM (SELECT queues FROM {schema}.gate WHERE kind = %(kind)s AND rule = %(name)s LIMIT %(limit)s) AS g

-- name: labels
SELECT r.kind || '.' || r.name FROM {schema}.rule AS r WHERE r.state <> 'removed' ORDER BY 1 LIMIT %(limit)s

-- name: waiting
-- Of these rules, those whose gates jobs have still to pass, and how many; `all_seen` is false where there are so many
-- jobs behind gates that not all were looked at.
WITH seen AS MATERIALIZED (
    SELECT j.gates FROM {schema}.job AS j WHERE j.lane IS NOT NULL AND j.state <> 'running' LIMIT %(most)s
)
SELECT g.kind, g.name, count(*), (SELECT count(*) FROM seen) < %(most)s AS all_seen
FROM seen AS s
CROSS JOIN LATERAL (
    SELECT DISTINCT split_part(u.gate, ':', 1) AS kind, split_part(u.gate, ':', 2) AS name FROM unnest(s.gates) AS u (gate)
) AS g
WHERE (g.kind, g.name) IN (SELECT * FROM unnest(%(kinds)s::text[], %(names)s::text[]))
GROUP BY g.kind, g.name
