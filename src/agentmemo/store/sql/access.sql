-- Workspaces, actors, namespaces and credentials. Names are interned: wide tables carry integers.

-- name: workspace_find
SELECT id, blob_key, floor FROM workspace WHERE name = :name;

-- name: workspace_add
INSERT INTO workspace (name, blob_key) VALUES (:name, :blob_key) RETURNING id;

-- name: workspace_all
SELECT id, name, floor FROM workspace ORDER BY id;

-- name: workspace_unindexed
SELECT w.id, w.indexed FROM workspace w WHERE EXISTS (
    SELECT 1 FROM entry_version v
    WHERE v.position > w.indexed AND v.position > (w.id << 40) AND v.position < ((w.id + 1) << 40))
ORDER BY w.id LIMIT :limit;

-- name: workspace_set_floor
UPDATE workspace SET floor = :floor WHERE id = :id AND floor < :floor;

-- name: actor_find
SELECT id, disabled_at FROM actor WHERE workspace = :workspace AND kind = :kind AND name = :name;

-- name: actor_add
INSERT INTO actor (workspace, kind, name, created_at) VALUES (:workspace, :kind, :name, :now) RETURNING id;

-- name: actor_names
SELECT id, kind, name FROM actor WHERE workspace = :workspace AND id > :after ORDER BY id;

-- name: actor_list
SELECT id, name, kind, created_at, disabled_at FROM actor
WHERE workspace = :workspace AND id > :after ORDER BY id LIMIT :limit;

-- name: actor_set_disabled
UPDATE actor SET disabled_at = :disabled_at WHERE workspace = :workspace AND kind = :kind AND name = :name;

-- name: actor_disabled
SELECT workspace, kind, name FROM actor WHERE disabled_at IS NOT NULL;

-- name: namespace_find
SELECT id FROM namespace WHERE workspace = :workspace AND name = :name;

-- name: namespace_add
INSERT INTO namespace (workspace, name) VALUES (:workspace, :name) RETURNING id;

-- name: namespace_names
SELECT id, name FROM namespace WHERE workspace = :workspace AND id > :after ORDER BY id;

-- name: credential_find
SELECT c.workspace, w.name, c.kind, a.name, c.hash, c.grants, c.expires_at, c.revoked_at, a.disabled_at, c.last_used_at
FROM credential c JOIN actor a ON a.id = c.actor JOIN workspace w ON w.id = c.workspace
WHERE c.id = :id;

-- name: credential_add
INSERT INTO credential (id, workspace, kind, actor, hash, label, grants, created_at, expires_at)
VALUES (:id, :workspace, :kind, :actor, :hash, :label, :grants, :now, :expires_at);

-- name: credential_list
SELECT c.id, c.kind, a.name, c.label, c.grants, c.created_at, c.expires_at, c.revoked_at, c.last_used_at
FROM credential c JOIN actor a ON a.id = c.actor
WHERE c.workspace = :workspace AND c.id > :after ORDER BY c.id LIMIT :limit;

-- name: credential_get
SELECT c.id, c.kind, a.name, c.label, c.grants, c.created_at, c.expires_at, c.revoked_at, c.last_used_at
FROM credential c JOIN actor a ON a.id = c.actor
WHERE c.workspace = :workspace AND c.id = :id;

-- name: credential_revoke
UPDATE credential SET revoked_at = :at WHERE workspace = :workspace AND id = :id AND revoked_at IS NULL;

-- name: credential_expire
UPDATE credential SET expires_at = :at
WHERE workspace = :workspace AND id = :id AND (expires_at IS NULL OR expires_at > :at);

-- name: credential_used
UPDATE credential SET last_used_at = :now WHERE id = :id;
