-- Executions: where each stands in its document, and what became of every attempt at a step, which is the evidence.

CREATE TABLE execution (
    run INTEGER PRIMARY KEY,
    workspace INTEGER NOT NULL,
    workflow TEXT NOT NULL,
    version TEXT NOT NULL,
    unproven INTEGER NOT NULL,
    driver TEXT NOT NULL,
    models TEXT NOT NULL,
    progress TEXT NOT NULL,
    revision INTEGER NOT NULL
) STRICT;
CREATE INDEX execution_of_workflow ON execution (workspace, workflow, run);

CREATE TABLE execution_attempt (
    id INTEGER PRIMARY KEY,
    run INTEGER NOT NULL,
    workspace INTEGER NOT NULL,
    workflow TEXT NOT NULL,
    version TEXT NOT NULL,
    path TEXT NOT NULL,
    step TEXT NOT NULL,
    step_hash TEXT NOT NULL,
    number INTEGER NOT NULL,
    rung INTEGER,
    first_rung INTEGER,
    model TEXT,
    served_model TEXT,
    verdict TEXT NOT NULL,
    problems TEXT NOT NULL,
    input_hash TEXT NOT NULL,
    reservation TEXT,
    checks TEXT NOT NULL,
    at INTEGER NOT NULL
) STRICT;
CREATE INDEX execution_attempt_run ON execution_attempt (run);
CREATE INDEX execution_attempt_step ON execution_attempt (workspace, step_hash, model, id);
