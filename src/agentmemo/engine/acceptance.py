"""What a result must be: JSON Schema and CEL expressions, checked by the libraries of the extra `checks`.

Both may take long, and more memory than there is, whatever is refused beforehand: `judge` runs this where that is
bounded. Only what needs no library is done by whoever imports it.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

import msgspec

from agentmemo.errors import InvalidInput, Unavailable
from agentmemo.model import handoffs as model
from agentmemo.model.values import encode

PROBLEMS_SHOWN = 5
# Lists inside lists take time that grows with the product of their lengths.
LOOPS_MAX = 1
SCHEMA_BYTES_MAX = 64 * 1024
_LOOPS = re.compile(r"\.\s*(?:all|exists|exists_one|map|filter)\s*\(")
_SHOWN = 300
# What a verifier answers with.
VERDICT = model.Acceptance(
    schema={
        "type": "object",
        "required": ["accepted"],
        "properties": {"accepted": {"type": "boolean"}, "reason": {"type": "string"}},
    }
)


def needs_judge(acceptance: model.Acceptance) -> bool:
    """Whether a library is needed to say what a result is."""
    return acceptance != VERDICT and (acceptance.schema is not None or bool(acceptance.checks))


def check_bounds(acceptance: model.Acceptance) -> None:
    """Raises InvalidInput or LimitExceeded for what is refused unread."""
    if len(acceptance.checks) > model.CHECKS_MAX:
        raise InvalidInput(f"More than {model.CHECKS_MAX} checks.", next_call="Join some of them with &&.")
    if acceptance.schema is not None and len(encode(acceptance.schema)) > SCHEMA_BYTES_MAX:
        raise InvalidInput(
            f"acceptance.schema has more than {SCHEMA_BYTES_MAX} bytes.",
            next_call="Check the parts that matter, or let a verifier look at the result.",
        )
    if acceptance.verifier is not None:
        model.check_receiver(acceptance.verifier)


def check_definition(acceptance: model.Acceptance) -> None:
    """Raises InvalidInput for a schema that is none, or an expression that cannot be read."""
    if acceptance.schema is not None:
        _validator(_text(acceptance.schema))
    for check in acceptance.checks:
        _program(check)


def verification(handle: str, verifier: str, package: model.Package, result: Any) -> model.CreateHandoff:
    """What a verifier is asked, as a handoff whose own result is the verdict."""
    return model.CreateHandoff(
        to_agent=verifier,
        goal=f"Verify the result of {handle}: is it what was asked for?",
        context={"handoff": handle, "goal": package.goal, "context": package.context, "result": result},
        acceptance=VERDICT,
    )


def problems(acceptance: model.Acceptance, result: Any, context: Any) -> list[str]:
    """Why a result is not accepted; empty when it is."""
    found = []
    if acceptance.schema is not None:
        for error in _validator(_text(acceptance.schema)).iter_errors(result):
            where = "".join(f"[{part!r}]" for part in error.instance_path)
            found.append(f"result{where}: {str(error.message)[:_SHOWN]}")
            if len(found) == PROBLEMS_SHOWN:
                break
    for check in acceptance.checks:
        outcome = _evaluate(check, {"result": result, "context": context})
        if outcome is not True:
            found.append(f"{check}: {outcome}")
    return found


def value_of(expression: str, variables: dict[str, Any]) -> tuple[bytes, str]:
    """What a CEL expression gives, as JSON, else why it gives nothing. Raises InvalidInput for what is none."""
    program = _program(expression)
    try:
        return encode(program.execute(variables)), ""
    except Exception as error:  # noqa: BLE001 - whatever an expression runs into, it gave nothing
        return b"", f"{type(error).__name__}: {str(error)[:_SHOWN]}"


def verdict_problems(result: Any) -> list[str]:
    """A verdict is checked without any library, so that every plane can have verifiers."""
    if not isinstance(result, dict) or not isinstance(result.get("accepted"), bool):
        return ["result: a verdict is {'accepted': true} or {'accepted': false, 'reason': '...'}"]
    return [] if isinstance(result.get("reason", ""), str) else ["result['reason']: not of type string"]


def _evaluate(check: str, variables: dict[str, Any]) -> object:
    try:
        return _program(check).execute(variables)
    except Exception as error:  # noqa: BLE001 - whatever an expression runs into, it was not true
        return f"{type(error).__name__}: {str(error)[:_SHOWN]}"


@lru_cache(maxsize=256)
def _validator(schema: str) -> Any:
    try:
        import jsonschema_rs
    except ImportError as error:
        raise _missing("a result schema", error) from error
    try:
        # Patterns run in linear time, whatever they and the result are.
        return jsonschema_rs.Draft202012Validator(
            msgspec.json.decode(schema), pattern_options=jsonschema_rs.RegexOptions(), retriever=_fetch_nothing
        )
    except (ValueError, jsonschema_rs.ReferencingError) as error:
        first = str(error).partition("\n")[0]
        raise InvalidInput(
            f"acceptance.schema is not a JSON Schema: {first[:_SHOWN]}",
            next_call="Send a JSON Schema (2020-12), such as {'type': 'object', 'required': ['findings']}.",
        ) from None


@lru_cache(maxsize=1024)
def _program(check: str) -> Any:
    try:
        import cel
    except ImportError as error:
        raise _missing("an acceptance check", error) from error
    if len(_LOOPS.findall(check)) > LOOPS_MAX:
        raise InvalidInput(
            f"The check {check!r} goes through more than one list.",
            why="Lists inside lists take time that grows with the product of their lengths, and all else waits.",
            next_call="Split it into several checks.",
        )
    if not 1 <= len(check) <= model.CHECK_CHARACTERS_MAX:
        raise InvalidInput(f"A check has 1 to {model.CHECK_CHARACTERS_MAX} characters.", next_call="Shorten it.")
    try:
        return cel.compile(check)
    except ValueError as error:
        first = " ".join(str(error).split())[:_SHOWN]
        raise InvalidInput(
            f"The check {check!r} is not a CEL expression: {first}",
            next_call="Write one over `result` and `context`, such as: result.score >= 0.8 && size(result.notes) > 0",
        ) from None


def _fetch_nothing(address: str) -> Any:
    raise ValueError(f"{address} is not fetched; put what it stands for under $defs")


def _missing(what: str, error: ImportError) -> Unavailable:
    return Unavailable(
        f"The plane cannot check {what}: {error.name} is not installed.",
        why="Checking results needs libraries that the core does without.",
        next_call="Install them where the plane runs: pip install 'agentmemo[checks]'.",
        retry_safe=False,
    )


def _text(schema: dict[str, Any]) -> str:
    return msgspec.json.encode(schema, order="sorted").decode()
