"""Arguments as people write them, turned into what an operation takes."""

from __future__ import annotations

import datetime
import inspect
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import msgspec

from agentmemo.clock import SECOND
from agentmemo.errors import InvalidInput
from agentmemo.model.escalations import SuggestedAction, action_called
from agentmemo.model.kinds import described
from agentmemo.model.runs import Budget, Retry
from agentmemo.model.wire import explain

T = TypeVar("T", bound=msgspec.Struct)


def microseconds(at: datetime.datetime | int | None) -> int | None:
    """A moment as UTC microseconds; a datetime without a zone is UTC."""
    if not isinstance(at, datetime.datetime):
        return at
    moment = at if at.tzinfo else at.replace(tzinfo=datetime.UTC)
    return round(moment.timestamp() * SECOND)


def as_struct(kind: type[T], value: Any) -> T:
    """One of the model's types given as one, as its fields in a dict, or as a tuple of its first fields.

    Raises InvalidInput naming the nearest valid field.
    """
    if isinstance(value, kind):
        return value
    if isinstance(value, tuple):
        value = dict(zip(kind.__struct_fields__, value, strict=False))
    try:
        return msgspec.convert(value, described(kind))
    except msgspec.ValidationError as error:
        raise explain(error, kind) from None


def as_budget(budget: Budget | dict[str, Any] | None) -> Budget | None:
    """A Budget given as one or as its fields. Raises InvalidInput for fields it has not, or of other types."""
    if not isinstance(budget, dict):
        return budget
    try:
        return msgspec.convert(budget, described(StrictBudget))
    except msgspec.ValidationError as error:
        raise explain(error, Budget) from None


class StrictBudget(Budget, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A budget on its way in: a bound that does not exist is refused, where a reader ignores it."""


def as_actions(given: Iterable[SuggestedAction | dict[str, Any] | str]) -> list[SuggestedAction]:
    """Suggested actions; one that is only words gets an id made of them: "Roll back!" is `roll-back`."""
    actions: list[SuggestedAction] = []
    for each in given:
        if isinstance(each, str):
            actions.append(action_called(each, actions))
        else:
            actions.append(as_struct(SuggestedAction, each))
    return actions


def as_retry(retry: Retry | dict[str, Any] | None) -> Retry | None:
    """A Retry given as one or as its fields."""
    return as_struct(StrictRetry, retry) if isinstance(retry, dict) else retry


class StrictRetry(Retry, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A retry on its way in: a field that does not exist is refused, where a reader ignores it."""


def takes_run(handler: Callable[..., Any]) -> bool:
    """Whether a handler is `(handoff, run)`, not `(handoff)`. Raises InvalidInput for what is no function."""
    if not callable(handler):
        raise InvalidInput(f"{handler!r} cannot be called.", next_call="Pass a function.")
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    given = [each for each in inspect.signature(handler).parameters.values() if each.kind in kinds]
    return len(given) > 1 and (given[1].name == "run" or given[1].default is inspect.Parameter.empty)


def named_parameters(function: Callable[..., Any]) -> inspect.Signature:
    """The signature of a function whose arguments all have names, so that a person can be shown them.

    Raises InvalidInput for any other.
    """
    signature = inspect.signature(function)
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    if not all(each.kind in named for each in signature.parameters.values()):
        raise InvalidInput(
            f"{getattr(function, '__name__', function)} takes arguments without names.",
            why="Rules and people decide on arguments by their names.",
            next_call="Give each parameter a name: no *args, no **kwargs, nothing before a slash.",
        )
    return signature


def bound(signature: inspect.Signature, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """A call's arguments by their names, defaults included."""
    given = signature.bind(*args, **kwargs)
    given.apply_defaults()
    return dict(given.arguments)


def fitting(signature: inspect.Signature, arguments: Any, name: str) -> dict[str, Any]:
    """Arguments that a person edited, as those of a function. Raises InvalidInput where it cannot take them."""
    try:
        return dict(signature.bind(**arguments).arguments)
    except TypeError as error:
        raise InvalidInput(
            f"{name} cannot take the arguments that were approved: {error}.",
            why="A person edited them.",
            next_call="Ask again, and say what it takes in context.",
        ) from None
