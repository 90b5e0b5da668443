-- What model calls cost, a row a call: what was set aside is written once, and so is what came of it. Rows stay.

CREATE TABLE usage (
    id bigint PRIMARY KEY,
    handle text COLLATE "C" NOT NULL UNIQUE,
    workspace bigint NOT NULL,
    digest text NOT NULL,
    state text NOT NULL,
    role text COLLATE "C" NOT NULL,
    agent bigint NOT NULL,
    workflow text COLLATE "C",
    version text COLLATE "C",
    run text COLLATE "C",
    step text COLLATE "C",
    attempt bigint NOT NULL,
    rung bigint,
    epoch bigint,
    model text COLLATE "C" NOT NULL,
    model_served text COLLATE "C",
    input_max bigint,
    output_max bigint,
    input_tokens bigint,
    cached_input_tokens bigint,
    cache_write_tokens bigint,
    output_tokens bigint,
    -- The unit prices it was reserved at, and those of the model that was served, where it was another.
    price text,
    served_price text,
    worst_nanousd bigint,
    nanousd bigint,
    -- What it counts for in caps and sums; NULL where there is no price.
    counted_nanousd bigint,
    source text,
    request_id text,
    outcome text,
    at bigint NOT NULL,
    ended_at bigint,
    CHECK ((state = 'reserved') = (ended_at IS NULL)),
    -- What nobody knows is never a number.
    CHECK (nanousd IS NULL OR source IN ('provider', 'local', 'estimated'))
);
CREATE INDEX usage_at ON usage (workspace, at);
CREATE INDEX usage_of_workspace ON usage (workspace, id);
CREATE INDEX usage_of_run ON usage (run) WHERE run IS NOT NULL;
CREATE INDEX usage_of_workflow ON usage (workspace, workflow, id) WHERE workflow IS NOT NULL;
CREATE INDEX usage_reserved ON usage (at) WHERE state = 'reserved';

CREATE TABLE ledger_cap (
    workspace bigint NOT NULL,
    scope text COLLATE "C" NOT NULL,
    per text COLLATE "C" NOT NULL,
    nanousd bigint NOT NULL,
    author bigint NOT NULL,
    at bigint NOT NULL,
    PRIMARY KEY (workspace, scope, per)
);

-- Running sums of what counts, by the time of the reservation: of each run, and of what has or had a cap.
CREATE TABLE ledger_spent (
    workspace bigint NOT NULL,
    scope text COLLATE "C" NOT NULL,
    per text COLLATE "C" NOT NULL,
    period text COLLATE "C" NOT NULL,
    nanousd bigint NOT NULL,
    tokens bigint NOT NULL,
    PRIMARY KEY (workspace, scope, per, period)
);

-- Keys that agents were given before there was a ledger, with the grants of then.
UPDATE credential SET grants = '[{"namespaces":["*"],"permissions":["state:*","runs:read","runs:write","handoffs:read","handoffs:write","escalations:read","escalations:write","ledger:read","ledger:write","policies:read","audit:read","system:read"]}]'
WHERE kind = 'agent'
    AND grants = '[{"namespaces":["*"],"permissions":["state:*","runs:read","runs:write","handoffs:read","handoffs:write","escalations:read","escalations:write","policies:read","audit:read","system:read"]}]';
