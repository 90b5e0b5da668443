"""A short form of `make torture API=50000`: the server keeps to its description, and every operation can succeed."""

from __future__ import annotations

import pytest
from cases import NEVER, NOT_CALLED, SETTINGS, SHOWN, Cases
from served import Server

from agentmemo.api.operations import BY_NAME

# Nouns whose operations lead to each other.
NAMES = [
    "worker.register", "run.start", "run.park", "run.get", "step.start", "step.complete", "run.signal",
    "handoff.create", "handoff.claim", "handoff.complete", "escalation.create", "inbox.answer", "ledger.reserve",
    "ledger.settle", "policy.set", "policy.get", "workflow.create", "workflow.start", "workflow.begin",
    "workflow.submit", "workflow.attempts", "state.set", "state.list", "key.create", "key.revoke",
]  # fmt: skip
# Of the others the long run looks at the borders.
BORDERED = ["state.watch", "ledger.reserve"]


@pytest.fixture
def cases(tmp_path, chance):
    server = Server(tmp_path / "agentmemo.db", **SETTINGS)
    made = Cases(server, tmp_path / "agentmemo.db", chance.randrange(10**9))
    try:
        yield made
    finally:
        made.close()
        _, said = server.stop()
    assert said[-SHOWN:] == ""


def test_the_server_keeps_to_its_description_over_many_calls(cases):
    cases.round(0, 1, NAMES)
    cases.borders(BORDERED)
    assert not cases.faults, cases.faults
    assert sum(count for (_, status), count in cases.answers.items() if status == 200) > 10


def test_every_operation_has_a_request_that_succeeds(cases):
    """So that what long runs send is work, and not one refusal after the other; whatever limits were set by chance."""
    cases._hands().call("handoff.limit", to="agent:reviewer", concurrency=1)
    refused = {name: cases.last[name] for name in BY_NAME if name not in NOT_CALLED and not _succeeds(cases, name)}
    assert set(refused) == NEVER, refused
    assert not cases.faults, cases.faults


def _succeeds(cases, name):
    return cases.succeed(name).status_code == 200
