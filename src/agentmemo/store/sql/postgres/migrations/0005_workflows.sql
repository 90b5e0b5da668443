-- Workflow documents: a row per name, and per version of its document. Their ids are the positions of their first events.

-- `current` is the version that is meant without one; `words` is how many of it can be searched for.
CREATE TABLE workflow (
    id bigint PRIMARY KEY,
    workspace bigint NOT NULL,
    name text COLLATE "C" NOT NULL,
    versions bigint NOT NULL,
    current bigint NOT NULL,
    words bigint NOT NULL,
    created_at bigint NOT NULL,
    UNIQUE (workspace, name)
);

CREATE TABLE workflow_version (
    id bigint PRIMARY KEY,
    workflow bigint NOT NULL,
    number bigint NOT NULL,
    version text COLLATE "C" NOT NULL,
    state text COLLATE "C" NOT NULL,
    description text NOT NULL,
    designed_by text NOT NULL,
    parent text COLLATE "C",
    changes text NOT NULL,
    untrusted bigint NOT NULL,
    author bigint NOT NULL,
    created_at bigint NOT NULL,
    state_changed_at bigint NOT NULL,
    size bigint NOT NULL,
    codec bigint NOT NULL,
    value bytea,
    blob bytea,
    UNIQUE (workflow, number),
    UNIQUE (workflow, version)
);
CREATE UNIQUE INDEX workflow_version_active ON workflow_version (workflow) WHERE state = 'active';
CREATE INDEX workflow_version_blob ON workflow_version (blob) WHERE blob IS NOT NULL;

-- The words of each current version, and how often each counts.
CREATE TABLE workflow_word (
    workspace bigint NOT NULL,
    word text COLLATE "C" NOT NULL,
    workflow bigint NOT NULL,
    count bigint NOT NULL,
    PRIMARY KEY (workspace, word, workflow)
);
CREATE INDEX workflow_word_of ON workflow_word (workflow);

-- Keys that agents were given before there were workflows, with the grants of then.
UPDATE credential SET grants = '[{"namespaces":["*"],"permissions":["state:*","runs:read","runs:write","handoffs:read","handoffs:write","escalations:read","escalations:write","ledger:read","ledger:write","policies:read","workflows:read","workflows:write","workflows:execute","audit:read","system:read"]}]'
WHERE kind = 'agent'
    AND grants = '[{"namespaces":["*"],"permissions":["state:*","runs:read","runs:write","handoffs:read","handoffs:write","escalations:read","escalations:write","ledger:read","ledger:write","policies:read","audit:read","system:read"]}]';
