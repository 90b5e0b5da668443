-- Pages of what fits a filter, newest first. PostgreSQL takes it to be spread evenly among the rest, so for a short page
-- it would walk the primary key from its end, past whatever lies there: other workspaces, and all that came after the
-- last that fits. Only one index is in the order that is asked for here, and the rows that are compared are where it
-- begins and ends; an equation would tell the planner that any order by the id will do.

-- name: run_list_of_state
WHERE (state, workspace, id) < (:state, :workspace, :before) AND (state, workspace, id) > (:state, :workspace, 0)
ORDER BY state DESC, workspace DESC, id DESC LIMIT :limit;

-- name: run_list_of_name
WHERE (name, workspace, state, id) < (:name, :workspace, :state, :before)
    AND (name, workspace, state, id) > (:name, :workspace, :state, 0)
    AND (agent = :agent OR :agent IS NULL)
ORDER BY name DESC, workspace DESC, state DESC, id DESC LIMIT :limit;

-- name: run_list_of_agent
WHERE (agent, state, id) < (:agent, :state, :before) AND (agent, state, id) > (:agent, :state, 0)
    AND +workspace = :workspace
ORDER BY agent DESC, state DESC, id DESC LIMIT :limit;

-- name: handoff_list_of_state
WHERE (state, workspace, id) < (:state, :workspace, :before) AND (state, workspace, id) > (:state, :workspace, 0)
    AND (address = :address OR :address IS NULL)
    AND (sender = :sender OR :sender IS NULL)
ORDER BY state DESC, workspace DESC, id DESC LIMIT :limit;

-- name: handoff_list_of_address
WHERE (address, workspace, id) < (:address, :workspace, :before)
    AND (address, workspace, id) > (:address, :workspace, 0)
    AND (state = :state OR :state IS NULL)
    AND (sender = :sender OR :sender IS NULL)
ORDER BY address DESC, workspace DESC, id DESC LIMIT :limit;

-- name: handoff_list_of_sender
WHERE (sender, id) < (:sender, :before) AND (sender, id) > (:sender, 0) AND +workspace = :workspace
    AND (state = :state OR :state IS NULL)
ORDER BY sender DESC, id DESC LIMIT :limit;

-- name: escalation_list_of_state
WHERE (state, workspace, id) < (:state, :workspace, :before) AND (state, workspace, id) > (:state, :workspace, 0)
ORDER BY state DESC, workspace DESC, id DESC LIMIT :limit;

-- name: escalation_list_of_run
WHERE (run, id) < (:run, :before) AND (run, id) > (:run, 0) AND run IS NOT NULL AND +workspace = :workspace
    AND (state = :state OR :state IS NULL)
ORDER BY run DESC, id DESC LIMIT :limit;

-- name: execution_list_of_workflow
WHERE (e.workspace, e.workflow, e.run) < (:workspace, :workflow, :before)
    AND (e.workspace, e.workflow, e.run) > (:workspace, :workflow, 0) AND e.driver <> 'trial'
    AND (e.version = :version OR :version IS NULL)
    AND (r.state = :state OR :state IS NULL OR (:state = 'unfinished' AND r.wake IS NOT NULL))
ORDER BY e.workspace DESC, e.workflow DESC, e.run DESC LIMIT :limit;
