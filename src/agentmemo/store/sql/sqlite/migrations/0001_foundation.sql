-- Wide rows stand in rowid tables: WITHOUT ROWID costs 3.4 times the bytes at 1 KB values.
-- `position` is (workspace id << 40) | revision: one integer that orders a workspace's events without gaps.
-- A stored value is (size, codec, value, blob): inline bytes up to 4 KiB, else the id of a blob. Codec 0 is plain, 1 zlib.

CREATE TABLE meta (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT;

CREATE TABLE workspace (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    blob_key BLOB NOT NULL,
    floor INTEGER NOT NULL DEFAULT 0,
    indexed INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE actor (
    id INTEGER PRIMARY KEY,
    workspace INTEGER NOT NULL,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    disabled_at INTEGER,
    UNIQUE (workspace, kind, name)
) STRICT;

CREATE TABLE namespace (
    id INTEGER PRIMARY KEY,
    workspace INTEGER NOT NULL,
    name TEXT NOT NULL,
    UNIQUE (workspace, name)
) STRICT;

CREATE TABLE credential (
    id TEXT PRIMARY KEY,
    workspace INTEGER NOT NULL,
    kind TEXT NOT NULL,
    actor INTEGER NOT NULL,
    hash BLOB NOT NULL,
    label TEXT NOT NULL,
    grants TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    revoked_at INTEGER,
    last_used_at INTEGER
) STRICT;

CREATE TABLE entry (
    id INTEGER PRIMARY KEY,
    namespace INTEGER NOT NULL,
    key TEXT NOT NULL,
    version INTEGER NOT NULL,
    position INTEGER NOT NULL,
    live INTEGER NOT NULL,
    expires_at INTEGER,
    UNIQUE (namespace, key)
) STRICT;
CREATE INDEX entry_expiry ON entry (expires_at) WHERE expires_at IS NOT NULL;

CREATE TABLE entry_version (
    position INTEGER PRIMARY KEY,
    entry INTEGER NOT NULL,
    version INTEGER NOT NULL,
    kind TEXT NOT NULL,
    author INTEGER NOT NULL,
    run TEXT,
    at INTEGER NOT NULL,
    expires_at INTEGER,
    origin TEXT NOT NULL,
    size INTEGER NOT NULL,
    codec INTEGER NOT NULL,
    value BLOB,
    blob BLOB
) STRICT;
CREATE INDEX entry_version_entry ON entry_version (entry, version);
CREATE INDEX entry_version_blob ON entry_version (blob) WHERE blob IS NOT NULL;

CREATE VIRTUAL TABLE entry_search USING fts5 (key, body, content='', contentless_delete=1, tokenize='unicode61');
-- Its segments are merged by a duty of their own in small portions. Left to the inserts, merging takes five times as long
-- as they do and holds the writer for up to 0.3 s at a time.
INSERT INTO entry_search (entry_search, rank) VALUES ('automerge', 0), ('crisismerge', 32), ('usermerge', 8), ('deletemerge', 40);

CREATE TABLE blob (
    number INTEGER PRIMARY KEY,
    workspace INTEGER NOT NULL,
    id BLOB NOT NULL,
    size INTEGER NOT NULL,
    codec INTEGER NOT NULL,
    data_key TEXT,
    touched_at INTEGER NOT NULL,
    complete INTEGER NOT NULL,
    UNIQUE (workspace, id)
) STRICT;
CREATE INDEX blob_touched ON blob (touched_at);

CREATE TABLE blob_chunk (
    id INTEGER PRIMARY KEY,
    blob INTEGER NOT NULL,
    chunk INTEGER NOT NULL,
    content BLOB NOT NULL,
    UNIQUE (blob, chunk)
) STRICT;

CREATE TABLE event (
    position INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    stream TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    at INTEGER NOT NULL,
    actor INTEGER NOT NULL,
    operation TEXT NOT NULL,
    outcome TEXT NOT NULL,
    namespace INTEGER,
    leaf BLOB NOT NULL,
    payload BLOB,
    UNIQUE (stream, sequence)
) STRICT;

CREATE TABLE run (
    id INTEGER PRIMARY KEY,
    handle TEXT NOT NULL UNIQUE,
    workspace INTEGER NOT NULL,
    name TEXT NOT NULL,
    key TEXT,
    state TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    max_attempts INTEGER NOT NULL,
    agent INTEGER NOT NULL,
    inputs_hash TEXT NOT NULL,
    wake TEXT,
    wake_at INTEGER,
    waiting_for TEXT,
    wait_name TEXT,
    wait_key TEXT,
    deadline INTEGER,
    overdue_at INTEGER,
    worker TEXT,
    task TEXT,
    task_version TEXT,
    priority INTEGER NOT NULL DEFAULT 0,
    parent TEXT,
    forked_from TEXT,
    steps INTEGER NOT NULL DEFAULT 0,
    takeovers INTEGER NOT NULL DEFAULT 0,
    percent REAL,
    progress TEXT NOT NULL DEFAULT '',
    current_step TEXT,
    reason TEXT NOT NULL DEFAULT '',
    error TEXT,
    budget TEXT NOT NULL,
    worked_us INTEGER NOT NULL DEFAULT 0,
    tokens INTEGER NOT NULL DEFAULT 0,
    nanousd INTEGER NOT NULL DEFAULT 0,
    claimed_at INTEGER,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    finished_at INTEGER,
    pruned INTEGER NOT NULL DEFAULT 0,
    -- The actor whose claim is or was the newest: an epoch is no secret, so it alone does not prove a holder.
    holder INTEGER,
    -- Nothing waits unseen: whatever is unfinished has the one thing that will wake it.
    CHECK ((state IN ('completed', 'failed', 'cancelled')) = (wake IS NULL)),
    CHECK ((state = 'running') = (worker IS NOT NULL))
) STRICT;
CREATE UNIQUE INDEX run_key ON run (workspace, name, key) WHERE key IS NOT NULL;
CREATE INDEX run_worker ON run (worker) WHERE worker IS NOT NULL;
CREATE INDEX run_wake_at ON run (wake_at) WHERE wake_at IS NOT NULL;
CREATE INDEX run_deadline ON run (deadline) WHERE deadline IS NOT NULL;
CREATE INDEX run_parent ON run (parent) WHERE parent IS NOT NULL;
CREATE INDEX run_unfinished ON run (workspace, state) WHERE wake IS NOT NULL;
CREATE INDEX run_finished ON run (finished_at) WHERE finished_at IS NOT NULL AND pruned = 0;

CREATE TABLE run_value (
    id INTEGER PRIMARY KEY,
    run INTEGER NOT NULL,
    field TEXT NOT NULL,
    size INTEGER NOT NULL,
    codec INTEGER NOT NULL,
    value BLOB,
    blob BLOB,
    UNIQUE (run, field)
) STRICT;
CREATE INDEX run_value_blob ON run_value (blob) WHERE blob IS NOT NULL;

-- The only table that claimers scan: insert and delete only, tiny.
CREATE TABLE ready (
    run INTEGER PRIMARY KEY,
    workspace INTEGER NOT NULL,
    task TEXT NOT NULL,
    priority INTEGER NOT NULL,
    available_at INTEGER NOT NULL
) STRICT;
CREATE INDEX ready_order ON ready (workspace, task, priority DESC, available_at);

CREATE TABLE step (
    id INTEGER PRIMARY KEY,
    run INTEGER NOT NULL,
    name TEXT NOT NULL,
    key TEXT NOT NULL,
    number INTEGER NOT NULL,
    state TEXT NOT NULL,
    effect TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    run_attempt INTEGER NOT NULL,
    fingerprint TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    finished_at INTEGER,
    error TEXT,
    decision TEXT,
    size INTEGER NOT NULL DEFAULT 0,
    codec INTEGER NOT NULL DEFAULT 0,
    value BLOB,
    blob BLOB,
    UNIQUE (run, name, key)
) STRICT;
CREATE INDEX step_blob ON step (blob) WHERE blob IS NOT NULL;

CREATE TABLE signal (
    id INTEGER PRIMARY KEY,
    run INTEGER NOT NULL,
    name TEXT NOT NULL,
    author INTEGER NOT NULL,
    at INTEGER NOT NULL,
    size INTEGER NOT NULL,
    codec INTEGER NOT NULL,
    value BLOB,
    blob BLOB
) STRICT;
CREATE INDEX signal_run ON signal (run, name);

CREATE TABLE note (
    id INTEGER PRIMARY KEY,
    run INTEGER NOT NULL,
    kind TEXT NOT NULL,
    key TEXT,
    text TEXT NOT NULL,
    because TEXT NOT NULL,
    step TEXT,
    at INTEGER NOT NULL,
    author INTEGER NOT NULL,
    position INTEGER NOT NULL
) STRICT;
CREATE INDEX note_run ON note (run, kind, key);

CREATE TABLE worker (
    id TEXT PRIMARY KEY,
    workspace INTEGER NOT NULL,
    actor INTEGER NOT NULL,
    host TEXT NOT NULL,
    process INTEGER NOT NULL,
    boot_id TEXT NOT NULL,
    lease_us INTEGER NOT NULL,
    lease_until INTEGER NOT NULL,
    started_at INTEGER NOT NULL,
    stopped_at INTEGER
) STRICT;
CREATE INDEX worker_live ON worker (lease_until) WHERE stopped_at IS NULL;

CREATE TABLE schedule (
    id TEXT PRIMARY KEY,
    workspace INTEGER NOT NULL,
    task TEXT NOT NULL,
    cron TEXT NOT NULL,
    inputs TEXT NOT NULL,
    options TEXT NOT NULL,
    author INTEGER NOT NULL,
    next_at INTEGER NOT NULL
) STRICT;
CREATE INDEX schedule_next ON schedule (next_at);

-- Answers to mutations that came with a request id, kept 24 hours.
CREATE TABLE request (
    id INTEGER PRIMARY KEY,
    workspace INTEGER NOT NULL,
    actor INTEGER NOT NULL,
    key TEXT NOT NULL,
    fingerprint BLOB NOT NULL,
    summary TEXT NOT NULL,
    answer BLOB NOT NULL,
    at INTEGER NOT NULL,
    UNIQUE (workspace, actor, key)
) STRICT;
CREATE INDEX request_at ON request (at);

CREATE TABLE duty (
    name TEXT PRIMARY KEY,
    leader TEXT NOT NULL,
    boot_id TEXT NOT NULL,
    lease_until INTEGER NOT NULL
) STRICT;
