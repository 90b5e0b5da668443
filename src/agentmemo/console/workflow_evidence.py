"""What was shown of each model at each step: intervals against the bar, and how they came about over time."""

from __future__ import annotations

from typing import Any

from agentmemo.console.charts import axis_from, interval, over_time, ticks
from agentmemo.console.frame import Visit
from agentmemo.console.words import time_text
from agentmemo.model.evidence_calls import CALLER, PLANE, TRIAL, StepChoice, StepEvidence
from agentmemo.model.workflow_reports import PassRates
from agentmemo.model.workflow_versions import Workflow
from agentmemo.model.workflows import WorkflowDocument, walk

PARTS = 8
DRAWN_MAX = 24
SOURCES = {PLANE: "in executions", TRIAL: "in a trial", CALLER: "said by who executed"}


async def panel(visit: Visit, found: Workflow, document: WorkflowDocument) -> dict[str, Any]:
    """Every model that was tried at a step, in groups by step, and the whole runs; all on one axis."""
    known = await visit.connection.workflows.evidence(found.name, version=found.version)
    bars = {"": document.quality.run_bar}
    start = axis_from([*(each.verdict.low for each in known.evidence), document.quality.step_bar, *bars.values()])
    choices = {choice.step: choice for choice in known.choices}
    places = [(step.id, f"{number}. {step.title or step.id}") for number, step in enumerate(walk(document.steps), 1)]
    groups = []
    for step, title in [*places, ("", "The whole run")]:
        bar = bars.get(step, document.quality.step_bar)
        mine = [each for each in known.evidence if each.step == step]
        choice = choices.get(step)
        if mine or choice:
            groups.append(
                {
                    "step": step,
                    "title": title,
                    "bar": bar,
                    "choice": choice,
                    "rungs": [rung(each, choice, bar, start) for each in mine],
                }
            )
    return {"groups": groups, "ticks": ticks(start), "tried": bool(known.evidence)}


def rung(found: StepEvidence, choice: StepChoice | None, bar: float, start: float) -> dict[str, Any]:
    """One model at a step: its figures, whether it is used now, and what was decided about it."""
    total = found.successes + found.failures
    shown = found.verdict
    rate = found.successes / total if total else None
    used = choice is not None and found.model == choice.model
    return {
        "model": found.model or "all steps together",
        "served": found.served if found.served not in {"", found.model} else "",
        "source": SOURCES[found.source],
        "promotes": found.source != CALLER,
        "successes": found.successes,
        "failures": found.failures,
        "abstained": found.abstained,
        "inputs": found.inputs,
        "audits": found.audits,
        "low": shown.low,
        "high": shown.high,
        "used": used,
        "tried": choice is not None and found.model == choice.tried,
        "status": found.status,
        "since": found.since,
        "reasons": found.reasons,
        "needs": shown.needs,
        "drawn": interval(shown.low, rate, shown.high, bar, start),
    }


async def rates(visit: Visit, found: Workflow, document: WorkflowDocument) -> dict[str, Any]:
    """One small chart for each model at each step, and its numbers."""
    seen = await visit.connection.workflows.rates(found.name, version=found.version, parts=PARTS)
    kinds = list(dict.fromkeys((each.step, each.model) for each in seen.rates))
    charts = [_chart(seen, step, model, document.quality.step_bar) for step, model in kinds[:DRAWN_MAX]]
    return {
        "charts": charts,
        "left_out": len(kinds[DRAWN_MAX:]),
        "since": seen.since,
        "parts": [time_text(seen.since + part * seen.part_us, visit.now, seconds=False) for part in range(PARTS)],
    }


def _chart(seen: PassRates, step: str, model: str, bar: float) -> dict[str, Any]:
    mine = {each.part: (each.passed, each.failed) for each in seen.rates if (each.step, each.model) == (step, model)}
    passed, failed = (sum(each[place] for each in mine.values()) for place in (0, 1))
    return {
        "step": step,
        "model": model,
        "passed": passed,
        "failed": failed,
        "parts": [mine.get(part) for part in range(seen.parts)],
        "drawn": over_time(seen.parts, mine, bar),
    }
