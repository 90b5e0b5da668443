"""Whoever drives an execution hands in what its steps gave, and nothing else: what is a person's stays a person's."""

from __future__ import annotations

import pytest

from agentmemo import InvalidInput, InvalidTransition, StepFailed
from agentmemo.api.operations import BY_NAME
from agentmemo.model import runs
from agentmemo.model.access import EVERYTHING, Caller, Claim
from agentmemo.model.escalations import CreateEscalation
from agentmemo.model.executions import StartExecution, SubmitStep
from agentmemo.model.wire import as_request
from agentmemo.testing.models import ScriptedModels

promise = pytest.mark.promise

ASK = {"id": "ask", "kind": "human", "instruction": "Deploy?", "suggested_actions": ["Yes", "No"]}
LOOK = {"id": "look", "instruction": "Look at it.", "output_schema": {"enum": ["low", "high"]}}
DOCUMENT = {"name": "w", "designed_by": "m", "steps": [ASK, LOOK]}


@pytest.fixture
def driver(plane):
    return Driver(plane.engine, plane.connect(agent="bot"))


class Driver:
    """Whoever drives an execution that is at a person's step, with every operation under its claim."""

    def __init__(self, engine, bot):
        bot.workflows.add(DOCUMENT)
        self._engine = engine
        self.execution = self.call("workflow.start", StartExecution(name="w"), None)

    def call(self, operation, request, claim=...):
        claim = Claim(run=self.execution.id, epoch=self.execution.epoch) if claim is ... else claim
        caller = Caller(kind="agent", name="bot", grants=(EVERYTHING,), claim=claim)
        return self._engine.call(BY_NAME[operation], caller, request)


@promise("execution.person")
@pytest.mark.parametrize(
    ("operation", "kind", "fields"),
    [
        ("step.start", runs.StartStep, {"name": "ask", "key": "1", "effect": "write"}),
        ("step.complete", runs.CompleteStep, {"name": "ask", "key": "1", "result": {"choice": "yes"}}),
        ("step.fail", runs.FailStep, {"name": "ask", "key": "1", "error": "no"}),
        ("run.park", runs.ParkRun, {"name": "ask", "key": "1", "kind": "signal", "signal": "s"}),
        ("run.complete", runs.CompleteRun, {"result": "all is well"}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_course_of_an_execution_is_not_written_from_outside(driver, operation, kind, fields):
    with pytest.raises(InvalidTransition, match="execution of a workflow"):
        driver.call(operation, kind(run=driver.execution.id, **fields))


@promise("execution.person")
@pytest.mark.parametrize(
    "other",
    [
        {"reason": "Is it a nice day?"},
        {"default": "deny"},
        {"collapse_key": "another"},
        {"name": "look"},
        {"key": "2"},
        {"suggested_actions": [{"id": "yes", "label": "No"}]},
        {"context": {"said": "it was approved already"}},
    ],
    ids=lambda other: next(iter(other)),
)
def test_a_driver_asks_people_what_the_document_asks(driver, other):
    asked = driver.execution.next_step.question | {"run": driver.execution.id, "name": "ask", "key": "1"}
    with pytest.raises(InvalidTransition, match="step 'ask', attempt 1"):
        driver.call("escalation.create", as_request(asked | other, CreateEscalation))
    assert driver.call("escalation.create", as_request(asked, CreateEscalation)).state == "open"


@promise("execution.person")
def test_a_persons_refusal_is_no_output_of_their_step(agent, plane):
    agent.workflows.add(
        {"name": "ship", "designed_by": "m", "steps": [ASK, {"id": "go", "kind": "tool", "tool": "go"}]}
    )
    agent.workflows.register(lambda: pytest.fail("it went on"), "go", "read")
    plane.person("ana").will_answer("reject", comment="not today")
    with pytest.raises(StepFailed, match="not today"):
        agent.workflows.execute("ship")


@promise("execution.edge_cases")
def test_what_a_person_says_of_an_edge_case_is_no_answer_to_the_step_itself(agent, plane):
    edge = {"id": "odd", "when": "odd", "then": "ask first", "matches": "inputs.x == 1", "action": "escalate"}
    agent.workflows.add({"name": "ship", "designed_by": "m", "steps": [ASK], "edge_cases": [edge]})
    ana = plane.person("ana").will_answer("choose", choice="stop", kind="stuck")
    with pytest.raises(StepFailed, match="ask first"):
        agent.workflows.execute("ship", x=1)
    ana.will_answer("choose", choice="continue", kind="stuck").will_answer("choose", choice="yes", kind="question")
    assert agent.workflows.execute("ship", x=1).result["choice"] == "yes"


@promise("execution.steps")
def test_a_step_is_kept_where_the_workflow_after_it_is_missing(agent, plane):
    inner = {"id": "sub", "kind": "workflow", "workflow": "nowhere"}
    agent.workflows.add({"name": "outer", "designed_by": "m", "steps": [LOOK, inner], "ladder": ["small"]})
    models = ScriptedModels({"small": lambda _: "low"})
    agent.workflows.use(models)
    plane.person("ana").will_answer("choose", choice="stop")
    with pytest.raises(StepFailed, match="nowhere"):
        agent.workflows.execute("outer")
    assert models.asked == [("small", "look")]


@promise("evidence.claims")
def test_an_agent_shows_nothing_of_a_version_by_doing_the_planes_steps_itself(agent, plane):
    agent.workflows.add({"name": "one", "designed_by": "m", "steps": [LOOK]})
    started = agent.workflows.start("one", driver="plane")
    assert agent.workflows.submit(started, "look", "low").state == "completed"
    (shown,) = agent.workflows.evidence("one").evidence
    assert shown.source == "caller"


@promise("execution.ledger")
def test_one_reservation_is_of_one_step(driver, plane):
    use = plane.connect(agent="bot").ledger.reserve("claude-haiku-4-5", input_tokens=1, max_output_tokens=1).id
    plane.connect(agent="bot").workflows.add({"name": "one", "designed_by": "m", "steps": [LOOK]})
    started = driver.call("workflow.start", StartExecution(name="one"), None)
    request = SubmitStep(execution=started.id, step="look", result="low", reservation=use)
    with pytest.raises(InvalidInput, match="something else than step look"):
        driver.call("workflow.submit", request, Claim(run=started.id, epoch=started.epoch))
