-- So that what is asked for is found however much else there is. A row's id follows in each index by itself.
-- None begins with the workspace, by which alone they would be taken for anything.

DROP INDEX run_unfinished;
CREATE INDEX run_state ON run (state, workspace);
CREATE INDEX run_name ON run (name, workspace, state);
CREATE INDEX run_agent ON run (agent, state);
-- What rests changes seldom; what is running is few, and changes with every step.
CREATE INDEX run_resting ON run (workspace, updated_at) WHERE wake IS NOT NULL AND state <> 'running';
CREATE INDEX run_overdue ON run (workspace, overdue_at) WHERE wake IS NOT NULL AND overdue_at IS NOT NULL;
DROP INDEX run_finished;
CREATE INDEX run_finished ON run (workspace, finished_at) WHERE finished_at IS NOT NULL AND pruned = 0;

CREATE INDEX step_in_order ON step (run);
CREATE INDEX step_unfinished ON step (run, state) WHERE state <> 'completed';
DROP INDEX note_run;
CREATE INDEX note_in_order ON note (run);
CREATE INDEX note_kind ON note (run, kind);
CREATE INDEX note_key ON note (run, kind, key) WHERE key IS NOT NULL;
CREATE INDEX signal_blob ON signal (blob) WHERE blob IS NOT NULL;

CREATE INDEX handoff_state ON handoff (state, workspace);
CREATE INDEX handoff_address ON handoff (address, workspace);
CREATE INDEX handoff_sender ON handoff (sender);
CREATE INDEX escalation_state ON escalation (state, workspace);
CREATE INDEX escalation_run ON escalation (run) WHERE run IS NOT NULL;

DROP INDEX request_at;
CREATE INDEX request_age ON request (workspace, at);
