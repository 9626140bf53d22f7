-- name: try_lock
SELECT pg_try_advisory_lock(%(classid)s, hashtext({channel}))

-- name: holder
-- Who holds the lock. What a role without pg_read_all_stats may not see of the sessions of others is null.
SELECT a.pid, a.usename, a.application_name, host(a.client_addr) AS client_addr, a.backend_start, a.state, a.state_change,
       a.usename = session_user AS same_role
FROM pg_locks AS l JOIN pg_stat_activity AS a ON a.pid = l.pid
WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 2
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND l.classid = %(classid)s::bigint::oid AND l.objid = (hashtext({channel})::bigint & 4294967295)::oid

-- name: terminate
-- End the session that holds the lock, if it is still the same one, of this role and a clock's, and has not beaten since.
SELECT pg_terminate_backend(a.pid)
FROM pg_locks AS lock JOIN pg_stat_activity AS a ON a.pid = lock.pid, {schema}.leader AS l
WHERE lock.locktype = 'advisory' AND lock.granted AND lock.objsubid = 2
  AND lock.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND lock.classid = %(classid)s::bigint::oid AND lock.objid = (hashtext({channel})::bigint & 4294967295)::oid
  AND a.pid = %(pid)s AND a.usename = session_user AND starts_with(a.application_name, %(clock)s)
  AND l.epoch = %(epoch)s AND l.beat_at IS NOT DISTINCT FROM %(beat_at)s::timestamptz

-- name: pulse
-- What tells whether somebody leads: the term and its last beat, and the schedule whose tick waits longest to be planned.
WITH moment AS MATERIALIZED (SELECT clock_timestamp() AS now)
SELECT m.now, l.epoch, l.beat_at, l.backend_pid, p.host, p.pid,
       (SELECT s.id FROM {schema}.schedule AS s WHERE s.state = 'active' ORDER BY s.plan_at LIMIT 1) IS NOT NULL AS schedules,
       w.key AS waiting_key, w.since AS waits_since
FROM moment AS m CROSS JOIN {schema}.leader AS l
LEFT JOIN {schema}.process AS p ON p.id = l.process_id
LEFT JOIN (
    -- Planned well ahead of its next tick. Of one that was changed nobody knows when it ticks before it was looked at.
    SELECT s.key, coalesce(s.next_tick, s.planned_to + interval '5 minutes') AS since FROM {schema}.schedule AS s
    WHERE s.state = 'active' AND s.plan_at < (SELECT now - %(late)s::interval FROM moment)
      AND coalesce(s.next_tick, s.planned_to + interval '5 minutes') < (SELECT now - %(late)s::interval FROM moment)
    ORDER BY s.plan_at LIMIT 1
) AS w ON true

-- name: try_stand_in
-- Without a leader that beats, one worker at a time does what cannot wait: true for the one. A beat that lies in the
-- future was written before the database's clock was set back: one that lives has beaten since.
SELECT coalesce(abs(extract(epoch FROM m.now - l.beat_at)) > extract(epoch FROM %(silence)s::interval), true)
       AND pg_try_advisory_xact_lock(hashtext('pqclock stand in'), hashtext({channel}))
FROM {schema}.leader AS l, (SELECT coalesce(%(now)s::timestamptz, clock_timestamp()) AS now) AS m

-- name: elect
-- Begin a term: raises the epoch, so that whatever an earlier leader still sends is refused.
UPDATE {schema}.leader AS l
SET epoch = l.epoch + 1, process_id = %(process_id)s, backend_pid = pg_backend_pid(), elected_at = m.now, beat_at = m.now
FROM (SELECT coalesce(%(now)s::timestamptz, clock_timestamp()) AS now) AS m
RETURNING l.epoch

-- name: wait_briefly
-- A leader waits for nobody: what is locked is left to a later turn.
SELECT set_config('lock_timeout', '50ms', false)

-- name: beat
-- No row when another term has begun, or when a pooler has given this session another server process, without the lock.
UPDATE {schema}.leader AS l SET beat_at = m.now
FROM (SELECT coalesce(%(now)s::timestamptz, clock_timestamp()) AS now) AS m
WHERE l.epoch = %(epoch)s AND l.backend_pid = pg_backend_pid()
RETURNING m.now

-- name: resign
-- Wakes the standbys; the lock itself is freed by closing the session.
UPDATE {schema}.leader AS l SET process_id = NULL, backend_pid = NULL
WHERE l.epoch = %(epoch)s RETURNING pg_notify({channel}, 'resigned')
