-- Whoever waits for a run is woken by its end, the run's parent or not.

CREATE INDEX run_joining ON run (waiting_for) WHERE wake = 'child';
