"""A store begins empty, and its plans are kept: they must still be good when it has grown."""

from __future__ import annotations

import psycopg
from stand import until

from agentmemo.store.postgres import ANALYZE_AFTER

TASKS = 400
LOOKS = 50
# What a call on one run may touch on average, indexes included; with a plan from the first moments it is all of them.
ROWS_EACH = 40
TABLES = ["run", "step"]
TOUCHED = """
SELECT (SELECT coalesce(sum(seq_tup_read), 0) FROM pg_stat_user_tables WHERE relname = ANY(%s))::bigint
    + (SELECT coalesce(sum(idx_tup_read), 0) FROM pg_stat_user_indexes WHERE relname = ANY(%s))::bigint
"""


ANALYZED = "SELECT coalesce(min(analyze_count), 0) FROM pg_stat_user_tables WHERE relname = ANY(%s)"


def asked(postgres, query, *parameters):
    with psycopg.connect(postgres.url("tests"), autocommit=True) as connection:
        return connection.execute(query, parameters).fetchone()[0]


def touched(postgres):
    return asked(postgres, TOUCHED, TABLES, TABLES)


def analyzed(postgres):
    return asked(postgres, ANALYZED, TABLES)


def test_plans_made_while_it_was_empty_do_not_stay(stand, postgres):
    before = touched(postgres)
    plane = stand.plane(postgres_writers=1, postgres_readers=1)
    agent = stand.agent_on(plane)
    known = analyzed(postgres)
    runs = [agent.start("task", key=str(number)).id for number in range(ANALYZE_AFTER)]
    # The plane has this done beside the work; when a busy machine comes to it is nobody's promise.
    until(lambda: analyzed(postgres) > known)
    runs += [agent.start("task", key=str(number)).id for number in range(ANALYZE_AFTER, TASKS)]
    # Each row changes a few times only: how soon PostgreSQL forgets dead versions depends on the machine's load.
    for number in range(LOOKS):
        with agent.run("job", str(number)) as run:
            run.step("first", lambda: 1)
    for number in range(LOOKS):
        assert agent.start("task", key=str(number)).id == runs[number]
        assert agent.runs.get(runs[number]).state == "pending"
        agent.runs.signal(runs[number], "go", number)
        with agent.run("job", str(number)) as again:
            assert again.step("first", lambda: 2) == 1
    # A session says what it has read when it ends.
    plane.close()
    rows = touched(postgres) - before
    calls = TASKS + 8 * LOOKS
    assert rows < calls * ROWS_EACH, f"{rows / calls:.0f} rows for each call"
