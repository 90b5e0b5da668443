-- Workflow documents: a row per name, and per version of its document. Their ids are the positions of their first events.

-- `current` is the version that is meant without one; `words` is how many of it can be searched for.
CREATE TABLE workflow (
    id INTEGER PRIMARY KEY,
    workspace INTEGER NOT NULL,
    name TEXT NOT NULL,
    versions INTEGER NOT NULL,
    current INTEGER NOT NULL,
    words INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    UNIQUE (workspace, name)
) STRICT;

CREATE TABLE workflow_version (
    id INTEGER PRIMARY KEY,
    workflow INTEGER NOT NULL,
    number INTEGER NOT NULL,
    version TEXT NOT NULL,
    state TEXT NOT NULL,
    description TEXT NOT NULL,
    designed_by TEXT NOT NULL,
    parent TEXT,
    changes TEXT NOT NULL,
    untrusted INTEGER NOT NULL,
    author INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    state_changed_at INTEGER NOT NULL,
    size INTEGER NOT NULL,
    codec INTEGER NOT NULL,
    value BLOB,
    blob BLOB,
    UNIQUE (workflow, number),
    UNIQUE (workflow, version)
) STRICT;
CREATE UNIQUE INDEX workflow_version_active ON workflow_version (workflow) WHERE state = 'active';
CREATE INDEX workflow_version_blob ON workflow_version (blob) WHERE blob IS NOT NULL;

-- The words of each current version, and how often each counts.
CREATE TABLE workflow_word (
    workspace INTEGER NOT NULL,
    word TEXT NOT NULL,
    workflow INTEGER NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (workspace, word, workflow)
) STRICT, WITHOUT ROWID;
CREATE INDEX workflow_word_of ON workflow_word (workflow);

-- Keys that agents were given before there were workflows, with the grants of then.
UPDATE credential SET grants = '[{"namespaces":["*"],"permissions":["state:*","runs:read","runs:write","handoffs:read","handoffs:write","escalations:read","escalations:write","ledger:read","ledger:write","policies:read","workflows:read","workflows:write","workflows:execute","audit:read","system:read"]}]'
WHERE kind = 'agent'
    AND grants = '[{"namespaces":["*"],"permissions":["state:*","runs:read","runs:write","handoffs:read","handoffs:write","escalations:read","escalations:write","ledger:read","ledger:write","policies:read","audit:read","system:read"]}]';
