-- Workflow documents: one row per name, one per version.

-- name: workflow_find
SELECT id, versions, current FROM workflow WHERE workspace = :workspace AND name = :name;

-- name: workflow_add
INSERT INTO workflow (id, workspace, name, versions, current, words, created_at)
VALUES (:id, :workspace, :name, 1, :id, 0, :now);

-- name: workflow_grow
UPDATE workflow SET versions = :number WHERE id = :id;

-- name: workflow_set_current
UPDATE workflow SET current = :current, words = :words WHERE id = :id;

-- name: workflow_version_add
INSERT INTO workflow_version
    (id, workflow, number, version, state, description, designed_by, parent, changes, untrusted, author, created_at,
    state_changed_at, size, codec, value, blob)
VALUES
    (:id, :workflow, :number, :version, :state, :description, :designed_by, :parent, :changes, :untrusted, :author, :now,
    :now, :size, :codec, :value, :blob);

-- name: workflow_version_move
UPDATE workflow_version SET state = :state, untrusted = :untrusted, state_changed_at = :now WHERE id = :id;

-- name: workflow_version_by_id
SELECT v.id, v.workflow, w.name, w.versions, v.number, v.version, v.state, v.description, v.designed_by, v.parent,
    v.changes, v.untrusted, v.author, v.created_at, v.state_changed_at, v.size, v.codec, v.value, v.blob
FROM workflow_version v JOIN workflow w ON w.id = v.workflow
WHERE v.id = :id;

-- name: workflow_version_by_number
SELECT v.id, v.workflow, w.name, w.versions, v.number, v.version, v.state, v.description, v.designed_by, v.parent,
    v.changes, v.untrusted, v.author, v.created_at, v.state_changed_at, v.size, v.codec, v.value, v.blob
FROM workflow_version v JOIN workflow w ON w.id = v.workflow
WHERE v.workflow = :workflow AND v.number = :number;

-- name: workflow_version_by_hash
SELECT v.id, v.workflow, w.name, w.versions, v.number, v.version, v.state, v.description, v.designed_by, v.parent,
    v.changes, v.untrusted, v.author, v.created_at, v.state_changed_at, v.size, v.codec, v.value, v.blob
FROM workflow_version v JOIN workflow w ON w.id = v.workflow
WHERE v.workflow = :workflow AND v.version >= :low AND v.version < :high ORDER BY v.version LIMIT 2;

-- name: workflow_version_in_state
SELECT v.id, v.workflow, w.name, w.versions, v.number, v.version, v.state, v.description, v.designed_by, v.parent,
    v.changes, v.untrusted, v.author, v.created_at, v.state_changed_at, v.size, v.codec, v.value, v.blob
FROM workflow_version v JOIN workflow w ON w.id = v.workflow
WHERE v.workflow = :workflow AND v.state = :state ORDER BY v.number DESC LIMIT 1;

-- The active one, else the newest draft, else the newest that is not retired, else the newest.
-- name: workflow_version_meant
SELECT v.id, v.workflow, w.name, w.versions, v.number, v.version, v.state, v.description, v.designed_by, v.parent,
    v.changes, v.untrusted, v.author, v.created_at, v.state_changed_at, v.size, v.codec, v.value, v.blob
FROM workflow_version v JOIN workflow w ON w.id = v.workflow
WHERE v.workflow = :workflow
ORDER BY CASE v.state WHEN 'active' THEN 0 WHEN 'draft' THEN 1 WHEN 'retired' THEN 3 ELSE 2 END, v.number DESC LIMIT 1;

-- name: workflow_list
SELECT v.id, v.workflow, w.name, w.versions, v.number, v.version, v.state, v.description, v.designed_by, v.parent,
    v.changes, v.untrusted, v.author, v.created_at, v.state_changed_at, v.size, v.codec, v.value, v.blob
FROM workflow w JOIN workflow_version v ON v.id = w.current
WHERE w.workspace = :workspace AND w.name > :after AND (v.state = :state OR :state IS NULL)
ORDER BY w.name LIMIT :limit;

-- name: workflow_version_list
SELECT v.id, v.workflow, w.name, w.versions, v.number, v.version, v.state, v.description, v.designed_by, v.parent,
    v.changes, v.untrusted, v.author, v.created_at, v.state_changed_at, v.size, v.codec, v.value, v.blob
FROM workflow_version v JOIN workflow w ON w.id = v.workflow
WHERE v.workflow = :workflow AND v.number < :before ORDER BY v.number DESC LIMIT :limit;

-- name: workflow_word_remove
DELETE FROM workflow_word WHERE workflow = :workflow;

-- name: workflow_word_add
INSERT INTO workflow_word (workspace, word, workflow, count) VALUES (:workspace, :word, :workflow, :count);

-- name: workflow_word_find
SELECT f.current, s.word, s.count, f.words FROM workflow_word s JOIN workflow f ON f.id = s.workflow
WHERE s.workspace = :workspace AND s.word IN (SELECT value FROM json_each(:words));

-- name: workflow_word_totals
SELECT count(*), CAST(coalesce(sum(words), 0) AS bigint) FROM workflow WHERE workspace = :workspace AND words > 0;
