"""What a transaction answers, the same over every surface."""

from __future__ import annotations

import pytest

from agentmemo.errors import InvalidInput
from agentmemo.model.runs import BufferedCall
from agentmemo.model.system import RunTransaction


@pytest.mark.promise("state.transaction")
def test_a_transaction_leaves_no_gap_in_the_revisions(agent):
    with agent.transaction() as tx:
        tx.state.set("facts", "a", 1)
        tx.state.set("facts", "b", 2)
    assert tx.revision == tx.results[-1].revision
    assert agent.state.set("facts", "c", 3).revision == tx.revision + 1
    assert agent.audit.verify().intact


@pytest.mark.promise("state.transaction")
def test_results_have_the_types_that_the_calls_have_outside(agent):
    with agent.run("job", "1") as run:
        pass
    with agent.transaction() as tx:
        tx.state.set("facts", "a", {"deep": [1]})
        tx.state.delete("facts", "a")
        tx.runs.note(run.id, "finding", "it is there")
    made, removed, note = tx.results
    assert (made.version, made.value, removed.version, removed.deleted) == (1, {"deep": [1]}, 2, True)
    assert (note.kind, note.text) == ("finding", "it is there")


@pytest.mark.promise("state.transaction")
def test_the_call_that_does_not_fit_is_named(agent):
    fits = BufferedCall(operation="state.delete", request={"namespace": "facts", "key": "a"})
    short = BufferedCall(operation="handoff.decline", request={})
    with pytest.raises(InvalidInput, match=r"`calls\[1\]`, handoff\.decline: .*missing required field `handoff`"):
        agent._plane.call(RunTransaction(calls=[fits, short]))
