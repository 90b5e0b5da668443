"""What was shown of each model at each step: intervals against the bar, and how they came about over time."""

from __future__ import annotations

from typing import Any

from agentmemo.console.charts import axis_from, interval, over_time, ticks
from agentmemo.console.frame import Visit
from agentmemo.console.words import time_text
from agentmemo.model.evidence_bounds import jeffreys_interval
from agentmemo.model.workflow_reports import PassRate, PassRates
from agentmemo.model.workflow_versions import Workflow
from agentmemo.model.workflows import WorkflowDocument, walk

PARTS = 8
DRAWN_MAX = 24


async def panel(visit: Visit, found: Workflow, document: WorkflowDocument) -> dict[str, Any]:
    """Every model that was tried at a step, in groups by step, all on one axis."""
    seen = await visit.connection.workflows.rates(found.name, version=found.version, parts=1)
    bar = document.quality.step_bar
    known = [_known(each) for each in seen.rates]
    start = axis_from([*(each["low"] for each in known), bar])
    groups = []
    for number, step in enumerate(walk(document.steps), 1):
        rungs = [each for each in known if each["step"] == step.id]
        for each in rungs:
            each["drawn"] = interval(each["low"], each["rate"], each["high"], bar, start)
        if rungs:
            groups.append({"number": number, "step": step.id, "title": step.title or step.id, "rungs": rungs})
    return {"groups": groups, "ticks": ticks(start), "bar": bar}


def _known(seen: PassRate) -> dict[str, Any]:
    total = seen.passed + seen.failed
    shown = jeffreys_interval(seen.passed, total)
    return {
        "step": seen.step,
        "model": seen.model,
        "successes": seen.passed,
        "failures": seen.failed,
        "rate": seen.passed / total if total else None,
        "low": shown.low,
        "high": shown.high,
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
