-- The trail. Leaves are final: nothing here updates them.

-- name: event_add
INSERT INTO event (position, id, stream, sequence, at, actor, operation, outcome, namespace, leaf, payload)
VALUES (:position, :id, :stream, :sequence, :at, :actor, :operation, :outcome, :namespace, :leaf, :payload);

-- name: event_last_position
SELECT max(position) FROM event WHERE position > :low AND position <= :high;

-- name: event_last_of_stream
SELECT sequence, leaf FROM event WHERE stream = :stream ORDER BY sequence DESC LIMIT 1;

-- name: event_get
SELECT position, leaf, payload FROM event WHERE id = :id AND position > :low AND position <= :high
    AND (:everything = 1 OR namespace IS NULL OR namespace IN (SELECT value FROM json_each(:readable)));

-- name: event_list
SELECT position, leaf, payload FROM event
WHERE position > :low AND position <= :high
    AND (:actor IS NULL OR actor = :actor)
    AND (:operation IS NULL OR operation = :operation
        OR (substr(:operation, -1) = '*' AND substr(operation, 1, length(:operation) - 1) = substr(:operation, 1, length(:operation) - 1)))
    AND (:outcome IS NULL OR outcome = :outcome)
    AND (:namespace IS NULL OR namespace = :namespace)
    AND (:since IS NULL OR at >= :since)
    AND (:until IS NULL OR at < :until)
    AND (:text IS NULL OR instr(lower(CAST(leaf AS TEXT)), :text) > 0 OR instr(lower(CAST(payload AS TEXT)), :text) > 0)
    AND (:everything = 1 OR namespace IS NULL OR namespace IN (SELECT value FROM json_each(:readable)))
ORDER BY position LIMIT :limit;

-- name: event_list_newest
SELECT position, leaf, payload FROM event
WHERE position > :low AND position <= :high
    AND (:actor IS NULL OR actor = :actor)
    AND (:operation IS NULL OR operation = :operation
        OR (substr(:operation, -1) = '*' AND substr(operation, 1, length(:operation) - 1) = substr(:operation, 1, length(:operation) - 1)))
    AND (:outcome IS NULL OR outcome = :outcome)
    AND (:namespace IS NULL OR namespace = :namespace)
    AND (:since IS NULL OR at >= :since)
    AND (:until IS NULL OR at < :until)
    AND (:text IS NULL OR instr(lower(CAST(leaf AS TEXT)), :text) > 0 OR instr(lower(CAST(payload AS TEXT)), :text) > 0)
    AND (:everything = 1 OR namespace IS NULL OR namespace IN (SELECT value FROM json_each(:readable)))
ORDER BY position DESC LIMIT :limit;

-- The next two walk the index of one stream instead of the whole trail.

-- name: event_list_of_stream
SELECT position, leaf, payload FROM event
WHERE position > :low AND position <= :high
    AND stream = :stream
    AND (:actor IS NULL OR actor = :actor)
    AND (:operation IS NULL OR operation = :operation
        OR (substr(:operation, -1) = '*' AND substr(operation, 1, length(:operation) - 1) = substr(:operation, 1, length(:operation) - 1)))
    AND (:outcome IS NULL OR outcome = :outcome)
    AND (:namespace IS NULL OR namespace = :namespace)
    AND (:since IS NULL OR at >= :since)
    AND (:until IS NULL OR at < :until)
    AND (:text IS NULL OR instr(lower(CAST(leaf AS TEXT)), :text) > 0 OR instr(lower(CAST(payload AS TEXT)), :text) > 0)
    AND (:everything = 1 OR namespace IS NULL OR namespace IN (SELECT value FROM json_each(:readable)))
ORDER BY sequence LIMIT :limit;

-- name: event_list_of_stream_newest
SELECT position, leaf, payload FROM event
WHERE position > :low AND position <= :high
    AND stream = :stream
    AND (:actor IS NULL OR actor = :actor)
    AND (:operation IS NULL OR operation = :operation
        OR (substr(:operation, -1) = '*' AND substr(operation, 1, length(:operation) - 1) = substr(:operation, 1, length(:operation) - 1)))
    AND (:outcome IS NULL OR outcome = :outcome)
    AND (:namespace IS NULL OR namespace = :namespace)
    AND (:since IS NULL OR at >= :since)
    AND (:until IS NULL OR at < :until)
    AND (:text IS NULL OR instr(lower(CAST(leaf AS TEXT)), :text) > 0 OR instr(lower(CAST(payload AS TEXT)), :text) > 0)
    AND (:everything = 1 OR namespace IS NULL OR namespace IN (SELECT value FROM json_each(:readable)))
ORDER BY sequence DESC LIMIT :limit;

-- name: event_leaves
SELECT position, stream, sequence, leaf FROM event
WHERE position > :low AND position <= :high ORDER BY position LIMIT :limit;
