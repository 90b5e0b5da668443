-- The trail. Leaves are final: nothing here updates them.

-- name: event_add; by stream, sequence
INSERT INTO event (position, id, stream, sequence, at, actor, operation, outcome, namespace, leaf, payload)
VALUES (:position, :id, :stream, :sequence, :at, :actor, :operation, :outcome, :namespace, :leaf, :payload);

-- name: event_last_position
SELECT max(position) FROM event WHERE position > :low AND position <= :high;

-- name: event_last_of_stream; by stream
SELECT sequence, leaf FROM event WHERE stream = :stream ORDER BY sequence DESC LIMIT 1;

-- name: event_get
SELECT position, leaf, payload FROM event WHERE id = :id AND position > :low AND position <= :high
    AND (:everything = 1 OR namespace IS NULL OR namespace IN (SELECT CAST(value AS BIGINT) FROM json_each(:readable)));

-- name: event_touched
SELECT DISTINCT e.operation, n.name FROM event e LEFT JOIN namespace n ON n.id = e.namespace
WHERE e.position > :low AND e.position <= :high;

-- name: event_list
SELECT position, leaf, payload FROM event
WHERE position > :low AND position <= :high
    AND (actor = :actor OR :actor IS NULL)
    AND (operation = :operation OR :operation IS NULL
        OR (substr(:operation, length(:operation), 1) = '*' AND substr(operation, 1, length(:operation) - 1) = substr(:operation, 1, length(:operation) - 1)))
    AND (outcome = :outcome OR :outcome IS NULL)
    AND (namespace = :namespace OR :namespace IS NULL)
    AND (at >= :since OR :since IS NULL)
    AND (at < :until OR :until IS NULL)
    AND (instr(lower(CAST(leaf AS TEXT)), :text) > 0 OR instr(lower(CAST(payload AS TEXT)), :text) > 0 OR :text IS NULL)
    AND (:everything = 1 OR namespace IS NULL OR namespace IN (SELECT CAST(value AS BIGINT) FROM json_each(:readable)))
ORDER BY position LIMIT :limit;

-- name: event_list_newest
SELECT position, leaf, payload FROM event
WHERE position > :low AND position <= :high
    AND (actor = :actor OR :actor IS NULL)
    AND (operation = :operation OR :operation IS NULL
        OR (substr(:operation, length(:operation), 1) = '*' AND substr(operation, 1, length(:operation) - 1) = substr(:operation, 1, length(:operation) - 1)))
    AND (outcome = :outcome OR :outcome IS NULL)
    AND (namespace = :namespace OR :namespace IS NULL)
    AND (at >= :since OR :since IS NULL)
    AND (at < :until OR :until IS NULL)
    AND (instr(lower(CAST(leaf AS TEXT)), :text) > 0 OR instr(lower(CAST(payload AS TEXT)), :text) > 0 OR :text IS NULL)
    AND (:everything = 1 OR namespace IS NULL OR namespace IN (SELECT CAST(value AS BIGINT) FROM json_each(:readable)))
ORDER BY position DESC LIMIT :limit;

-- The next two walk the index of one stream instead of the whole trail, of which a plus keeps them.

-- name: event_list_of_stream
SELECT position, leaf, payload FROM event
WHERE +position > :low AND +position <= :high
    AND stream = :stream
    AND (actor = :actor OR :actor IS NULL)
    AND (operation = :operation OR :operation IS NULL
        OR (substr(:operation, length(:operation), 1) = '*' AND substr(operation, 1, length(:operation) - 1) = substr(:operation, 1, length(:operation) - 1)))
    AND (outcome = :outcome OR :outcome IS NULL)
    AND (namespace = :namespace OR :namespace IS NULL)
    AND (at >= :since OR :since IS NULL)
    AND (at < :until OR :until IS NULL)
    AND (instr(lower(CAST(leaf AS TEXT)), :text) > 0 OR instr(lower(CAST(payload AS TEXT)), :text) > 0 OR :text IS NULL)
    AND (:everything = 1 OR namespace IS NULL OR namespace IN (SELECT CAST(value AS BIGINT) FROM json_each(:readable)))
ORDER BY sequence LIMIT :limit;

-- name: event_list_of_stream_newest
SELECT position, leaf, payload FROM event
WHERE +position > :low AND +position <= :high
    AND stream = :stream
    AND (actor = :actor OR :actor IS NULL)
    AND (operation = :operation OR :operation IS NULL
        OR (substr(:operation, length(:operation), 1) = '*' AND substr(operation, 1, length(:operation) - 1) = substr(:operation, 1, length(:operation) - 1)))
    AND (outcome = :outcome OR :outcome IS NULL)
    AND (namespace = :namespace OR :namespace IS NULL)
    AND (at >= :since OR :since IS NULL)
    AND (at < :until OR :until IS NULL)
    AND (instr(lower(CAST(leaf AS TEXT)), :text) > 0 OR instr(lower(CAST(payload AS TEXT)), :text) > 0 OR :text IS NULL)
    AND (:everything = 1 OR namespace IS NULL OR namespace IN (SELECT CAST(value AS BIGINT) FROM json_each(:readable)))
ORDER BY sequence DESC LIMIT :limit;

-- name: event_leaves
SELECT position, stream, sequence, leaf FROM event
WHERE position > :low AND position <= :high ORDER BY position LIMIT :limit;
