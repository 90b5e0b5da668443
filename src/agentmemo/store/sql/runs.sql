-- Runs, steps, waits and workers. Every write under a claim carries its epoch in WHERE.

-- name: run_get; by handle; id first
SELECT id, handle, workspace, name, key, state, epoch, attempt, max_attempts, agent, inputs_hash, wake, wake_at,
    waiting_for, wait_name, wait_key, deadline, worker, task, task_version, priority, parent, forked_from, steps,
    takeovers, percent, progress, current_step, reason, error, budget, worked_us, tokens, nanousd, claimed_at,
    created_at, updated_at, finished_at, pruned, holder
FROM run WHERE handle = :handle AND workspace = :workspace;

-- name: run_find; by workspace, name, key; id first
SELECT id, handle, workspace, name, key, state, epoch, attempt, max_attempts, agent, inputs_hash, wake, wake_at,
    waiting_for, wait_name, wait_key, deadline, worker, task, task_version, priority, parent, forked_from, steps,
    takeovers, percent, progress, current_step, reason, error, budget, worked_us, tokens, nanousd, claimed_at,
    created_at, updated_at, finished_at, pruned, holder
FROM run WHERE workspace = :workspace AND name = :name AND key = :key;

-- Ids are positions, so a range of them is of one workspace; with the workspace beside it another index would be taken.

-- name: run_list
SELECT id, handle, workspace, name, key, state, epoch, attempt, max_attempts, agent, inputs_hash, wake, wake_at,
    waiting_for, wait_name, wait_key, deadline, worker, task, task_version, priority, parent, forked_from, steps,
    takeovers, percent, progress, current_step, reason, error, budget, worked_us, tokens, nanousd, claimed_at,
    created_at, updated_at, finished_at, pruned, holder
FROM run
WHERE id > :low AND id < :before
ORDER BY id DESC LIMIT :limit;

-- The next four walk an index each. A plus keeps SQLite from another one that is by the workspace.

-- name: run_list_of_state
SELECT id, handle, workspace, name, key, state, epoch, attempt, max_attempts, agent, inputs_hash, wake, wake_at,
    waiting_for, wait_name, wait_key, deadline, worker, task, task_version, priority, parent, forked_from, steps,
    takeovers, percent, progress, current_step, reason, error, budget, worked_us, tokens, nanousd, claimed_at,
    created_at, updated_at, finished_at, pruned, holder
FROM run
WHERE workspace = :workspace AND state = :state AND id < :before
ORDER BY id DESC LIMIT :limit;

-- name: run_list_of_name
SELECT id, handle, workspace, name, key, state, epoch, attempt, max_attempts, agent, inputs_hash, wake, wake_at,
    waiting_for, wait_name, wait_key, deadline, worker, task, task_version, priority, parent, forked_from, steps,
    takeovers, percent, progress, current_step, reason, error, budget, worked_us, tokens, nanousd, claimed_at,
    created_at, updated_at, finished_at, pruned, holder
FROM run
WHERE workspace = :workspace AND name = :name AND state = :state AND id < :before
    AND (agent = :agent OR :agent IS NULL)
ORDER BY id DESC LIMIT :limit;

-- name: run_list_of_agent
SELECT id, handle, workspace, name, key, state, epoch, attempt, max_attempts, agent, inputs_hash, wake, wake_at,
    waiting_for, wait_name, wait_key, deadline, worker, task, task_version, priority, parent, forked_from, steps,
    takeovers, percent, progress, current_step, reason, error, budget, worked_us, tokens, nanousd, claimed_at,
    created_at, updated_at, finished_at, pruned, holder
FROM run
WHERE workspace = :workspace AND agent = :agent AND state = :state AND id < :before
ORDER BY id DESC LIMIT :limit;

-- name: run_list_of_parent
SELECT id, handle, workspace, name, key, state, epoch, attempt, max_attempts, agent, inputs_hash, wake, wake_at,
    waiting_for, wait_name, wait_key, deadline, worker, task, task_version, priority, parent, forked_from, steps,
    takeovers, percent, progress, current_step, reason, error, budget, worked_us, tokens, nanousd, claimed_at,
    created_at, updated_at, finished_at, pruned, holder
FROM run
WHERE parent = :parent AND +workspace = :workspace AND id < :before
    AND (state = :state OR :state IS NULL OR (:state = 'unfinished' AND wake IS NOT NULL))
    AND (name = :name OR :name IS NULL)
    AND (agent = :agent OR :agent IS NULL)
ORDER BY id DESC LIMIT :limit;

-- name: run_handles
SELECT handle FROM run WHERE +workspace = :workspace AND handle >= :low AND handle < :high LIMIT 2;

-- name: run_count_by_state
SELECT 'pending', count(*) FROM run WHERE workspace = :workspace AND state = 'pending'
UNION ALL SELECT 'running', count(*) FROM run WHERE workspace = :workspace AND state = 'running'
UNION ALL SELECT 'waiting', count(*) FROM run WHERE workspace = :workspace AND state = 'waiting'
UNION ALL SELECT 'completed', count(*) FROM run WHERE workspace = :workspace AND state = 'completed'
UNION ALL SELECT 'failed', count(*) FROM run WHERE workspace = :workspace AND state = 'failed'
UNION ALL SELECT 'cancelled', count(*) FROM run WHERE workspace = :workspace AND state = 'cancelled';

-- Among what rests, which an index has in order, and what is running, which is never much.

-- name: run_oldest_unfinished
SELECT handle, name, state, updated_at FROM (
    SELECT handle, name, state, updated_at FROM (
        SELECT handle, name, state, updated_at FROM run
        WHERE workspace = :workspace AND wake IS NOT NULL AND state <> 'running' ORDER BY updated_at LIMIT 1) resting
    UNION ALL
    SELECT handle, name, state, updated_at FROM run WHERE workspace = :workspace AND state = 'running'
) oldest ORDER BY updated_at LIMIT 1;

-- name: run_add; by id, handle, workspace, name, key
INSERT INTO run (id, handle, workspace, name, key, state, epoch, attempt, max_attempts, agent, inputs_hash, wake, wake_at,
    deadline, worker, task, task_version, priority, parent, forked_from, budget, claimed_at, holder, created_at, updated_at)
VALUES (:id, :handle, :workspace, :name, :key, :state, :epoch, :attempt, :max_attempts, :agent, :inputs_hash, :wake, :wake_at,
    :deadline, :worker, :task, :task_version, :priority, :parent, :forked_from, :budget, :claimed_at, :holder, :now, :now);

-- name: run_claim; by id
UPDATE run SET state = 'running', epoch = epoch + 1, attempt = :attempt, wake = 'lease', wake_at = NULL,
    waiting_for = CASE WHEN waiting_for LIKE 'esc_%' THEN waiting_for END, wait_name = NULL, wait_key = NULL,
    deadline = NULL, overdue_at = NULL, worker = :worker, holder = :holder,
    task_version = coalesce(:task_version, task_version), takeovers = :takeovers, reason = '',
    worked_us = worked_us + :worked, claimed_at = :boot, updated_at = :now
WHERE id = :id AND epoch = :epoch;

-- name: run_park; by id
UPDATE run SET state = 'waiting', wake = :wake, wake_at = :wake_at, waiting_for = :waiting_for, wait_name = :wait_name,
    wait_key = :wait_key, deadline = :deadline, worker = NULL, reason = :reason, worked_us = worked_us + :worked,
    claimed_at = NULL, current_step = NULL, updated_at = :now
WHERE id = :id AND epoch = :epoch AND state = 'running';

-- name: run_wake; by id
UPDATE run SET state = 'pending', wake = :wake, wake_at = NULL, waiting_for = :waiting_for, wait_name = NULL,
    wait_key = NULL, deadline = :deadline, overdue_at = NULL, reason = :reason, takeovers = 0, updated_at = :now
WHERE id = :id AND state = 'waiting';

-- Its code has the answer it waited for.
-- name: run_has_answer; by id
UPDATE run SET waiting_for = NULL WHERE id = :id;

-- name: run_release; by id
UPDATE run SET state = 'pending', wake = :wake, wake_at = :wake_at, deadline = :deadline, overdue_at = NULL,
    worker = NULL, attempt = :attempt, error = :error, reason = :reason, takeovers = :takeovers,
    worked_us = worked_us + :worked, claimed_at = NULL, current_step = NULL, updated_at = :now
WHERE id = :id AND epoch = :epoch AND state = 'running';

-- name: run_ask; by id
UPDATE run SET state = 'waiting', wake = 'person', wake_at = NULL, waiting_for = :question, wait_name = :wait_name,
    wait_key = :wait_key, deadline = :deadline, overdue_at = NULL, worker = NULL, reason = :reason,
    worked_us = worked_us + :worked, claimed_at = NULL, updated_at = :now
WHERE id = :id AND epoch = :epoch AND wake IS NOT NULL;

-- name: run_finish; by id
UPDATE run SET state = :state, wake = NULL, wake_at = NULL, waiting_for = NULL, wait_name = NULL, wait_key = NULL,
    deadline = NULL, worker = NULL, error = :error, reason = :reason, percent = coalesce(:percent, percent),
    worked_us = worked_us + :worked, claimed_at = NULL, current_step = NULL,
    updated_at = :now, finished_at = :now
WHERE id = :id AND epoch = :epoch AND wake IS NOT NULL;

-- name: run_held; by handle; id first
SELECT id, name, steps, attempt, budget, worked_us, claimed_at, tokens, nanousd FROM run
WHERE handle = :handle AND workspace = :workspace AND epoch = :epoch AND state = 'running' AND holder = :holder;

-- name: run_count_step; by handle
UPDATE run SET steps = steps + 1, takeovers = 0, current_step = NULL, tokens = tokens + :tokens,
    nanousd = nanousd + :nanousd, updated_at = :now
WHERE handle = :handle AND epoch = :epoch AND state = 'running' AND holder = :holder;

-- name: run_at_step; by handle
UPDATE run SET current_step = coalesce(:current_step, current_step), updated_at = :now
WHERE handle = :handle AND epoch = :epoch AND state = 'running' AND holder = :holder;

-- name: run_set_progress; by id
UPDATE run SET percent = coalesce(:percent, percent), progress = :progress,
    current_step = coalesce(:current_step, current_step), updated_at = :now
WHERE id = :id AND epoch = :epoch AND state = 'running';

-- name: run_set_current_step; by handle
UPDATE run SET current_step = :current_step
WHERE handle = :handle AND worker = :worker AND state = 'running' AND current_step IS DISTINCT FROM :current_step;

-- name: run_set_budget; by id
UPDATE run SET budget = :budget WHERE id = :id;

-- name: run_of_worker
SELECT handle, state FROM run WHERE worker = :worker ORDER BY id;

-- name: run_children
SELECT handle FROM run WHERE parent = :parent AND workspace = :workspace AND wake IS NOT NULL ORDER BY id;

-- name: run_joining
SELECT handle FROM run WHERE waiting_for = :child AND wake = 'child' ORDER BY id;

-- name: run_due
SELECT workspace, handle FROM run
WHERE wake_at IS NOT NULL AND wake_at <= :now AND (workspace = :workspace OR :workspace IS NULL)
ORDER BY wake_at LIMIT :limit;

-- name: run_past_deadline
SELECT workspace, handle FROM run
WHERE deadline IS NOT NULL AND deadline <= :now AND overdue_at IS NULL
    AND (workspace = :workspace OR :workspace IS NULL)
ORDER BY deadline LIMIT :limit;

-- name: run_set_overdue; by id
UPDATE run SET overdue_at = :now, deadline = NULL WHERE id = :id;

-- name: run_overdue
SELECT handle, name FROM run WHERE workspace = :workspace AND wake IS NOT NULL AND overdue_at IS NOT NULL
ORDER BY overdue_at LIMIT 20;

-- name: run_prunable
SELECT workspace, handle FROM run
WHERE workspace = :workspace AND finished_at IS NOT NULL AND pruned = 0 AND finished_at < :before
ORDER BY finished_at LIMIT :limit;

-- name: run_mark_pruned; by id
UPDATE run SET pruned = 1, progress = '', updated_at = :now WHERE id = :id;

-- name: run_remove_steps
DELETE FROM step WHERE run = :run;

-- name: run_remove_values
DELETE FROM run_value WHERE run = :run AND field <> 'result';

-- name: run_remove_signals
DELETE FROM signal WHERE run = :run;

-- name: run_remove_notes
DELETE FROM note WHERE run = :run;

-- name: run_value_set
INSERT INTO run_value (run, field, size, codec, value, blob) VALUES (:run, :field, :size, :codec, :value, :blob)
ON CONFLICT (run, field) DO UPDATE SET size = excluded.size, codec = excluded.codec, value = excluded.value,
    blob = excluded.blob;

-- name: run_values
SELECT field, size, codec, value, blob FROM run_value WHERE run = :run;

-- name: ready_add; by run
INSERT INTO ready (run, workspace, task, priority, available_at) VALUES (:run, :workspace, :task, :priority, :available_at)
ON CONFLICT (run) DO UPDATE SET available_at = excluded.available_at;

-- name: ready_remove; by run
DELETE FROM ready WHERE run = :run;

-- name: ready_next
SELECT r.handle, q.available_at FROM ready q JOIN run r ON r.id = q.run
WHERE q.workspace = :workspace AND q.task IN (SELECT value FROM json_each(:tasks)) AND q.available_at <= :now
ORDER BY q.priority DESC, q.available_at LIMIT 1;

-- name: step_get; by run, name, key
SELECT id, name, key, number, state, effect, attempt, epoch, run_attempt, fingerprint, started_at, finished_at, error,
    decision, size, codec, value, blob
FROM step WHERE run = :run AND name = :name AND key = :key;

-- name: step_find
SELECT s.id, s.name, s.key, s.number, s.state, s.effect, s.attempt, s.epoch, s.run_attempt, s.fingerprint, s.started_at,
    s.finished_at, s.error, s.decision, s.size, s.codec, s.value, s.blob
FROM step s JOIN run r ON r.id = s.run
WHERE r.handle = :handle AND r.workspace = :workspace AND s.name = :name AND s.key = :key;

-- name: step_list
SELECT id, name, key, number, state, effect, attempt, epoch, run_attempt, fingerprint, started_at, finished_at, error,
    decision, size, codec, value, blob
FROM step WHERE run = :run AND id > :after AND (state = :state OR :state IS NULL) ORDER BY id LIMIT :limit;

-- The few of a run that are not completed have an index of their own.

-- name: step_list_unfinished
SELECT id, name, key, number, state, effect, attempt, epoch, run_attempt, fingerprint, started_at, finished_at, error,
    decision, size, codec, value, blob
FROM step WHERE run = :run AND id > :after AND state = :state AND state <> 'completed' ORDER BY id LIMIT :limit;

-- name: step_put; by run, name, key
INSERT INTO step (run, name, key, number, state, effect, attempt, epoch, run_attempt, fingerprint, started_at,
    finished_at, error, decision, size, codec, value, blob)
VALUES (:run, :name, :key, :number, :state, :effect, :attempt, :epoch, :run_attempt, :fingerprint, :started_at,
    :finished_at, :error, NULL, :size, :codec, :value, :blob)
ON CONFLICT (run, name, key) DO UPDATE SET state = excluded.state, effect = excluded.effect,
    attempt = excluded.attempt, epoch = excluded.epoch, run_attempt = excluded.run_attempt,
    fingerprint = excluded.fingerprint, started_at = excluded.started_at, finished_at = excluded.finished_at,
    error = excluded.error, decision = NULL, size = excluded.size, codec = excluded.codec, value = excluded.value,
    blob = excluded.blob
WHERE step.state <> 'completed'
    OR (excluded.fingerprint <> '' AND step.fingerprint NOT IN ('', excluded.fingerprint));

-- name: step_count
SELECT count(*) FROM step WHERE run = :run;

-- name: step_started_before
SELECT id, name, key FROM step WHERE run = :run AND state = 'started' AND state <> 'completed' AND epoch < :epoch
    AND effect IN ('write', 'irreversible') ORDER BY id;

-- name: step_set_state
UPDATE step SET state = :state WHERE id = :id;

-- name: step_set_decision
UPDATE step SET decision = :decision WHERE id = :id;

-- name: step_in_doubt
SELECT name, key FROM step WHERE run = :run AND state = 'in_doubt' AND state <> 'completed' ORDER BY id;

-- name: step_copy
INSERT INTO step (run, name, key, number, state, effect, attempt, epoch, run_attempt, fingerprint, started_at,
    finished_at, error, decision, size, codec, value, blob)
SELECT :to_run, name, key, number, state, effect, attempt, 0, 1, fingerprint, started_at, finished_at, error, NULL,
    size, codec, value, blob
FROM step WHERE run = :from_run AND state = 'completed' AND id < :before ORDER BY id;

-- name: step_first_named
SELECT min(id) FROM step WHERE run = :run AND (name = :name OR name || '/' || key = :name);

-- name: run_set_steps; by id
UPDATE run SET steps = (SELECT count(*) FROM step WHERE run = :id) WHERE id = :id;

-- name: signal_add
INSERT INTO signal (run, name, author, at, size, codec, value, blob)
VALUES (:run, :name, :author, :now, :size, :codec, :value, :blob);

-- name: signal_next
SELECT id, size, codec, value, blob FROM signal WHERE run = :run AND name = :name ORDER BY id LIMIT 1;

-- name: signal_remove
DELETE FROM signal WHERE id = :id;

-- name: note_add
INSERT INTO note (run, kind, key, text, because, step, at, author, position)
VALUES (:run, :kind, :key, :text, :because, :step, :now, :author, :position);

-- name: note_find
SELECT n.id, n.kind, n.text, n.because, n.step, n.at, a.kind, a.name, n.position
FROM note n JOIN actor a ON a.id = n.author
WHERE n.run = :run AND n.kind = :kind AND n.key = :key;

-- name: note_list
SELECT n.id, n.kind, n.text, n.because, n.step, n.at, a.kind, a.name, n.position
FROM note n JOIN actor a ON a.id = n.author
WHERE n.run = :run AND n.id > :after AND (n.kind = :kind OR :kind IS NULL) ORDER BY n.id LIMIT :limit;

-- name: note_newest
SELECT n.id, n.kind, n.text, n.because, n.step, n.at, a.kind, a.name, n.position
FROM note n JOIN actor a ON a.id = n.author
WHERE n.run = :run AND n.kind = :kind ORDER BY n.id DESC LIMIT :limit;
