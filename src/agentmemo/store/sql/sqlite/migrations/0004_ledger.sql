-- What model calls cost, a row a call: what was set aside is written once, and so is what came of it. Rows stay.

CREATE TABLE usage (
    id INTEGER PRIMARY KEY,
    handle TEXT NOT NULL UNIQUE,
    workspace INTEGER NOT NULL,
    digest TEXT NOT NULL,
    state TEXT NOT NULL,
    role TEXT NOT NULL,
    agent INTEGER NOT NULL,
    workflow TEXT,
    version TEXT,
    run TEXT,
    step TEXT,
    attempt INTEGER NOT NULL,
    rung INTEGER,
    epoch INTEGER,
    model TEXT NOT NULL,
    model_served TEXT,
    input_max INTEGER,
    output_max INTEGER,
    input_tokens INTEGER,
    cached_input_tokens INTEGER,
    cache_write_tokens INTEGER,
    output_tokens INTEGER,
    -- The unit prices it was reserved at, and those of the model that was served, where it was another.
    price TEXT,
    served_price TEXT,
    worst_nanousd INTEGER,
    nanousd INTEGER,
    -- What it counts for in caps and sums; NULL where there is no price.
    counted_nanousd INTEGER,
    source TEXT,
    request_id TEXT,
    outcome TEXT,
    at INTEGER NOT NULL,
    ended_at INTEGER,
    CHECK ((state = 'reserved') = (ended_at IS NULL)),
    -- What nobody knows is never a number.
    CHECK (nanousd IS NULL OR source IN ('provider', 'local', 'estimated'))
) STRICT;
CREATE INDEX usage_at ON usage (workspace, at);
CREATE INDEX usage_of_workspace ON usage (workspace, id);
CREATE INDEX usage_of_run ON usage (run) WHERE run IS NOT NULL;
CREATE INDEX usage_of_workflow ON usage (workspace, workflow, id) WHERE workflow IS NOT NULL;
CREATE INDEX usage_reserved ON usage (at) WHERE state = 'reserved';

CREATE TABLE ledger_cap (
    workspace INTEGER NOT NULL,
    scope TEXT NOT NULL,
    per TEXT NOT NULL,
    nanousd INTEGER NOT NULL,
    author INTEGER NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (workspace, scope, per)
) STRICT;

-- Running sums of what counts, by the time of the reservation: of each run, and of what has or had a cap.
CREATE TABLE ledger_spent (
    workspace INTEGER NOT NULL,
    scope TEXT NOT NULL,
    per TEXT NOT NULL,
    period TEXT NOT NULL,
    nanousd INTEGER NOT NULL,
    tokens INTEGER NOT NULL,
    PRIMARY KEY (workspace, scope, per, period)
) STRICT;

-- Keys that agents were given before there was a ledger, with the grants of then.
UPDATE credential SET grants = '[{"namespaces":["*"],"permissions":["state:*","runs:read","runs:write","handoffs:read","handoffs:write","escalations:read","escalations:write","ledger:read","ledger:write","policies:read","audit:read","system:read"]}]'
WHERE kind = 'agent'
    AND grants = '[{"namespaces":["*"],"permissions":["state:*","runs:read","runs:write","handoffs:read","handoffs:write","escalations:read","escalations:write","policies:read","audit:read","system:read"]}]';
