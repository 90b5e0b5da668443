-- Evidence: what attempts have shown of a model at a step, or executions of a whole version; and what is still to be
-- compared. `subject` is the hash of what a step asks, or a version.

CREATE TABLE evidence (
    id INTEGER PRIMARY KEY,
    workspace INTEGER NOT NULL,
    subject TEXT NOT NULL,
    source TEXT NOT NULL,
    model TEXT NOT NULL,
    served TEXT NOT NULL,
    workflow TEXT NOT NULL,
    step TEXT NOT NULL,
    standing TEXT NOT NULL,
    reasons TEXT NOT NULL,
    since INTEGER NOT NULL,
    last_at INTEGER NOT NULL,
    successes INTEGER NOT NULL,
    failures INTEGER NOT NULL,
    abstained INTEGER NOT NULL,
    inputs INTEGER NOT NULL,
    tested_successes INTEGER NOT NULL,
    tested_failures INTEGER NOT NULL,
    trials INTEGER NOT NULL,
    planned INTEGER,
    watch TEXT,
    above TEXT NOT NULL,
    called TEXT NOT NULL,
    calls INTEGER NOT NULL,
    input_tokens INTEGER NOT NULL,
    output_tokens INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX evidence_candidate ON evidence (workspace, subject, source, model, served);
CREATE INDEX evidence_qualified ON evidence (id) WHERE standing = 'qualified' AND above <> '';

CREATE TABLE evidence_input (
    evidence INTEGER NOT NULL,
    input_hash TEXT NOT NULL,
    successes INTEGER NOT NULL,
    failures INTEGER NOT NULL,
    PRIMARY KEY (evidence, input_hash)
) STRICT, WITHOUT ROWID;

CREATE TABLE evidence_edge (
    evidence INTEGER NOT NULL,
    edge TEXT NOT NULL,
    times INTEGER NOT NULL,
    PRIMARY KEY (evidence, edge)
) STRICT, WITHOUT ROWID;

CREATE TABLE comparison (
    id INTEGER PRIMARY KEY,
    workspace INTEGER NOT NULL,
    run INTEGER NOT NULL,
    path TEXT NOT NULL,
    role TEXT NOT NULL,
    number INTEGER NOT NULL,
    evidence INTEGER NOT NULL,
    model TEXT NOT NULL,
    version TEXT NOT NULL,
    frames TEXT NOT NULL,
    input_hash TEXT NOT NULL,
    verdict TEXT NOT NULL,
    reason TEXT NOT NULL,
    at INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX comparison_of_step ON comparison (run, path, role);
