-- Executions of workflow documents. Each is a run; what stands here is where it is in its document.

-- name: execution_add; by run
INSERT INTO execution (run, workspace, workflow, version, unproven, driver, models, progress, revision)
VALUES (:run, :workspace, :workflow, :version, :unproven, :driver, :models, :progress, 1);

-- name: execution_get; by handle
SELECT e.run, r.handle, e.workflow, e.version, e.unproven, e.driver, e.models, e.progress, e.revision
FROM execution e JOIN run r ON r.id = e.run
WHERE r.handle = :handle AND e.workspace = :workspace;

-- name: execution_move; by run
UPDATE execution SET progress = :progress, models = :models, revision = revision + 1
WHERE run = :run AND revision = :revision;

-- A plus keeps PostgreSQL from going through all runs beside the executions.
-- name: execution_list
SELECT e.run, r.handle, e.workflow, e.version, e.unproven, e.driver, e.models, e.progress, e.revision
FROM execution e JOIN run r ON r.id = +e.run
WHERE e.run > :low AND e.run < :before AND e.driver <> 'trial'
    AND (e.version = :version OR :version IS NULL)
    AND (r.state = :state OR :state IS NULL OR (:state = 'unfinished' AND r.wake IS NOT NULL))
ORDER BY e.run DESC LIMIT :limit;

-- name: execution_list_of_workflow
SELECT e.run, r.handle, e.workflow, e.version, e.unproven, e.driver, e.models, e.progress, e.revision
FROM execution e JOIN run r ON r.id = +e.run
WHERE e.workspace = :workspace AND e.workflow = :workflow AND e.run < :before AND e.driver <> 'trial'
    AND (e.version = :version OR :version IS NULL)
    AND (r.state = :state OR :state IS NULL OR (:state = 'unfinished' AND r.wake IS NOT NULL))
ORDER BY e.run DESC LIMIT :limit;

-- name: execution_output
SELECT size, codec, value, blob FROM step
WHERE run = :run AND name = :name AND key <> 'inputs' AND state = 'completed' ORDER BY +id DESC LIMIT 1;

-- name: execution_inputs
SELECT size, codec, value, blob FROM step WHERE run = :run AND name = :name AND key = 'inputs';

-- name: attempt_add
INSERT INTO execution_attempt (run, workspace, workflow, version, path, step, step_hash, number, rung, first_rung, model,
    served_model, verdict, problems, input_hash, reservation, checks, at)
VALUES (:run, :workspace, :workflow, :version, :path, :step, :step_hash, :number, :rung, :first_rung, :model,
    :served_model, :verdict, :problems, :input_hash, :reservation, :checks, :now);

-- name: attempt_list
SELECT id, path, step, step_hash, number, rung, first_rung, model, served_model, verdict, problems, input_hash, reservation,
    checks, at
FROM execution_attempt WHERE run = :run ORDER BY id;

-- name: execution_counts
SELECT e.workflow, e.version, r.state, count(*), max(r.created_at)
FROM execution e JOIN run r ON r.id = e.run
WHERE e.workspace = :workspace AND (e.workflow = :workflow OR :workflow IS NULL) AND r.created_at >= :since
GROUP BY e.workflow, e.version, r.state;

-- name: attempt_first
SELECT min(at) FROM execution_attempt WHERE workspace = :workspace AND step_hash = :step_hash AND model IS NOT NULL;

-- name: attempt_rates
SELECT model, (at - :since) / :part_us AS part, count(CASE WHEN verdict = 'passed' THEN 1 END) AS passed,
    count(CASE WHEN verdict = 'failed' THEN 1 END) AS failed
FROM execution_attempt
WHERE workspace = :workspace AND step_hash = :step_hash AND model IS NOT NULL AND at >= :since
GROUP BY model, part ORDER BY model, part;
