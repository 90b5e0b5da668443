-- Handoffs: creating, claiming, ending, and what time does to them.

-- name: handoff_get; by handle; id first
SELECT id, handle, workspace, key, digest, state, wake, sender, address, priority, turn, offered, available_at,
    offered_at, epoch, attempt, max_attempts, holder, worker, run, limited, ladder, rung, due_at, complete_by,
    progress_us, progress_at, late, percent, progress, reason, goal, workflow, checked, parent, root, path,
    behalf, budget, verifies, sender_run, claimed_at, escalated_at, notice_at, received_at, ended_at, pruned, created_at,
    updated_at
FROM handoff WHERE handle = :handle AND workspace = :workspace;

-- name: handoff_find; by workspace, key; id first
SELECT id, handle, workspace, key, digest, state, wake, sender, address, priority, turn, offered, available_at,
    offered_at, epoch, attempt, max_attempts, holder, worker, run, limited, ladder, rung, due_at, complete_by,
    progress_us, progress_at, late, percent, progress, reason, goal, workflow, checked, parent, root, path,
    behalf, budget, verifies, sender_run, claimed_at, escalated_at, notice_at, received_at, ended_at, pruned, created_at,
    updated_at
FROM handoff WHERE workspace = :workspace AND key = :key;

-- name: handoff_taken
SELECT 1 FROM handoff WHERE handle = :handle;

-- name: handoff_handles
SELECT handle FROM handoff WHERE +workspace = :workspace AND handle >= :low AND handle < :high LIMIT 2;

-- Ids are positions, so a range of them is of one workspace; with the workspace beside it another index would be taken.

-- name: handoff_list
SELECT id, handle, workspace, key, digest, state, wake, sender, address, priority, turn, offered, available_at,
    offered_at, epoch, attempt, max_attempts, holder, worker, run, limited, ladder, rung, due_at, complete_by,
    progress_us, progress_at, late, percent, progress, reason, goal, workflow, checked, parent, root, path,
    behalf, budget, verifies, sender_run, claimed_at, escalated_at, notice_at, received_at, ended_at, pruned, created_at,
    updated_at
FROM handoff
WHERE id > :low AND id < :before
ORDER BY id DESC LIMIT :limit;

-- The next four walk an index each.

-- name: handoff_list_of_state
SELECT id, handle, workspace, key, digest, state, wake, sender, address, priority, turn, offered, available_at,
    offered_at, epoch, attempt, max_attempts, holder, worker, run, limited, ladder, rung, due_at, complete_by,
    progress_us, progress_at, late, percent, progress, reason, goal, workflow, checked, parent, root, path,
    behalf, budget, verifies, sender_run, claimed_at, escalated_at, notice_at, received_at, ended_at, pruned, created_at,
    updated_at
FROM handoff
WHERE workspace = :workspace AND state = :state AND id < :before
    AND (address = :address OR :address IS NULL)
    AND (sender = :sender OR :sender IS NULL)
ORDER BY id DESC LIMIT :limit;

-- name: handoff_list_of_address
SELECT id, handle, workspace, key, digest, state, wake, sender, address, priority, turn, offered, available_at,
    offered_at, epoch, attempt, max_attempts, holder, worker, run, limited, ladder, rung, due_at, complete_by,
    progress_us, progress_at, late, percent, progress, reason, goal, workflow, checked, parent, root, path,
    behalf, budget, verifies, sender_run, claimed_at, escalated_at, notice_at, received_at, ended_at, pruned, created_at,
    updated_at
FROM handoff
WHERE workspace = :workspace AND address = :address AND id < :before
    AND (state = :state OR :state IS NULL)
    AND (sender = :sender OR :sender IS NULL)
ORDER BY id DESC LIMIT :limit;

-- name: handoff_list_of_sender
SELECT id, handle, workspace, key, digest, state, wake, sender, address, priority, turn, offered, available_at,
    offered_at, epoch, attempt, max_attempts, holder, worker, run, limited, ladder, rung, due_at, complete_by,
    progress_us, progress_at, late, percent, progress, reason, goal, workflow, checked, parent, root, path,
    behalf, budget, verifies, sender_run, claimed_at, escalated_at, notice_at, received_at, ended_at, pruned, created_at,
    updated_at
FROM handoff
WHERE workspace = :workspace AND sender = :sender AND id < :before
    AND (state = :state OR :state IS NULL)
ORDER BY id DESC LIMIT :limit;

-- name: handoff_list_of_root
SELECT id, handle, workspace, key, digest, state, wake, sender, address, priority, turn, offered, available_at,
    offered_at, epoch, attempt, max_attempts, holder, worker, run, limited, ladder, rung, due_at, complete_by,
    progress_us, progress_at, late, percent, progress, reason, goal, workflow, checked, parent, root, path,
    behalf, budget, verifies, sender_run, claimed_at, escalated_at, notice_at, received_at, ended_at, pruned, created_at,
    updated_at
FROM handoff
WHERE workspace = :workspace AND id < :before AND (handle = :root OR (root = :root AND parent IS NOT NULL))
    AND (state = :state OR :state IS NULL OR (:state = 'unfinished' AND wake IS NOT NULL))
    AND (address = :address OR :address IS NULL)
    AND (sender = :sender OR :sender IS NULL)
ORDER BY id DESC LIMIT :limit;

-- name: handoff_list_escalated
SELECT id, handle, workspace, key, digest, state, wake, sender, address, priority, turn, offered, available_at,
    offered_at, epoch, attempt, max_attempts, holder, worker, run, limited, ladder, rung, due_at, complete_by,
    progress_us, progress_at, late, percent, progress, reason, goal, workflow, checked, parent, root, path,
    behalf, budget, verifies, sender_run, claimed_at, escalated_at, notice_at, received_at, ended_at, pruned, created_at,
    updated_at
FROM handoff
WHERE workspace = :workspace AND id < :before
    AND escalated_at IS NOT NULL AND (wake IS NOT NULL OR state = 'dead') AND pruned = 0
    AND (address = :address OR :address IS NULL)
    AND (sender = :sender OR :sender IS NULL)
    AND (root = :root OR :root IS NULL)
ORDER BY id DESC LIMIT :limit;

-- name: handoff_lineage
SELECT id, handle, workspace, key, digest, state, wake, sender, address, priority, turn, offered, available_at,
    offered_at, epoch, attempt, max_attempts, holder, worker, run, limited, ladder, rung, due_at, complete_by,
    progress_us, progress_at, late, percent, progress, reason, goal, workflow, checked, parent, root, path,
    behalf, budget, verifies, sender_run, claimed_at, escalated_at, notice_at, received_at, ended_at, pruned, created_at,
    updated_at
FROM handoff WHERE workspace = :workspace AND id > :after AND (handle = :root OR (root = :root AND parent IS NOT NULL))
ORDER BY id LIMIT :limit;

-- name: handoff_offered
SELECT id, handle, workspace, key, digest, state, wake, sender, address, priority, turn, offered, available_at,
    offered_at, epoch, attempt, max_attempts, holder, worker, run, limited, ladder, rung, due_at, complete_by,
    progress_us, progress_at, late, percent, progress, reason, goal, workflow, checked, parent, root, path,
    behalf, budget, verifies, sender_run, claimed_at, escalated_at, notice_at, received_at, ended_at, pruned, created_at,
    updated_at
FROM handoff
WHERE workspace = :workspace AND address = :address AND offered = 1 AND (complete_by > :now OR complete_by IS NULL)
    AND NOT EXISTS (SELECT 1 FROM handoff_refusal f
        WHERE f.handoff = handoff.id AND f.actor = :actor AND f.address = :address)
ORDER BY priority DESC, turn, id LIMIT :limit;

-- name: handoff_notices
SELECT id, handle, workspace, key, digest, state, wake, sender, address, priority, turn, offered, available_at,
    offered_at, epoch, attempt, max_attempts, holder, worker, run, limited, ladder, rung, due_at, complete_by,
    progress_us, progress_at, late, percent, progress, reason, goal, workflow, checked, parent, root, path,
    behalf, budget, verifies, sender_run, claimed_at, escalated_at, notice_at, received_at, ended_at, pruned, created_at,
    updated_at
FROM handoff
WHERE workspace = :workspace AND sender = :sender AND notice_at IS NOT NULL AND received_at IS NULL
    AND (notice_at, id) > (:at, :after)
ORDER BY notice_at, id LIMIT :limit;

-- name: handoff_attention
SELECT handle, address, reason FROM handoff
WHERE workspace = :workspace AND escalated_at IS NOT NULL AND (wake IS NOT NULL OR state = 'dead') AND pruned = 0
ORDER BY escalated_at DESC LIMIT 20;

-- Each part has its index, and what retention has removed is in none of them.
-- name: handoff_count_by_state
SELECT counted.state, count(*) FROM (
    SELECT 'pending' AS state FROM handoff WHERE workspace = :workspace AND offered = 1
    UNION ALL
    SELECT 'claimed' FROM handoff WHERE workspace = :workspace AND worker IS NOT NULL
    UNION ALL
    SELECT state FROM handoff WHERE workspace = :workspace AND wake IS NOT NULL AND offered = 0 AND worker IS NULL
    UNION ALL
    SELECT state FROM handoff WHERE workspace = :workspace AND ended_at IS NOT NULL AND pruned = 0
) counted GROUP BY counted.state;

-- name: handoff_add; by id, handle, workspace, key
INSERT INTO handoff (id, handle, workspace, key, digest, state, wake, sender, address, priority, turn, offered, available_at,
    offered_at, max_attempts, ladder, due_at, complete_by, progress_us, reason, goal, workflow, checked,
    parent, root, path, behalf, budget, verifies, sender_run, notice_at, escalated_at, ended_at, created_at, updated_at)
VALUES (:id, :handle, :workspace, :key, :digest, :state, :wake, :sender, :address, :priority,
    (SELECT t.turn FROM handoff_turn t WHERE t.workspace = :workspace AND t.address = :address AND t.sender = :sender),
    :offered,
    :available_at, :offered_at, :max_attempts, :ladder, :due_at, :complete_by, :progress_us, :reason, :goal,
    :workflow, :checked, :parent, :root, :path, :behalf, :budget, :verifies, :sender_run, :notice_at, :escalated_at,
    :ended_at, :now, :now);

-- name: handoff_claim; by id
UPDATE handoff SET state = 'claimed', wake = 'lease', offered = 0, epoch = epoch + 1, holder = :holder, worker = :worker,
    limited = :limited, progress_at = :now, claimed_at = :now, escalated_at = NULL, due_at = :due_at, updated_at = :now
WHERE id = :id AND epoch = :epoch AND state = 'pending' AND offered = 1;

-- name: handoff_offer; by id
UPDATE handoff SET state = 'pending', wake = :wake, offered = :offered, available_at = :available_at,
    offered_at = :offered_at, address = :address,
    turn = coalesce(:turn, (SELECT t.turn FROM handoff_turn t
        WHERE t.workspace = handoff.workspace AND t.address = :address AND t.sender = handoff.sender)), rung = :rung, attempt = :attempt, holder = NULL,
    worker = NULL, limited = 0, progress_at = NULL, claimed_at = NULL, ended_at = NULL, reason = :reason, late = :late,
    complete_by = :complete_by, escalated_at = :escalated_at, notice_at = :notice_at, due_at = :due_at, updated_at = :now
WHERE id = :id AND epoch = :epoch;

-- name: handoff_park; by id
UPDATE handoff SET wake = 'run', worker = NULL, limited = 0, progress_at = NULL, reason = :reason, due_at = :due_at,
    updated_at = :now
WHERE id = :id AND epoch = :epoch AND state = 'claimed';

-- name: handoff_submit; by id
UPDATE handoff SET state = 'submitted', wake = 'verifier', worker = NULL, limited = 0, due_at = :due_at, updated_at = :now
WHERE id = :id AND epoch = :epoch AND state = 'claimed';

-- name: handoff_end; by id
UPDATE handoff SET state = :state, wake = NULL, offered = 0, worker = NULL, limited = 0, due_at = NULL,
    reason = :reason, percent = coalesce(:percent, percent), notice_at = :notice_at, received_at = NULL,
    escalated_at = coalesce(:escalated_at, escalated_at), ended_at = :now, updated_at = :now
WHERE id = :id AND epoch = :epoch AND (wake IS NOT NULL OR state = 'dead');

-- name: handoff_tell; by id
UPDATE handoff SET rung = :rung, late = :late, progress_at = :progress_at, due_at = :due_at, notice_at = :now,
    received_at = NULL, escalated_at = :now, reason = :reason, updated_at = :now
WHERE id = :id AND wake IS NOT NULL;

-- name: handoff_set_progress; by id
UPDATE handoff SET percent = coalesce(:percent, percent), progress = :progress, progress_at = :now, due_at = :due_at,
    updated_at = :now
WHERE id = :id AND epoch = :epoch AND state = 'claimed';

-- name: handoff_saw_progress; by id
UPDATE handoff SET progress_at = :progress_at, due_at = :due_at WHERE id = :id AND epoch = :epoch AND state = 'claimed';

-- name: handoff_held
SELECT h.handle, w.boot_id, w.lease_until FROM worker w CROSS JOIN handoff h
WHERE h.worker = w.id AND w.workspace = :workspace AND w.actor = :actor AND w.stopped_at IS NULL AND h.state = 'claimed'
ORDER BY h.claimed_at, h.id LIMIT :limit;

-- name: handoff_set_run; by id
UPDATE handoff SET run = :run, updated_at = :now WHERE id = :id;

-- name: handoff_set_sender_run; by id
UPDATE handoff SET sender_run = :run WHERE id = :id AND wake IS NOT NULL;

-- name: handoff_remove_result
DELETE FROM handoff_value WHERE handoff = :handoff AND field = 'result';

-- name: held_by_stopped
SELECT h.workspace, h.worker FROM handoff h JOIN worker w ON w.id = h.worker
WHERE h.worker IS NOT NULL AND w.stopped_at IS NOT NULL AND w.stopped_at <= :now
    AND (h.workspace = :workspace OR :workspace IS NULL)
UNION
SELECT r.workspace, r.worker FROM run r JOIN worker w ON w.id = r.worker
WHERE r.worker IS NOT NULL AND w.stopped_at IS NOT NULL AND w.stopped_at <= :now
    AND (r.workspace = :workspace OR :workspace IS NULL)
LIMIT :limit;

-- name: handoff_receive; by id
UPDATE handoff SET received_at = :now WHERE id = :id AND notice_at IS NOT NULL AND received_at IS NULL;

-- name: handoff_of_worker
SELECT handle FROM handoff WHERE worker = :worker ORDER BY id;

-- name: handoff_due
SELECT workspace, handle FROM handoff
WHERE due_at IS NOT NULL AND due_at <= :now AND (workspace = :workspace OR :workspace IS NULL)
ORDER BY due_at LIMIT :limit;

-- name: handoff_prunable
SELECT id, handle FROM handoff
WHERE ended_at IS NOT NULL AND pruned = 0 AND ended_at < :before AND workspace = :workspace ORDER BY ended_at LIMIT :limit;

-- name: handoff_mark_pruned; by id
UPDATE handoff SET pruned = 1, notice_at = NULL, updated_at = :now WHERE id = :id;

-- name: handoff_remove_values
DELETE FROM handoff_value WHERE handoff = :handoff;

-- name: handoff_remove_references
DELETE FROM handoff_reference WHERE handoff = :handoff;

-- name: handoff_remove_attempts
DELETE FROM handoff_attempt WHERE handoff = :handoff;

-- name: handoff_value_set; by handoff, field
INSERT INTO handoff_value (handoff, field, size, codec, value, blob)
VALUES (:handoff, :field, :size, :codec, :value, :blob)
ON CONFLICT (handoff, field) DO UPDATE SET size = excluded.size, codec = excluded.codec, value = excluded.value,
    blob = excluded.blob;

-- name: handoff_package; by handle
SELECT v.size, v.codec, v.value, v.blob FROM handoff h JOIN handoff_value v ON v.handoff = h.id
WHERE h.handle = :handle AND v.field = 'package';

-- name: handoff_result
SELECT size, codec, value, blob FROM handoff_value WHERE handoff = :handoff AND field = 'result';

-- name: handoff_reference_add
INSERT INTO handoff_reference (handoff, namespace, key, version, digest)
VALUES (:handoff, :namespace, :key, :version, :digest);

-- name: handoff_references
SELECT n.name, r.key, r.version, r.digest FROM handoff_reference r JOIN namespace n ON n.id = r.namespace
WHERE r.handoff = :handoff ORDER BY n.name, r.key;

-- name: handoff_attempt_add
INSERT INTO handoff_attempt (handoff, epoch, holder, started_at, ended_at, outcome, reason)
VALUES (:handoff, :epoch, :holder, :started_at, :now, :outcome, :reason);

-- name: handoff_attempts
SELECT epoch, holder, started_at, ended_at, outcome, reason FROM handoff_attempt
WHERE handoff = :handoff ORDER BY id DESC LIMIT :limit;

-- name: handoff_turn_next
INSERT INTO handoff_turn (workspace, address, sender, turn)
VALUES (:workspace, :address, :sender, 1 + coalesce((SELECT c.turn FROM handoff_turn c
    WHERE c.workspace = :workspace AND c.address = :address AND c.sender = 0), 0))
ON CONFLICT (workspace, address, sender) DO UPDATE
    SET turn = CASE WHEN excluded.turn > handoff_turn.turn THEN excluded.turn ELSE handoff_turn.turn + 1 END;

-- What the queue's clock has passed says nothing any more: its sender would begin at the clock.
-- name: handoff_turn_remove_passed
DELETE FROM handoff_turn WHERE (workspace, address, sender) IN (
    SELECT t.workspace, t.address, t.sender FROM handoff_turn t
    JOIN handoff_turn c ON c.workspace = t.workspace AND c.address = t.address AND c.sender = 0
    WHERE t.workspace = :workspace AND t.sender <> 0 AND t.turn <= c.turn LIMIT :limit);

-- A queue with nothing unfinished begins anew.
-- name: handoff_turn_remove_idle
DELETE FROM handoff_turn WHERE workspace = :workspace AND address IN (
    SELECT t.address FROM handoff_turn t
    WHERE t.workspace = :workspace
        AND NOT EXISTS (SELECT 1 FROM handoff h
            WHERE h.workspace = t.workspace AND h.address = t.address AND h.offered = 1)
        AND NOT EXISTS (SELECT 1 FROM handoff h
            WHERE h.workspace = t.workspace AND h.address || '' = t.address AND h.worker IS NOT NULL)
        AND NOT EXISTS (SELECT 1 FROM handoff h
            WHERE h.workspace = t.workspace AND h.address || '' = t.address
                AND h.wake IS NOT NULL AND h.offered = 0 AND h.worker IS NULL)
    LIMIT :limit);

-- name: handoff_clock_set; by workspace, address
INSERT INTO handoff_turn (workspace, address, sender, turn) VALUES (:workspace, :address, 0, :turn)
ON CONFLICT (workspace, address, sender) DO UPDATE
    SET turn = CASE WHEN excluded.turn > handoff_turn.turn THEN excluded.turn ELSE handoff_turn.turn END;

-- name: handoff_receiver_add
INSERT INTO handoff_receiver (workspace, address, actor) VALUES (:workspace, :address, :actor);

-- name: handoff_receiver_remove
DELETE FROM handoff_receiver WHERE workspace = :workspace AND actor = :actor AND address = :address;

-- name: handoff_addresses
SELECT address FROM handoff_receiver WHERE workspace = :workspace AND actor = :actor ORDER BY address;

-- name: handoff_receiver_known
SELECT 1 FROM handoff_receiver WHERE workspace = :workspace AND address = :address LIMIT 1;

-- name: handoff_refusal_add
INSERT INTO handoff_refusal (handoff, actor, address) VALUES (:handoff, :actor, :address)
ON CONFLICT (handoff, actor, address) DO NOTHING;

-- name: handoff_refused
SELECT 1 FROM handoff_refusal WHERE handoff = :handoff AND actor = :actor AND address = :address;

-- name: handoff_refusing
SELECT actor FROM handoff_refusal WHERE handoff = :handoff AND address = :address;

-- name: handoff_open_to
SELECT 1 FROM handoff_receiver r JOIN actor a ON a.id = r.actor
WHERE r.workspace = :workspace AND r.address = :address AND a.disabled_at IS NULL AND NOT EXISTS (
    SELECT 1 FROM handoff_refusal f WHERE f.handoff = :handoff AND f.actor = r.actor AND f.address = r.address)
LIMIT 1;

-- name: handoff_remove_refusals
DELETE FROM handoff_refusal WHERE handoff = :handoff;

-- name: handoff_limit_get
SELECT address, concurrency, held, rate, per_us, tokens, filled_at FROM handoff_limit
WHERE workspace = :workspace AND address = :address;

-- name: handoff_limit_list
SELECT address, concurrency, held, rate, per_us, tokens, filled_at FROM handoff_limit
WHERE workspace = :workspace AND address > :after ORDER BY address LIMIT :limit;

-- name: handoff_limit_set
INSERT INTO handoff_limit (workspace, address, concurrency, held, rate, per_us, tokens, filled_at)
VALUES (:workspace, :address, :concurrency, :held, :rate, :per_us, :tokens, :now)
ON CONFLICT (workspace, address) DO UPDATE SET concurrency = excluded.concurrency, rate = excluded.rate,
    per_us = excluded.per_us, tokens = excluded.tokens, filled_at = excluded.filled_at;

-- Of what is held, not of all that ever came to the address: what is joined to nothing keeps SQLite from that index.

-- name: handoff_limit_held
UPDATE handoff SET limited = 1 WHERE workspace = :workspace AND address || '' = :address AND worker IS NOT NULL;

-- name: handoff_limit_take
UPDATE handoff_limit SET held = held + :taken, tokens = :tokens, filled_at = :filled_at
WHERE workspace = :workspace AND address = :address;

-- name: handoff_limit_free
UPDATE handoff_limit SET held = held - 1 WHERE workspace = :workspace AND address = :address AND held > 0;
