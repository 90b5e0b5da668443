-- The ledger: what model calls cost, and the caps on it.

-- name: usage_get; by handle; id first
SELECT id, handle, digest, state, role, agent, workflow, version, run, step, attempt, rung, epoch, model, model_served,
    input_max, output_max, input_tokens, cached_input_tokens, cache_write_tokens, output_tokens, price, served_price,
    worst_nanousd, nanousd, counted_nanousd, source, request_id, outcome, at, ended_at
FROM usage WHERE handle = :handle AND workspace = :workspace;

-- name: usage_handles
SELECT handle FROM usage WHERE +workspace = :workspace AND handle >= :low AND handle < :high LIMIT 2;

-- name: usage_list
SELECT id, handle, digest, state, role, agent, workflow, version, run, step, attempt, rung, epoch, model, model_served,
    input_max, output_max, input_tokens, cached_input_tokens, cache_write_tokens, output_tokens, price, served_price,
    worst_nanousd, nanousd, counted_nanousd, source, request_id, outcome, at, ended_at
FROM usage
WHERE id > :low AND id < :before
    AND (workflow = :workflow OR :workflow IS NULL)
    AND (agent = :agent OR :agent IS NULL)
    AND (model = :model OR model_served = :model OR :model IS NULL)
    AND (role = :role OR :role IS NULL)
    AND (state = :state OR :state IS NULL)
    AND at >= :since AND at < :until
ORDER BY id DESC LIMIT :limit;

-- name: usage_list_of_run
SELECT id, handle, digest, state, role, agent, workflow, version, run, step, attempt, rung, epoch, model, model_served,
    input_max, output_max, input_tokens, cached_input_tokens, cache_write_tokens, output_tokens, price, served_price,
    worst_nanousd, nanousd, counted_nanousd, source, request_id, outcome, at, ended_at
FROM usage
WHERE run = :run AND +workspace = :workspace AND id < :before
    AND (workflow = :workflow OR :workflow IS NULL)
    AND (agent = :agent OR :agent IS NULL)
    AND (model = :model OR model_served = :model OR :model IS NULL)
    AND (role = :role OR :role IS NULL)
    AND (state = :state OR :state IS NULL)
    AND at >= :since AND at < :until
ORDER BY id DESC LIMIT :limit;

-- name: usage_add; by id, handle
INSERT INTO usage (id, handle, workspace, digest, state, role, agent, workflow, version, run, step, attempt, rung, epoch,
    model, model_served, input_max, output_max, input_tokens, cached_input_tokens, cache_write_tokens, output_tokens,
    price, served_price, worst_nanousd, nanousd, counted_nanousd, source, request_id, outcome, at, ended_at)
VALUES (:id, :handle, :workspace, :digest, :state, :role, :agent, :workflow, :version, :run, :step, :attempt, :rung,
    :epoch, :model, :model_served, :input_max, :output_max, :input_tokens, :cached_input_tokens, :cache_write_tokens,
    :output_tokens, :price, :served_price, :worst_nanousd, :nanousd, :counted_nanousd, :source, :request_id, :outcome,
    :at, :ended_at);

-- name: usage_end; by id
UPDATE usage SET state = :state, model_served = :model_served, input_tokens = :input_tokens,
    cached_input_tokens = :cached_input_tokens, cache_write_tokens = :cache_write_tokens, output_tokens = :output_tokens,
    served_price = :served_price, nanousd = :nanousd, counted_nanousd = :counted_nanousd, source = :source,
    request_id = :request_id, outcome = :outcome, ended_at = :ended_at
WHERE id = :id AND state = 'reserved';

-- name: usage_reserved_of_run
SELECT handle FROM usage WHERE run = :run AND +workspace = :workspace AND state = 'reserved' AND epoch < :epoch
ORDER BY id;

-- name: usage_lapsed
SELECT workspace, handle FROM usage
WHERE state = 'reserved' AND at < :now - 86400000000 AND (workspace = :workspace OR :workspace IS NULL)
ORDER BY at LIMIT :limit;

-- name: usage_of_step
SELECT CAST(coalesce(sum(counted_nanousd), 0) AS BIGINT) FROM usage
WHERE run = :run AND +workspace = :workspace AND step = :step;

-- name: usage_set_aside
SELECT CAST(coalesce(sum(counted_nanousd), 0) AS BIGINT),
    CAST(coalesce(sum(input_max + output_max), 0) AS BIGINT)
FROM usage WHERE run = :run AND +workspace = :workspace AND state = 'reserved';

-- name: usage_sum
SELECT CAST(coalesce(sum(counted_nanousd), 0) AS BIGINT),
    CAST(coalesce(sum(coalesce(input_tokens + output_tokens, input_max + output_max)), 0) AS BIGINT)
FROM usage
WHERE workspace = :workspace AND at >= :since AND at < :until AND state <> 'void'
    AND (workflow = :workflow OR :workflow IS NULL)
    AND (run = :run OR :run IS NULL)
    AND (agent = :agent OR :agent IS NULL);

-- name: usage_totals
SELECT CASE :by WHEN 'model' THEN coalesce(model_served, model) WHEN 'workflow' THEN coalesce(workflow, '')
        WHEN 'role' THEN role WHEN 'agent' THEN CAST(agent AS TEXT) ELSE CAST(at / 86400000000 AS TEXT) END AS name,
    count(*), CAST(coalesce(sum(nanousd), 0) AS BIGINT),
    CAST(coalesce(sum(CASE WHEN nanousd IS NULL THEN counted_nanousd END), 0) AS BIGINT),
    CAST(sum(CASE WHEN counted_nanousd IS NULL THEN 1 ELSE 0 END) AS BIGINT),
    CAST(coalesce(sum(input_tokens), 0) AS BIGINT), CAST(coalesce(sum(cached_input_tokens), 0) AS BIGINT),
    CAST(coalesce(sum(cache_write_tokens), 0) AS BIGINT), CAST(coalesce(sum(output_tokens), 0) AS BIGINT)
FROM usage
WHERE workspace = :workspace AND at >= :since AND at < :until AND state <> 'void'
    AND (workflow = :workflow OR :workflow IS NULL)
    AND (run = :run OR :run IS NULL)
    AND (agent = :agent OR :agent IS NULL)
GROUP BY 1 ORDER BY 1 LIMIT :limit;

-- name: usage_by_role
SELECT role, CAST(coalesce(sum(counted_nanousd), 0) AS BIGINT), count(DISTINCT coalesce(run, handle)),
    CAST(sum(CASE WHEN counted_nanousd IS NULL THEN 1 ELSE 0 END) AS BIGINT)
FROM usage
WHERE workspace = :workspace AND workflow = :workflow AND (version = :version OR :version IS NULL)
    AND at >= :since AND at < :until AND state <> 'void'
GROUP BY role;

-- Runs that models worked on, and those that the plane completed without one; and how many were completed.
-- name: usage_runs
SELECT count(*), CAST(coalesce(sum(CASE WHEN r.state = 'completed' THEN 1 ELSE 0 END), 0) AS BIGINT)
FROM (
    SELECT coalesce(run, handle) AS made FROM usage
    WHERE workspace = :workspace AND workflow = :workflow AND (version = :version OR :version IS NULL)
        AND at >= :since AND at < :until AND role = 'execute' AND state <> 'void'
    UNION
    SELECT carried.handle FROM execution e JOIN run carried ON carried.id = e.run
    WHERE e.workspace = :workspace AND e.workflow = :workflow AND (e.version = :version OR :version IS NULL)
        AND e.driver = 'plane' AND carried.state = 'completed'
        AND carried.finished_at >= :since AND carried.finished_at < :until) m
LEFT JOIN run r ON r.handle = m.made;

-- What equal calls used is counted once, with how many they were: a tier and a cache are each call's own.
-- name: usage_of_execution
SELECT at / 86400000000 AS day, input_tokens, cached_input_tokens, cache_write_tokens, output_tokens, count(*)
FROM usage
WHERE workspace = :workspace AND workflow = :workflow AND (version = :version OR :version IS NULL)
    AND at >= :since AND at < :until AND role = 'execute' AND input_tokens IS NOT NULL
GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 3, 4, 5;

-- name: usage_pairs
SELECT CAST(sum(CASE WHEN role = 'execute' THEN nanousd ELSE 0 END) AS BIGINT),
    CAST(sum(CASE WHEN role = 'audit' THEN nanousd ELSE 0 END) AS BIGINT)
FROM usage
WHERE workspace = :workspace AND workflow = :workflow AND (version = :version OR :version IS NULL)
    AND at >= :since AND at < :until AND run IS NOT NULL AND role IN ('execute', 'audit') AND state <> 'void'
GROUP BY run, step
HAVING count(DISTINCT role) = 2 AND sum(CASE WHEN nanousd IS NULL THEN 1 ELSE 0 END) = 0
ORDER BY run, step;

-- name: usage_designer
SELECT model FROM usage WHERE workspace = :workspace AND workflow = :workflow AND role = 'design' AND state <> 'void'
ORDER BY id DESC LIMIT 1;

-- name: ledger_cap_set
INSERT INTO ledger_cap (workspace, scope, per, nanousd, author, at)
VALUES (:workspace, :scope, :per, :nanousd, :author, :now)
ON CONFLICT (workspace, scope, per) DO UPDATE SET nanousd = excluded.nanousd, author = excluded.author,
    at = excluded.at;

-- name: ledger_cap_remove
DELETE FROM ledger_cap WHERE workspace = :workspace AND scope = :scope AND per = :per;

-- name: ledger_cap_list
SELECT scope, per, nanousd, author, at FROM ledger_cap
WHERE workspace = :workspace AND (scope > :scope OR (scope = :scope AND per > :per))
ORDER BY scope, per LIMIT :limit;

-- name: ledger_cap_of
SELECT scope, per, nanousd, author, at FROM ledger_cap
WHERE workspace = :workspace AND scope IN ('workspace', :agent, :workflow, :run) ORDER BY scope, per;

-- name: ledger_spent_get
SELECT nanousd, tokens FROM ledger_spent
WHERE workspace = :workspace AND scope = :scope AND per = :per AND period = :period;

-- name: ledger_spent_begin
INSERT INTO ledger_spent (workspace, scope, per, period, nanousd, tokens)
VALUES (:workspace, :scope, :per, :period, :nanousd, :tokens)
ON CONFLICT (workspace, scope, per, period) DO NOTHING;

-- name: ledger_spent_change
UPDATE ledger_spent SET nanousd = nanousd + :nanousd, tokens = tokens + :tokens
WHERE workspace = :workspace AND scope IN ('workspace', :agent, :workflow, :run)
    AND period IN ('', :day, :month);

-- name: ledger_spent_remove_run
DELETE FROM ledger_spent WHERE workspace = :workspace AND scope = :scope;

-- name: run_charge; by handle
UPDATE run SET tokens = tokens + :tokens, nanousd = nanousd + :nanousd
WHERE handle = :handle AND workspace = :workspace AND wake IS NOT NULL;
