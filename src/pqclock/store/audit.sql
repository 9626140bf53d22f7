-- name: write
INSERT INTO {schema}.audit (actor, origin, action, target, note, outcome)
VALUES (%(actor)s, %(origin)s, %(action)s, %(target)s, %(note)s, %(outcome)s) RETURNING id

-- name: close
UPDATE {schema}.audit AS a SET outcome = %(outcome)s WHERE a.id = %(id)s

-- name: rows
SELECT a.id, a.done_at, a.actor, a.origin, a.action, a.target, a.note, a.outcome
FROM {schema}.audit AS a
WHERE a.id < %(before)s::bigint AND (%(target)s::text IS NULL OR a.target = %(target)s::text)
ORDER BY a.id DESC LIMIT %(limit)s

-- name: forget
DELETE FROM {schema}.audit AS a
WHERE a.id IN (SELECT o.id FROM {schema}.audit AS o WHERE o.done_at < %(before)s::timestamptz ORDER BY o.id LIMIT %(limit)s)
