"""From what somebody writes to a workflow document: plain text compiled, everything checked, nothing guessed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import msgspec

from agentmemo.errors import InvalidInput
from agentmemo.model import workflow_expressions as expressions
from agentmemo.model import workflows as model
from agentmemo.model.documents import encode_example, misfit, parse
from agentmemo.model.values import decode, encode_result
from agentmemo.model.workflow_text import bare, id_of, items_of, title_of, when_and_then
from agentmemo.model.workflows import Check, DesignedBy, Rung, Step, WorkflowDocument

SCHEMA_ID = "https://json-schema.org/draft/2020-12/schema"
# Ids given to the steps of a document, whatever their depth.
NAMED_MAX = 5 * model.STEPS_MAX
# What every step that is only words is asked at least.
NOT_EMPTY = {"kind": "expression", "expression": 'output != null && output != ""', "message": "The output is empty."}
EXAMPLE: dict[str, Any] = {
    "name": "code-review",
    "designed_by": "opus-4",
    "steps": [
        {"id": "fetch", "kind": "tool", "tool": "fetch_diff", "input": {"pr": "$inputs.pr_number"}, "effect": "read"},
        {"id": "review", "instruction": "Review this diff: {$steps.fetch.output}"},
    ],
}
_ANY = ("id", "kind", "title", "when")
_ASKED = ("input", "output_schema", "checks")
# What a kind must have, and what else means something for it.
NEEDS: dict[str, tuple[str, ...]] = {
    model.TOOL: ("tool",),
    model.LLM: ("instruction",),
    model.ASSERT: ("checks",),
    model.BRANCH: ("cases",),
    model.FOREACH: ("items", "steps"),
    model.WORKFLOW: ("workflow",),
    model.HUMAN: ("instruction",),
}
TAKES: dict[str, tuple[str, ...]] = {
    model.TOOL: (*_ASKED, "effect", "in_doubt", "attempts", "escalate", "timeout_seconds"),
    model.LLM: (*_ASKED, "tools", "effect", "attempts", "escalate", "ladder", "context", "timeout_seconds", "compare"),
    model.ASSERT: ("input",),
    model.BRANCH: (),
    model.FOREACH: ("output_schema", "checks"),
    model.WORKFLOW: (*_ASKED, "version", "attempts", "escalate", "timeout_seconds"),
    model.HUMAN: (*_ASKED, "severity", "suggested_actions", "timeout_seconds"),
}
CHECK_NEEDS = {
    "schema": "schema", "expression": "expression", "regex": "pattern", "tool": "tool", "second_model": "instruction",
}  # fmt: skip
_WRITES = ("write", "irreversible")


class Seen(NamedTuple):
    """What a step can refer to: the ids of the steps before it, the inputs that are declared, and whether an item."""

    steps: frozenset[str]
    inputs: frozenset[str] | None
    in_foreach: bool


def compile_document(given: Any) -> WorkflowDocument:
    """A document from what somebody wrote: `steps` and `edge_cases` may be plain text, or lists that hold some.

    Raises InvalidInput with the path of what does not fit and the next valid call.
    """
    data = decode(encode_result(given))
    if not isinstance(data, dict):
        raise misfit("$", "a workflow is an object", f"Send a document such as {encode_example(EXAMPLE)}.")
    data["designed_by"] = _designed_by(data.get("designed_by"))
    data["steps"] = _compiled_steps(data.get("steps"), "$.steps", set())
    if data.get("edge_cases") is not None:
        data["edge_cases"] = _compiled_edge_cases(data["edge_cases"])
    if data.get("ladder"):
        data["ladder"] = _compiled_ladder(data["ladder"])
    document = parse(WorkflowDocument, {name: value for name, value in data.items() if value is not None}, "workflow",
                     EXAMPLE)  # fmt: skip
    check_document(document)
    return document


def designer_of(given: Any) -> DesignedBy:
    """Who designed something, from a name or the whole of it. Raises InvalidInput."""
    return parse(
        DesignedBy, _designed_by(decode(encode_result(given))), "designer", {"model": "opus-4"}, "$.designed_by"
    )


def workflow_schema() -> dict[str, Any]:
    """The JSON Schema of a document in its structured form."""
    (made,), parts = msgspec.json.schema_components([WorkflowDocument], ref_template="#/$defs/{name}")
    title = {"$schema": SCHEMA_ID, "title": "AgentMemo workflow document"}
    # ECMA's patterns, which JSON Schema has, know the end of a text only as `$`.
    return decode(msgspec.json.encode({**title, **made, "$defs": parts}).replace(rb"\\Z", b"$"))  # type: ignore[no-any-return]


def check_document(document: WorkflowDocument) -> None:
    """What a document must be beyond the form of its parts. Raises InvalidInput with the path."""
    every = list(model.walk(document.steps))
    if len(every) > model.STEPS_MAX:
        raise misfit("$.steps", f"it has {len(every)} steps", f"Have at most {model.STEPS_MAX}; call other workflows.")
    _check_unique([step.id for step in every], "$.steps", "step")
    _check_unique([case.id for case in document.edge_cases], "$.edge_cases", "edge case")
    _check_ladder(document.ladder, "$.ladder")
    seen = Seen(frozenset(), _declared(document.inputs), in_foreach=False)
    _check_steps(document, document.steps, "$.steps", seen, depth=1)
    ids = frozenset(step.id for step in every)
    top = Seen(frozenset(step.id for step in document.steps), seen.inputs, in_foreach=False)
    _check_expressions(document.output, "$.output", top)
    for index, case in enumerate(document.edge_cases):
        _check_edge_case(case, f"$.edge_cases[{index}]", ids, seen.inputs)
    for index, example in enumerate(document.examples):
        if example.step is not None and example.step not in ids:
            raise misfit(f"$.examples[{index}].step", f"there is no step {example.step!r}", _one_of(ids))
    _check_tools(document, every)


# Compiling


def _designed_by(given: Any) -> Any:
    if isinstance(given, str) and given:
        kind, colon, name = given.partition(":")
        return {"person": name} if colon and kind == "person" and name else {"model": given}
    if isinstance(given, dict) and bool(given.get("model")) != bool(given.get("person")):
        return given
    raise misfit(
        "$.designed_by", "it does not say who designed it", "Name a model, 'opus-4', or a person, 'person:ana'."
    )


def _compiled_steps(given: Any, path: str, taken: set[str]) -> list[Any]:
    """Steps as objects, each with an id; ids that are given are kept, so they are looked at first."""
    found = items_of(given) if isinstance(given, str) else given
    if not isinstance(found, list) or not found:
        raise misfit(path, "there is no step", "Write them as text, '1. Fetch the diff\\n2. Review it', or as a list.")
    if len(found) > model.STEPS_MAX or len(taken) > NAMED_MAX:
        # Before they are given ids, for which each is compared with the others.
        raise misfit(path, f"there are more than {model.STEPS_MAX} steps", "Make workflows of their own of some.")
    if path == "$.steps":
        taken.update(_given_ids(found))
    return [_compiled_step(step, f"{path}[{index}]", taken) for index, step in enumerate(found)]


def _given_ids(steps: list[Any]) -> Iterable[str]:
    for step in steps:
        if isinstance(step, dict):
            yield from (step["id"],) if isinstance(step.get("id"), str) else ()
            yield from _given_ids(step["steps"]) if isinstance(step.get("steps"), list) else ()


def _compiled_step(given: Any, path: str, taken: set[str]) -> Any:
    if isinstance(given, str):
        text = bare(given)
        made: dict[str, Any] = {"title": title_of(text), "instruction": text, "checks": [NOT_EMPTY]}
    elif isinstance(given, dict):
        made = dict(given)
    else:
        raise misfit(path, "a step is a text or an object", "Write what is to be done in it.")
    if made.get("id") is None:
        words = next((str(made[name]) for name in ("title", "instruction", "tool", "workflow") if made.get(name)), "")
        made["id"] = id_of(title_of(words), taken, str(made.get("kind", "step")))
        taken.add(made["id"])
    if made.get("steps"):
        made["steps"] = _compiled_steps(made["steps"], f"{path}.steps", taken)
    if made.get("ladder"):
        made["ladder"] = _compiled_ladder(made["ladder"])
    return made


def _compiled_edge_cases(given: Any) -> Any:
    found = items_of(given) if isinstance(given, str) else given
    if not isinstance(found, list):
        raise misfit("$.edge_cases", "they are a text or a list", "Write '- If the diff is empty, say so', one a line.")
    taken = {case["id"] for case in found if isinstance(case, dict) and isinstance(case.get("id"), str)}
    made = []
    for each in found:
        case = each
        if isinstance(each, str):
            when, then = when_and_then(bare(each))
            case = {"when": when, "then": then}
        if isinstance(case, dict) and case.get("id") is None:
            case = {"id": id_of(str(case.get("when", "")), taken, "case"), **case}
            taken.add(case["id"])
        made.append(case)
    return made


def _compiled_ladder(given: Any) -> Any:
    rungs = [given] if isinstance(given, str) else given
    return [{"model": rung} if isinstance(rung, str) else rung for rung in rungs] if isinstance(rungs, list) else rungs


# Checking


def _check_steps(document: WorkflowDocument, steps: list[Step], path: str, seen: Seen, depth: int) -> None:
    if depth > model.DEPTH_MAX:
        raise misfit(path, f"it is more than {model.DEPTH_MAX} levels deep", "Make a workflow of its own of it.")
    for index, step in enumerate(steps):
        where = f"{path}[{index}]"
        _check_fields(step, where)
        _check_step(document, step, where, seen)
        later = {other.id for other in steps[index + 1 :]} | {model.END}
        for number, case in enumerate(step.cases):
            _check_condition(case.when, f"{where}.cases[{number}].when", seen)
            if case.goto not in later:
                raise misfit(
                    f"{where}.cases[{number}].goto",
                    f"{case.goto!r} is no later step beside this one",
                    f"Go forward only: {', '.join(sorted(later))}.",
                )
        if step.steps:
            _check_steps(document, step.steps, f"{where}.steps", seen._replace(in_foreach=True), depth + 1)
        seen = seen._replace(steps=seen.steps | {step.id})


def _check_fields(step: Step, path: str) -> None:
    """A kind has what it needs, and nothing that means nothing for it."""
    needed, taken = NEEDS[step.kind], TAKES[step.kind]
    for name in needed:
        if not getattr(step, name):
            raise misfit(f"{path}.{name}", f"a step of kind {step.kind} needs it", f"Add `{name}` to {step.id!r}.")
    for name in model.plain(step):
        if name not in (*_ANY, *needed, *taken):
            kinds = [kind for kind in model.KINDS if name in (*NEEDS[kind], *TAKES[kind])]
            raise misfit(
                f"{path}.{name}",
                f"it means nothing for a step of kind {step.kind}",
                f"Remove it; it belongs to {', '.join(kinds)}.",
            )


def _check_step(document: WorkflowDocument, step: Step, path: str, seen: Seen) -> None:
    for name in ("input", "instruction", "items"):
        _check_expressions(getattr(step, name), f"{path}.{name}", seen)
    if step.when is not None:
        _check_condition(step.when, f"{path}.when", seen)
    if step.items is not None and not expressions.is_expression(step.items):
        raise misfit(f"{path}.items", "it is no expression", "Write one for a list: '$steps.fetch.output.files'.")
    if step.kind == model.LLM and step.effect in _WRITES:
        raise misfit(
            f"{path}.effect",
            "a model has no effects of its own",
            "Make what writes a step of its own: kind 'tool', with the tool and this effect; it then happens once.",
        )
    if step.effect == "irreversible" and step.in_doubt == "retry":
        raise misfit(f"{path}.in_doubt", "what cannot be undone is never tried again unasked", "Write 'ask'.")
    if step.workflow == document.name:
        raise misfit(f"{path}.workflow", "a workflow cannot call itself", "Use foreach, or name another one.")
    if step.id == model.END:
        raise misfit(f"{path}.id", "`end` is where a workflow ends", "Name the step otherwise.")
    _check_ladder(step.ladder, f"{path}.ladder")
    _check_unique([check.id for check in step.checks if check.id], f"{path}.checks", "check")
    for index, check in enumerate(step.checks):
        _check_check(check, f"{path}.checks[{index}]", seen)


def _check_check(check: Check, path: str, seen: Seen) -> None:
    needed = CHECK_NEEDS[check.kind]
    if getattr(check, needed) is None:
        raise misfit(f"{path}.{needed}", f"a check of kind {check.kind} needs it", f"Add `{needed}`.")
    allowed = {"kind", "id", "severity", "message", needed, *(("model",) if check.kind == "second_model" else ())}
    for name in model.plain(check):
        if name not in allowed:
            raise misfit(f"{path}.{name}", f"it means nothing for a check of kind {check.kind}", "Remove it.")
    if check.kind == "second_model" and check.severity == "hard":
        raise misfit(
            f"{path}.severity", "what another model says is no evidence", "Write 'soft', or check it otherwise."
        )
    if check.expression is not None:
        _check_condition(check.expression, f"{path}.expression", seen)
    if check.pattern is not None:
        _check_pattern(check.pattern, f"{path}.pattern")


def _check_pattern(pattern: str, path: str) -> None:
    try:
        re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise misfit(path, f"it is no regular expression: {error}", "Escape what stands for itself with \\.") from None
    if re.search(r"(?<!\\)(?:\\\\)*(?:\(\?<?[=!]|\\[1-9]|\(\?P=)", pattern):
        raise misfit(
            path, "it looks around or back, which no linear time allows", "Write several checks, or an expression."
        )


def _check_edge_case(case: model.EdgeCase, path: str, ids: frozenset[str], inputs: frozenset[str] | None) -> None:
    if case.step is not None and case.step not in ids:
        raise misfit(f"{path}.step", f"there is no step {case.step!r}", _one_of(ids))
    if case.action != "tell" and case.matches is None:
        raise misfit(
            f"{path}.matches", f"{case.action} needs a condition", "Write one, such as 'size(inputs.files) > 100'."
        )
    if case.matches is not None:
        _check_condition(case.matches, f"{path}.matches", Seen(ids, inputs, in_foreach=True))


def _check_tools(document: WorkflowDocument, every: list[Step]) -> None:
    """Nothing that writes is in a model's hands, and nothing is used that the document does not name."""
    writing = {step.tool for step in every if step.effect in _WRITES}
    for step in every:
        for tool in step.tools:
            if tool in writing:
                raise misfit(
                    "$.steps",
                    f"{step.id!r} hands {tool!r} to a model, and it writes",
                    "Take it out of `tools`; what writes is a step of its own.",
                )
        used = [*step.tools, *filter(None, [step.tool, *(check.tool for check in step.checks)])]
        for tool in used if document.tools else ():
            if tool not in document.tools:
                raise misfit("$.tools", f"{step.id!r} uses {tool!r}, which is not among them", f"Add {tool!r} to them.")


def _check_expressions(template: Any, path: str, seen: Seen) -> None:
    _check_names(expressions.references, template, path, seen)


def _check_condition(condition: str, path: str, seen: Seen) -> None:
    _check_names(expressions.mentions, condition, path, seen)


def _check_names(names: Callable[[Any], set[tuple[str, str]]], given: Any, path: str, seen: Seen) -> None:
    try:
        found = sorted(names(given))
    except InvalidInput as error:
        raise misfit(path, error.message.rstrip("."), error.next_call) from None
    for root, name in found:
        if root == expressions.STEPS and name not in seen.steps:
            raise misfit(path, f"there is no step {name!r} before this one", _one_of(seen.steps))
        if root == expressions.INPUTS and seen.inputs is not None and name and name not in seen.inputs:
            raise misfit(path, f"there is no input {name!r}", _one_of(seen.inputs))
        if root in (expressions.ITEM, expressions.INDEX) and not seen.in_foreach:
            raise misfit(path, f"only steps inside a foreach have an {root}", "Use $inputs or $steps.")


def _check_ladder(ladder: list[Rung], path: str) -> None:
    names = [rung.model for rung in ladder]
    _check_unique(names, path, "rung")
    if model.NO_MODEL in names[1:]:
        raise misfit(path, "`none` is the cheapest rung, and not the first", "Put it first.")


def _check_unique(names: list[str], path: str, what: str) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise misfit(path, f"more than one {what} is called {twice[0]!r}", "Give each its own name.")


def _declared(schema: dict[str, Any] | None) -> frozenset[str] | None:
    """The names of the inputs, where the schema says that there are no others."""
    properties = (schema or {}).get("properties")
    is_open = any(name in (schema or {}) for name in ("patternProperties", "allOf", "anyOf", "oneOf", "$ref"))
    if not isinstance(properties, dict) or is_open or (schema or {}).get("additionalProperties"):
        return None
    return frozenset(properties)


def _one_of(names: Iterable[str]) -> str:
    return f"Use one of: {', '.join(sorted(names))}." if names else "There is none yet; change the order."
