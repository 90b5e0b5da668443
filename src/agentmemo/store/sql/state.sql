-- Entries: one narrow row per key, one wide row per version. A version's row id is its event's position.

-- name: entry_head; by namespace, key
SELECT id, version, live, expires_at FROM entry WHERE namespace = :namespace AND key = :key;

-- name: entry_add; by namespace, key
INSERT INTO entry (id, namespace, key, version, position, live, expires_at)
VALUES (:id, :namespace, :key, :version, :position, :live, :expires_at);

-- name: entry_update; by namespace, key
UPDATE entry SET version = :version, position = :position, live = :live, expires_at = :expires_at
WHERE id = :id AND namespace = :namespace AND key = :key;

-- name: entry_version_add; by position
INSERT INTO entry_version
    (position, entry, version, kind, author, run, at, expires_at, origin, size, codec, value, blob)
VALUES
    (:position, :entry, :version, :kind, :author, :run, :at, :expires_at, :origin, :size, :codec, :value, :blob);

-- name: entry_get
SELECT e.key, v.position, v.version, v.kind, v.author, v.run, v.at, v.expires_at, v.origin,
    v.size, v.codec, v.value, v.blob
FROM entry e JOIN entry_version v ON v.position = e.position
WHERE e.namespace = :namespace AND e.key = :key AND e.live = 1 AND (e.expires_at IS NULL OR e.expires_at > :now);

-- name: entry_get_version
SELECT e.key, v.position, v.version, v.kind, v.author, v.run, v.at, v.expires_at, v.origin,
    v.size, v.codec, v.value, v.blob
FROM entry e JOIN entry_version v ON v.entry = e.id
WHERE e.namespace = :namespace AND e.key = :key AND v.version = :version;

-- The next three are in the order of one entry's versions: where it is a constant, that is the order of an index.

-- name: entry_recent_as_of
SELECT CAST(:key AS TEXT), v.position, v.version, v.kind, v.author, v.run, v.at, v.expires_at, v.origin,
    v.size, v.codec, v.value, v.blob
FROM entry_version v
WHERE v.entry = (SELECT id FROM entry WHERE namespace = :namespace AND key = :key)
    AND v.version > (SELECT version - :recent FROM entry WHERE namespace = :namespace AND key = :key)
    AND v.position <= :position
ORDER BY v.version DESC LIMIT 1;

-- name: entry_oldest
SELECT version, position FROM entry_version
WHERE entry = (SELECT id FROM entry WHERE namespace = :namespace AND key = :key) ORDER BY version LIMIT 1;

-- Positions rise with versions, so the version is found by halves. There is one: the oldest is not too new.
-- name: entry_find_as_of
WITH RECURSIVE sought (version, step) AS (
    SELECT CAST(0 AS BIGINT), CAST(:furthest AS BIGINT)
    UNION ALL
    SELECT version + CASE WHEN (
        SELECT v.position FROM entry_version v
        WHERE v.entry = (SELECT id FROM entry WHERE namespace = :namespace AND key = :key)
            AND v.version >= sought.version + sought.step
        ORDER BY v.version LIMIT 1
    ) <= :position THEN step ELSE 0 END, step / 2
    FROM sought WHERE step > 0
)
SELECT e.key, v.position, v.version, v.kind, v.author, v.run, v.at, v.expires_at, v.origin,
    v.size, v.codec, v.value, v.blob
FROM entry e JOIN entry_version v ON v.entry = e.id
WHERE e.namespace = :namespace AND e.key = :key AND v.version = (SELECT version FROM sought WHERE step = 0);

-- name: entry_history
SELECT CAST(:key AS TEXT), v.position, v.version, v.kind, v.author, v.run, v.at, v.expires_at, v.origin,
    v.size, v.codec, v.value, v.blob
FROM entry_version v
WHERE v.entry = (SELECT id FROM entry WHERE namespace = :namespace AND key = :key) AND v.version < :before
ORDER BY v.version DESC LIMIT :limit;

-- name: entry_list
SELECT e.key, v.position, v.version, v.kind, v.author, v.run, v.at, v.expires_at, v.origin,
    v.size, v.codec, v.value, v.blob
FROM entry e JOIN entry_version v ON v.position = e.position
WHERE e.namespace = :namespace AND e.key >= :low AND e.key < :high AND e.key > :after
    AND e.live = 1 AND (e.expires_at IS NULL OR e.expires_at > :now)
ORDER BY e.key LIMIT :limit;

-- What changed is found among the changes, not among all there is: CROSS JOIN keeps that order.

-- name: entry_changed_between
SELECT DISTINCT e.key FROM entry_version v CROSS JOIN entry e
WHERE e.id = v.entry AND v.position > :low AND v.position <= :high AND e.namespace = :namespace
ORDER BY e.key LIMIT :limit;

-- name: entry_changes
SELECT e.key, v.position, v.version, v.kind, v.author, v.run, v.at, v.expires_at, v.origin,
    v.size, v.codec, v.value, v.blob
FROM entry_version v CROSS JOIN entry e
WHERE e.id = v.entry AND v.position > :low AND v.position <= :high AND e.namespace = :namespace
    AND e.key >= :from_key AND e.key < :to_key
ORDER BY v.position LIMIT :limit;

-- name: entry_expired
SELECT n.workspace, n.id, n.name, e.key, e.id, e.version FROM entry e JOIN namespace n ON n.id = e.namespace
WHERE e.expires_at IS NOT NULL AND e.expires_at <= :now AND e.live = 1
    AND (n.workspace = :workspace OR :workspace IS NULL)
ORDER BY e.expires_at LIMIT :limit;

-- name: entry_count_by_namespace
SELECT n.name, count(*) FROM entry e JOIN namespace n ON n.id = e.namespace
WHERE n.workspace = :workspace AND n.name >= :low AND n.name < :high AND n.name > :after
    AND e.live = 1 AND (e.expires_at IS NULL OR e.expires_at > :now)
    AND (:everything = 1 OR EXISTS (
        SELECT 1 FROM json_each(:patterns) p
        WHERE p.value = n.name
            OR (substr(p.value, length(p.value), 1) = '*' AND substr(n.name, 1, length(p.value) - 1) = substr(p.value, 1, length(p.value) - 1))
    ))
GROUP BY n.name ORDER BY n.name LIMIT :limit;

-- name: entry_count
SELECT 'live', count(*) FROM entry e JOIN namespace n ON n.id = e.namespace
WHERE n.workspace = :workspace AND e.live = 1;

-- name: entry_search
SELECT s.rowid, n.name, e.key, v.position, v.version, v.kind, v.author, v.run, v.at, v.expires_at, v.origin,
    v.size, v.codec, v.value, v.blob
FROM entry_search s
JOIN entry e ON e.id = s.rowid
JOIN entry_version v ON v.position = e.position
JOIN namespace n ON n.id = e.namespace
WHERE entry_search MATCH (SELECT group_concat('"' || value || '"*', ' ') FROM json_each(:words))
    AND n.workspace = :workspace
    AND (n.name = :namespace OR :namespace IS NULL)
    AND e.live = 1 AND (e.expires_at IS NULL OR e.expires_at > :now)
    AND (:everything = 1 OR EXISTS (
        SELECT 1 FROM json_each(:patterns) p
        WHERE p.value = n.name
            OR (substr(p.value, length(p.value), 1) = '*' AND substr(n.name, 1, length(p.value) - 1) = substr(p.value, 1, length(p.value) - 1))
    ))
ORDER BY s.rank LIMIT :limit OFFSET :offset;

-- Of the versions not yet indexed, up to `limit`: the last, and how many. Their newest ones are searchable. JSON without escapes or null
-- goes into the index as it stands, which splits at punctuation; the rest is taken apart first.

-- name: entry_unindexed_last
SELECT max(position), count(*) FROM (
    SELECT position FROM entry_version WHERE position > :after AND position <= :high ORDER BY position LIMIT :limit);

-- name: entry_unindexed
SELECT e.id, e.key, v.codec, v.value, v.blob
FROM entry_version v JOIN entry e ON e.id = v.entry
WHERE v.position > :after AND v.position <= :last AND e.position = v.position AND e.live = 1
    AND (v.codec <> 0 OR v.blob IS NOT NULL OR instr(v.value, x'5c') > 0 OR instr(v.value, x'6e756c6c') > 0);

-- name: entry_search_remove_all
DELETE FROM entry_search WHERE rowid IN (
    SELECT e.id FROM entry_version v JOIN entry e ON e.id = v.entry
    WHERE v.position > :after AND v.position <= :last AND e.position = v.position);

-- name: entry_search_add_all
INSERT INTO entry_search (rowid, key, body)
SELECT e.id, e.key, CAST(v.value AS TEXT) FROM entry_version v JOIN entry e ON e.id = v.entry
WHERE v.position > :after AND v.position <= :last AND e.position = v.position AND e.live = 1
    AND v.codec = 0 AND v.blob IS NULL AND instr(v.value, x'5c') = 0 AND instr(v.value, x'6e756c6c') = 0;

-- name: entry_search_remove
DELETE FROM entry_search WHERE rowid = :id;

-- name: entry_search_add
INSERT INTO entry_search (rowid, key, body) VALUES (:id, :key, :body);

-- name: entry_search_merge
INSERT INTO entry_search (entry_search, rank) VALUES ('merge', :pages);

-- name: workspace_set_indexed
UPDATE workspace SET indexed = :position WHERE id = :workspace;

-- name: entry_version_prunable
SELECT v.position FROM entry_version v CROSS JOIN entry e
WHERE e.id = v.entry AND v.position > :low AND v.position <= :high AND v.at < :before AND v.position <> e.position
    AND v.version <= e.version - :kept
ORDER BY v.position LIMIT :limit;

-- name: entry_version_remove
DELETE FROM entry_version WHERE position = :position;
