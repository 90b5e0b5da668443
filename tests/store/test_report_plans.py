"""A report reads its window, never the whole history: each of its queries walks an index. So does what pages count."""

from __future__ import annotations

import apsw
import pytest

from agentmemo.store import queries

REPORTS = {name: query.sql for name, query in queries.load("sqlite").items() if name.startswith("report_")}
VALUES = {"workspace": 1, "since": 1, "until": 2, "late": 80, "limit": 10}
TABLES = {"escalation", "escalation_vote", "e", "v", "run", "r", "step", "s", "guarded"}


@pytest.fixture(scope="module")
def file():
    connection = apsw.Connection(":memory:")
    for _, script in queries.migrations("sqlite"):
        connection.execute(script)
    yield connection
    connection.close()


@pytest.mark.parametrize("name", REPORTS)
def test_a_report_walks_an_index(file, name):
    plan = [row[3] for row in file.execute(f"EXPLAIN QUERY PLAN {REPORTS[name]}", VALUES)]
    assert [row for row in plan if row.startswith("SCAN") and row.split()[1] in TABLES] == []
    assert any(row.startswith("SEARCH") for row in plan)
    print("\n".join(plan))  # noqa: T201 - reported


def test_what_is_open_is_counted_beside_any_number_that_ended(file):
    """Every page of the console says how many there are."""
    query = queries.load("sqlite")["escalation_count_open"].sql
    plan = [row[3] for row in file.execute(f"EXPLAIN QUERY PLAN {query}", VALUES)]
    assert plan == ["SEARCH escalation USING INDEX escalation_open (workspace=?)"]
