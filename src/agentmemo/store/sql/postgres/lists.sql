-- Pages in the order of one index. PostgreSQL takes what fits a filter to be spread evenly among the rest: for a short
-- page it would walk the primary key from its end, past other workspaces and all that came after the last that fits;
-- and where it expects few rows, it would read and sort all that there are. Here only that index has the order which is
-- asked for, as equations would tell that any order by the id will do. And it cannot guess how few rows fit, since what
-- they begin with is known only when the statement runs. What stands before WHERE is the portable query's.

-- name: run_list_of_state
WHERE (state, workspace, id) < ((SELECT :state), :workspace, :before)
    AND (state, workspace, id) > ((SELECT :state), :workspace, 0)
ORDER BY state DESC, workspace DESC, id DESC LIMIT :limit;

-- name: run_list_of_name
WHERE (name, workspace, state, id) < ((SELECT :name), :workspace, :state, :before)
    AND (name, workspace, state, id) > ((SELECT :name), :workspace, :state, 0)
    AND (agent = :agent OR :agent IS NULL)
ORDER BY name DESC, workspace DESC, state DESC, id DESC LIMIT :limit;

-- name: run_list_of_agent
WHERE (agent, state, id) < ((SELECT CAST(:agent AS BIGINT)), :state, :before)
    AND (agent, state, id) > ((SELECT CAST(:agent AS BIGINT)), :state, 0)
    AND +workspace = :workspace
ORDER BY agent DESC, state DESC, id DESC LIMIT :limit;

-- name: handoff_list_of_state
WHERE (state, workspace, id) < ((SELECT :state), :workspace, :before)
    AND (state, workspace, id) > ((SELECT :state), :workspace, 0)
    AND (address = :address OR :address IS NULL)
    AND (sender = :sender OR :sender IS NULL)
ORDER BY state DESC, workspace DESC, id DESC LIMIT :limit;

-- name: handoff_list_of_address
WHERE (address, workspace, id) < ((SELECT :address), :workspace, :before)
    AND (address, workspace, id) > ((SELECT :address), :workspace, 0)
    AND (state = :state OR :state IS NULL)
    AND (sender = :sender OR :sender IS NULL)
ORDER BY address DESC, workspace DESC, id DESC LIMIT :limit;

-- name: handoff_list_of_sender
WHERE (sender, id) < ((SELECT CAST(:sender AS BIGINT)), :before)
    AND (sender, id) > ((SELECT CAST(:sender AS BIGINT)), 0) AND +workspace = :workspace
    AND (state = :state OR :state IS NULL)
ORDER BY sender DESC, id DESC LIMIT :limit;

-- name: escalation_list_of_state
WHERE (state, workspace, id) < ((SELECT :state), :workspace, :before)
    AND (state, workspace, id) > ((SELECT :state), :workspace, 0)
ORDER BY state DESC, workspace DESC, id DESC LIMIT :limit;

-- name: escalation_list_of_run
WHERE (run, id) < ((SELECT :run), :before)
    AND (run, id) > ((SELECT :run), 0) AND run IS NOT NULL AND +workspace = :workspace
    AND (state = :state OR :state IS NULL)
ORDER BY run DESC, id DESC LIMIT :limit;

-- name: execution_list_of_workflow
WHERE (e.workspace, e.workflow, e.run) < ((SELECT CAST(:workspace AS BIGINT)), :workflow, :before)
    AND (e.workspace, e.workflow, e.run) > ((SELECT CAST(:workspace AS BIGINT)), :workflow, 0) AND e.driver <> 'trial'
    AND (e.version = :version OR :version IS NULL)
    AND (r.state = :state OR :state IS NULL OR (:state = 'unfinished' AND r.wake IS NOT NULL))
ORDER BY e.workspace DESC, e.workflow DESC, e.run DESC LIMIT :limit;

-- name: entry_recent_as_of
WHERE (v.entry, v.version) > ((SELECT id FROM entry WHERE namespace = :namespace AND key = :key),
        (SELECT version - :recent FROM entry WHERE namespace = :namespace AND key = :key))
    AND (v.entry, v.version) < ((SELECT id + 1 FROM entry WHERE namespace = :namespace AND key = :key), 0)
    AND v.position <= :position
ORDER BY v.entry DESC, v.version DESC LIMIT 1;

-- name: entry_oldest
WHERE (entry, version) > ((SELECT id FROM entry WHERE namespace = :namespace AND key = :key), 0)
    AND (entry, version) < ((SELECT id + 1 FROM entry WHERE namespace = :namespace AND key = :key), 0)
ORDER BY entry, version LIMIT 1;

-- name: entry_history
WHERE (v.entry, v.version) > ((SELECT id FROM entry WHERE namespace = :namespace AND key = :key), 0)
    AND (v.entry, v.version) < ((SELECT id FROM entry WHERE namespace = :namespace AND key = :key), :before)
ORDER BY v.entry DESC, v.version DESC LIMIT :limit;

-- What changed is found among the changes, not among all there is: what is looked up row by row keeps that order.

-- name: entry_changed_between
SELECT DISTINCT e.key
FROM entry_version v CROSS JOIN LATERAL (SELECT key, namespace FROM entry WHERE id = v.entry LIMIT 1) e
WHERE v.position > :low AND v.position <= :high AND e.namespace = :namespace
ORDER BY e.key LIMIT :limit;

-- name: entry_changes
SELECT e.key, v.position, v.version, v.kind, v.author, v.run, v.at, v.expires_at, v.origin,
    v.size, v.codec, v.value, v.blob
FROM entry_version v CROSS JOIN LATERAL (SELECT key, namespace FROM entry WHERE id = v.entry LIMIT 1) e
WHERE v.position > :low AND v.position <= :high AND e.namespace = :namespace
    AND e.key >= :from_key AND e.key < :to_key
ORDER BY v.position LIMIT :limit;
