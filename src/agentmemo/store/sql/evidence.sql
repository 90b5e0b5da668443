-- Evidence: candidates (who at what), what counts of each kind of input, and comparisons.

-- name: evidence_get
SELECT id, subject, source, model, served, workflow, step, standing, reasons, since, last_at, successes, failures,
    abstained, inputs, tested_successes, tested_failures, trials, planned, watch, above, called, calls,
    input_tokens, output_tokens
FROM evidence
WHERE workspace = :workspace AND subject = :subject AND source = :source AND model = :model AND served = :served;

-- name: evidence_of_subject
SELECT id, subject, source, model, served, workflow, step, standing, reasons, since, last_at, successes, failures,
    abstained, inputs, tested_successes, tested_failures, trials, planned, watch, above, called, calls,
    input_tokens, output_tokens
FROM evidence WHERE workspace = :workspace AND subject = :subject ORDER BY last_at DESC, id DESC;

-- name: evidence_by_id
SELECT id, subject, source, model, served, workflow, step, standing, reasons, since, last_at, successes, failures,
    abstained, inputs, tested_successes, tested_failures, trials, planned, watch, above, called, calls,
    input_tokens, output_tokens
FROM evidence WHERE id = :id;

-- name: evidence_add
INSERT INTO evidence (workspace, subject, source, model, served, workflow, step, standing, reasons, since, last_at,
    successes, failures, abstained, inputs, tested_successes, tested_failures, trials, planned, watch, above,
    called, calls, input_tokens, output_tokens)
VALUES (:workspace, :subject, :source, :model, :served, :workflow, :step, :standing, :reasons, :since, :last_at,
    :successes, :failures, :abstained, :inputs, :tested_successes, :tested_failures, :trials, :planned, :watch,
    :above, :called, :calls, :input_tokens, :output_tokens);

-- name: evidence_set; by id
UPDATE evidence SET
   workflow = :workflow, step = :step, standing = :standing, reasons = :reasons, since = :since, last_at = :last_at,
    successes = :successes, failures = :failures, abstained = :abstained, inputs = :inputs,
    tested_successes = :tested_successes, tested_failures = :tested_failures, trials = :trials, planned = :planned,
    watch = :watch, above = :above, called = :called, calls = :calls, input_tokens = :input_tokens,
    output_tokens = :output_tokens
WHERE id = :id;

-- name: evidence_input_get
SELECT successes, failures FROM evidence_input WHERE evidence = :evidence AND input_hash = :input_hash;

-- name: evidence_input_add
INSERT INTO evidence_input (evidence, input_hash, successes, failures)
VALUES (:evidence, :input_hash, :successes, :failures)
ON CONFLICT (evidence, input_hash) DO UPDATE SET successes = evidence_input.successes + excluded.successes,
    failures = evidence_input.failures + excluded.failures;

-- Inputs of the same counts are one row: there are few kinds.
-- name: evidence_input_kinds
SELECT successes, failures, count(*) FROM evidence_input WHERE evidence = :evidence GROUP BY successes, failures
ORDER BY successes, failures;

-- name: evidence_input_remove
DELETE FROM evidence_input WHERE evidence = :evidence;

-- name: evidence_edge_add
INSERT INTO evidence_edge (evidence, edge, times) VALUES (:evidence, :edge, 1)
ON CONFLICT (evidence, edge) DO UPDATE SET times = evidence_edge.times + 1;

-- name: evidence_edges
SELECT edge, times FROM evidence_edge WHERE evidence = :evidence ORDER BY edge;

-- name: evidence_edge_remove
DELETE FROM evidence_edge WHERE evidence = :evidence;

-- name: evidence_promoted
SELECT workspace, id FROM evidence
WHERE standing = 'qualified' AND above <> '' AND source = 'plane' AND id > :after ORDER BY id LIMIT :limit;

-- name: comparison_add
INSERT INTO comparison
    (workspace, run, path, role, number, evidence, model, version, frames, input_hash, verdict, reason, at)
VALUES
    (:workspace, :run, :path, :role, :number, :evidence, :model, :version, :frames, :input_hash, :verdict, :reason, :at)
ON CONFLICT (run, path, role) DO NOTHING;

-- name: comparison_get
SELECT id, run, path, role, number, evidence, model, version, frames, input_hash, verdict, reason, at
FROM comparison WHERE run = :run AND path = :path AND role = :role;

-- name: comparison_end; by id
UPDATE comparison SET verdict = :verdict, reason = :reason, at = :at WHERE id = :id AND verdict = 'due';

-- name: comparison_remove
DELETE FROM comparison WHERE run = :run;

-- name: attempts_at
SELECT id, path, step, step_hash, number, rung, first_rung, model, served_model, verdict, problems, input_hash,
    reservation, checks, at
FROM execution_attempt WHERE run = :run AND path = :path ORDER BY id;

-- name: workflow_version_state
SELECT v.state FROM workflow_version v JOIN workflow w ON w.id = v.workflow
WHERE w.workspace = :workspace AND w.name = :name AND v.version = :version;
