-- name: take
-- Of all sessions on this schema one holds the name; it is free again when that session ends.
SELECT pg_try_advisory_lock(hashtext('pqclock ' || %(name)s::text), hashtext({channel}))
