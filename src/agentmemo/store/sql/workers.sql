-- Worker incarnations, their leases, cron schedules and the duties of time.

-- name: worker_add
INSERT INTO worker (id, workspace, actor, host, process, boot_id, lease_us, lease_until, started_at)
VALUES (:id, :workspace, :actor, :host, :process, :boot_id, :lease_us, :lease_until, :now);

-- name: worker_get
SELECT w.id, w.host, w.process, w.boot_id, w.lease_us, w.lease_until, w.started_at, w.stopped_at, a.kind, a.name
FROM worker w JOIN actor a ON a.id = w.actor WHERE w.id = :id AND w.workspace = :workspace;

-- name: worker_unattended
SELECT id FROM worker
WHERE workspace = :workspace AND actor = :actor AND host = '-' AND lease_us = :lease_us AND stopped_at IS NULL LIMIT 1;

-- name: worker_unattended_all
SELECT id, actor, boot_id, lease_us, lease_until FROM worker
WHERE host = '-' AND stopped_at IS NULL AND EXISTS (SELECT 1 FROM handoff WHERE handoff.worker = worker.id);

-- name: worker_renew
UPDATE worker SET lease_until = :lease_until, boot_id = :boot_id, stopped_at = NULL WHERE id = :id;

-- name: worker_stop
UPDATE worker SET stopped_at = :now WHERE id = :id AND stopped_at IS NULL;

-- name: worker_live
SELECT id, workspace, boot_id, lease_until FROM worker WHERE stopped_at IS NULL ORDER BY lease_until LIMIT :limit;

-- name: worker_of_actor
SELECT w.id FROM worker w JOIN actor a ON a.id = w.actor
WHERE w.workspace = :workspace AND a.kind = :kind AND a.name = :name AND w.stopped_at IS NULL;

-- name: worker_remove_stopped
DELETE FROM worker WHERE stopped_at < :before AND workspace = :workspace AND id NOT IN (SELECT worker FROM run WHERE worker IS NOT NULL);

-- name: schedule_add
INSERT INTO schedule (id, workspace, task, cron, inputs, options, author, next_at)
VALUES (:id, :workspace, :task, :cron, :inputs, :options, :author, :next_at);

-- name: schedule_list
SELECT id, task, cron, inputs, next_at FROM schedule WHERE workspace = :workspace AND id > :after ORDER BY id LIMIT :limit;

-- name: schedule_get
SELECT id, task, cron, inputs, next_at, options FROM schedule WHERE workspace = :workspace AND id = :id;

-- name: schedule_remove
DELETE FROM schedule WHERE workspace = :workspace AND id = :id;

-- name: schedule_due
SELECT s.workspace, s.id, s.task, s.cron, s.inputs, s.options, s.next_at, a.kind, a.name, w.name
FROM schedule s JOIN actor a ON a.id = s.author JOIN workspace w ON w.id = s.workspace
WHERE s.next_at <= :now AND (s.workspace = :workspace OR :workspace IS NULL) ORDER BY s.next_at LIMIT :limit;

-- name: schedule_move
UPDATE schedule SET next_at = :next_at WHERE id = :id;

-- name: duty_get
SELECT leader, boot_id, lease_until FROM duty WHERE name = :name;

-- name: duty_take
INSERT INTO duty (name, leader, boot_id, lease_until) VALUES (:name, :leader, :boot_id, :lease_until)
ON CONFLICT (name) DO UPDATE SET leader = excluded.leader, boot_id = excluded.boot_id,
    lease_until = excluded.lease_until;

-- name: duty_leave
UPDATE duty SET lease_until = 0 WHERE name = :name AND leader = :leader;

-- name: request_find; by workspace, actor, key
SELECT fingerprint, summary, answer FROM request WHERE workspace = :workspace AND actor = :actor AND key = :key;

-- name: request_add; by workspace, actor, key
INSERT INTO request (workspace, actor, key, fingerprint, summary, answer, at)
VALUES (:workspace, :actor, :key, :fingerprint, :summary, :answer, :now);

-- name: request_remove_old
DELETE FROM request WHERE (workspace, actor, key) IN (
    SELECT workspace, actor, key FROM request WHERE at < :before AND workspace = :workspace ORDER BY at LIMIT :limit);
