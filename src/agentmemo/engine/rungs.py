"""Which rung of its ladder a step begins on, and which model is asked beside it."""

from __future__ import annotations

from agentmemo.engine import evidence
from agentmemo.engine.execution_scope import Standing
from agentmemo.model.evidence import audit_share_now, audited, in_share, step_standard
from agentmemo.model.evidence_calls import DEMOTED, QUALIFIED, REJECTED, TESTING
from agentmemo.model.executions import TRIAL, Moment
from agentmemo.model.workflows import ACTIVE, CANARY, SHADOW, Rung
from agentmemo.store import workflows as workflow_rows
from agentmemo.store.evidence import EvidenceRow

_UNASKED = ("write", "irreversible")


def begin(course: Standing, found: Moment, ladder: list[Rung]) -> None:
    """Choose the rung of a step that is reached, and who is asked beside it. A trial asks the model that it tries."""
    progress = course.progress
    if course.row.driver == TRIAL:
        progress.rung = progress.first_rung = len(ladder) - 1
        return
    progress.rung = progress.first_rung = first(course, found, ladder)
    progress.audit = _auditor(course, found, ladder, progress.rung)
    progress.shadow = _shadow(course, found)


def first(course: Standing, found: Moment, ladder: list[Rung]) -> int:
    """The place in the ladder where a step begins: the cheapest rung that has qualified, else the top.

    A draft has shown nothing as a whole, so it is done by the top. Of other versions, a share of the executions begins
    with the cheapest rung that may still show what it can.
    """
    top = len(ladder) - 1
    if top == 0 or _state(course, found) not in (CANARY, ACTIVE):
        return top
    chosen, tried = choose(ladder, evidence.current(course.tx, course.call, found.hash))
    if tried is not None and in_share(
        evidence.chance(course.call, course.row.handle), "canary", found.document.quality.canary_share
    ):
        return tried
    return chosen


def choose(ladder: list[Rung], known: dict[str, EvidenceRow]) -> tuple[int, int | None]:
    """The cheapest rung that has qualified, else the top; and the cheapest below it that is being tested.

    All rungs share one alpha, so whichever of them has qualified may be taken.
    """
    top = len(ladder) - 1
    standings = [known[rung.model].standing if rung.model in known else TESTING for rung in ladder[:top]]
    chosen = next((place for place, standing in enumerate(standings) if standing == QUALIFIED), top)
    below = enumerate(standings[:chosen])
    return chosen, next((place for place, standing in below if standing not in (REJECTED, DEMOTED)), None)


def _auditor(course: Standing, found: Moment, ladder: list[Rung], rung: int) -> str:
    """The top of the ladder, where this step of this execution is audited: by chance, which nobody can foresee.

    Where no check can tell, every test of a rung is compared with the top: nothing else would show anything.
    """
    top = ladder[-1].model
    if rung == len(ladder) - 1 or _state(course, found) not in (CANARY, ACTIVE):
        return ""
    row = evidence.current(course.tx, course.call, found.hash).get(ladder[rung].model)
    is_tested = row is None or row.standing == TESTING
    if is_tested and not evidence.is_telling(found.step):
        return top
    share = audit_share_now(step_standard(found.document.quality), evidence.watch_of(row) if row else None)
    return top if audited(evidence.chance(course.call, course.row.handle), found.path, share) else ""


def _shadow(course: Standing, found: Moment) -> str:
    """The version in state shadow whose step is tried beside this one, with the same inputs."""
    if len(course.progress.frames) > 1 or found.step.effect in _UNASKED or _state(course, found) != ACTIVE:
        return ""
    workflow = workflow_rows.find(course.tx, course.call.workspace, course.row.workflow)
    row = workflow_rows.in_state(course.tx, workflow.id, SHADOW) if workflow else None
    return row.version if row else ""


def _state(course: Standing, found: Moment) -> str:
    """Of the version that the step stands in: it may be a workflow inside another."""
    row = course.tx.one(
        "workflow_version_state",
        workspace=course.call.workspace,
        name=found.frame.workflow,
        version=found.frame.document,
    )
    return str(row[0]) if row else ""
