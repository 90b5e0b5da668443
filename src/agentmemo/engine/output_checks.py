"""What an output of a step must be: each of its checks, judged beside this process where a library is needed."""

from __future__ import annotations

from typing import Any, NamedTuple

from agentmemo.engine.execution_scope import Standing
from agentmemo.model import executions as model
from agentmemo.model.executions import Moment
from agentmemo.model.handoffs import Acceptance
from agentmemo.model.workflow_rules import NOT_EMPTY
from agentmemo.model.workflows import ASSERT, LLM, Check

HARD, SOFT = "hard", "soft"
EMPTY = "The output is empty."


class Outcome(NamedTuple):
    """Of one check: whether it held. `id` is its own, or its kind and place."""

    id: str
    kind: str
    severity: str
    passed: bool


class Judgement(NamedTuple):
    """`problems` are those of hard checks; an output without any passed."""

    problems: list[str]
    outcomes: list[Outcome]


def judge(course: Standing, found: Moment, output: Any, reported: list[model.ReportedCheck]) -> Judgement:
    problems, outcomes = [], []
    for check in checks_of(found):
        problem = _problem(course, found, check, output, {report.check: report for report in reported})
        severity = severity_of(check)
        outcomes.append(Outcome(check.id or check.kind, check.kind, severity, problem is None))
        if problem is not None and severity == HARD:
            problems.append(problem if check.message in ("", problem) else f"{check.message} ({problem})")
    if found.step.kind == LLM and not problems and _is_empty(output):
        problems.append(EMPTY)
    return Judgement(problems, outcomes)


def checks_of(found: Moment) -> list[Check]:
    """Its checks by id; the schema of its output is the first of them."""
    step = found.step
    schema = [Check(kind="schema", id="output_schema", schema=step.output_schema)] if step.output_schema else []
    named = [_named(check, number) for number, check in enumerate(step.checks, 1)]
    return schema + named


def severity_of(check: Check) -> str:
    """Another model's opinion is never more than a hint."""
    return SOFT if check.kind == "second_model" else check.severity


def _named(check: Check, number: int) -> Check:
    if check.id is not None:
        return check
    return Check(
        **{field: getattr(check, field) for field in Check.__struct_fields__} | {"id": f"{check.kind}_{number}"}
    )


def _problem(
    course: Standing, found: Moment, check: Check, output: Any, reported: dict[str, model.ReportedCheck]
) -> str | None:
    """Why a check does not hold, or None."""
    asked = course.call.engine.judge
    if check.kind == "schema":
        return "; ".join(asked.problems(Acceptance(schema=check.schema or {}), output, None)) or None
    if check.kind == "regex":
        pattern = {"type": "string", "pattern": check.pattern or ""}
        return "; ".join(asked.problems(Acceptance(schema=pattern), output, None)) or None
    if check.expression == NOT_EMPTY["expression"]:  # needs no library
        return EMPTY if _is_empty(output) else None
    if check.kind == "expression":
        return _untrue(course, check.expression or "", output, is_assert=found.step.kind == ASSERT)
    report = reported.get(check.id or "")
    if report is None:
        return f"{check.kind} check {check.id} was not made"
    return None if report.passed else f"{check.id}: {report.detail or 'not passed'}"


def _untrue(course: Standing, expression: str, output: Any, *, is_assert: bool) -> str | None:
    variables = course.scope.variables(course.progress, expression)
    if not is_assert:
        variables["output"] = output
    ((value, why),) = course.call.engine.judge.evaluate([expression], variables)
    return None if value is True else f"not so: {expression}" + (f" ({why})" if why else "")


def _is_empty(output: Any) -> bool:
    return output is None or (isinstance(output, str) and not output.strip()) or output in ([], {})
