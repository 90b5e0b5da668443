-- Webhooks, and the messages that are to be sent to them.

-- name: webhook_add
INSERT INTO webhook (id, workspace, actor, url, label, position, created_at)
VALUES (:id, :workspace, :actor, :url, :label, :position, :now);

-- name: webhook_get
SELECT w.id, w.url, a.kind, a.name, w.label, w.created_at, w.ended_at FROM webhook w JOIN actor a ON a.id = w.actor
WHERE w.id = :id AND w.workspace = :workspace;

-- name: webhook_list
SELECT w.id, w.url, a.kind, a.name, w.label, w.created_at, w.ended_at FROM webhook w JOIN actor a ON a.id = w.actor
WHERE w.workspace = :workspace AND w.id > :after AND w.ended_at IS NULL ORDER BY w.id LIMIT :limit;

-- name: webhook_end
UPDATE webhook SET ended_at = :now WHERE id = :id AND ended_at IS NULL;

-- name: webhook_behind
SELECT w.workspace, w.id, w.actor, a.name, w.position FROM webhook w JOIN actor a ON a.id = w.actor
WHERE w.ended_at IS NULL ORDER BY w.position, w.id LIMIT :limit;

-- name: webhook_move
UPDATE webhook SET position = :position WHERE id = :id;

-- name: event_handoffs
SELECT DISTINCT stream FROM event
WHERE position > :after AND position <= :last AND operation LIKE 'handoff.%' AND outcome = 'ok';

-- name: delivery_add
INSERT INTO delivery (id, workspace, webhook, message, type, subject, body, next_at, created_at)
VALUES (:id, :workspace, :webhook, :message, :type, :subject, :body, :now, :now)
ON CONFLICT (webhook, message) DO NOTHING;

-- name: delivery_due
SELECT d.workspace, d.id, d.webhook, d.type, d.body, d.attempts, w.url, w.ended_at
FROM delivery d JOIN webhook w ON w.id = d.webhook
WHERE d.state = 'sending' AND d.next_at <= :now ORDER BY d.next_at LIMIT :limit;

-- name: delivery_take
UPDATE delivery SET attempts = attempts + 1, next_at = :next_at
WHERE id = :id AND attempts = :attempts AND state = 'sending';

-- name: delivery_retry
UPDATE delivery SET next_at = :next_at, status = :status, error = :error WHERE id = :id AND state = 'sending';

-- name: delivery_end
UPDATE delivery SET state = :state, next_at = NULL, status = :status, error = :error, ended_at = :now
WHERE id = :id AND state = 'sending';

-- name: delivery_list
SELECT id, webhook, type, subject, state, attempts, next_at, status, error, created_at, ended_at FROM delivery
WHERE workspace = :workspace AND id < :before AND (webhook = :webhook OR :webhook IS NULL)
    AND (state = :state OR :state IS NULL)
ORDER BY id DESC LIMIT :limit;

-- name: delivery_remove_old
DELETE FROM delivery WHERE id IN (
    SELECT id FROM delivery WHERE workspace = :workspace AND ended_at < :before ORDER BY ended_at LIMIT :limit);
