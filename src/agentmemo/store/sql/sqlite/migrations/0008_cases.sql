-- Cases that a workflow is tried on, trials, and what came of each case in them.

-- `digest` is the hash of the case; one that was removed stays, so that trials on it can still be read.
CREATE TABLE workflow_case (
    id INTEGER PRIMARY KEY,
    workspace INTEGER NOT NULL,
    workflow TEXT NOT NULL,
    digest TEXT NOT NULL,
    step TEXT,
    source TEXT NOT NULL,
    author INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    removed_at INTEGER,
    size INTEGER NOT NULL,
    codec INTEGER NOT NULL,
    value BLOB,
    blob BLOB,
    UNIQUE (workspace, workflow, digest)
) STRICT;
CREATE INDEX workflow_case_blob ON workflow_case (blob) WHERE blob IS NOT NULL;

-- A trial is a run; `plan` is fixed before its first case.
CREATE TABLE trial (
    run INTEGER PRIMARY KEY,
    workspace INTEGER NOT NULL,
    workflow TEXT NOT NULL,
    version TEXT NOT NULL,
    plan TEXT NOT NULL
) STRICT;
CREATE INDEX trial_of_workflow ON trial (workspace, workflow, run);

-- `step` is empty where the whole workflow was tried, and `step_hash` its version then.
CREATE TABLE trial_case (
    id INTEGER PRIMARY KEY,
    run INTEGER NOT NULL,
    workspace INTEGER NOT NULL,
    workflow TEXT NOT NULL,
    version TEXT NOT NULL,
    step TEXT NOT NULL,
    step_hash TEXT NOT NULL,
    model TEXT NOT NULL,
    served_model TEXT,
    digest TEXT NOT NULL,
    input_hash TEXT NOT NULL,
    verdict TEXT NOT NULL,
    failed_check TEXT,
    problems TEXT NOT NULL,
    edge_cases TEXT NOT NULL,
    nanousd INTEGER,
    execution TEXT,
    at INTEGER NOT NULL,
    UNIQUE (run, step, model, digest)
) STRICT;
CREATE INDEX trial_case_of_version ON trial_case (workspace, workflow, version, id);
CREATE INDEX trial_case_of_step ON trial_case (workspace, step_hash, model, id);
