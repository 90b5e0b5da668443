-- Escalations: asking, answering, delivering the answer, and what time does to them.

-- name: escalation_get; by handle; id first
SELECT id, handle, workspace, collapse_key, digest, action_digest, state, revision, kind, severity, rank, reason, asker, run,
    step, irreversible, policy, fallback, deadline, warned, lapsed_at, climb, climb_at, due_at, holder, held_at,
    hold_until, extended, assignee, occurrences, last_at, decision, answer, execute_by, uses, redeemed, supersedes, superseded_by,
    created_at, updated_at, ended_at, pruned, inhibited_by, inhibited_rule, ended_reason
FROM escalation WHERE handle = :handle AND workspace = :workspace;

-- name: escalation_same; by workspace, collapse_key; id first
SELECT id, handle, workspace, collapse_key, digest, action_digest, state, revision, kind, severity, rank, reason, asker, run,
    step, irreversible, policy, fallback, deadline, warned, lapsed_at, climb, climb_at, due_at, holder, held_at,
    hold_until, extended, assignee, occurrences, last_at, decision, answer, execute_by, uses, redeemed, supersedes, superseded_by,
    created_at, updated_at, ended_at, pruned, inhibited_by, inhibited_rule, ended_reason
FROM escalation WHERE workspace = :workspace AND collapse_key = :collapse_key AND ended_at IS NULL;

-- name: escalation_of_waiter; by workspace, key
SELECT e.id, e.handle, e.workspace, e.collapse_key, e.digest, e.action_digest, e.state, e.revision, e.kind, e.severity, e.rank, e.reason, e.asker, e.run, e.step, e.irreversible, e.policy, e.fallback, e.deadline, e.warned, e.lapsed_at, e.climb, e.climb_at, e.due_at, e.holder, e.held_at, e.hold_until, e.extended, e.assignee, e.occurrences, e.last_at, e.decision, e.answer, e.execute_by, e.uses, e.redeemed, e.supersedes, e.superseded_by, e.created_at, e.updated_at, e.ended_at, e.pruned, e.inhibited_by, e.inhibited_rule, e.ended_reason
FROM escalation_waiter w JOIN escalation e ON e.id = w.escalation WHERE w.workspace = :workspace AND w.key = :key;

-- name: escalation_handles
SELECT handle FROM escalation WHERE +workspace = :workspace AND handle >= :low AND handle < :high LIMIT 2;

-- name: escalation_list
SELECT id, handle, workspace, collapse_key, digest, action_digest, state, revision, kind, severity, rank, reason, asker, run,
    step, irreversible, policy, fallback, deadline, warned, lapsed_at, climb, climb_at, due_at, holder, held_at,
    hold_until, extended, assignee, occurrences, last_at, decision, answer, execute_by, uses, redeemed, supersedes, superseded_by,
    created_at, updated_at, ended_at, pruned, inhibited_by, inhibited_rule, ended_reason
FROM escalation WHERE id > :low AND id < :before ORDER BY id DESC LIMIT :limit;

-- name: escalation_list_of_state
SELECT id, handle, workspace, collapse_key, digest, action_digest, state, revision, kind, severity, rank, reason, asker, run,
    step, irreversible, policy, fallback, deadline, warned, lapsed_at, climb, climb_at, due_at, holder, held_at,
    hold_until, extended, assignee, occurrences, last_at, decision, answer, execute_by, uses, redeemed, supersedes, superseded_by,
    created_at, updated_at, ended_at, pruned, inhibited_by, inhibited_rule, ended_reason
FROM escalation WHERE workspace = :workspace AND state = :state AND id < :before ORDER BY id DESC LIMIT :limit;

-- name: escalation_list_of_run
SELECT id, handle, workspace, collapse_key, digest, action_digest, state, revision, kind, severity, rank, reason, asker, run,
    step, irreversible, policy, fallback, deadline, warned, lapsed_at, climb, climb_at, due_at, holder, held_at,
    hold_until, extended, assignee, occurrences, last_at, decision, answer, execute_by, uses, redeemed, supersedes, superseded_by,
    created_at, updated_at, ended_at, pruned, inhibited_by, inhibited_rule, ended_reason
FROM escalation
WHERE run = :run AND +workspace = :workspace AND id < :before AND (state = :state OR :state IS NULL)
ORDER BY id DESC LIMIT :limit;

-- name: escalation_list_undelivered
SELECT id, handle, workspace, collapse_key, digest, action_digest, state, revision, kind, severity, rank, reason, asker, run,
    step, irreversible, policy, fallback, deadline, warned, lapsed_at, climb, climb_at, due_at, holder, held_at,
    hold_until, extended, assignee, occurrences, last_at, decision, answer, execute_by, uses, redeemed, supersedes, superseded_by,
    created_at, updated_at, ended_at, pruned, inhibited_by, inhibited_rule, ended_reason
FROM escalation
WHERE workspace = :workspace AND id < :before AND (run = :run OR :run IS NULL) AND ended_at IS NOT NULL
    AND id IN (SELECT escalation FROM escalation_waiter
        WHERE workspace = :workspace AND waits = 1 AND state IN ('ready', 'leased', 'failed'))
ORDER BY id DESC LIMIT :limit;

-- name: inbox_open
SELECT id, handle, workspace, collapse_key, digest, action_digest, state, revision, kind, severity, rank, reason, asker, run,
    step, irreversible, policy, fallback, deadline, warned, lapsed_at, climb, climb_at, due_at, holder, held_at,
    hold_until, extended, assignee, occurrences, last_at, decision, answer, execute_by, uses, redeemed, supersedes, superseded_by,
    created_at, updated_at, ended_at, pruned, inhibited_by, inhibited_rule, ended_reason
FROM escalation
WHERE workspace = :workspace AND ended_at IS NULL
    AND (rank, deadline, id) > (:rank, :deadline, :after)
    AND (severity = :severity OR :severity IS NULL)
    AND (kind = :kind OR :kind IS NULL)
    AND (asker = :asker OR :asker IS NULL)
    AND (run = :run OR :run IS NULL)
    AND (holder = :person OR assignee = :person OR :person IS NULL)
    AND ((hold_until > :snoozed AND extended & 4 > 0) OR :snoozed IS NULL)
ORDER BY rank, deadline, id LIMIT :limit;

-- name: inbox_done
SELECT id, handle, workspace, collapse_key, digest, action_digest, state, revision, kind, severity, rank, reason, asker, run,
    step, irreversible, policy, fallback, deadline, warned, lapsed_at, climb, climb_at, due_at, holder, held_at,
    hold_until, extended, assignee, occurrences, last_at, decision, answer, execute_by, uses, redeemed, supersedes, superseded_by,
    created_at, updated_at, ended_at, pruned, inhibited_by, inhibited_rule, ended_reason
FROM escalation
WHERE workspace = :workspace AND ended_at IS NOT NULL AND pruned = 0
    AND (ended_at, id) < (:at, :before)
    AND (severity = :severity OR :severity IS NULL)
    AND (kind = :kind OR :kind IS NULL)
    AND (asker = :asker OR :asker IS NULL)
    AND (run = :run OR :run IS NULL)
ORDER BY ended_at DESC, id DESC LIMIT :limit;

-- name: escalation_add; by id, handle
INSERT INTO escalation (id, handle, workspace, collapse_key, digest, action_digest, state, kind, severity, rank, reason,
    asker, run, step, irreversible, policy, fallback, deadline, climb_at, due_at, last_at, supersedes, created_at,
    updated_at)
VALUES (:id, :handle, :workspace, :collapse_key, :digest, :action_digest, 'open', :kind, :severity, :rank, :reason,
    :asker, :run, :step, :irreversible, :policy, :fallback, :deadline, :climb_at, :due_at, :now, :supersedes, :now, :now);

-- name: escalation_set; by id
UPDATE escalation SET state = :state, revision = revision + 1, severity = :severity, rank = :rank, deadline = :deadline,
    warned = :warned, lapsed_at = :lapsed_at, climb = :climb, climb_at = :climb_at, due_at = :due_at, holder = :holder,
    held_at = :held_at, hold_until = :hold_until, extended = :extended, assignee = :assignee,
    occurrences = :occurrences, last_at = :last_at, updated_at = :now
WHERE id = :id AND revision = :revision AND ended_at IS NULL;

-- name: escalation_end; by id
UPDATE escalation SET state = :state, revision = revision + 1, decision = :decision, answer = :answer,
    execute_by = :execute_by, uses = :uses, superseded_by = :superseded_by, ended_reason = :reason, due_at = NULL,
    climb_at = NULL, inhibited_by = NULL, inhibited_rule = NULL, ended_at = :now, updated_at = :now
WHERE id = :id AND revision = :revision AND ended_at IS NULL;

-- What may be a reason to tell nobody of another question; the most severe first.
-- name: escalation_sources
SELECT e.handle, e.kind, e.severity, a.kind, a.name, r.name, e.collapse_key
FROM escalation e JOIN actor a ON a.id = e.asker LEFT JOIN run r ON r.handle = e.run AND r.workspace = e.workspace
WHERE e.workspace = :workspace AND e.ended_at IS NULL AND e.inhibited_by IS NULL AND e.id <> :id AND e.rank <= :rank
    AND (e.kind = :kind OR :kind IS NULL)
    AND (e.severity = :severity OR :severity IS NULL)
    AND (r.name = :run OR :run IS NULL)
ORDER BY e.rank, e.deadline, e.id LIMIT :limit;

-- name: escalation_inhibit; by id
UPDATE escalation SET inhibited_by = :by, inhibited_rule = :rule, updated_at = :now WHERE id = :id;

-- name: escalation_inhibited
SELECT id, handle FROM escalation
WHERE workspace = :workspace AND inhibited_by IS NOT NULL AND (inhibited_by = :by OR :by IS NULL) AND ended_at IS NULL
ORDER BY id;

-- Its climb goes on at once; where somebody is on it, when they give it back.
-- name: escalation_uninhibit; by id
UPDATE escalation SET inhibited_by = NULL, inhibited_rule = NULL, updated_at = :now, due_at = :now,
    climb_at = CASE state WHEN 'open' THEN :now ELSE climb_at END
WHERE id = :id;

-- name: escalation_use; by id
UPDATE escalation SET uses = uses - 1, redeemed = :redeemed, updated_at = :now WHERE id = :id AND uses > 0;

-- name: escalation_touch; by id
UPDATE escalation SET updated_at = :now WHERE id = :id;

-- name: escalation_due
SELECT workspace, handle FROM escalation
WHERE due_at <= :now AND (workspace = :workspace OR :workspace IS NULL) ORDER BY due_at LIMIT :limit;

-- name: escalation_count_open
SELECT rank, count(*) FROM escalation WHERE workspace = :workspace AND ended_at IS NULL GROUP BY rank;

-- name: escalation_value_set; by escalation, field
INSERT INTO escalation_value (escalation, field, size, codec, value, blob)
VALUES (:escalation, :field, :size, :codec, :value, :blob);

-- name: escalation_value_get; by escalation, field
SELECT size, codec, value, blob FROM escalation_value WHERE escalation = :escalation AND field = :field;

-- name: waiter_find; by workspace, key; id first
SELECT id, escalation, key, implicit, waits, actor, run, step, state, attempts, error, created_at, updated_at
FROM escalation_waiter WHERE workspace = :workspace AND key = :key;

-- name: waiter_of
SELECT id, escalation, key, implicit, waits, actor, run, step, state, attempts, error, created_at, updated_at
FROM escalation_waiter WHERE escalation = :escalation ORDER BY id;

-- name: waiter_of_run
SELECT id, escalation, key, implicit, waits, actor, run, step, state, attempts, error, created_at, updated_at
FROM escalation_waiter WHERE run = :run AND state NOT IN ('applied', 'gone') ORDER BY id;

-- name: waiter_counts
SELECT state, count(*) FROM escalation_waiter WHERE escalation = :escalation AND waits = 1 GROUP BY state;

-- name: waiter_undelivered
SELECT count(*) FROM escalation_waiter WHERE workspace = :workspace AND waits = 1 AND state IN ('ready', 'leased', 'failed');

-- name: waiter_add; by workspace, key
INSERT INTO escalation_waiter (workspace, escalation, key, implicit, waits, actor, run, step, state, created_at, updated_at)
VALUES (:workspace, :escalation, :key, :implicit, :waits, :actor, :run, :step, :state, :now, :now);

-- name: waiter_set; by id
UPDATE escalation_waiter SET state = :state, waits = :waits, attempts = :attempts, error = :error, key = :key,
    updated_at = :now
WHERE id = :id;

-- name: vote_put
INSERT INTO escalation_vote (escalation, person, decision, ballot, at)
VALUES (:escalation, :person, :decision, :ballot, :now)
ON CONFLICT (escalation, person) DO UPDATE SET decision = excluded.decision, ballot = excluded.ballot, at = excluded.at;

-- name: vote_remove
DELETE FROM escalation_vote WHERE escalation = :escalation AND person = :person;

-- name: vote_list
SELECT person, decision, ballot, at FROM escalation_vote WHERE escalation = :escalation ORDER BY at, id;

-- name: comment_add
INSERT INTO escalation_comment (escalation, person, text, at) VALUES (:escalation, :person, :text, :now);

-- name: comment_list
SELECT person, text, at FROM escalation_comment WHERE escalation = :escalation ORDER BY id;

-- name: comment_count
SELECT count(*) FROM escalation_comment WHERE escalation = :escalation;

-- name: escalation_prunable
SELECT id, handle FROM escalation
WHERE workspace = :workspace AND ended_at < :before AND pruned = 0
    AND NOT EXISTS (SELECT 1 FROM escalation_waiter w
        WHERE w.escalation = escalation.id AND w.waits = 1 AND w.state IN ('ready', 'leased', 'failed'))
LIMIT :limit;

-- name: escalation_mark_pruned; by id
UPDATE escalation SET pruned = 1, updated_at = :now WHERE id = :id;

-- name: escalation_remove_values
DELETE FROM escalation_value WHERE escalation = :escalation;

-- name: escalation_remove_comments
DELETE FROM escalation_comment WHERE escalation = :escalation;

-- name: escalation_remove_waiters
DELETE FROM escalation_waiter WHERE escalation = :escalation AND run IS NULL;
