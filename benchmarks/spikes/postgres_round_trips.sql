-- The tables and named queries of postgres_round_trips.py. Portable but for FOR UPDATE, xid8 and changed_by, which
-- the product would keep as PostgreSQL overrides.

-- name: schema
CREATE TABLE entry (id uuid PRIMARY KEY, namespace_id int NOT NULL, key text NOT NULL, version bigint NOT NULL,
  changed_by xid8 NOT NULL DEFAULT pg_current_xact_id(), UNIQUE (namespace_id, key)) WITH (fillfactor = 70);
CREATE TABLE entry_version (entry_id uuid, version bigint, value bytea NOT NULL, PRIMARY KEY (entry_id, version));
CREATE TABLE run (id uuid PRIMARY KEY, state text NOT NULL, epoch bigint NOT NULL, step_count bigint NOT NULL,
  event_count bigint NOT NULL, leaf_hash bytea NOT NULL,
  changed_by xid8 NOT NULL DEFAULT pg_current_xact_id()) WITH (fillfactor = 70);
CREATE TABLE step (run_id uuid, number bigint, epoch bigint NOT NULL, output bytea NOT NULL,
  PRIMARY KEY (run_id, number));
CREATE TABLE ready (id uuid PRIMARY KEY, queue text NOT NULL, priority int NOT NULL, run_id uuid NOT NULL);
CREATE INDEX ready_next ON ready (queue, priority, id);
CREATE TABLE event (stream uuid, sequence bigint, body bytea NOT NULL, leaf_hash bytea NOT NULL,
  request_id uuid NOT NULL UNIQUE, response bytea, written_by xid8 NOT NULL DEFAULT pg_current_xact_id(),
  PRIMARY KEY (stream, sequence));
CREATE INDEX event_written_by ON event (written_by);
CREATE TABLE revision (revision bigint PRIMARY KEY, stream uuid NOT NULL, sequence bigint NOT NULL);
CREATE TABLE sequencer (id int PRIMARY KEY, next_revision bigint NOT NULL, low xid8 NOT NULL);
INSERT INTO sequencer VALUES (1, 1, '0');

-- name: entry_by_key
SELECT id, version FROM entry WHERE namespace_id = :namespace AND key = :key

-- name: stream_head
SELECT sequence, leaf_hash FROM event WHERE stream = :stream ORDER BY sequence DESC LIMIT 1

-- name: entry_put
INSERT INTO entry (id, namespace_id, key, version) VALUES (:id, :namespace, :key, :version)
  ON CONFLICT (namespace_id, key) DO UPDATE SET version = excluded.version, changed_by = pg_current_xact_id()
  WHERE entry.version = :seen AND entry.changed_by < pg_current_xact_id()

-- name: version_add
INSERT INTO entry_version VALUES (:id, :version, :value)

-- name: event_add
INSERT INTO event (stream, sequence, body, leaf_hash, request_id, response)
  VALUES (:stream, :sequence, :body, :leaf_hash, :request_id, :response)

-- name: run_lock
SELECT epoch, state, step_count, event_count, leaf_hash FROM run WHERE id = :run FOR UPDATE

-- name: run_read
SELECT epoch, state, step_count, event_count, leaf_hash FROM run WHERE id = :run

-- name: run_step
UPDATE run SET step_count = :number, event_count = :sequence, leaf_hash = :leaf_hash,
  changed_by = pg_current_xact_id()
  WHERE id = :run AND epoch = :epoch AND state = 'running' AND event_count = :sequence - 1
  AND changed_by < pg_current_xact_id()

-- name: step_add
INSERT INTO step VALUES (:run, :number, :epoch, :output)

-- name: ready_next
SELECT ready.id, run.id, run.epoch, run.event_count, run.leaf_hash
  FROM ready JOIN run ON run.id = ready.run_id WHERE ready.queue = :queue
  ORDER BY ready.priority, ready.id LIMIT 1 FOR UPDATE SKIP LOCKED

-- name: ready_remove
DELETE FROM ready WHERE id = :id

-- name: run_claim
UPDATE run SET epoch = epoch + 1, state = 'running', event_count = :sequence,
  leaf_hash = :leaf_hash, changed_by = pg_current_xact_id()
  WHERE id = :run AND epoch = :epoch AND changed_by < pg_current_xact_id()
