-- name: try_lock
SELECT pg_try_advisory_lock(%(classid)s, hashtext({channel}))

-- name: holder
-- Who holds the lock: pid, role, application name.
SELECT a.pid, a.usename, a.application_name
FROM pg_locks AS l JOIN pg_stat_activity AS a ON a.pid = l.pid
WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 2
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND l.classid = %(classid)s::bigint::oid AND l.objid = (hashtext({channel})::bigint & 4294967295)::oid

-- name: elect
-- Begin a term: raises the epoch, so that whatever an earlier leader still sends is refused.
UPDATE {schema}.leader AS l SET epoch = l.epoch + 1, process_id = %(process_id)s, elected_at = m.now, beat_at = m.now
FROM (SELECT coalesce(%(now)s::timestamptz, clock_timestamp()) AS now) AS m
RETURNING l.epoch

-- name: beat
-- No row when another term has begun.
UPDATE {schema}.leader AS l SET beat_at = m.now
FROM (SELECT coalesce(%(now)s::timestamptz, clock_timestamp()) AS now) AS m
WHERE l.epoch = %(epoch)s
RETURNING m.now

-- name: resign
-- Wakes the standbys; the lock itself is freed by closing the session.
UPDATE {schema}.leader AS l SET process_id = NULL WHERE l.epoch = %(epoch)s RETURNING pg_notify({channel}, 'resigned')
