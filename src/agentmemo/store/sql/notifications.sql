-- Messages to people about escalations, and the one-time links in them.

-- name: notification_add
INSERT INTO notification (id, workspace, escalation, occasion, person, channel, address, carries, state, next_at,
    created_at, grouping)
SELECT :id, :workspace, :escalation, :occasion, :person, :channel, :address, :carries, 'queued', :next_at, :now, :grouping
FROM escalation WHERE id = :escalation AND ended_at IS NULL
ON CONFLICT (escalation, occasion, person, channel, address) DO NOTHING;

-- name: notification_due
SELECT n.workspace, n.id, n.escalation, e.handle, n.occasion, n.person, n.channel, n.address, n.carries, n.state,
    n.attempts, n.provider, e.ended_at, n.grouping, n.lead
FROM notification n JOIN escalation e ON e.id = n.escalation
WHERE n.next_at <= :now ORDER BY n.next_at, n.id LIMIT :limit;

-- name: notification_get
SELECT n.workspace, n.id, n.escalation, e.handle, n.occasion, n.person, n.channel, n.address, n.carries, n.state,
    n.attempts, n.provider, e.ended_at, n.grouping, n.lead
FROM notification n JOIN escalation e ON e.id = n.escalation WHERE n.id = :id;

-- When those of a group are sent that wait for it, and when the last ones were.
-- name: notification_group
SELECT min(CASE WHEN state = 'queued' AND attempts = 0 THEN next_at END), max(sent_at) FROM notification
WHERE workspace = :workspace AND grouping = :grouping AND person = :person AND channel = :channel AND address = :address;

-- name: notification_group_by
UPDATE notification SET next_at = :at
WHERE workspace = :workspace AND grouping = :grouping AND person = :person AND channel = :channel AND address = :address
    AND state = 'queued' AND attempts = 0 AND next_at > :at;

-- What goes out together with one that is due: of a group whatever is due, of what was sent the same message.
-- name: notification_beside
SELECT n.workspace, n.id, n.escalation, e.handle, n.occasion, n.person, n.channel, n.address, n.carries, n.state,
    n.attempts, n.provider, e.ended_at, n.grouping, n.lead
FROM notification n JOIN escalation e ON e.id = n.escalation
WHERE n.workspace = :workspace AND n.grouping = :grouping AND n.person = :person AND n.channel = :channel
    AND n.address = :address AND n.state = :state AND n.next_at <= :now AND n.id <> :id
    AND (n.state = 'queued' OR n.lead = :lead)
ORDER BY n.next_at, n.id LIMIT :limit;

-- name: notification_led
SELECT n.workspace, n.id, n.escalation, e.handle, n.occasion, n.person, n.channel, n.address, n.carries, n.state,
    n.attempts, n.provider, e.ended_at, n.grouping, n.lead
FROM notification n JOIN escalation e ON e.id = n.escalation
WHERE n.workspace = :workspace AND n.grouping = :grouping AND n.person = :person AND n.lead = :lead ORDER BY n.id;

-- name: notification_lead; by id
UPDATE notification SET lead = :lead WHERE id = :id;

-- Whoever takes it first sends it; after next_at it is anybody's again.
-- name: notification_take
UPDATE notification SET attempts = attempts + 1, next_at = :next_at
WHERE id = :id AND state = :state AND attempts = :attempts AND next_at <= :now;

-- name: notification_sent
UPDATE notification SET state = :state, attempts = 0, next_at = :next_at, provider = :provider, shown = :shown,
    error = '', sent_at = coalesce(sent_at, :now)
WHERE id = :id AND state = :was AND attempts = :attempts;

-- name: notification_retry
UPDATE notification SET next_at = :next_at, error = :error WHERE id = :id AND state = :was AND attempts = :attempts;

-- name: notification_end
UPDATE notification SET state = :state, next_at = NULL, error = :error
WHERE id = :id AND state = :was AND attempts = :attempts;

-- The next step's turn comes at once where nobody of this one can be reached.
-- name: escalation_hasten
UPDATE escalation SET climb_at = :now, due_at = :now
WHERE id = :escalation AND state = 'open' AND climb_at > :now
    AND (:occasion = 'step ' || climb OR :occasion LIKE 'step ' || climb || ', %')
    AND NOT EXISTS (SELECT 1 FROM notification
        WHERE escalation = :escalation AND occasion = :occasion AND state IN ('queued', 'sent'));

-- name: notification_outdated
UPDATE notification SET next_at = :now, attempts = 0 WHERE escalation = :escalation AND state = 'sent';

-- name: notification_of
SELECT person, channel, occasion, state, attempts, error, created_at, sent_at FROM notification
WHERE escalation = :escalation ORDER BY created_at, id;

-- name: notification_remove_old
DELETE FROM notification WHERE id IN (
    SELECT id FROM notification WHERE workspace = :workspace AND created_at < :before AND next_at IS NULL
    ORDER BY created_at LIMIT :limit);

-- name: answer_link_add
INSERT INTO answer_link (hash, workspace, escalation, notification, person, code, expires_at, secret)
VALUES (:hash, :workspace, :escalation, :notification, :person, :code, :expires_at, :secret);

-- name: answer_link_get
SELECT l.workspace, w.name, l.escalation, e.handle, l.notification, l.person, a.kind, a.name, l.code, l.misses,
    l.expires_at, l.used_at, l.secret
FROM answer_link l JOIN escalation e ON e.id = l.escalation JOIN actor a ON a.id = l.person
    JOIN workspace w ON w.id = l.workspace
WHERE l.hash = :hash;

-- name: answer_link_miss
UPDATE answer_link SET misses = misses + 1 WHERE hash = :hash AND misses < :most AND used_at IS NULL;

-- name: answer_link_use
UPDATE answer_link SET used_at = :now
WHERE hash = :hash AND used_at IS NULL AND misses < :most AND expires_at > :now;

-- name: answer_link_remove_old
DELETE FROM answer_link WHERE hash IN (
    SELECT hash FROM answer_link WHERE workspace = :workspace AND expires_at < :before ORDER BY expires_at
    LIMIT :limit);
