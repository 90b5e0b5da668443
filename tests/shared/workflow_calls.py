"""What each operation of workflows needs to be possible, and the events it records."""

from __future__ import annotations

from agentmemo.model import workflow_versions

DOCUMENT = {"name": "w", "designed_by": "m", "steps": "Do it"}


def scenarios(of):
    """operation -> (its scenario, its events); `of` makes one of a request and what is prepared for it."""
    return {
        "workflow.create": (
            of("workflow.create", lambda _w, _f: workflow_versions.CreateWorkflow(document=DOCUMENT)),
            ["workflow.create"],
        ),
        "workflow.move": (
            of(
                "workflow.move",
                lambda _w, _f: workflow_versions.MoveWorkflow(name="w", version="1", to="shadow"),
                _created,
            ),
            ["workflow.move"],
        ),
    }


def _created(world):
    world.call("workflow.create", workflow_versions.CreateWorkflow(document=DOCUMENT))
