-- The waiting jobs of ticks, never tried yet, with the defaults that hold now: schedule > published task > built-in.
CREATE VIEW {schema}.tick_defaults AS
SELECT m.job_id, m.queue, m.priority, m.max_attempts, m.labels, x.gates, x.units, x.lane
FROM (
    SELECT j.id AS job_id, j.task, j.args,
           coalesce(s.definition ->> 'queue', t.queue, 'default') AS queue,
           coalesce((s.definition ->> 'priority')::smallint, t.priority, 0::smallint) AS priority,
           coalesce((s.definition ->> 'max_attempts')::smallint, t.max_attempts, 1::smallint) AS max_attempts,
           coalesce(
               CASE WHEN s.definition ? 'labels' THEN ARRAY(SELECT jsonb_array_elements_text(s.definition -> 'labels')) END,
               t.labels, ARRAY[]::text[]
           ) AS labels,
           s.definition, {schema}.own_terms(t.options, t.arg_defaults) AS own
    FROM {schema}.job AS j
    JOIN {schema}.schedule AS s ON s.id = j.schedule_id
    LEFT JOIN {schema}.task AS t ON t.name = j.task
    WHERE j.tick IS NOT NULL AND j.attempt = 0
) AS m
CROSS JOIN (SELECT now() AS now, {schema}.paused_gates(now()) AS paused) AS p
LEFT JOIN LATERAL (
    SELECT e.gates, e.units, e.lane
    FROM (
        SELECT WHERE m.definition ?| ARRAY['throttle', 'fuse'] OR m.own ?| ARRAY['throttle', 'fuse'] OR p.paused IS NOT NULL
        OFFSET 0
    ) AS n
    CROSS JOIN LATERAL {schema}.entrance(
        m.task, m.args, m.queue, m.labels, NULL, m.definition - 'unique', m.own - 'unique', p.paused, p.now) AS e
) AS x ON true;

-- For people who ask in SQL. The columns of these views are part of the public contract.

CREATE VIEW {schema}.jobs AS
SELECT j.id, j.state::text AS state, j.queue, j.task, j.args, NULL::jsonb AS result, j.priority, j.labels, j.run_at,
       j.attempt, j.max_attempts, j.unique_key, s.key AS schedule_key, j.tick, j.created_at, j.started_at,
       NULL::timestamptz AS finished_at, j.error, j.worker_id
FROM {schema}.job AS j
LEFT JOIN {schema}.schedule AS s ON s.id = j.schedule_id
UNION ALL
SELECT h.id, h.state, h.queue, h.task, h.args, h.result, h.priority, h.labels, h.run_at,
       h.attempt, h.max_attempts, h.unique_key, s.key, h.tick, h.created_at, h.started_at,
       h.finished_at, h.error, h.worker_id
FROM {schema}.job_history AS h
LEFT JOIN {schema}.schedule AS s ON s.id = h.schedule_id;

CREATE VIEW {schema}.ticks AS
SELECT s.key AS schedule_key, t.tick, t.through, t.count, t.nominal, t.outcome, t.reason, t.origin, t.job_id, t.inserted_at
FROM {schema}.tick AS t JOIN {schema}.schedule AS s ON s.id = t.schedule_id;

-- Why the clock plans a schedule, or its missed ticks, no more; null for the most part.
CREATE VIEW {schema}.schedule_faults AS
SELECT s.key, coalesce(s.fault, (SELECT min(o.fault) FROM {schema}.owed AS o WHERE o.schedule_id = s.id)) AS fault
FROM {schema}.schedule AS s WHERE s.state <> 'removed'
UNION ALL
SELECT s.key, NULL FROM {schema}.schedule AS s WHERE s.state = 'removed';

CREATE VIEW {schema}.schedules AS
SELECT s.key, s.source,
       CASE WHEN s.state = 'active' AND s.paused_until > now() THEN 'paused' ELSE s.state END AS state,
       s.definition ->> 'cron' AS cron, s.definition ->> 'every' AS every,
       coalesce(s.definition ->> 'timezone', 'UTC') AS timezone,
       s.definition ->> 'task' AS task,
       coalesce(s.definition ->> 'queue', k.queue, 'default') AS queue,
       CASE WHEN s.state = 'active' THEN coalesce(
           (SELECT min(t.tick) FROM {schema}.tick AS t
            WHERE t.schedule_id = s.id AND t.tick > now() AND t.outcome = 'inserted'),
           s.next_tick
       ) END AS next_tick,
       greatest(s.watermark, least(s.planned_to, now(), (
           SELECT min(o.after) FROM {schema}.owed AS o WHERE o.schedule_id = s.id
       ))) AS watermark,
       s.paused_until, s.note
FROM {schema}.schedule AS s LEFT JOIN {schema}.task AS k ON k.name = s.definition ->> 'task';

-- The gates by their names. Those of a rule that was removed let everything through, whatever stands in their rows.
CREATE VIEW {schema}.gate_states AS
SELECT g.name, g.rule, g.kind, g.key,
       CASE WHEN r.name IS NOT NULL THEN 'open'
            WHEN g.blown_until > now() THEN 'blown'
            WHEN greatest(g.closed_until, g.reserved_until, g.opens_at) > now() THEN 'waiting'
            -- Until a job ends, or a rule is declared: nobody knows when.
            WHEN g.opens_at IS NULL AND EXISTS (SELECT FROM {schema}.lane AS l WHERE l.gate_id = g.id) THEN 'waiting'
            ELSE 'open' END AS state,
       (SELECT count(*) FROM {schema}.slot AS s WHERE s.gate_id = g.id) AS running,
       (SELECT count(*) FROM {schema}.lane AS l WHERE l.gate_id = g.id) AS waiting,
       -- Nobody knows the end of what has none.
       CASE WHEN r.name IS NULL
            THEN nullif(nullif(greatest(g.closed_until, g.reserved_until, g.blown_until, g.opens_at, now()), now()), 'infinity')
            END AS opens_at
FROM {schema}.gate AS g
LEFT JOIN {schema}.rule AS r ON r.kind = g.kind AND r.name = g.rule AND r.state = 'removed'
WHERE g.kind <> 'pause';

CREATE VIEW {schema}.gates AS
SELECT s.rule, s.kind, s.key, s.state, s.running, s.waiting, s.opens_at FROM {schema}.gate_states AS s;

CREATE VIEW {schema}.queues AS
WITH live AS (
    SELECT queue,
           count(*) FILTER (WHERE state = 'scheduled') AS scheduled,
           count(*) FILTER (WHERE state = 'ready') AS ready,
           count(*) FILTER (WHERE state = 'running') AS running,
           min(run_at) FILTER (WHERE state = 'ready') AS oldest_ready_at
    FROM {schema}.job GROUP BY queue
)
SELECT coalesce(q.name, l.queue) AS queue, q.paused_until, q.note,
       coalesce(l.scheduled, 0) AS scheduled, coalesce(l.ready, 0) AS ready, coalesce(l.running, 0) AS running,
       l.oldest_ready_at
FROM live AS l FULL JOIN {schema}.queue AS q ON q.name = l.queue;

CREATE VIEW {schema}.processes AS
SELECT p.id, p.kind, p.pid, p.host, l.epoch IS NOT NULL AS leader, l.epoch, p.started_at, p.beat_at
FROM {schema}.process AS p
-- One that stopped beating leads no more, whoever follows; a beat in the future is one from before the clock was set back.
LEFT JOIN {schema}.leader AS l
       ON l.process_id = p.id AND l.beat_at BETWEEN now() - interval '10 seconds' AND now() + interval '10 seconds';
