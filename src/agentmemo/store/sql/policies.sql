-- Policies: documents in versions. The newest version of a name is its current one; a deletion is one that is not live.

-- name: policy_current
SELECT kind, name, version, current, live, document, author, comment, at FROM policy
WHERE workspace = :workspace AND kind = :kind AND name = :name AND current = 1;

-- name: policy_version
SELECT kind, name, version, current, live, document, author, comment, at FROM policy
WHERE workspace = :workspace AND kind = :kind AND name = :name AND version = :version;

-- name: policy_live
SELECT kind, name, version, current, live, document, author, comment, at FROM policy
WHERE workspace = :workspace AND kind = :kind AND current = 1 AND live = 1 ORDER BY name;

-- name: policy_list
SELECT kind, name, version, current, live, document, author, comment, at FROM policy
WHERE workspace = :workspace AND current = 1 AND live = 1 AND (kind = :kind OR :kind IS NULL)
    AND (kind > :after_kind OR (kind = :after_kind AND name > :after_name))
ORDER BY kind, name LIMIT :limit;

-- name: policy_versions
SELECT kind, name, version, current, live, document, author, comment, at FROM policy
WHERE workspace = :workspace AND kind = :kind AND name = :name AND version < :before
ORDER BY version DESC LIMIT :limit;

-- name: policy_supersede
UPDATE policy SET current = 0 WHERE workspace = :workspace AND kind = :kind AND name = :name AND version = :version;

-- name: policy_add
INSERT INTO policy (workspace, kind, name, version, current, live, document, author, comment, at)
VALUES (:workspace, :kind, :name, :version, 1, :live, :document, :author, :comment, :now);
