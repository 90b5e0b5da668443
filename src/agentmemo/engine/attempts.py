"""An attempt at a step: what is known of it before it is judged, and what became of it."""

from __future__ import annotations

from typing import Any, NamedTuple

from agentmemo.engine.evidence import Asked
from agentmemo.model.workflows import Step


class Tried(NamedTuple):
    """What is known of an attempt at an llm step before it is judged. `fresh`: the first on its rung.

    A second one has seen what was wrong with the first, which makes it another question: it counts for nothing.
    """

    model: str
    asked: Asked
    fresh: bool
    edge_cases: tuple[str, ...]
    audit: str
    shadow: str
    frames: str


class Attempted(NamedTuple):
    """What became of an attempt at a step, as evidence."""

    path: str
    step: Step
    step_hash: str
    number: int
    rung: int | None
    first_rung: int | None
    verdict: str
    problems: list[str]
    checks: list[Any]
    input_hash: str
    tried: Tried | None
