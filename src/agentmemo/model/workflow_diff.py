"""What is different between two documents, and which steps keep the evidence that there is on them."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec

from agentmemo.model.values import encode_sorted
from agentmemo.model.wire import Response
from agentmemo.model.workflows import EdgeCase, Example, Step, WorkflowDocument, plain, step_hash, version_of

# Compared part by part, not as one value.
_APART = ("steps", "edge_cases", "examples")
_SHOWN = 120
_DIGITS = 12
SIGNS = {"added": "+", "removed": "-", "changed": "~", "moved": ">", "renamed": "="}


class FieldChange(Response, kw_only=True):
    """A field that is different; null where it is as by default."""

    field: str
    before: Any = None
    after: Any = None


class PartChange(Response, kw_only=True):
    """What became of a step, an edge case or an example: added, removed, changed, moved or renamed.

    `before_id` is what a renamed step was called. A step that `keeps_evidence` asks what it asked before.
    """

    id: str
    change: str
    fields: list[FieldChange] = []
    before_id: str | None = None
    keeps_evidence: bool = False


class WorkflowDiff(Response, kw_only=True):
    """From one version to another. `kept` are the steps whose evidence holds on; `text` is all of it in words."""

    before: str
    after: str
    steps: list[PartChange]
    edge_cases: list[PartChange]
    examples: list[PartChange]
    fields: list[FieldChange]
    kept: list[str]
    text: str


class _Placed(NamedTuple):
    """A step, the step that it stands in, and what its evidence belongs to."""

    step: Step
    inside: str
    hash: str


def diff(before: WorkflowDocument, after: WorkflowDocument) -> WorkflowDiff:
    """What is different, by the ids of the parts."""
    old, new = _placed(before), _placed(after)
    steps = _steps(old, new)
    hashes = {placed.hash for placed in old.values()}
    made = WorkflowDiff(
        before=version_of(before),
        after=version_of(after),
        steps=steps,
        edge_cases=_parts(_by_id(before.edge_cases), _by_id(after.edge_cases)),
        examples=_parts(_examples(before), _examples(after)),
        fields=_fields(plain(before), plain(after), _APART),
        kept=[name for name, placed in new.items() if placed.hash in hashes],
        text="",
    )
    return msgspec.structs.replace(made, text=_text(made))


def _steps(old: dict[str, _Placed], new: dict[str, _Placed]) -> list[PartChange]:
    renamed = _renamed(old, new)
    still = _in_order([renamed.get(name, name) for name in new], list(old))
    found = []
    for name, placed in new.items():
        before_id = renamed.get(name, name)
        was = old.get(before_id)
        if was is None:
            found.append(PartChange(id=name, change="added"))
            continue
        fields = _fields(plain(was.step), plain(placed.step), ("id", "steps"))
        moved = before_id not in still or renamed.get(placed.inside, placed.inside) != was.inside
        if name != before_id or fields or moved:
            change = "renamed" if name != before_id else "changed" if fields else "moved"
            found.append(
                PartChange(
                    id=name,
                    change=change,
                    fields=fields,
                    before_id=before_id if name != before_id else None,
                    keeps_evidence=placed.hash == was.hash,
                )
            )
    gone = [name for name in old if name not in new and name not in renamed.values()]
    return found + [PartChange(id=name, change="removed") for name in gone]


def _placed(document: WorkflowDocument) -> dict[str, _Placed]:
    found: dict[str, _Placed] = {}

    def place(steps: list[Step], inside: str) -> None:
        for step in steps:
            found[step.id] = _Placed(step, inside, step_hash(step, document.edge_cases))
            place(step.steps, step.id)

    place(document.steps, "")
    return found


def _renamed(old: dict[str, _Placed], new: dict[str, _Placed]) -> dict[str, str]:
    """New ids and the old ones: of steps that ask what one asked that is no longer there."""
    gone = {placed.hash: name for name, placed in old.items() if name not in new}
    return {name: gone.pop(placed.hash) for name, placed in new.items() if name not in old and placed.hash in gone}


def _in_order(new: list[str], old: list[str]) -> set[str]:
    """Those that stand in the same order as before: all but the fewest that were moved."""
    both = [name for name in new if name in old]
    before = [name for name in old if name in both]
    blocks = difflib.SequenceMatcher(None, before, both, autojunk=False).get_matching_blocks()
    return {before[block.a + offset] for block in blocks for offset in range(block.size)}


def _by_id(cases: Iterable[EdgeCase]) -> dict[str, Any]:
    return {case.id: plain(case) for case in cases}


def _examples(document: WorkflowDocument) -> dict[str, Any]:
    """By what they are given: an example has no name of its own."""
    return {_name(example): plain(example) for example in document.examples}


def _name(example: Example) -> str:
    content = encode_sorted([example.step, example.input])
    return f"{hashlib.sha256(content).hexdigest()[:_DIGITS]} {_short(example.input)}"


def _parts(before: dict[str, Any], after: dict[str, Any]) -> list[PartChange]:
    found = []
    for name, part in after.items():
        if name not in before:
            found.append(PartChange(id=name, change="added"))
        elif part != before[name]:
            found.append(PartChange(id=name, change="changed", fields=_fields(before[name], part, ())))
    return found + [PartChange(id=name, change="removed") for name in before if name not in after]


def _fields(before: dict[str, Any], after: dict[str, Any], apart: tuple[str, ...]) -> list[FieldChange]:
    names = [*before, *(name for name in after if name not in before)]
    return [
        FieldChange(field=name, before=before.get(name), after=after.get(name))
        for name in names
        if name not in apart and encode_sorted(before.get(name)) != encode_sorted(after.get(name))
    ]


def _text(found: WorkflowDiff) -> str:
    lines = [f"{found.before[:12]} -> {found.after[:12]}"]
    lines += [_field_line(field, "") for field in found.fields]
    for title, parts in (("step", found.steps), ("edge case", found.edge_cases), ("example", found.examples)):
        for part in parts:
            before = f" (was {part.before_id})" if part.before_id else ""
            kept = "  keeps its evidence" if part.keeps_evidence else ""
            lines.append(f"{SIGNS[part.change]} {title} {part.id}{before}  {part.change}{kept}")
            lines += [_field_line(field, "    ") for field in part.fields]
    if len(lines) == 1:
        lines.append("nothing is different")
    return "\n".join(lines)


def _field_line(field: FieldChange, indent: str) -> str:
    return f"{indent}{field.field}: {_short(field.before)} -> {_short(field.after)}"


def _short(value: Any) -> str:
    text = encode_sorted(value).decode()
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
