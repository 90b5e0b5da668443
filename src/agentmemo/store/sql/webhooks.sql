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

-- name: webhook_places
SELECT w.workspace, min(w.position) FROM webhook w JOIN actor a ON a.id = w.actor
WHERE w.ended_at IS NULL AND a.disabled_at IS NULL GROUP BY w.workspace;

-- name: webhook_live
SELECT w.id, w.actor, a.name, w.position FROM webhook w JOIN actor a ON a.id = w.actor
WHERE w.workspace = :workspace AND w.ended_at IS NULL AND a.disabled_at IS NULL;

-- name: webhook_receivers
SELECT address, actor FROM handoff_receiver
WHERE workspace = :workspace
    AND actor IN (SELECT w.actor FROM webhook w WHERE w.workspace = :workspace AND w.ended_at IS NULL);

-- name: webhook_move
UPDATE webhook SET position = :position WHERE id = :id AND position < :position;

-- name: webhook_move_all
UPDATE webhook SET position = :position
WHERE workspace = :workspace AND ended_at IS NULL AND position >= :low AND position < :position
    AND actor NOT IN (SELECT id FROM actor WHERE workspace = :workspace AND disabled_at IS NOT NULL);

-- name: event_announcements
SELECT actor, max(position) FROM event
WHERE position > :after AND position <= :last AND operation = 'handoff.announce' AND outcome = 'ok' GROUP BY actor;

-- name: event_handoffs_newest
SELECT stream, max(position) FROM event
WHERE position > :after AND position <= :last AND operation LIKE 'handoff.%' AND outcome = 'ok' GROUP BY stream;

-- name: event_escalations_ended
SELECT stream, max(position) FROM event
WHERE position > :after AND position <= :last AND outcome = 'ok' AND operation IN ('escalation.decide',
    'escalation.default', 'escalation.auto_decide', 'escalation.withdraw', 'escalation.supersede')
GROUP BY stream;

-- Answers that have not come to who asked.
-- name: escalation_owed
SELECT DISTINCT e.handle FROM escalation_waiter w JOIN escalation e ON e.id = w.escalation
WHERE w.workspace = :workspace AND w.state IN ('ready', 'leased', 'failed') AND w.waits = 1 AND w.actor = :actor
ORDER BY e.handle LIMIT :limit;

-- name: event_handoffs
SELECT DISTINCT stream FROM event
WHERE position > :after AND position <= :last AND operation LIKE 'handoff.%' AND outcome = 'ok';

-- name: delivery_add
INSERT INTO delivery (id, workspace, webhook, message, type, subject, body, next_at, created_at)
VALUES (:id, :workspace, :webhook, :message, :type, :subject, :body, :now, :now)
ON CONFLICT (webhook, message) DO NOTHING;

-- name: delivery_due
SELECT d.workspace, d.id, d.webhook, d.type, d.body, d.attempts, w.url, w.ended_at
FROM (
    SELECT id, next_at, row_number() OVER (PARTITION BY webhook ORDER BY next_at, id) AS place FROM delivery
    WHERE state = 'sending' AND next_at <= :now
) due JOIN delivery d ON d.id = due.id JOIN webhook w ON w.id = d.webhook JOIN actor a ON a.id = w.actor
WHERE a.disabled_at IS NULL
ORDER BY due.place, due.next_at, d.id LIMIT :limit;

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

-- name: delivery_of_subject
SELECT d.id, d.webhook, d.type, d.subject, d.state, d.attempts, d.next_at, d.status, d.error, d.created_at, d.ended_at
FROM webhook w JOIN delivery d ON d.webhook = w.id AND d.message >= :subject AND d.message < :end
WHERE w.workspace = :workspace AND d.subject = :subject AND d.id < :before
    AND (d.webhook = :webhook OR :webhook IS NULL) AND (d.state = :state OR :state IS NULL)
ORDER BY d.id DESC LIMIT :limit;

-- name: delivery_remove_old
DELETE FROM delivery WHERE id IN (
    SELECT id FROM delivery WHERE workspace = :workspace AND ended_at < :before ORDER BY ended_at LIMIT :limit);
