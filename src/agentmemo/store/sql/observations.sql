-- What stuck detection remembers of runs, and the failures they had in common.

-- name: watch_get; by run
SELECT number, memory FROM run_watch WHERE run = :run;

-- name: watch_set; by run
INSERT INTO run_watch (run, number, memory, updated_at) VALUES (:run, :number, :memory, :now)
ON CONFLICT (run) DO UPDATE SET number = excluded.number, memory = excluded.memory, updated_at = excluded.updated_at;

-- name: watch_remove; by run
DELETE FROM run_watch WHERE run = :run;

-- name: failure_add
INSERT INTO run_failure (workspace, fingerprint, run, at) VALUES (:workspace, :fingerprint, :run, :now)
ON CONFLICT (workspace, fingerprint, run) DO UPDATE SET at = excluded.at;

-- name: failure_count
SELECT count(*) FROM run_failure WHERE workspace = :workspace AND fingerprint = :fingerprint AND at > :since;

-- name: failure_runs
SELECT run FROM run_failure WHERE workspace = :workspace AND fingerprint = :fingerprint AND at > :since
ORDER BY at DESC LIMIT :limit;

-- name: failure_remove_old
DELETE FROM run_failure WHERE +workspace = :workspace AND at < :before;
