"""What each operation of cases, trials and proposals needs to be possible, and the events it records."""

from __future__ import annotations

from agentmemo.model import cases, executions, repairs, trials, workflow_versions
from agentmemo.model.access import Claim

STEP = {"id": "say", "instruction": "Say it", "output_schema": {"enum": ["yes", "no"]}}
DOCUMENT = {"name": "w", "designed_by": "m", "steps": [STEP]}
CASE = {"step": "say", "input": {"inputs": {}}, "expected": "yes"}
EDITS = [{"edit": "add_edge_case", "step": "say", "when": "asked twice", "then": "say no"}]


def scenarios(of):
    """operation -> (its scenario, its events); `of` makes one of a request and what is prepared for it."""
    return {
        "workflow.add_cases": (
            of("workflow.add_cases", lambda _w, _f: cases.AddCases(name="w", cases=[CASE]), _created),
            ["workflow.add_cases"],
        ),
        "workflow.remove_case": (
            of("workflow.remove_case", lambda _w, made: cases.RemoveCase(name="w", case=made.cases[0]), _with_case),
            ["workflow.remove_case"],
        ),
        "workflow.keep_case": (
            of("workflow.keep_case", lambda _w, made: cases.KeepCase(execution=made.id, step="say"), _executed),
            ["workflow.add_cases"],
        ),
        "workflow.open_trial": (
            of("workflow.open_trial", lambda w, _f: _opening(w), _with_case),
            ["run.start", "workflow.open_trial"],
        ),
        "workflow.try_case": (_tried, ["workflow.try_case", "evidence.trial", "run.complete"]),
        "workflow.propose": (
            of("workflow.propose", lambda _w, _f: repairs.Propose(name="w", edits=EDITS), _created),
            ["workflow.create"],
        ),
    }


def _created(world):
    world.call("workflow.create", workflow_versions.CreateWorkflow(document=DOCUMENT))


def _with_case(world):
    _created(world)
    return world.call("workflow.add_cases", cases.AddCases(name="w", cases=[CASE]))


def _executed(world):
    _created(world)
    made = world.call("workflow.start", executions.StartExecution(name="w", worker=world.worker))
    submitted = executions.SubmitStep(execution=made.id, step="say", result="yes")
    world.call("workflow.submit", submitted, Claim(run=made.id, epoch=made.epoch))
    return made


def _opening(world):
    return trials.OpenTrial(name="w", worker=world.worker, models_here=executions.Askable(models=["m"], ladder=["m"]))


def _tried(world):
    added = _with_case(world)
    trial = world.call("workflow.open_trial", _opening(world))
    request = trials.TryCase(trial=trial.id, step="say", model="m", case=added.cases[0], result="yes")
    return lambda: world.call("workflow.try_case", request, Claim(run=trial.id, epoch=trial.epoch))
