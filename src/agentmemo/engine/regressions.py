"""What worked before and does not in a version: while anything stands against it, evidence does not move it on."""

from __future__ import annotations

import msgspec

from agentmemo.engine.call import Call
from agentmemo.errors import Conflict
from agentmemo.model import repairs as model
from agentmemo.model.cases import SUCCESS
from agentmemo.model.executions import PASSED
from agentmemo.model.workflows import WorkflowDocument, version_of, walk
from agentmemo.store import cases as rows
from agentmemo.store.database import Transaction

NAMED = 3
_texts = msgspec.json.Decoder(list[str])


def check(tx: Transaction, call: Call, document: WorkflowDocument) -> None:
    """Raises Conflict where something that worked before stands against moving a version on by evidence."""
    found = regressions(tx, call, document)
    if found:
        version = version_of(document)
        raise Conflict(
            f"{document.name} {model.in_words(version, 0, found)}.",
            why="A version that was made from another one must do all that was right before.",
            next_call=f"See them: agent.workflows.regressions('{document.name}', version='{version[:12]}'); mend it, "
            f"or replay it: agent.workflows.trial('{document.name}', version='{version[:12]}', thorough=True).",
            details={"version": version, "cases": [each.case for each in found[:NAMED]]},
        )


def regressions(tx: Transaction, call: Call, document: WorkflowDocument) -> list[model.Regression]:
    """What passed before and failed in the newest trial of this version, or was not tried on it; none without a parent.

    What passed before is what the parent passed by the same model, and every success that was kept as a case.
    """
    if document.parent is None:
        return []
    ids = {step.id for step in walk(document.steps)}
    known = {row.digest: row for row in rows.known(tx, call.workspace, document.name)}
    before = _newest(tx, call, document.name, document.parent)
    now = _newest(tx, call, document.name, version_of(document))
    found = []
    for digest, row in known.items():
        if row.step is not None and row.step not in ids:
            continue
        passed = {name for name, tried in before.get(digest, {}).items() if tried.verdict == PASSED}
        is_success = row.source.startswith(f"{SUCCESS}:")
        if passed or is_success:
            found += _against(row, passed, now.get(digest, {}), is_success=is_success)
    return found


def _against(
    row: rows.Known, passed: set[str], now: dict[str, rows.TriedRow], *, is_success: bool
) -> list[model.Regression]:
    if not now:
        return [
            model.Regression(case=row.digest, step=row.step, kind=model.UNTRIED, models=sorted(passed), problems=[])
        ]
    failed = {name: tried for name, tried in now.items() if tried.verdict != PASSED}
    worse = sorted(failed.keys() & passed)
    if not worse and is_success and len(failed) == len(now):
        worse = sorted(failed)
    if not worse:
        return []
    problems = _texts.decode(failed[worse[0]].problems)
    return [model.Regression(case=row.digest, step=row.step, kind=model.FAILED, models=worse, problems=problems)]


def _newest(tx: Transaction, call: Call, name: str, version: str) -> dict[str, dict[str, rows.TriedRow]]:
    """By case and model, what came of it last."""
    found: dict[str, dict[str, rows.TriedRow]] = {}
    for row in rows.tried_of_version(tx, call.workspace, name, version):
        found.setdefault(row.digest, {})[row.model] = row
    return found
