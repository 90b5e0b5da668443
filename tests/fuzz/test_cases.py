"""A short form of `make torture API=50000`: the server keeps to its description, over calls that follow each other."""

from __future__ import annotations

import pytest
from cases import SETTINGS, SHOWN, Cases
from served import Server

# Nouns whose operations lead to each other.
NAMES = [
    "worker.register", "run.start", "run.park", "run.get", "step.start", "step.complete", "run.signal",
    "handoff.create", "handoff.claim", "handoff.complete", "escalation.create", "inbox.answer", "ledger.reserve",
    "ledger.settle", "policy.set", "policy.get", "workflow.create", "workflow.start", "workflow.begin",
    "workflow.submit", "workflow.attempts", "state.set", "state.list", "key.create", "key.revoke",
]  # fmt: skip


@pytest.fixture
def cases(tmp_path, chance):
    server = Server(tmp_path / "agentmemo.db", **SETTINGS)
    try:
        yield Cases(server, tmp_path / "agentmemo.db", chance.randrange(10**9))
    finally:
        _, said = server.stop()
    assert said[-SHOWN:] == ""


def test_the_server_keeps_to_its_description_over_many_calls(cases):
    for number in range(2):
        cases.round(number, 1, NAMES)
    assert not cases.faults, cases.faults
    assert sum(count for (_, status), count in cases.answers.items() if status == 200) > 10
