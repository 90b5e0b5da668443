"""Filters that take one of a few words: another word is a mistake, and never the answer "nothing"."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from agentmemo import InvalidInput
from agentmemo.crashpoints import POINTS
from agentmemo.engine import handlers
from agentmemo.engine.audit import EVENTS
from agentmemo.model import escalations, handoffs, runs

promise = pytest.mark.promise
MISTYPED = [
    (lambda a: a.runs.list(state="bogus"), "pending, running, waiting, completed, failed, cancelled, unfinished"),
    (lambda a: a.audit.events(outcome="bogus"), "ok, denied, failed"),
    (lambda a: a.audit.events(type="state.sat"), "state.delete, state.diff, state.expire"),
    (lambda a: a.audit.events(type="nosuch.*"), "run.*"),
    (lambda a: a.ledger.list(role="bogus"), "design, execute, verify"),
    (lambda a: a.ledger.list(state="bogus"), "reserved, settled, unknown, void"),
    (lambda a: a.ledger.totals("bogus"), "model, workflow, agent, role, day"),
    (lambda a: a.webhooks.deliveries(state="bogus"), "sending, delivered, failed"),
    (lambda a: a.workflows.list(state="bogus"), "draft, shadow, canary, active, retired"),
    (lambda a: a.workflows.executions(state="bogus"), "unfinished"),
    (lambda a: a.runs.steps("run_1", state="bogus"), "started, completed, failed, in_doubt"),
    (lambda a: a.runs.notes("run_1", kind="bogus"), "decision, finding, tried"),
    (lambda a: a.escalations.list(state="bogus"), "superseded, undelivered"),
    (lambda a: a.inbox.list(severity="bogus"), "critical, high, medium, low"),
    (lambda a: a.inbox.list(kind="bogus"), "approval, question"),
]


@promise("input.refused")
def test_a_mistyped_filter_is_refused_with_the_words_there_are(agent):
    for ask, valid in MISTYPED:
        with pytest.raises(InvalidInput, match="Unknown") as caught:
            ask(agent)
        assert valid in caught.value.next_call


@promise("input.refused")
def test_every_type_of_event_can_be_asked_for():
    """Whatever is written like an operation in the engine is one, a type of event, or no event at all."""
    sources = Path(handlers.__file__).parent.rglob("*.py")
    written = {name for source in sources for name in re.findall(r'"([a-z]+\.[a-z_]+)"', source.read_text())}
    others = {"agentmemo.presence", "agentmemo.upkeep", "retry.first_delay_seconds", "retry.max_delay_seconds"}
    acts = {f"run.{act}" for _, act in runs.RUN_TRANSITIONS}
    acts |= {f"handoff.{act}" for _, act in handoffs.TRANSITIONS} | {f"note.{kind}" for kind in runs.NOTE_KINDS}
    acts |= {f"escalation.{act}" for _, act in escalations.TRANSITIONS if act not in {"vote", "acknowledge"}}
    assert (written | acts) - others - set(POINTS) <= EVENTS
