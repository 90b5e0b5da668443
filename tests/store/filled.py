"""A plane with something of everything in it, and what can be seen of it."""

from __future__ import annotations

from contextlib import suppress

from list_prices import CHEAP, USED, ListPrices

import agentmemo
from agentmemo import ids
from agentmemo.api.operations import BY_NAME
from agentmemo.engine import answer_links
from agentmemo.model.access import EVERYTHING, Caller
from agentmemo.model.state import SetEntry
from agentmemo.settings import Settings
from agentmemo.testing import ManualPlane
from agentmemo.testing.models import ScriptedModels

LOSSY = Settings(postgres_allow_lossy=True, postgres_patience_seconds=60.0)
WORDS = "Ёлка grün 🌍 naïve"
BIG = ids.random_bytes(300_000).hex()  # 300 KB after compression: two chunks
LARGE = ids.random_bytes(3000).hex()  # over the row's 4 KiB: a blob of one chunk


def planes(made, place, clock=None):
    """A plane that the caller closes with all the others in `made`."""
    made.append(ManualPlane(place, clock=clock, settings=LOSSY, prices=ListPrices()))
    return made[-1]


def fill(plane):
    """Leaves a run of `worker` running, one waiting, one in the queue."""
    agent = plane.connect("worker")
    fill_state(plane, agent)
    fill_runs(plane, agent)
    fill_handoffs(plane, agent)
    fill_policies(plane.connect(person="ana"))
    fill_workflows(agent, plane.connect(person="ana"))
    fill_escalations(plane, agent, plane.connect(person="ana"))
    fill_notifications(plane, agent)
    fill_guards(agent, plane.connect(person="ana"))
    fill_ledger(plane, agent, plane.connect(person="ana"))
    agent.keys.create("agent", "bob", label="bob's", grants=None)
    agent.keys.revoke(agent.keys.create("agent", "eve").id, reason="gone")
    plane.connect("other-worker", workspace="other").state.set("n", "k", {"in": "another workspace"})
    plane.advance(1)


def fill_state(plane, agent):
    for version in range(5):
        agent.state.set("team/a", "plan", {"version": version, "text": WORDS})
    agent.state.set("team/a", WORDS, [1, 2.5, None, True, "\x00"])
    agent.state.delete("team/a", "plan")
    agent.state.set("team/a", "plan", "again")
    agent.state.set("team/a", "gone", "soon", ttl_seconds=1)
    agent.state.set("team/a", "later", "then", ttl_seconds=86_400)
    agent.state.set("big", "blob", {"text": BIG})
    agent.state.set("big", "small blob", LARGE)
    agent.state.set("big", "compressed", "zip " * 600)
    plane.advance(2)
    caller = Caller(name="worker", grants=(EVERYTHING,), request_id="once")
    plane.engine.call(BY_NAME["state.set"], caller, SetEntry(namespace="team/a", key="answered", value=1))


def fill_runs(plane, agent):
    @agent.task("waiter")
    def waiter(run):
        run.step("before", lambda: BIG[:8000])
        return run.wait("go", timeout_seconds=86_400)

    with suppress(RuntimeError), agent.run("breaks", key="1", max_attempts=1):
        raise RuntimeError(WORDS)
    with agent.run("done", key="1", inputs={"for": WORDS}) as run:
        run.step("first", lambda: {"result": LARGE})
        run.decide("use it", because=WORDS)
        run.finding("it works")
        run.observe("read", {"path": WORDS}, LARGE)
        run.tried("something", why_failed="it did not")
        run.progress(50.5, "half")
        run.complete("whole")
    agent.runs.note(run.id, "finding", "afterwards")
    started = agent.start("waiter", key="w")
    agent.work(concurrency=1, until_idle=True)
    agent.runs.signal(started.id, "another", {"value": 1})
    agent.runs.cancel(agent.start("waiter", key="cancelled").id, "not wanted")
    agent.start("queued", key="q", inputs=LARGE)
    agent.start("nightly", cron="0 3 * * *")
    held = plane.connect("holder").run("held", key="1")
    held.__enter__()
    held.step("one", lambda: "stored")


def fill_handoffs(plane, agent):
    """One of each kind: waiting, scheduled, held, given back, declined, with its verifier, ended, and escalated."""
    receiver, taker = plane.connect("receiver"), plane.connect("taker")
    create = agent.handoff.create
    done = create(to_agent="receiver", context={"text": BIG, "words": WORDS}, references=[("team/a", "plan")], key="k")
    receiver.handoff.complete(done.id, LARGE)
    agent.handoff.result(done.id)
    verified = create(to_agent="receiver", acceptance={"schema": {"type": "string"}, "verifier": "taker"})
    receiver.handoff.complete(verified.id, WORDS)
    ladder = [{"after_seconds": 9, "to_agent": "b"}]
    refused = create(to_capability="Übersetzen", goal=WORDS, budget={"steps": 5}, ladder=ladder)
    taker.handoff.announce(capabilities=["Übersetzen"], queues=["slow"])
    receiver.handoff.announce(capabilities=["Übersetzen"])
    receiver.handoff.decline(refused.id, WORDS)
    agent.handoff.limit("queue:slow", concurrency=3, rate=5, per_seconds=10)
    for number in range(3):
        create(to_queue="slow", context=number, not_before=plane.clock.now_us() + number * 10**12)
    held = taker.handoff.claim()
    taker.handoff.progress(held.id, 30, WORDS)
    lost = create(to_agent="receiver", context=LARGE, max_attempts=5)
    receiver.handoff.release(receiver.handoff.claim(lost.id).id, WORDS)
    agent.webhooks.create("https://example.org/told", label=WORDS)
    agent.webhooks.delete(agent.webhooks.create("https://example.org/old").id)
    create(to_agent="nobody", pickup_by=plane.clock.now_us() + 1)


def fill_escalations(plane, agent, person):
    """One of each kind: open, held, voted on, decided and applied, with its answer on the way, withdrawn."""
    escalate = agent.escalate
    done = escalate(severity="high", reason=WORDS, context={"text": BIG}, suggested_actions=[WORDS], wait=False)
    person.inbox.answer(done.id, "choose", choice=done.suggested_actions[0].id, comment=WORDS)
    agent.escalations.wait(done.id)
    action = {"tool": "delete", "arguments": {"name": WORDS}, "revision": "1"}
    voted = escalate(severity="low", reason="Two?", kind="approval", context=WORDS, action=action, needs={"count": 2},
                     key=WORDS, wait=False)  # fmt: skip
    person.inbox.answer(voted.id, "approve")
    person.inbox.comment(voted.id, WORDS)
    person.inbox.acknowledge(escalate(severity="critical", reason="Held?", wait=False).id)
    agent.escalations.withdraw(escalate(severity="medium", reason="Not?", wait=False).id, WORDS)

    @agent.task("asker")
    def asker(run):
        agent.escalate(severity="high", reason="In a run?")

    agent.start("asker", key="1")
    agent.work(concurrency=1, until_idle=True)
    (asked,) = agent.escalations.list(run=agent.runs.find("asker", "1").id)
    person.inbox.answer(asked.id, "answer", comment=WORDS)


def fill_guards(agent, person):
    """A precedent that was made a rule and used often enough that some of it is to be looked at; asked in a run."""
    rule = {"name": "files", "verdict": "ask", "tool": "write", "reason": WORDS, "uses_max": 9}
    person.policies.set("rules", "default", {"rules": [rule]})
    for number in range(3):
        decided = agent.guards.check("label", {"text": WORDS, "n": number}, annotations={"reversible": True})
        action = {"tool": "label", "arguments": {"text": WORDS, "n": number}}
        asked = agent.escalations.create(
            severity="low", reason="Label?", context=WORDS, action=action, guard=decided.revision, wait=False
        )
        person.inbox.answer(asked.id, "approve")
    (found,) = person.guards.precedents()
    person.guards.promote(found.id)
    for _ in range(60):
        agent.guards.check("label", {"text": WORDS, "n": 1}, annotations={"reversible": True})
    with agent.run("guarded", "1") as run:
        agent.guards.check("write", {"text": WORDS}, run=run.id, name=WORDS, key="1")


def fill_ledger(plane, agent, person):
    """One of each state: reserved, settled, unknown, void, priced by what was served, billed, without a price."""
    person.ledger.cap("workspace", 10**12, "month")
    person.ledger.cap("agent:worker", 10**12)
    with agent.run("paid", "1") as run:
        run.step("call", lambda: agentmemo.current_step().ledger.record(USED, model=CHEAP, workflow="w", rung=1))
        agent.ledger.reserve(CHEAP, input_tokens=9, max_output_tokens=9, step=WORDS)
    served = agent.ledger.reserve(CHEAP, input_tokens=9, max_output_tokens=9, role="audit")
    agent.ledger.settle(served.id, USED, model_served=WORDS, request_id=WORDS)
    agent.ledger.void(agent.ledger.reserve(CHEAP, input_tokens=9, max_output_tokens=9).id, WORDS)
    agent.ledger.settle(agent.ledger.reserve(CHEAP, input_tokens=9, max_output_tokens=9).id)
    agent.ledger.record(USED, model="no-such-model", provider_nanousd=5)
    agent.ledger.record(USED, model="no-such-model")


def fill_workflows(agent, person):
    """One in its row, one in a blob, one retired."""
    agent.workflows.create(name="small", steps="1. Do it", designed_by="opus-4", triggers=[WORDS, "do it"])
    agent.workflows.create(name="large", steps="1. Do it", designed_by="opus-4", examples=[{"input": 1, "output": BIG}])
    agent.workflows.create(name="small", steps="1. Do it otherwise", designed_by="person:ana", changes=WORDS)
    person.workflows.demote("small", 1, reason=WORDS)
    execution = agent.workflows.start("large", {"words": WORDS}, key="filled")
    agent.workflows.submit(execution, execution.next_step.step, "")
    fill_evidence(agent, person)
    fill_trials(agent)


def fill_trials(agent):
    """A case in its row, one in a blob; a trial on them."""
    step = {"id": "say", "instruction": "Say it", "output_schema": {"enum": [WORDS, "no"]}}
    agent.workflows.create(name="tried", steps=[step], designed_by="opus-4")
    given = [{"step": "say", "input": {"inputs": {"text": text}}, "expected": WORDS} for text in (WORDS, LARGE)]
    agent.workflows.trial("tried", given, models=["none"])


SORT = {"id": "sort", "instruction": "Sort {$inputs.n}", "output_schema": {"const": WORDS}}


def fill_evidence(agent, person):
    """Of an execution's steps, of what an agent says of itself, and a person's word."""
    edge = {"id": "one", "when": "it is 1", "matches": "inputs.n == 1", "then": "take care"}
    agent.workflows.create(name="sort", designed_by="opus-4", steps=[SORT], edge_cases=[edge], ladder=["small"])
    agent.workflows.use(ScriptedModels({"small": lambda _: WORDS}))
    done = agent.workflows.execute("sort", n=1)
    person.workflows.judge(done, "sort", right=True, reason=WORDS)
    asked = agent.workflows.start("sort", {"n": 2})
    agent.workflows.submit(asked, "sort", WORDS, model_name="small")


def fill_policies(person):
    route = {"steps": [{"targets": ["person:ana"], "after_seconds": 5}]}
    person.policies.set("route", "default", route, comment=WORDS)
    person.policies.set("route", "default", route | {"repeats": 2})
    person.policies.set("contact", "ana", {"channels": [{"kind": "apprise", "address": f"note://{WORDS}"}]})
    person.policies.set("rules", "old", {"rules": []})
    person.policies.delete("rules", "old")


def fill_notifications(plane, agent):
    """A message to the person on the route, and a link to answer by."""
    asked = agent.escalations.create(severity="high", reason=WORDS, context={"words": WORDS}, wait=False)
    call = plane.engine.system_calls({1})[1]
    plane.engine.pepper()

    def link(tx):
        (number, *_) = tx.one("escalation_get", workspace=1, handle=asked.id)
        answer_links.make_link(tx, call, escalation=number, notification="ntf_1", person="ana", deadline=None)

    plane.engine.database.write(link, lane=1)


def view(plane):
    """Everything that both planes must say alike."""
    return {name: view_workspace(plane.connect("reader", workspace=name)) for name in ("default", "other")}


def view_workspace(agent):
    entries = [entry for space in agent.state.namespaces() for entry in agent.state.list(space.name)]
    histories = [
        agent.state.entry(space.name, entry.key, version=version.version)
        for space in agent.state.namespaces()
        for entry in agent.state.list(space.name)
        for version in agent.state.history(space.name, entry.key)
        if not version.deleted
    ]
    found = list(agent.runs.list())
    return {
        "revision": agent.status().revision,
        "entries": entries,
        "histories": histories,
        "runs": [agent.runs.get(run.id) for run in found],
        "steps": [list(agent.runs.steps(run.id)) for run in found],
        "notes": [list(agent.runs.notes(run.id)) for run in found],
        "handoffs": list(agent.handoff.list()),
        "webhooks": list(agent.webhooks.list()),
        "deliveries": list(agent.webhooks.deliveries()),
        "limits": list(agent.handoff.limits()),
        "escalations": [agent.escalations.get(each.id) for each in agent.escalations.list()],
        "policies": list(agent.policies.list()),
        "ledger": list(agent.ledger.list()),
        "caps": list(agent.ledger.caps()),
        "spent": agent.ledger.totals("agent"),
        "workflows": [agent.workflows.get(each.name) for each in agent.workflows.list()],
        "workflow versions": list(agent.workflows.versions("small")) if agent.workflows.list().items else [],
        "evidence": [agent.workflows.evidence(each.name) for each in agent.workflows.list()],
        "executions": [agent.workflows.execution(each.id) for each in agent.workflows.executions()],
        "cases": list(agent.workflows.cases("tried")) if agent.workflows.list().items else [],
        "failures": list(agent.workflows.failures("tried")) if agent.workflows.list().items else [],
        "trials": list(agent.workflows.trials()),
        "workflows found": list(agent.workflows.search("do it")),
        "precedents": list(agent.guards.precedents()),
        "reviews": list(agent.guards.reviews()),
        "policy versions": [*agent.policies.versions("route", "default"), *agent.policies.versions("rules", "old")],
        "events": list(agent.audit.events(limit=1000)),
        "keys": list(agent.keys.list()),
        "schedules": list(agent.runs.schedules()),
        "actors": list(agent.keys.actors()),
    }


def check_it_goes_on(plane, before):
    """A copy is a store like any other: whole, readable, and work goes on where it was."""
    agent = plane.connect("worker")
    assert agent.audit.verify().intact
    assert agent.audit.verify().events == len(before["default"]["events"])
    entry = agent.state.set("team/a", "plan", "in the copy")
    assert entry.revision == before["default"]["revision"] + 1
    assert entry.version == 8
    plane.upkeep()
    assert {match.entry.key for match in agent.state.search("grün")} == {WORDS}
    taker = plane.connect("taker")
    ran = []
    plane.advance(plane.settings.lease_seconds + 1)
    with taker.run("held", key="1") as run:
        assert run.resumed
        assert run.step("one", lambda: ran.append(1)) == "stored"
    assert ran == []
    assert agent.audit.verify().intact
