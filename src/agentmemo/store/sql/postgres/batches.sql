-- The hot statements, for many rows at once: each parameter is an array, one element for each row. A read answers with
-- the ordinal of the row it was asked for, and then the columns of the portable query.

-- name: request_find
SELECT b.n, r.fingerprint, r.summary, r.answer
FROM unnest(:workspace::bigint[], :actor::bigint[], :key::text[]) WITH ORDINALITY AS b (workspace, actor, key, n)
JOIN request r ON r.workspace = b.workspace AND r.actor = b.actor AND r.key = b.key;

-- name: request_add
INSERT INTO request (workspace, actor, key, fingerprint, summary, answer, at)
SELECT * FROM unnest(:workspace::bigint[], :actor::bigint[], :key::text[], :fingerprint::bytea[], :summary::text[],
    :answer::bytea[], :now::bigint[]);

-- name: entry_head
SELECT b.n, e.id, e.version, e.live, e.expires_at
FROM unnest(:namespace::bigint[], :key::text[]) WITH ORDINALITY AS b (namespace, key, n)
JOIN entry e ON e.namespace = b.namespace AND e.key = b.key;

-- name: entry_add
INSERT INTO entry (id, namespace, key, version, position, live, expires_at)
SELECT * FROM unnest(:id::bigint[], :namespace::bigint[], :key::text[], :version::bigint[], :position::bigint[],
    :live::bigint[], :expires_at::bigint[]);

-- name: entry_update
UPDATE entry SET version = b.version, position = b.position, live = b.live, expires_at = b.expires_at
FROM unnest(:id::bigint[], :namespace::bigint[], :key::text[], :version::bigint[], :position::bigint[],
    :live::bigint[], :expires_at::bigint[]) AS b (id, namespace, key, version, position, live, expires_at)
WHERE entry.namespace = b.namespace AND entry.key = b.key AND entry.id = b.id;

-- name: entry_version_add
INSERT INTO entry_version (position, entry, version, kind, author, run, at, expires_at, origin, size, codec, value, blob)
SELECT * FROM unnest(:position::bigint[], :entry::bigint[], :version::bigint[], :kind::text[], :author::bigint[],
    :run::text[], :at::bigint[], :expires_at::bigint[], :origin::text[], :size::bigint[], :codec::bigint[],
    :value::bytea[], :blob::bytea[]);

-- name: event_add
INSERT INTO event (position, id, stream, sequence, at, actor, operation, outcome, namespace, leaf, payload)
SELECT * FROM unnest(:position::bigint[], :id::text[], :stream::text[], :sequence::bigint[], :at::bigint[],
    :actor::bigint[], :operation::text[], :outcome::text[], :namespace::bigint[], :leaf::bytea[], :payload::bytea[]);

-- name: event_last_of_stream
SELECT b.n, e.sequence, e.leaf
FROM unnest(:stream::text[]) WITH ORDINALITY AS b (stream, n),
    LATERAL (SELECT sequence, leaf FROM event WHERE stream = b.stream ORDER BY sequence DESC LIMIT 1) e;

-- name: run_get
SELECT b.n, r.id, r.handle, r.workspace, r.name, r.key, r.state, r.epoch, r.attempt, r.max_attempts, r.agent,
    r.inputs_hash, r.wake, r.wake_at, r.waiting_for, r.wait_name, r.wait_key, r.deadline, r.worker, r.task,
    r.task_version, r.priority, r.parent, r.forked_from, r.steps, r.takeovers, r.percent, r.progress,
    r.current_step, r.reason, r.error, r.budget, r.worked_us, r.tokens, r.nanousd, r.claimed_at, r.created_at,
    r.updated_at, r.finished_at, r.pruned, r.holder
FROM unnest(:handle::text[], :workspace::bigint[]) WITH ORDINALITY AS b (handle, workspace, n)
JOIN run r ON r.handle = b.handle WHERE r.workspace = b.workspace;

-- name: run_find
SELECT b.n, r.id, r.handle, r.workspace, r.name, r.key, r.state, r.epoch, r.attempt, r.max_attempts, r.agent,
    r.inputs_hash, r.wake, r.wake_at, r.waiting_for, r.wait_name, r.wait_key, r.deadline, r.worker, r.task,
    r.task_version, r.priority, r.parent, r.forked_from, r.steps, r.takeovers, r.percent, r.progress,
    r.current_step, r.reason, r.error, r.budget, r.worked_us, r.tokens, r.nanousd, r.claimed_at, r.created_at,
    r.updated_at, r.finished_at, r.pruned, r.holder
FROM unnest(:workspace::bigint[], :name::text[], :key::text[]) WITH ORDINALITY AS b (workspace, name, key, n)
JOIN run r ON r.workspace = b.workspace AND r.name = b.name AND r.key = b.key;

-- name: run_held
SELECT b.n, r.id, r.name, r.steps, r.attempt, r.budget, r.worked_us, r.claimed_at, r.tokens, r.nanousd
FROM unnest(:handle::text[], :workspace::bigint[], :epoch::bigint[], :holder::bigint[]) WITH ORDINALITY
    AS b (handle, workspace, epoch, holder, n)
JOIN run r ON r.handle = b.handle
WHERE r.workspace = b.workspace AND r.epoch = b.epoch AND r.state = 'running' AND r.holder = b.holder;

-- name: run_count_step
UPDATE run SET steps = run.steps + 1, takeovers = 0, current_step = NULL, tokens = run.tokens + b.tokens,
    nanousd = run.nanousd + b.nanousd, updated_at = b.now
FROM unnest(:handle::text[], :epoch::bigint[], :holder::bigint[], :tokens::bigint[], :nanousd::bigint[],
    :now::bigint[]) AS b (handle, epoch, holder, tokens, nanousd, now)
WHERE run.handle = b.handle AND run.epoch = b.epoch AND run.state = 'running' AND run.holder = b.holder;

-- name: run_at_step
UPDATE run SET current_step = coalesce(b.current_step, run.current_step), updated_at = b.now
FROM unnest(:handle::text[], :epoch::bigint[], :holder::bigint[], :current_step::text[], :now::bigint[])
    AS b (handle, epoch, holder, current_step, now)
WHERE run.handle = b.handle AND run.epoch = b.epoch AND run.state = 'running' AND run.holder = b.holder;

-- name: step_get
SELECT b.n, s.id, s.name, s.key, s.number, s.state, s.effect, s.attempt, s.epoch, s.run_attempt, s.fingerprint,
    s.started_at, s.finished_at, s.error, s.decision, s.size, s.codec, s.value, s.blob
FROM unnest(:run::bigint[], :name::text[], :key::text[]) WITH ORDINALITY AS b (run, name, key, n)
JOIN step s ON s.run = b.run AND s.name = b.name AND s.key = b.key;

-- name: step_put
INSERT INTO step (run, name, key, number, state, effect, attempt, epoch, run_attempt, fingerprint, started_at,
    finished_at, error, size, codec, value, blob)
SELECT * FROM unnest(:run::bigint[], :name::text[], :key::text[], :number::bigint[], :state::text[], :effect::text[],
    :attempt::bigint[], :epoch::bigint[], :run_attempt::bigint[], :fingerprint::text[], :started_at::bigint[],
    :finished_at::bigint[], :error::text[], :size::bigint[], :codec::bigint[], :value::bytea[], :blob::bytea[])
ON CONFLICT (run, name, key) DO UPDATE SET state = excluded.state, effect = excluded.effect,
    attempt = excluded.attempt, epoch = excluded.epoch, run_attempt = excluded.run_attempt,
    fingerprint = excluded.fingerprint, started_at = excluded.started_at, finished_at = excluded.finished_at,
    error = excluded.error, decision = NULL, size = excluded.size, codec = excluded.codec, value = excluded.value,
    blob = excluded.blob
WHERE step.state <> 'completed'
    OR (excluded.fingerprint <> '' AND step.fingerprint NOT IN ('', excluded.fingerprint));

-- name: handoff_get
SELECT b.n,
    h.id, h.handle, h.workspace, h.key, h.digest, h.state, h.wake, h.sender, h.address, h.priority, h.turn,
    h.offered, h.available_at, h.offered_at, h.epoch, h.attempt, h.max_attempts, h.holder, h.worker, h.run,
    h.limited, h.ladder, h.rung, h.due_at, h.complete_by, h.progress_us, h.progress_at, h.late, h.percent,
    h.progress, h.reason, h.goal, h.workflow, h.checked, h.parent, h.root, h.path, h.behalf, h.budget,
    h.verifies, h.sender_run, h.claimed_at, h.escalated_at, h.notice_at, h.received_at, h.ended_at, h.pruned,
    h.created_at, h.updated_at
FROM unnest(:handle::text[], :workspace::bigint[]) WITH ORDINALITY AS b (handle, workspace, n)
JOIN handoff h ON h.handle = b.handle WHERE h.workspace = b.workspace;

-- name: handoff_find
SELECT b.n,
    h.id, h.handle, h.workspace, h.key, h.digest, h.state, h.wake, h.sender, h.address, h.priority, h.turn,
    h.offered, h.available_at, h.offered_at, h.epoch, h.attempt, h.max_attempts, h.holder, h.worker, h.run,
    h.limited, h.ladder, h.rung, h.due_at, h.complete_by, h.progress_us, h.progress_at, h.late, h.percent,
    h.progress, h.reason, h.goal, h.workflow, h.checked, h.parent, h.root, h.path, h.behalf, h.budget,
    h.verifies, h.sender_run, h.claimed_at, h.escalated_at, h.notice_at, h.received_at, h.ended_at, h.pruned,
    h.created_at, h.updated_at
FROM unnest(:workspace::bigint[], :key::text[]) WITH ORDINALITY AS b (workspace, key, n)
JOIN handoff h ON h.workspace = b.workspace AND h.key = b.key;

-- name: handoff_package
SELECT b.n, v.size, v.codec, v.value, v.blob
FROM unnest(:handle::text[]) WITH ORDINALITY AS b (handle, n)
JOIN handoff h ON h.handle = b.handle
JOIN handoff_value v ON v.handoff = h.id AND v.field = 'package';

-- name: handoff_value_set
INSERT INTO handoff_value (handoff, field, size, codec, value, blob)
SELECT * FROM unnest(:handoff::bigint[], :field::text[], :size::bigint[], :codec::bigint[], :value::bytea[],
    :blob::bytea[])
ON CONFLICT (handoff, field) DO UPDATE SET size = excluded.size, codec = excluded.codec, value = excluded.value,
    blob = excluded.blob;

-- name: handoff_claim
UPDATE handoff SET state = 'claimed', wake = 'lease', offered = 0, epoch = handoff.epoch + 1, holder = b.holder,
    worker = b.worker, limited = b.limited, progress_at = b.now, claimed_at = b.now, escalated_at = NULL,
    due_at = b.due_at, updated_at = b.now
FROM unnest(:id::bigint[], :epoch::bigint[], :holder::bigint[], :worker::text[], :limited::bigint[], :due_at::bigint[],
    :now::bigint[]) AS b (id, epoch, holder, worker, limited, due_at, now)
WHERE handoff.id = b.id AND handoff.epoch = b.epoch AND handoff.state = 'pending' AND handoff.offered = 1;

-- name: handoff_end
UPDATE handoff SET state = b.state, wake = NULL, offered = 0, worker = NULL, limited = 0, due_at = NULL,
    reason = b.reason, percent = coalesce(b.percent, handoff.percent), notice_at = b.notice_at, received_at = NULL,
    escalated_at = coalesce(b.escalated_at, handoff.escalated_at), ended_at = b.now, updated_at = b.now
FROM unnest(:id::bigint[], :epoch::bigint[], :state::text[], :reason::text[], :percent::bigint[],
    :notice_at::bigint[], :escalated_at::bigint[], :now::bigint[])
    AS b (id, epoch, state, reason, percent, notice_at, escalated_at, now)
WHERE handoff.id = b.id AND handoff.epoch = b.epoch AND (handoff.wake IS NOT NULL OR handoff.state = 'dead');
