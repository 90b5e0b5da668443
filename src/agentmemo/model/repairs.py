"""Repair: from failures to a new draft that is held to everything that worked before."""

from __future__ import annotations

from typing import Any

from agentmemo.model.trials import Trial
from agentmemo.model.wire import Request, Response
from agentmemo.model.workflow_versions import Workflow

FAILED, UNTRIED = "failed", "not_replayed"


class Propose(Request, kw_only=True):
    """A new draft: a version with a few edits made. `source` is the failure that they come from: failure:RUN.

    It has the tools of the version, and those named in `tools`. `designed_by` is who thought of them; whoever calls by
    default. A model's edits take no check away.
    """

    name: str
    edits: Any
    reason: str = ""
    version: str | None = None
    designed_by: Any = None
    source: str = "designed"
    tools: list[str] = []


class GetRegressions(Request, kw_only=True):
    """What worked before and does not in this version."""

    name: str
    version: str | None = None


class Regression(Response, kw_only=True):
    """A case that stands against a version: it passed before, and now it failed, or was not replayed yet."""

    case: str
    step: str | None
    kind: str
    models: list[str]
    problems: list[str]


class Regressions(Response, kw_only=True):
    """Evidence moves no version on against which something stands; `tried` is how many cases it was replayed on."""

    workflow: str
    version: str
    parent: str | None
    tried: int
    found: list[Regression]
    text: str


class Repaired(Response, kw_only=True):
    """What a repair made: a draft, how it did on what failed and on what had worked, and what stands against it."""

    workflow: Workflow
    edits: list[Any]
    trial: Trial
    regressions: Regressions
    attempts: int
    cost_nanousd: int | None


def in_words(version: str, tried: int, found: list[Regression]) -> str:
    if not found:
        return f"{version[:12]}: nothing that worked before fails in it; replayed on {tried} cases"
    failed = sum(each.kind == FAILED for each in found)
    untried = len(found) - failed
    parts = [f"{failed} cases that passed before fail"] * bool(failed)
    parts += [f"{untried} cases that passed before were not replayed"] * bool(untried)
    return f"{version[:12]}: {', '.join(parts)}; evidence does not move it on until that is mended"
