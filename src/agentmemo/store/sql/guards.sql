-- Guards: what was decided on calls, by which rule, and what people said of such calls before.

-- name: guarded_add
INSERT INTO guarded (id, workspace, actor, tool, verdict, rule, version, digest, pattern, reversible, key, escalation,
    review, at)
VALUES (:id, :workspace, :actor, :tool, :verdict, :rule, :version, :digest, :pattern, :reversible, :key, :escalation,
    :review, :now);

-- name: guarded_get; by id; id first
SELECT id, actor, tool, verdict, rule, version, digest, reversible, escalation, at FROM guarded WHERE id = :id;

-- name: guarded_of_key; by workspace, key; id first
SELECT id, actor, tool, verdict, rule, version, digest, reversible, escalation, at FROM guarded
WHERE workspace = :workspace AND key = :key;

-- name: guarded_set_escalation
UPDATE guarded SET escalation = :escalation WHERE id = :id;

-- name: guarded_similar
SELECT DISTINCT e.id, e.handle, e.answer, e.run FROM guarded g JOIN escalation e ON e.handle = g.escalation
WHERE g.workspace = :workspace AND g.tool = :tool AND g.escalation IS NOT NULL AND (g.actor = :actor OR g.rule = :rule)
    AND e.answer IS NOT NULL AND e.ended_at IS NOT NULL
ORDER BY e.id DESC LIMIT :limit;

-- name: guarded_approved
SELECT e.handle, e.answer FROM guarded g JOIN escalation e ON e.handle = g.escalation
WHERE g.workspace = :workspace AND g.tool = :tool AND g.escalation IS NOT NULL AND g.actor = :actor
    AND g.digest = :digest AND e.run = :run AND e.decision = 'approve' AND e.uses > 0 AND e.execute_by > :now
ORDER BY g.id DESC LIMIT 1;

-- name: guarded_answered
SELECT DISTINCT e.id, e.handle, e.answer, g.tool, g.pattern, g.actor
FROM guarded g JOIN escalation e ON e.handle = g.escalation
WHERE g.workspace = :workspace AND g.escalation IS NOT NULL AND g.reversible = 1
    AND e.state = 'decided' AND e.irreversible = 0 AND e.pruned = 0
ORDER BY e.id DESC LIMIT :limit;

-- name: guarded_reviews
SELECT id, actor, tool, verdict, rule, version, review, at, objector, objected_at FROM guarded
WHERE workspace = :workspace AND review IS NOT NULL AND id < :before ORDER BY id DESC LIMIT :limit;

-- name: guarded_review
SELECT id, actor, tool, verdict, rule, version, review, at, objector, objected_at FROM guarded
WHERE id = :id AND review IS NOT NULL;

-- name: guarded_object
UPDATE guarded SET objector = :person, objected_at = :now WHERE id = :id AND objected_at IS NULL;

-- name: guarded_remove_old
DELETE FROM guarded WHERE id IN (SELECT id FROM guarded WHERE workspace = :workspace AND at < :before LIMIT :limit);

-- name: rule_uses
SELECT rule, uses FROM rule_use WHERE workspace = :workspace;

-- name: rule_used
INSERT INTO rule_use (workspace, rule, uses) VALUES (:workspace, :rule, 1)
ON CONFLICT (workspace, rule) DO UPDATE SET uses = rule_use.uses + 1;

-- name: rule_unused
DELETE FROM rule_use WHERE workspace = :workspace AND rule = :rule;
