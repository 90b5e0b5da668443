"""What the schema promises of handoffs: who may see them after an upgrade, and which looks have their index."""

from __future__ import annotations

import re

import apsw
import msgspec
import pytest

from agentmemo.model.access import AGENT_DEFAULT
from agentmemo.model.values import encode_sorted
from agentmemo.store import queries

OF_THEN = ["state:*", "runs:read", "runs:write", "audit:read", "system:read"]
PARAMETER = re.compile(r":(\w+)")


def grant(permissions, namespaces=("*",)):
    return encode_sorted([{"permissions": permissions, "namespaces": namespaces}]).decode()


WIDENING = r"UPDATE credential .*?;"


@pytest.fixture
def store():
    connection = apsw.Connection(":memory:")
    connection.execute(queries.migrations("sqlite")[0][1])
    yield connection
    connection.close()


def migrate(store):
    """To the newest, in the steps that an old store takes."""
    for _, script in queries.migrations("sqlite")[1:]:
        store.execute(script)


def test_only_keys_with_the_default_of_then_get_what_is_new(store):
    given = {
        "default": ("agent", grant(OF_THEN)),
        "part": ("agent", grant(["runs:read", "runs:write", "audit:read"])),
        "place": ("agent", grant(OF_THEN, ["team/*"])),
        "two": ("agent", encode_sorted([msgspec.to_builtins(AGENT_DEFAULT), {"permissions": OF_THEN}]).decode()),
        "person": ("person", grant(OF_THEN)),
    }
    for name, (kind, grants) in given.items():
        store.execute(
            "INSERT INTO credential VALUES (?, 1, ?, 1, x'00', '', ?, 0, NULL, NULL, NULL)", (name, kind, grants)
        )
    migrate(store)
    found = dict(store.execute("SELECT id, grants FROM credential"))
    assert found.pop("default") == encode_sorted([AGENT_DEFAULT]).decode()
    assert found == {name: grants for name, (_, grants) in given.items() if name != "default"}


def test_both_databases_widen_the_same_keys():
    widening = [
        [found[0] for _, script in queries.migrations(name) if (found := re.search(WIDENING, script, re.DOTALL))]
        for name in ("sqlite", "postgres")
    ]
    assert widening[0] == widening[1]
    assert len(widening[0]) >= 2


@pytest.mark.parametrize(
    ("query", "indexes"),
    [
        ("handoff_list_escalated", ["handoff_escalated"]),
        ("handoff_attention", ["handoff_escalated"]),
        ("handoff_count_by_state", ["handoff_offered", "handoff_worker", "handoff_aside", "handoff_ended"]),
        ("handoff_prunable", ["handoff_ended"]),
    ],
)
def test_looks_that_everybody_makes_read_no_tombstones(store, query, indexes):
    migrate(store)
    text = queries.load("sqlite")[query].sql
    plan = store.execute(f"EXPLAIN QUERY PLAN {text}", dict.fromkeys(PARAMETER.findall(text), 1))
    used = [
        found[1] for _, _, _, step in plan if (found := re.search(r"handoff USING (?:COVERING )?INDEX (\w+)", step))
    ]
    assert used == indexes
