"""What each operation of evidence needs to be possible, and the events it records."""

from __future__ import annotations

from agentmemo.model import evidence_calls, executions, workflow_versions
from agentmemo.model.access import Claim
from agentmemo.model.prices import Usage
from agentmemo.store import workflows as rows

STEP = {"id": "say", "instruction": "Say it", "output_schema": {"type": "integer"}}
SHARES = {"canary_share": 1.0, "audit_share": 1.0}
DOCUMENT = {"name": "w", "designed_by": "m", "ladder": ["small", "large"], "steps": [STEP], "quality": SHARES}


def scenarios(of):
    """operation -> (its scenario, its events); `of` makes one of a request and what is prepared for it."""
    place = {"name": "w", "step": "say", "model": "large"}
    return {
        "workflow.demote_model": (
            of("workflow.demote_model", lambda _w, _f: evidence_calls.DemoteModel(**place), _done),
            ["evidence.demote", "escalation.create"],
        ),
        "workflow.reset_model": (
            of("workflow.reset_model", lambda _w, _f: evidence_calls.ResetModel(**place), _done),
            ["evidence.reset"],
        ),
        "workflow.judge": (
            of(
                "workflow.judge",
                lambda _w, made: evidence_calls.JudgeStep(execution=made, step="say", right=True),
                _done,
            ),
            ["workflow.judge"],
        ),
        "workflow.compare": (
            of(
                "workflow.compare",
                lambda _w, made: evidence_calls.CompareStep(execution=made, step="say", role="audit", result=1),
                _audited,
            ),
            ["workflow.compare"],
        ),
    }


def _done(world, model="large"):
    """An execution whose step was done by a model, the top of the ladder while nothing else is said."""
    known = world.call("workflow.create", workflow_versions.CreateWorkflow(document=DOCUMENT))
    if model != "large":
        _make_active(world, known.version)
    models = executions.Askable(models=["small", "large"])
    request = executions.StartExecution(name="w", worker=world.worker, driver="plane", models=models)
    made = world.call("workflow.start", request)
    claim = Claim(run=made.id, epoch=made.epoch)
    begin = executions.BeginStep(execution=made.id, step="say", attempt=1, model=model, max_output_tokens=1)
    reserved = world.call("workflow.begin", begin, claim)
    request = executions.SubmitStep(
        execution=made.id,
        step="say",
        result=1,
        model=model,
        reservation=reserved.reservation,
        usage=Usage(input_tokens=1, output_tokens=1),
    )
    world.call("workflow.submit", request, claim)
    return made.id


def _audited(world):
    """The cheap model did it, and the top is to do it too."""
    return _done(world, "small")


def _make_active(world, version):
    """As if it had shown enough."""

    def move(tx):
        row = rows.by_hash(tx, rows.find(tx, 1, "w").id, version)[0]
        rows.move(tx, row, "active", untrusted=False)

    world.plane.engine.database.write(move, lane=1)
