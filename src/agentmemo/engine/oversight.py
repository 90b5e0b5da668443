"""The oversight report: each requirement with how the plane is configured right now."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from agentmemo.clock import SECOND
from agentmemo.engine import escalation_time, policies
from agentmemo.engine.call import Call
from agentmemo.model import escalations, reports
from agentmemo.model import policies as policy_model
from agentmemo.model.escalation_rules import Policy
from agentmemo.model.oversight import REQUIREMENTS, STANDARD
from agentmemo.store.database import Transaction

# One, and another where the first does not answer.
PEOPLE_LEAST = 2


class Setup(NamedTuple):
    """What is configured, as far as the requirements ask."""

    severities: dict[str, tuple[Policy, float]]
    told: dict[str, list[str]]
    rules: int
    silences: list[policies.Ruled]
    paused: int
    disabled: list[str]


class Finding(NamedTuple):
    configured: list[str]
    missing: list[str]


def oversight(tx: Transaction, call: Call, _request: reports.GetOversight) -> reports.Oversight:
    setup = _setup(tx, call)
    lines = []
    for requirement in REQUIREMENTS:
        found = LOOKS[requirement.id](setup)
        lines.append(
            reports.OversightLine(
                id=requirement.id,
                asks=requirement.asks,
                part=requirement.part,
                configured=found.configured,
                met=not found.missing,
                missing=found.missing,
                left=requirement.left,
                test=requirement.test,
            )
        )
    return reports.Oversight(standard=STANDARD, at=tx.now, met=sum(line.met for line in lines), lines=lines)


def _setup(tx: Transaction, call: Call) -> Setup:
    severities = {}
    for severity in escalations.SEVERITIES:
        policy, deadline = escalation_time.policy_for(tx, call, severity, policy_model.DEFAULT_ROUTE)
        severities[severity] = (policy, (deadline - tx.now) / SECOND)
    return Setup(
        severities=severities,
        told={severity: _told(tx, call, severity) for severity in escalations.SEVERITIES},
        rules=sum(len(ruled.document.rules) for ruled in policies.all_of(tx, call.workspace, policy_model.RULES)),
        silences=[
            ruled
            for ruled in policies.all_of(tx, call.workspace, policy_model.SILENCE)
            if policy_model.ends_at(ruled.document) > tx.now
        ],
        paused=(tx.one("report_paused", workspace=call.workspace) or (0,))[0],
        disabled=[
            f"{kind}:{name}" for workspace, kind, name in tx.all("actor_disabled") if workspace == call.workspace
        ],
    )


def _told(tx: Transaction, call: Call, severity: str) -> list[str]:
    """The persons on the default route who can be reached for a severity."""
    route = policies.route_of(tx, call.workspace, None)
    steps = len(route.steps) if route else 1
    people = [
        recipient.person
        for step in range(steps)
        for recipient in policies.recipients(tx, call, None, step, tx.now, severity=severity)
    ]
    return list(dict.fromkeys(people))


def _gates(setup: Setup) -> Finding:
    if setup.rules:
        return Finding([f"{setup.rules} rules say which calls are asked about"], [])
    return Finding(
        ["no rules: agents ask where their own code does"],
        ["rules that say which calls are asked about: agentmemo policy set rules default FILE"],
    )


def _timeouts(setup: Setup) -> Finding:
    configured, missing = [], []
    for severity, (policy, seconds) in setup.severities.items():
        people = setup.told[severity]
        configured.append(
            f"{severity}: {_duration(seconds)}, then {policy.fallback}; told: {', '.join(people) or 'nobody'}"
        )
        if len(people) < PEOPLE_LEAST:
            missing.append(
                f"a second person who is told of {severity} questions: agentmemo policy set contact NAME FILE"
            )
    return Finding(configured, missing)


def _custody(setup: Setup) -> Finding:
    del setup
    return Finding(["events are never removed; retention erases only what lies beside them"], [])


def _pauses(setup: Setup) -> Finding:
    waits = [severity for severity, (policy, _) in setup.severities.items() if policy.fallback == "pause"]
    return Finding(
        [
            f"{setup.paused} runs wait for a person now",
            f"unanswered, these go on waiting: {', '.join(waits) or 'none'}",
        ],
        [],
    )


def _kill_switch(setup: Setup) -> Finding:
    return Finding([f"disabled now: {', '.join(setup.disabled) or 'nobody'}"], [])


def _irreversible(setup: Setup) -> Finding:
    return Finding(
        [
            f"{severity}: {policy.count} must agree, an approval holds {_duration(policy.execute_seconds)}"
            for severity, (policy, _) in setup.severities.items()
        ],
        [],
    )


def _doubts(setup: Setup) -> Finding:
    return Finding(
        [f"{severity}: unanswered, {policy.fallback}" for severity, (policy, _) in setup.severities.items()], []
    )


def _fatigue(setup: Setup) -> Finding:
    pauses = ", ".join(f"{name} {_duration(policy.batch_seconds)}" for name, (policy, _) in setup.severities.items())
    silences = [f"silence {ruled.name} until {ruled.document.until}" for ruled in setup.silences]
    return Finding([f"nobody is told before: {pauses}", f"{setup.rules} rules", *(silences or ["no silences"])], [])


LOOKS: Mapping[str, Callable[[Setup], Finding]] = {
    "APTS-HO-001": _gates,
    "APTS-HO-003": _timeouts,
    "APTS-HO-005": _custody,
    "APTS-HO-006": _pauses,
    "APTS-HO-008": _kill_switch,
    "APTS-HO-010": _irreversible,
    "APTS-HO-013": _doubts,
    "APTS-HO-016": _fatigue,
}


def _duration(seconds: float) -> str:
    """`15 min`, `4 h`, `7 d`: the largest unit that says it exactly."""
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds and seconds % size == 0:
            return f"{seconds / size:g} {unit}"
    return f"{seconds:g} s"
