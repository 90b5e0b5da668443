"""What a step needs to know of the function it runs: its result type, whether it is async, where its context goes."""

from __future__ import annotations

import hashlib
import inspect
import typing
from collections.abc import Callable
from functools import lru_cache
from types import FunctionType
from typing import Any, NamedTuple

import msgspec

from agentmemo.errors import Error
from agentmemo.model.values import encode_sorted

CONTEXT_TYPES = ("StepContext", "AsyncStepContext")
FINGERPRINT_HEX = 32


class Description(NamedTuple):
    returns: Any
    context: str | None
    is_async: bool


_SILENT = Description(None, None, is_async=False)


def describe(function: Callable[..., Any]) -> Description:
    # A lambda says nothing of itself, and each evaluation makes another that would be looked at and kept.
    if isinstance(function, FunctionType) and function.__name__ == "<lambda>" and not vars(function):
        return _SILENT
    try:
        return _describe(function)
    except TypeError:  # not hashable: a callable object with __eq__
        return _describe.__wrapped__(function)


@lru_cache(maxsize=1024)
def _describe(function: Callable[..., Any]) -> Description:
    target = inspect.unwrap(function)
    is_async = inspect.iscoroutinefunction(target) or inspect.iscoroutinefunction(
        getattr(target, "__call__", None)  # noqa: B004 - the method itself is asked, not whether it is callable
    )
    try:
        hints = typing.get_type_hints(target)
    except Exception:  # noqa: BLE001 - annotations are the user's, and may name what cannot be imported here
        hints = {}
    context = next((name for name, kind in hints.items() if getattr(kind, "__name__", "") in CONTEXT_TYPES), None)
    returns = hints.get("return")
    return Description(None if returns in (type(None), Any) else returns, context, is_async)


def fingerprint(arguments: tuple[Any, ...], version: str) -> str:
    """What a step's inputs and its task's declared version come to; never the function's code."""
    if not arguments and not version:
        return ""
    return hashlib.sha256(encode_sorted([version, [_plain(item) for item in arguments]])).hexdigest()[:FINGERPRINT_HEX]


def _plain(value: Any) -> Any:
    try:
        encode_sorted(value)
    except (TypeError, ValueError, RecursionError, msgspec.MsgspecError, Error):
        # Handles, clients and the like have no content of their own; their type stands for them.
        return f"<{type(value).__module__}.{type(value).__qualname__}>"
    return value
