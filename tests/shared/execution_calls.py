"""What each operation of executions needs to be possible, and the events it records."""

from __future__ import annotations

from agentmemo.model import executions, workflow_versions
from agentmemo.model.access import Claim

STEP = {"id": "pay", "kind": "tool", "tool": "pay", "effect": "write"}
DOCUMENT = {"name": "w", "designed_by": "m", "steps": [STEP]}


def scenarios(of):
    """operation -> (its scenario, its events); `of` makes one of a request and what is prepared for it."""
    started = ["run.start", "workflow.execute"]
    return {
        "workflow.start": (
            of("workflow.start", lambda w, _f: executions.StartExecution(name="w", worker=w.worker), _created),
            started,
        ),
        "workflow.resume": (
            of(
                "workflow.resume",
                lambda w, made: executions.ResumeExecution(execution=made.id, worker=w.worker),
                _started,
            ),
            ["workflow.resume"],
        ),
        "workflow.begin": (
            _held("workflow.begin", lambda handle: executions.BeginStep(execution=handle, step="pay", attempt=1)),
            ["step.start"],
        ),
        "workflow.submit": (
            _held("workflow.submit", lambda handle: executions.SubmitStep(execution=handle, step="pay", result=1)),
            ["step.complete", "run.complete"],
        ),
    }


def _created(world):
    world.call("workflow.create", workflow_versions.CreateWorkflow(document=DOCUMENT))


def _resumption(world, made):
    return executions.ResumeExecution(execution=made.id, worker=world.worker)


def _started(world):
    _created(world)
    return world.call("workflow.start", executions.StartExecution(name="w", worker=world.worker, key="k"))


def _held(operation, make):
    """A call of whoever holds the execution."""

    def scenario(world):
        made = _started(world)
        return lambda: world.call(operation, make(made.id), Claim(run=made.id, epoch=made.epoch))

    return scenario
