-- Work passed between agents. What is claimed is found by one partial index; nothing else is touched to find it.

CREATE TABLE handoff (
    id INTEGER PRIMARY KEY,
    handle TEXT NOT NULL UNIQUE,
    workspace INTEGER NOT NULL,
    key TEXT,
    digest TEXT NOT NULL,
    state TEXT NOT NULL,
    wake TEXT,
    sender INTEGER NOT NULL,
    address TEXT NOT NULL,
    priority INTEGER NOT NULL,
    turn INTEGER NOT NULL,
    offered INTEGER NOT NULL,
    available_at INTEGER NOT NULL,
    offered_at INTEGER,
    epoch INTEGER NOT NULL DEFAULT 0,
    attempt INTEGER NOT NULL DEFAULT 1,
    max_attempts INTEGER NOT NULL,
    holder INTEGER,
    worker TEXT,
    run TEXT,
    limited INTEGER NOT NULL DEFAULT 0,
    ladder TEXT NOT NULL,
    rung INTEGER NOT NULL DEFAULT 0,
    due_at INTEGER,
    complete_by INTEGER,
    progress_us INTEGER,
    progress_at INTEGER,
    late INTEGER NOT NULL DEFAULT 0,
    percent REAL,
    progress TEXT NOT NULL DEFAULT '',
    reason TEXT NOT NULL DEFAULT '',
    goal TEXT NOT NULL,
    workflow TEXT,
    checked INTEGER NOT NULL,
    parent TEXT,
    root TEXT NOT NULL,
    path TEXT NOT NULL,
    behalf TEXT NOT NULL,
    budget TEXT,
    verifies TEXT,
    sender_run TEXT,
    claimed_at INTEGER,
    escalated_at INTEGER,
    notice_at INTEGER,
    received_at INTEGER,
    ended_at INTEGER,
    pruned INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    -- Nothing waits unseen: whatever is unfinished has the one thing that will wake it, and only a lease has a worker.
    CHECK ((state IN ('pending', 'claimed', 'submitted')) = (wake IS NOT NULL)),
    CHECK ((wake = 'lease') = (worker IS NOT NULL) OR wake IS NULL AND worker IS NULL),
    CHECK ((offered = 1) = (state = 'pending' AND wake = 'claim') OR wake IS NULL AND offered = 0)
) STRICT;
CREATE UNIQUE INDEX handoff_key ON handoff (workspace, key) WHERE key IS NOT NULL;
CREATE INDEX handoff_offered ON handoff (workspace, address, priority DESC, turn, id) WHERE offered = 1;
CREATE INDEX handoff_due ON handoff (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX handoff_worker ON handoff (worker) WHERE worker IS NOT NULL;
CREATE INDEX handoff_notice ON handoff (workspace, sender, notice_at) WHERE notice_at IS NOT NULL AND received_at IS NULL;
CREATE INDEX handoff_root ON handoff (root) WHERE parent IS NOT NULL;
CREATE INDEX handoff_ended ON handoff (workspace, ended_at, state) WHERE ended_at IS NOT NULL AND pruned = 0;
-- What somebody should look at, and what is neither offered nor held: few of all there ever were.
CREATE INDEX handoff_escalated ON handoff (workspace, escalated_at)
    WHERE escalated_at IS NOT NULL AND (wake IS NOT NULL OR state = 'dead') AND pruned = 0;
CREATE INDEX handoff_aside ON handoff (workspace, state) WHERE wake IS NOT NULL AND offered = 0 AND worker IS NULL;

-- What a handoff carries: its package, and its result.
CREATE TABLE handoff_value (
    id INTEGER PRIMARY KEY,
    handoff INTEGER NOT NULL,
    field TEXT NOT NULL,
    size INTEGER NOT NULL,
    codec INTEGER NOT NULL,
    value BLOB,
    blob BLOB,
    UNIQUE (handoff, field)
) STRICT;
CREATE INDEX handoff_value_blob ON handoff_value (blob) WHERE blob IS NOT NULL;

CREATE TABLE handoff_reference (
    id INTEGER PRIMARY KEY,
    handoff INTEGER NOT NULL,
    namespace INTEGER NOT NULL,
    key TEXT NOT NULL,
    version INTEGER NOT NULL,
    digest TEXT NOT NULL,
    UNIQUE (handoff, namespace, key)
) STRICT;

CREATE TABLE handoff_attempt (
    id INTEGER PRIMARY KEY,
    handoff INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    holder INTEGER NOT NULL,
    started_at INTEGER NOT NULL,
    ended_at INTEGER NOT NULL,
    outcome TEXT NOT NULL,
    reason TEXT NOT NULL
) STRICT;
CREATE INDEX handoff_attempt_handoff ON handoff_attempt (handoff);

-- Fairness between senders: each handoff of a sender has a later turn than the one before, and sender 0 is the queue's
-- own clock, the turn of what was claimed last.
CREATE TABLE handoff_turn (
    id INTEGER PRIMARY KEY,
    workspace INTEGER NOT NULL,
    address TEXT NOT NULL,
    sender INTEGER NOT NULL,
    turn INTEGER NOT NULL,
    UNIQUE (workspace, address, sender)
) STRICT;

-- Who takes work from where, beside the agent's own name.
CREATE TABLE handoff_receiver (
    id INTEGER PRIMARY KEY,
    workspace INTEGER NOT NULL,
    address TEXT NOT NULL,
    actor INTEGER NOT NULL,
    UNIQUE (workspace, actor, address)
) STRICT;
CREATE INDEX handoff_receiver_address ON handoff_receiver (workspace, address);

-- Who of several receivers said no: it is not offered to them there again.
CREATE TABLE handoff_refusal (
    id INTEGER PRIMARY KEY,
    handoff INTEGER NOT NULL,
    actor INTEGER NOT NULL,
    address TEXT NOT NULL,
    UNIQUE (handoff, actor, address)
) STRICT;

-- Claimed tokens: `held` of `concurrency`, and `tokens` that come back with time up to `rate` in `per_us`.
CREATE TABLE handoff_limit (
    id INTEGER PRIMARY KEY,
    workspace INTEGER NOT NULL,
    address TEXT NOT NULL,
    concurrency INTEGER,
    held INTEGER NOT NULL,
    rate INTEGER,
    per_us INTEGER NOT NULL,
    tokens REAL NOT NULL,
    filled_at INTEGER NOT NULL,
    UNIQUE (workspace, address)
) STRICT;

-- Agents whose keys have exactly what an agent was given before there were handoffs; who was given less keeps that.
UPDATE credential SET grants = '[{"namespaces":["*"],"permissions":["state:*","runs:read","runs:write","handoffs:read","handoffs:write","audit:read","system:read"]}]'
WHERE kind = 'agent'
    AND grants = '[{"namespaces":["*"],"permissions":["state:*","runs:read","runs:write","audit:read","system:read"]}]';

-- Where an agent is told over HTTP. `position` is the event up to which the trail was looked through for it. Its secret
-- is made from the plane's own and the handle: it is nowhere in the store.
CREATE TABLE webhook (
    id TEXT PRIMARY KEY,
    workspace INTEGER NOT NULL,
    actor INTEGER NOT NULL,
    url TEXT NOT NULL,
    label TEXT NOT NULL,
    position INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    ended_at INTEGER
) STRICT;

-- The outbox. `message` tells what it is about, so that nothing is told twice by a look that is made again.
CREATE TABLE delivery (
    id TEXT PRIMARY KEY,
    workspace INTEGER NOT NULL,
    webhook TEXT NOT NULL,
    message TEXT NOT NULL,
    type TEXT NOT NULL,
    subject TEXT NOT NULL,
    body TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'sending',
    attempts INTEGER NOT NULL DEFAULT 0,
    next_at INTEGER,
    status INTEGER,
    error TEXT NOT NULL DEFAULT '',
    created_at INTEGER NOT NULL,
    ended_at INTEGER,
    UNIQUE (webhook, message)
) STRICT;
CREATE INDEX delivery_due ON delivery (next_at) WHERE state = 'sending';
CREATE INDEX delivery_ended ON delivery (workspace, ended_at) WHERE ended_at IS NOT NULL;
