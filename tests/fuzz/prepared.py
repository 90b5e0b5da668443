"""What an operation needs to find something to work on: made before its request, and named to it.

Most find it by the links that the description has. These need a state that one answer alone does not lead to.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import msgspec

import agentmemo
from agentmemo import ids
from agentmemo.api.operations import BY_NAME
from agentmemo.model.access import Claim
from agentmemo.testing.models import ScriptedModels

HOUR_US = 3_600_000_000
PERSON, AGENT = "person", "agent"
CLAIM = "header.AgentMemo-Claim"
MODEL = "claude-sonnet-4-5"
# Priced, so that no cap stands in their way.
SMALL, LARGE = "claude-haiku-4-5", "claude-sonnet-4-5"
USED = {"input_tokens": 900, "output_tokens": 120}
WORKFLOW = {
    "designed_by": "claude",
    "steps": [
        {
            "id": "route",
            "instruction": "Which of them is it: {$inputs.text}",
            "input": {"text": "$inputs.text"},
            "output_schema": {"enum": ["card", "other"]},
            "attempts": 1,
        }
    ],
    "ladder": [SMALL, LARGE],
    "quality": {"step_bar": 0.6, "run_bar": 0.6, "min_runs": 1},
}
CASE = {"step": "route", "input": {"inputs": {"text": "Where is it?"}}, "expected": "card"}
SAFE = {"reversible": True}
# How often a rule is used until one use is listed for people; one in twenty is.
USES_MAX = 300


class Given(NamedTuple):
    """Where a request says what it is about, as links say it; fields of its body; and who may send it."""

    parameters: dict[str, Any]
    fields: Mapping[str, Any] = MappingProxyType({})
    by: str | None = None  # a person, where nothing else is said


class Hands:
    """A person and the agent that the examples name, who make what others are to find."""

    numbers = itertools.count(time.time_ns())

    def __init__(self, url: str, person_key: str, agent_key: str) -> None:
        self.person = agentmemo.connect(url, key=person_key)
        self.agent = agentmemo.connect(url, key=agent_key)

    def close(self) -> None:
        self.person.close()
        self.agent.close()

    def fresh(self, word: str = "k") -> str:
        return f"{word}-{next(self.numbers)}"

    def call(self, done: str, /, *, by: str = PERSON, claim: Claim | None = None, **fields: Any) -> Any:
        operation = BY_NAME[done]
        connection = self.person if by == PERSON else self.agent
        request = msgspec.convert(fields, operation.request)
        return connection._plane.transport.call(operation, request, claim=claim)

    def make_way(self) -> None:
        """Take away what was set by chance and may stand in the way of any preparation: limits, caps, rules."""
        for limit in list(self.person.handoff.limits()):
            self.call("handoff.limit", to=limit.to)
        for cap in list(self.person.ledger.caps()):
            self.call("ledger.cap", scope=cap.scope, per=cap.per, nanousd=None)
        for policy in list(self.person.policies.list()):
            self.call("policy.delete", kind=policy.kind, name=policy.name)

    def usage(self) -> str:
        return ids.mint("use", next(self.numbers) // 1000)

    def run(self) -> Any:
        """A run that is held, and by whom."""
        worker = self.call("worker.register").id
        return self.call("run.start", name="nightly", key=self.fresh(), worker=worker).run

    def question(self, **more: Any) -> str:
        asked = {"severity": "low", "reason": "May I?", "suggested_actions": [{"id": "go_on", "label": "Go on"}]}
        return self.call("escalation.create", by=AGENT, key=self.fresh(), **(asked | more)).id  # type: ignore[no-any-return]

    def handed(self, **more: Any) -> Any:
        """A handoff that the agent has claimed."""
        made = self.call("handoff.create", to_agent="reviewer", goal="Look at it.", key=self.fresh(), **more)
        return self.call("handoff.claim", by=AGENT, handoff=made.id).handoffs[0]

    def workflow(self) -> str:
        return self.call("workflow.create", by=AGENT, document=WORKFLOW | {"name": self.fresh("w")}).name  # type: ignore[no-any-return]

    def model_call(self) -> str:
        reserved = self.call("ledger.reserve", id=self.usage(), model=MODEL, input_tokens=900, max_output_tokens=400)
        return reserved.id  # type: ignore[no-any-return]

    def shown(self) -> str:
        """A workflow that a model of a script has done: the name."""
        name = self.workflow()
        self.agent.workflows.use(ScriptedModels({SMALL: lambda _: "card", LARGE: lambda _: "card"}))
        self.agent.workflows.trial(name, [CASE])
        return name

    def precedent(self) -> str:
        """A person has said yes to the same call three times: the precedent's id."""
        tool = self.fresh("label")
        for number in range(3):
            arguments = {"issue": number}
            decided = self.call("guard.check", by=AGENT, tool=tool, arguments=arguments, annotations=SAFE)
            action = {"tool": tool, "arguments": arguments}
            asked = self.question(kind="approval", context="x", action=action, guard=decided.revision)
            self.call("inbox.answer", escalation=asked, decision="approve", comment="As ever.")
        return next(each["id"] for each in self.call("guard.precedents").items if each["tool"] == tool)  # type: ignore[no-any-return]


def held_run(hands: Hands) -> Given:
    run = hands.run()
    return Given({"path.run": run.id, CLAIM: f"{run.id}@{run.epoch}"})


def held_step(hands: Hands, effect: str = "write") -> Given:
    given = held_run(hands)
    run, epoch = given.parameters[CLAIM].split("@")
    step = {"run": run, "name": "fetch", "key": "1"}
    hands.call("step.start", effect=effect, claim=Claim(run=run, epoch=int(epoch)), **step)
    return Given({**given.parameters, "path.name": "fetch", "path.key": "1"})


def forkable_run(hands: Hands) -> Given:
    return Given({"path.run": hands.run().id}, {"key": hands.fresh()})


def own_run(hands: Hands) -> Given:
    """It was parked, and what it waited for has come."""
    run = hands.run()
    wait = {"name": "wait", "key": "1", "kind": "signal", "signal": "approved"}
    hands.call("run.park", run=run.id, claim=Claim(run=run.id, epoch=run.epoch), **wait)
    hands.call("run.signal", run=run.id, name="approved")
    return Given({"path.run": run.id}, {"epoch": run.epoch, "worker": run.worker})


def doubtful_run(hands: Hands) -> Given:
    """Its worker is gone in the midst of a write, so a person has to say what happened."""
    given = held_step(hands, "irreversible").parameters
    run = hands.call("run.get", run=given["path.run"])
    hands.call("worker.stop", worker=run.worker)
    taken = hands.call("run.start", name=run.name, key=run.key, worker=hands.call("worker.register").id).run
    asks = {"name": "fetch", "key": "1", "kind": "person", "question": "in_doubt"}
    hands.call("run.park", run=run.id, claim=Claim(run=run.id, epoch=taken.epoch), **asks)
    return Given({"path.run": run.id}, {"decision": "happened", "result": 1})


def claimed_handoff(hands: Hands) -> Given:
    handed = hands.handed()
    return Given({"path.handoff": handed.id}, {"epoch": handed.epoch}, AGENT)


def changed_namespace(hands: Hands) -> Given:
    hands.call("state.set", namespace="github_sync", key="last", value=1)
    return Given({"path.namespace": "github_sync", "query.since": "0"})


def keyed_handoff(hands: Hands) -> Given:
    key = hands.fresh()
    hands.call("handoff.create", to_agent="reviewer", goal="Look at it.", key=key)
    return Given({"path.key": key})


def referring_handoff(hands: Hands) -> Given:
    place = {"namespace": "github_sync", "key": "last"}
    hands.call("state.set", value=1, **place)
    made = hands.handed(references=[place])
    return Given({"path.handoff": made.id, "path.namespace": place["namespace"], "path.key": place["key"]}, {}, AGENT)


def dead_handoff(hands: Hands) -> Given:
    handed = hands.handed()
    hands.call("handoff.decline", by=AGENT, handoff=handed.id, reason="No.", epoch=handed.epoch)
    return Given({"path.handoff": handed.id}, {"to_agent": "reviewer"})


def open_question(hands: Hands) -> Given:
    return Given({"path.escalation": hands.question()}, {"decision": "choose", "choice": "go_on"})


def snoozed(hands: Hands) -> Given:
    return Given({"path.escalation": hands.question()}, {"until": time.time_ns() // 1000 + HOUR_US})


def delegated(hands: Hands) -> Given:
    hands.call("key.create", kind="person", actor="ben")
    return Given({"path.escalation": hands.question()}, {"to": "person:ben"})


def held_question(hands: Hands) -> Given:
    given = open_question(hands)
    hands.call("inbox.acknowledge", escalation=given.parameters["path.escalation"])
    return given


def approved(hands: Hands) -> Given:
    action = {"tool": "deploy", "arguments": {"to": "production"}}
    asked = hands.question(kind="approval", context="x", action=action)
    hands.call("inbox.answer", escalation=asked, decision="approve", comment="Yes.")
    return Given({"path.escalation": asked}, {}, AGENT)


def reserved(hands: Hands) -> Given:
    return Given({"path.id": hands.model_call()})


def reservable(hands: Hands) -> Given:
    return Given({}, {"id": hands.usage()})


def recorded(hands: Hands) -> Given:
    return Given({"path.id": hands.usage()})


def spent(hands: Hands) -> Given:
    hands.call("ledger.record", id=hands.usage(), model=MODEL, usage=USED, workflow="triage", step="a")
    return Given({"path.workflow": "triage"})


def policy(hands: Hands) -> Given:
    hands.call("policy.set", kind="route", name="default", document={"steps": [{"targets": ["person:ana"]}]})
    return Given({"path.kind": "route", "path.name": "default"})


def scheduled(hands: Hands) -> Given:
    started = hands.call("task.start", name="nightly", cron="0 3 * * *", key=hands.fresh())
    return Given({"path.id": started.schedule.id})


def begun_workflow(hands: Hands) -> Given:
    execution = hands.call("workflow.start", by=AGENT, name=hands.workflow(), inputs={"text": "x"})
    step = execution.next_step
    given = {"step": step.step, "attempt": step.attempt, "result": "card"}
    return Given({"path.execution": execution.id}, given, AGENT)


def worker(hands: Hands) -> Given:
    made = hands.call("worker.register").id
    return Given({"path.worker": made}, {"worker": made})


def offered(hands: Hands) -> Given:
    # Whoever holds as many as a limit allows could not claim it.
    hands.call("handoff.limit", to="agent:reviewer")
    made = hands.call("handoff.create", to_agent="reviewer", goal="Look at it.", key=hands.fresh())
    return Given({}, {"handoff": made.id}, AGENT)


def by_person(_: Hands) -> Given:
    return Given({})


def ended_workflow(hands: Hands) -> Given:
    given = begun_workflow(hands)
    hands.call("workflow.submit", by=AGENT, execution=given.parameters["path.execution"], **given.fields)
    return Given(given.parameters)


def named_workflow(hands: Hands) -> Given:
    return Given({"path.name": hands.workflow()}, {"cases": [CASE]})


def two_versions(hands: Hands) -> Given:
    name = hands.workflow()
    hands.call("workflow.create", by=AGENT, document=WORKFLOW | {"name": name, "description": "The second."})
    return Given({"path.name": name, "query.before": "1", "query.after": "2"})


def better_workflow(hands: Hands) -> Given:
    edit = {"edit": "change_step", "step": "route", "instruction": "Say which it is: {$inputs.text}"}
    return Given({"path.name": hands.workflow()}, {"edits": [edit], "designed_by": "claude", "reason": "Clearer."})


def movable_workflow(hands: Hands) -> Given:
    name = hands.workflow()
    version = hands.call("workflow.get", name=name).version
    return Given({"path.name": name}, {"version": version})


def case(hands: Hands) -> Given:
    name = hands.workflow()
    added = hands.call("workflow.add_cases", by=AGENT, name=name, cases=[CASE])
    return Given({"path.name": name, "path.case": added.cases[0]})


def triable_workflow(hands: Hands) -> Given:
    given = case(hands).parameters
    worker = hands.call("worker.register", by=AGENT).id
    return Given(
        {"path.name": given["path.name"]},
        {"worker": worker, "models": [SMALL], "models_here": {"models": [SMALL]}},
        AGENT,
    )


def trial(hands: Hands) -> Given:
    given = triable_workflow(hands)
    opened = hands.call("workflow.open_trial", by=AGENT, name=given.parameters["path.name"], **given.fields)
    due = opened.next
    named = {"step": due.step, "model": due.model, "case": due.case}
    return Given(
        {
            "path.trial": opened.id,
            CLAIM: f"{opened.id}@{opened.epoch}",
            **{f"query.{name}": value for name, value in named.items()},
        },
        {**named, "result": "card"},
        AGENT,
    )


def judged(hands: Hands) -> Given:
    """An execution whose step a model has done, and which the plane knows something of."""
    done = hands.agent.workflows.execute(hands.shown(), text="x")
    return Given({"path.execution": done.id}, {"step": "route", "right": True})


def model_of_workflow(hands: Hands) -> Given:
    return Given({"path.name": hands.shown()}, {"step": "route", "model": SMALL, "reason": "Too rude."})


def promotable(hands: Hands) -> Given:
    return Given({"path.precedent": hands.precedent()}, {"scope": "pattern"})


def reviewed(hands: Hands) -> Given:
    """What a rule decided and a person is to look at."""
    hands.call("guard.promote", precedent=hands.precedent(), scope="pattern", days=1)
    rule = hands.call("guard.precedents").items[0]
    for _ in range(USES_MAX):
        hands.call("guard.check", by=AGENT, tool=rule["tool"], arguments={"issue": 1}, annotations=SAFE)
        if found := hands.call("guard.reviews").items:
            return Given({}, {"revision": found[0]["revision"], "comment": "Not this one."})
    raise LookupError("no use of a rule is listed for people")


def doomed_key(hands: Hands) -> Given:
    return Given({"path.id": hands.call("key.create", kind="agent", actor=hands.fresh("a")).id})


def known_actor(hands: Hands) -> Given:
    name = hands.fresh("a")
    hands.call("key.create", kind="agent", actor=name)
    return Given({"path.kind": "agent", "path.name": name}, {"disabled": True})


def prepare(name: str, hands: Hands) -> Given:
    """Raises what stands in the way."""
    given = PREPARED[name](hands)
    return given._replace(by=given.by or PERSON)


PREPARED: dict[str, Callable[[Hands], Given]] = {
    **dict.fromkeys(["run.complete", "run.fail", "run.park", "run.release", "run.progress", "run.note"], held_run),
    **dict.fromkeys(["run.observe", "run.cancel", "run.signal", "step.start"], held_run),
    **dict.fromkeys(["step.complete", "step.fail"], held_step),
    "run.resume": own_run,
    "run.resolve": doubtful_run,
    **dict.fromkeys(["handoff.complete", "handoff.fail", "handoff.release", "handoff.progress"], claimed_handoff),
    **dict.fromkeys(["handoff.renew", "handoff.decline", "handoff.cancel"], claimed_handoff),
    **dict.fromkeys(["run.start", "task.claim", "worker.heartbeat", "worker.stop"], worker),
    "run.fork": forkable_run,
    "step.find": held_step,
    "handoff.claim": offered,
    "ledger.cap": by_person,
    "state.diff": changed_namespace,
    "handoff.find": keyed_handoff,
    "handoff.reference": referring_handoff,
    "handoff.requeue": dead_handoff,
    **dict.fromkeys(
        [
            "inbox.answer",
            "inbox.comment",
            "inbox.acknowledge",
            "inbox.extend",
            "escalation.withdraw",
            "escalation.retry",
        ],
        open_question,
    ),
    "inbox.release": held_question,
    "inbox.snooze": snoozed,
    "inbox.delegate": delegated,
    "escalation.redeem": approved,
    **dict.fromkeys(["ledger.settle", "ledger.void", "ledger.get"], reserved),
    "ledger.reserve": reservable,
    "ledger.record": recorded,
    "ledger.savings": spent,
    **dict.fromkeys(["policy.set", "policy.get", "policy.versions", "policy.delete"], policy),
    "task.unschedule": scheduled,
    **dict.fromkeys(
        ["workflow.begin", "workflow.submit", "workflow.attempts", "workflow.execution", "workflow.resume"],
        begun_workflow,
    ),
    "workflow.keep_case": ended_workflow,
    **dict.fromkeys(["workflow.add_cases", "workflow.start", "workflow.rates"], named_workflow),
    "workflow.diff": two_versions,
    "workflow.propose": better_workflow,
    "workflow.move": movable_workflow,
    "workflow.remove_case": case,
    "workflow.open_trial": triable_workflow,
    **dict.fromkeys(["workflow.trial", "workflow.trial_step", "workflow.try_case"], trial),
    "workflow.judge": judged,
    **dict.fromkeys(["workflow.demote_model", "workflow.reset_model"], model_of_workflow),
    "guard.promote": promotable,
    "guard.object": reviewed,
    **dict.fromkeys(["key.revoke", "key.rotate"], doomed_key),
    "actor.disable": known_actor,
}
