"""The parts of a connection, `agent.state` and its like: each is loaded and made when it is used first."""

from __future__ import annotations

from importlib import import_module
from typing import Any, Generic, Self, TypeVar, overload

T = TypeVar("T")


class Part(Generic[T]):
    """A facade as an attribute of a connection, which has a `_plane`; its file lies beside the connection's.

    Made once, whichever thread comes first; from then on it is a plain attribute.
    """

    def __init__(self, file: str, kind: str) -> None:
        self._file, self._kind = file, kind

    def __set_name__(self, owner: type, name: str) -> None:
        self._package = owner.__module__.rpartition(".")[0]
        self._name = name

    @overload
    def __get__(self, connection: None, owner: type) -> Self: ...
    @overload
    def __get__(self, connection: Any, owner: type) -> T: ...
    def __get__(self, connection: Any, owner: type) -> Self | T:
        if connection is None:
            return self
        facade = getattr(import_module(f"{self._package}.{self._file}"), self._kind)
        known = vars(connection)
        return known.setdefault(self._name, facade(known["_plane"]))
