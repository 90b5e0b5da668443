-- Cases of workflows, trials on them, and the attempts that failed.

-- name: case_add
INSERT INTO workflow_case (workspace, workflow, digest, step, source, author, created_at, size, codec, value, blob)
VALUES (:workspace, :workflow, :digest, :step, :source, :author, :now, :size, :codec, :value, :blob)
ON CONFLICT (workspace, workflow, digest) DO UPDATE SET removed_at = NULL, source = excluded.source;

-- name: case_remove
UPDATE workflow_case SET removed_at = :now
WHERE workspace = :workspace AND workflow = :workflow AND digest = :digest AND removed_at IS NULL;

-- name: case_get
SELECT id, digest, step, source, author, created_at, removed_at, size, codec, value, blob FROM workflow_case
WHERE workspace = :workspace AND workflow = :workflow AND digest >= :low AND digest < :high ORDER BY digest LIMIT 2;

-- name: case_list
SELECT id, digest, step, source, author, created_at, removed_at, size, codec, value, blob FROM workflow_case
WHERE workspace = :workspace AND workflow = :workflow AND removed_at IS NULL AND id < :before
    AND (step = :step OR :step IS NULL)
ORDER BY id DESC LIMIT :limit;

-- name: case_digests
SELECT digest, step, source FROM workflow_case
WHERE workspace = :workspace AND workflow = :workflow AND removed_at IS NULL ORDER BY digest;

-- name: trial_add
INSERT INTO trial (run, workspace, workflow, version, plan) VALUES (:run, :workspace, :workflow, :version, :plan);

-- name: trial_get
SELECT t.run, r.handle, t.workflow, t.version, t.plan FROM trial t JOIN run r ON r.id = t.run
WHERE r.handle = :handle AND t.workspace = :workspace;

-- name: trial_list
SELECT t.run, r.handle, t.workflow, t.version, t.plan FROM trial t JOIN run r ON r.id = t.run
WHERE t.workspace = :workspace AND t.run < :before AND (t.workflow = :workflow OR :workflow IS NULL)
ORDER BY t.run DESC LIMIT :limit;

-- name: trial_case_add
INSERT INTO trial_case (run, workspace, workflow, version, step, step_hash, model, served_model, digest, input_hash,
    verdict, failed_check, problems, edge_cases, nanousd, execution, at)
VALUES (:run, :workspace, :workflow, :version, :step, :step_hash, :model, :served_model, :digest, :input_hash,
    :verdict, :failed_check, :problems, :edge_cases, :nanousd, :execution, :now);

-- name: trial_case_find
SELECT id FROM trial_case WHERE run = :run AND step = :step AND model = :model AND digest = :digest;

-- name: trial_case_list
SELECT id, step, step_hash, model, served_model, digest, input_hash, verdict, failed_check, problems, edge_cases,
    nanousd, execution, at
FROM trial_case WHERE run = :run ORDER BY id;

-- name: trial_case_of_version
SELECT id, step, step_hash, model, served_model, digest, input_hash, verdict, failed_check, problems, edge_cases,
    nanousd, execution, at
FROM trial_case WHERE workspace = :workspace AND workflow = :workflow AND version = :version ORDER BY id;

-- name: trial_cost
SELECT count(*), CAST(sum(counted_nanousd) AS BIGINT),
    CAST(coalesce(sum(CASE WHEN counted_nanousd IS NULL THEN 1 ELSE 0 END), 0) AS BIGINT)
FROM usage WHERE run = :run AND workspace = :workspace AND state <> 'void';

-- name: attempt_failures
SELECT a.id, r.handle, a.version, a.path, a.step, a.number, a.model, a.verdict, a.problems, a.checks, a.at
FROM execution_attempt a JOIN run r ON r.id = a.run
WHERE a.workspace = :workspace AND a.workflow = :workflow AND a.verdict <> 'passed'
    AND (a.version = :version OR :version IS NULL)
ORDER BY a.id DESC LIMIT :limit;

-- name: trial_failures
SELECT c.id, r.handle, c.version, c.step, c.model, c.digest, c.verdict, c.failed_check, c.problems, c.at
FROM trial_case c JOIN run r ON r.id = c.run
WHERE c.workspace = :workspace AND c.workflow = :workflow AND c.verdict <> 'passed'
    AND (c.version = :version OR :version IS NULL)
ORDER BY c.id DESC LIMIT :limit;
