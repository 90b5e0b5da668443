"""Evidence decides which model does a step: it is earned, watched, lost, and put right by people."""

from __future__ import annotations

from random import Random

import msgspec
import pytest
from list_prices import CHEAP, PRICES, SMART

from agentmemo import InvalidTransition, NotFound, PermissionDenied
from agentmemo.client.driving import Told
from agentmemo.engine import evidence
from agentmemo.model.evidence import Standard
from agentmemo.model.evidence_process import promotes
from agentmemo.testing.models import ScriptedModels

promise = pytest.mark.promise
# One way to call is enough for what the plane decides by itself, and one store for what is no question of storing.
on_both_stores = pytest.mark.surfaces("sync")


def on_one_store(test):
    return pytest.mark.parametrize("plane", ["sqlite"], indirect=True)(on_both_stores(test))


QUALITY = {"step_bar": 0.80, "run_bar": 0.80, "canary_share": 1.0, "audit_share": 0.0}
RIGHT = 'inputs.n % 2 == 0 ? "even" : "odd"'
SORT = {
    "id": "sort",
    "instruction": "Is {$inputs.n} even or odd?",
    "output_schema": {"enum": ["even", "odd"]},
    "checks": [{"kind": "expression", "expression": f"output == ({RIGHT})"}],
    "attempts": 1,
}


class Sorters(ScriptedModels):
    """A cheap model that is right so often, by a seeded chance, and a smart one that always is."""

    def __init__(self, rate=1.0, seed=1):
        self.rate, self.chance = rate, Random(seed)
        self.served = CHEAP
        super().__init__({CHEAP: self._cheap, SMART: self._right})

    def _cheap(self, step):
        said = self._right(step)
        if self.chance.random() >= self.rate:
            said = "odd" if said == "even" else "even"
        return Told(output=said, served_model=self.served, input_tokens=100, output_tokens=10)

    def _right(self, step):
        number = int(step.instruction.split()[1])
        return "odd" if number % 2 else "even"

    def asked_of_last(self, agent, number):
        """The models that one more execution asks."""
        before = len(self.asked)
        agent.workflows.execute("sort", n=number)
        return [model for model, _ in self.asked[before:]]


def made(agent, steps=(SORT,), budget=None, **quality):
    return agent.workflows.create(
        name="sort",
        designed_by="opus",
        ladder=[CHEAP, SMART],
        steps=list(steps),
        budget=budget,
        quality=QUALITY | quality,
    )


@pytest.fixture
def active(monkeypatch, surface, agent):
    """A document that is active whatever it has shown, and models to do it."""

    def make(rate=1.0, steps=(SORT,), **quality):
        with monkeypatch.context() as patch:
            patch.setattr("agentmemo.engine.promotion.check", lambda *_: None)
            version = made(agent, steps, **quality)
            surface.connect(person="ana").workflows.promote("sort", version.number)
        models = Sorters(rate)
        agent.workflows.use(models)
        return models

    return make


def run(agent, numbers):
    for number in numbers:
        agent.workflows.execute("sort", n=number)


def of(agent, model, step="sort", source="plane"):
    found = agent.workflows.evidence("sort").evidence
    return next((row for row in found if (row.step, row.model, row.source) == (step, model, source)), None)


def run_until(agent, status, numbers):
    """How many executions it took."""
    for count, number in enumerate(numbers, 1):
        agent.workflows.execute("sort", n=number)
        if count >= 20 and of(agent, CHEAP).status == status:
            return count
    return None


def operations(agent):
    return [event.operation for event in agent.audit.events()]


@promise("evidence.earned")
@promise("evidence.explained")
@on_both_stores
def test_a_model_that_shows_that_it_can_does_the_step(agent, surface, active):
    models = active(rate=0.99, step_bar=0.90)
    taken = run_until(agent, "qualified", range(1, 120))
    found = of(agent, CHEAP)
    assert (found.successes + found.failures, found.served, found.inputs) == (taken, CHEAP, taken)
    assert promotes(found.successes, found.failures, 0.90)
    assert not promotes(found.successes - 1, found.failures, 0.90), "as soon as it was shown"
    assert "evidence.promote" in operations(agent)
    assert f"Step sort: {CHEAP} does it, the cheapest that has qualified" in agent.workflows.explain("sort")
    surface.plane.restart()
    again = surface.connect()
    again.workflows.use(models)
    assert of(again, CHEAP).status == "qualified"
    assert models.asked_of_last(again, 500) == [CHEAP]


@promise("evidence.earned")
@on_one_store
def test_a_model_that_shows_that_it_cannot_is_given_up(agent, surface, active):
    models = active(rate=0.5)
    taken = run_until(agent, "rejected", range(1, 60))
    assert taken is not None
    assert (of(agent, CHEAP).status, of(agent, SMART).failures) == ("rejected", 0)
    assert models.asked_of_last(agent, 500) == [SMART], "no more money is spent on it"
    assert "nothing cheaper has qualified" in agent.workflows.explain("sort")
    ana = surface.connect(person="ana")
    assert ana.workflows.reset_model("sort", "sort", CHEAP).choices[0].tried == CHEAP
    assert of(agent, CHEAP).inputs == 0
    assert models.asked_of_last(agent, 501)[0] == CHEAP


@promise("evidence.person")
@pytest.mark.surfaces("sync", "http")
def test_only_people_take_a_model_off_or_bring_it_back(agent, surface, active):
    models = active()
    run(agent, range(3))
    ana = surface.connect(person="ana")
    for change in (agent.workflows.demote_model, agent.workflows.reset_model):
        with pytest.raises(PermissionDenied):
            change("sort", "sort", CHEAP)
    with pytest.raises(NotFound):
        ana.workflows.demote_model("sort", "sort", "another")
    assert ana.workflows.demote_model("sort", "sort", CHEAP, reason="too rude").choices[0].model == SMART
    assert models.asked_of_last(agent, 3) == [SMART]
    assert of(agent, CHEAP).reasons == ["ana took it off: too rude"]
    assert "too rude" in agent.workflows.explain("sort")


@promise("evidence.lost")
@on_one_store
def test_a_drift_and_another_served_model_take_the_step_back(agent, surface, active):
    models = active()
    run_until(agent, "qualified", range(60))
    models.rate = 0.0
    for number in range(100, 130):
        if models.asked_of_last(agent, number) == [SMART]:
            break
    assert 100 < number < 120
    assert of(agent, CHEAP).status == "demoted"
    (told,) = surface.connect(person="ana").inbox.list()
    assert (told.severity, told.kind) == ("low", "info")
    assert "latest of them are below" in told.reason or "which is below" in told.reason
    models.rate = 1.0
    assert models.asked_of_last(agent, 131) == [SMART], "until a person resets it"

    ana = surface.connect(person="ana")
    ana.workflows.reset_model("sort", "sort", CHEAP)
    run_until(agent, "qualified", range(200, 260))
    models.served = "cheap-2"
    run(agent, [300])
    demoted = next(row for row in agent.workflows.evidence("sort").evidence if row.served == CHEAP)
    assert (demoted.status, demoted.reasons[0]) == (
        "demoted", "cheap-2 answered, which is not the model that was qualified",
    )  # fmt: skip
    anew = of(agent, CHEAP)
    assert (anew.served, anew.status, anew.successes) == ("cheap-2", "insufficient", 1)


@promise("evidence.audit")
@on_both_stores
def test_a_share_of_the_executions_is_audited_for_ever(agent, surface, active):
    plain = {"id": "sort", "instruction": SORT["instruction"], "compare": "output == other"}
    models = active(steps=[plain], audit_share=1.0)
    run(agent, range(10))
    assert models.asked[:2] == [(CHEAP, "sort"), (SMART, "sort")], "where no check can tell, the top does it too"
    assert (of(agent, CHEAP).successes, of(agent, SMART)) == (10, None)
    run_until(agent, "qualified", range(10, 60))
    before = of(agent, CHEAP).audits
    assert models.asked_of_last(agent, 60) == [CHEAP, SMART]
    assert of(agent, CHEAP).audits == before + 1
    models.rate = 0.0
    for number in range(100, 130):
        if models.asked_of_last(agent, number) == [SMART]:
            break
    assert of(agent, CHEAP).status == "demoted"
    assert "audits passed" in of(agent, CHEAP).reasons[0]
    roles = {row.role for row in agent.ledger.list(limit=200)}
    assert roles == {"execute", "audit"}
    assert agent.ledger.savings("sort").measured.pairs > 20


@promise("evidence.audit")
@on_one_store
def test_an_audit_never_fails_an_execution_and_stays_under_its_cap(agent, active, monkeypatch):
    models = active(audit_share=1.0, budget={"run_nanousd": 10_000_000})
    ask = models.ask

    def fails(asking, call_tool):
        if asking.model == SMART:
            raise RuntimeError("down")
        return ask(asking, call_tool)

    models.ask = fails
    assert agent.workflows.execute("sort", n=1).result == "odd"
    models.ask = ask
    models._scripts[SMART] = lambda _: Told(outcome="error", reason="down", billed=False)
    done = agent.workflows.execute("sort", n=2)
    assert (done.state, done.result) == ("completed", "even")
    assert [row.state for row in agent.ledger.list(run=done.id) if row.role == "audit"] == ["void"]
    price = msgspec.structs.replace(PRICES[SMART].rates, output=10**12)
    monkeypatch.setitem(PRICES, SMART, msgspec.structs.replace(PRICES[SMART], rates=price))
    done = agent.workflows.execute("sort", n=3)
    assert (done.state, [row.role for row in agent.ledger.list(run=done.id)]) == ("completed", ["execute"])


@promise("evidence.claims")
@on_one_store
def test_what_an_agent_says_of_itself_promotes_nothing(agent, active):
    active()
    for number in range(30):
        started = agent.workflows.start("sort", {"n": number})
        right = "odd" if number % 2 else "even"
        agent.workflows.submit(started, "sort", right, model_name=CHEAP)
    assert of(agent, CHEAP) is None
    claimed = of(agent, CHEAP, source="caller")
    assert (claimed.successes, claimed.status) == (30, "qualified")
    assert "evidence.promote" not in operations(agent)
    assert agent.workflows.evidence("sort").choices[0].model == SMART
    assert "which promotes nothing" in agent.workflows.explain("sort")


@promise("evidence.person")
@on_one_store
def test_a_person_says_whether_a_step_was_right(agent, surface, active):
    active(steps=[{"id": "sort", "instruction": SORT["instruction"]}])
    done = agent.workflows.execute("sort", n=1)
    ana = surface.connect(person="ana")
    with pytest.raises(PermissionDenied):
        agent.workflows.judge(done, "sort", right=True)
    assert ana.workflows.judge(done, "sort", right=False, reason="no").verdict == "different"
    assert ana.workflows.judge(done, "sort", right=True).verdict == "different", "the first word counts"
    assert (of(agent, CHEAP).successes, of(agent, CHEAP).failures) == (0, 1)


@promise("evidence.earned")
@on_one_store
def test_who_gives_up_until_a_person_does_it_has_failed(agent, surface, active):
    models = active()
    gives_up = lambda _: Told(outcome="abstained", reason="unsure")  # noqa: E731
    models._scripts |= {CHEAP: gives_up, SMART: gives_up}
    surface.plane.person("ana").will_answer("choose", choice="supply", values={"output": "odd"})
    assert agent.workflows.execute("sort", n=1).result == "odd"
    for model in (CHEAP, SMART):
        found = of(agent, model)
        assert (found.abstained, found.failures, found.successes) == (1, 1, 0)
    assert of(agent, "", step="").failures == 1, "the execution did not do without help"


@promise("workflow.evidence")
@on_one_store
def test_a_version_is_promoted_by_what_its_executions_show(agent, surface):
    made(agent)
    ana = surface.connect(person="ana")
    models = Sorters()
    agent.workflows.use(models)
    with pytest.raises(InvalidTransition) as error:
        ana.workflows.promote("sort", 1)
    assert error.value.details["missing"] == [
        "executions: 20 more distinct inputs, 20 more successes without a failure",
        "step sort: no model has been tried at it",
    ]
    run(agent, range(19))
    with pytest.raises(InvalidTransition, match="1 more successes without a failure; 19 of 19"):
        ana.workflows.promote("sort", 1)
    assert "To become active it needs" in agent.workflows.explain("sort")
    run(agent, [19])
    assert {model for model, _ in models.asked} == {SMART}, "a draft is done by the top of its ladder"
    assert ana.workflows.promote("sort", 1, "canary").state == "canary"
    assert ana.workflows.promote("sort", 1).state == "active"
    assert models.asked_of_last(agent, 100) == [CHEAP], "now the cheap one gets its chance"


@promise("evidence.beside")
@on_both_stores
def test_a_candidate_version_is_tried_beside_the_active_one(agent, surface, active):
    models = active(canary_share=0.0)
    again = SORT | {"instruction": "Is {$inputs.n} even or odd? Say one word."}
    made(agent, [again], canary_share=0.0)
    surface.connect(person="ana").workflows.promote("sort", 2, "shadow")
    assert models.asked_of_last(agent, 7) == [SMART, SMART]
    (row,) = [row for row in agent.workflows.evidence("sort", version=2).evidence if row.step]
    assert (row.model, row.successes, row.status) == (SMART, 1, "insufficient")
    assert {row.role for row in agent.ledger.list()} == {"execute", "shadow"}


@promise("evidence.earned")
@on_both_stores
def test_a_trial_qualifies_at_its_end(agent, surface, active):
    models = active()
    agent.workflows.execute("sort", n=0)
    about = of(agent, CHEAP)
    engine = surface.plane.engine
    call = engine.system_calls([1])[1]
    who = evidence.Candidate(about.step_hash, CHEAP, CHEAP, "sort", "sort")
    cases = [evidence.TrialCase(f"case {number}", passed=True) for number in range(29)]

    def trial(tx):
        return evidence.record_trial(tx, call, who, planned=29, cases=cases, standard=Standard(bar=0.90))

    assert engine.database.write(trial, lane=1).status == "qualified"
    assert of(agent, CHEAP).status == "qualified"
    assert of(agent, CHEAP, source="trial").trials == 1
    assert models.asked_of_last(agent, 1) == [CHEAP]
    # Who tries again has half the chance to be wrong.
    assert engine.database.write(trial, lane=1).status == "unproven"


@promise("evidence.lost")
@on_one_store
def test_a_price_that_turns_the_saving_takes_the_step_back(agent, surface, active, monkeypatch):
    models = active()
    models.rate = 0.0
    run(agent, [0])  # the smart one comes in, so that it is known what it takes
    surface.connect(person="ana").workflows.reset_model("sort", "sort", CHEAP)
    models.rate = 1.0
    run_until(agent, "qualified", range(1, 60))
    surface.plane.advance(3700)
    assert of(agent, CHEAP).status == "qualified"
    monkeypatch.setitem(PRICES, CHEAP, msgspec.structs.replace(PRICES[SMART], model=CHEAP))
    surface.plane.advance(3700)
    assert of(agent, CHEAP).status == "demoted"
    assert "does not pay any more: not worth it" in of(agent, CHEAP).reasons[0]
