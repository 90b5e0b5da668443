-- Questions to people: what is asked, who waits for the answer, who was told, and what people have ruled beforehand.

CREATE TABLE escalation (
    id INTEGER PRIMARY KEY,
    handle TEXT NOT NULL UNIQUE,
    workspace INTEGER NOT NULL,
    collapse_key TEXT,
    digest TEXT NOT NULL,
    action_digest TEXT,
    state TEXT NOT NULL,
    revision INTEGER NOT NULL DEFAULT 1,
    kind TEXT NOT NULL,
    severity TEXT NOT NULL,
    rank INTEGER NOT NULL,
    reason TEXT NOT NULL,
    asker INTEGER NOT NULL,
    run TEXT,
    step TEXT,
    irreversible INTEGER NOT NULL,
    policy TEXT NOT NULL,
    fallback TEXT NOT NULL,
    deadline INTEGER NOT NULL,
    warned INTEGER NOT NULL DEFAULT 0,
    lapsed_at INTEGER,
    climb INTEGER NOT NULL DEFAULT 0,
    climb_at INTEGER,
    due_at INTEGER,
    holder INTEGER,
    held_at INTEGER,
    hold_until INTEGER,
    extended INTEGER NOT NULL DEFAULT 0,
    assignee INTEGER,
    occurrences INTEGER NOT NULL DEFAULT 1,
    last_at INTEGER NOT NULL,
    decision TEXT,
    answer TEXT,
    execute_by INTEGER,
    uses INTEGER NOT NULL DEFAULT 0,
    redeemed TEXT,
    supersedes TEXT,
    superseded_by TEXT,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    ended_at INTEGER,
    pruned INTEGER NOT NULL DEFAULT 0,
    CHECK ((state IN ('open', 'acknowledged')) = (ended_at IS NULL)),
    CHECK ((state = 'acknowledged') = (holder IS NOT NULL) OR ended_at IS NOT NULL),
    -- An open question always has a time at which somebody is told, or the fallback is taken.
    CHECK ((due_at IS NULL) = (ended_at IS NOT NULL))
) STRICT;
CREATE UNIQUE INDEX escalation_collapse ON escalation (workspace, collapse_key)
    WHERE collapse_key IS NOT NULL AND ended_at IS NULL;
CREATE INDEX escalation_open ON escalation (workspace, rank, deadline, id) WHERE ended_at IS NULL;
CREATE INDEX escalation_of_workspace ON escalation (workspace, id);
CREATE INDEX escalation_asked ON escalation (workspace, created_at);
CREATE INDEX escalation_due ON escalation (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX escalation_ended ON escalation (workspace, ended_at) WHERE ended_at IS NOT NULL AND pruned = 0;

-- The question as it was asked, as one value.
CREATE TABLE escalation_value (
    id INTEGER PRIMARY KEY,
    escalation INTEGER NOT NULL,
    field TEXT NOT NULL,
    size INTEGER NOT NULL,
    codec INTEGER NOT NULL,
    value BLOB,
    blob BLOB,
    UNIQUE (escalation, field)
) STRICT;
CREATE INDEX escalation_value_blob ON escalation_value (blob) WHERE blob IS NOT NULL;

-- Who waits for the answer. `key` is the replay key: the same call finds the same row, whatever became of it.
CREATE TABLE escalation_waiter (
    id INTEGER PRIMARY KEY,
    workspace INTEGER NOT NULL,
    escalation INTEGER NOT NULL,
    key TEXT,
    implicit INTEGER NOT NULL,
    waits INTEGER NOT NULL,
    actor INTEGER NOT NULL,
    run TEXT,
    step TEXT,
    state TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    error TEXT NOT NULL DEFAULT '',
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX escalation_waiter_key ON escalation_waiter (workspace, key) WHERE key IS NOT NULL;
CREATE INDEX escalation_waiter_of ON escalation_waiter (escalation);
CREATE INDEX escalation_waiter_run ON escalation_waiter (run) WHERE run IS NOT NULL AND state NOT IN ('applied', 'gone');
CREATE INDEX escalation_waiter_undelivered ON escalation_waiter (workspace, escalation)
    WHERE state IN ('ready', 'leased', 'failed') AND waits = 1;

CREATE TABLE escalation_vote (
    id INTEGER PRIMARY KEY,
    escalation INTEGER NOT NULL,
    person INTEGER NOT NULL,
    decision TEXT NOT NULL,
    ballot TEXT NOT NULL,
    at INTEGER NOT NULL,
    UNIQUE (escalation, person)
) STRICT;

CREATE TABLE escalation_comment (
    id INTEGER PRIMARY KEY,
    escalation INTEGER NOT NULL,
    person INTEGER NOT NULL,
    text TEXT NOT NULL,
    at INTEGER NOT NULL
) STRICT;
CREATE INDEX escalation_comment_of ON escalation_comment (escalation);

-- Messages to people: at least once each. `occasion` says why it is sent, so that no occasion is told twice.
CREATE TABLE notification (
    id TEXT PRIMARY KEY,
    workspace INTEGER NOT NULL,
    escalation INTEGER NOT NULL,
    occasion TEXT NOT NULL,
    person TEXT NOT NULL,
    channel TEXT NOT NULL,
    address TEXT NOT NULL,
    -- The most that may be said there.
    carries TEXT NOT NULL,
    state TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    next_at INTEGER,
    provider TEXT,
    shown INTEGER NOT NULL DEFAULT 0,
    error TEXT NOT NULL DEFAULT '',
    created_at INTEGER NOT NULL,
    sent_at INTEGER,
    UNIQUE (escalation, occasion, person, channel, address)
) STRICT;
CREATE INDEX notification_due ON notification (next_at) WHERE next_at IS NOT NULL;
CREATE INDEX notification_created ON notification (workspace, created_at);

-- One-time links: only a keyed hash of the token is here.
CREATE TABLE answer_link (
    hash BLOB PRIMARY KEY,
    workspace INTEGER NOT NULL,
    escalation INTEGER NOT NULL,
    notification TEXT NOT NULL,
    person INTEGER NOT NULL,
    code TEXT NOT NULL,
    misses INTEGER NOT NULL DEFAULT 0,
    expires_at INTEGER NOT NULL,
    used_at INTEGER
) STRICT;
CREATE INDEX answer_link_expiry ON answer_link (expires_at);

-- What people ruled beforehand: routes, schedules, contacts, rules, silences. Each version stays.
CREATE TABLE policy (
    id INTEGER PRIMARY KEY,
    workspace INTEGER NOT NULL,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    version INTEGER NOT NULL,
    current INTEGER NOT NULL,
    live INTEGER NOT NULL,
    document TEXT NOT NULL,
    author INTEGER NOT NULL,
    comment TEXT NOT NULL,
    at INTEGER NOT NULL,
    UNIQUE (workspace, kind, name, version)
) STRICT;
CREATE UNIQUE INDEX policy_current ON policy (workspace, kind, name) WHERE current = 1;

-- What stuck detection remembers of a run, and which failures have been met in which runs.
CREATE TABLE run_watch (
    run INTEGER PRIMARY KEY,
    number INTEGER NOT NULL,
    memory BLOB NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;
CREATE TABLE run_failure (
    id INTEGER PRIMARY KEY,
    workspace INTEGER NOT NULL,
    fingerprint TEXT NOT NULL,
    run TEXT NOT NULL,
    at INTEGER NOT NULL,
    UNIQUE (workspace, fingerprint, run)
) STRICT;
CREATE INDEX run_failure_at ON run_failure (at);

-- What was decided on a guarded call, under the position of its event: for the attention report, for a run that comes
-- again (`key`), and for what people said of such calls before. `review` is the call where a person shall look at it.
CREATE TABLE guarded (
    id INTEGER PRIMARY KEY,
    workspace INTEGER NOT NULL,
    actor INTEGER NOT NULL,
    tool TEXT NOT NULL,
    verdict TEXT NOT NULL,
    rule TEXT,
    version INTEGER,
    digest TEXT NOT NULL,
    pattern TEXT NOT NULL,
    reversible INTEGER NOT NULL,
    key TEXT,
    escalation TEXT,
    review TEXT,
    at INTEGER NOT NULL
) STRICT;
CREATE INDEX guarded_at ON guarded (workspace, at);
CREATE UNIQUE INDEX guarded_key ON guarded (workspace, key) WHERE key IS NOT NULL;
CREATE INDEX guarded_asked ON guarded (workspace, tool, id) WHERE escalation IS NOT NULL;
CREATE INDEX guarded_review ON guarded (workspace, id) WHERE review IS NOT NULL;

-- How often a rule whose uses are counted has decided. It outlives the rows above.
CREATE TABLE rule_use (
    workspace INTEGER NOT NULL,
    rule TEXT NOT NULL,
    uses INTEGER NOT NULL,
    PRIMARY KEY (workspace, rule)
) STRICT;

-- Keys that agents were given before there were escalations, with the grants of then.
UPDATE credential SET grants = '[{"namespaces":["*"],"permissions":["state:*","runs:read","runs:write","handoffs:read","handoffs:write","escalations:read","escalations:write","policies:read","audit:read","system:read"]}]'
WHERE kind = 'agent'
    AND grants = '[{"namespaces":["*"],"permissions":["state:*","runs:read","runs:write","handoffs:read","handoffs:write","audit:read","system:read"]}]';
