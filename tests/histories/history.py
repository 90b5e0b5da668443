"""What clients did and were told, on one clock, and what the store says of it afterwards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

FOR_EVER = float("inf")


class Form(msgspec.Struct, frozen=True, omit_defaults=True):
    """Of every part of a history: it is written as JSON, and never changed."""


class Change(Form):
    """A value for a key, or its end where the value is None; only over the version `expect`, if that is given.

    A value is a token that is written once in the whole history, or a list whose last item is one: what was appended.
    """

    key: str
    value: Any
    expect: int | None = None


class Write(Form, tag="write"):
    """`state.set` or `state.delete`; several changes are a transaction."""

    changes: list[Change]


class Read(Form, tag="read"):
    """`state.entry` of one key; without one, `state.list` of all."""

    key: str | None = None


class Watch(Form, tag="watch"):
    """One answer of a watch that goes on after `after`, with so many changes at most."""

    after: int
    limit: int = 1000


class Hand(Form, tag="hand"):
    """`handoff.create`."""

    priority: int = 0


class Claim(Form, tag="claim"):
    """`handoff.claim` of the next one."""


class End(Form, tag="end"):
    """`handoff.complete` or `handoff.release` under the epoch of a claim."""

    how: str
    handoff: str
    epoch: int


class Version(Form):
    """One version of one key; a deleted one has no value."""

    key: str
    version: int
    revision: int
    value: Any = None


class Wrote(Form, tag="wrote"):
    versions: list[Version]


class Found(Form, tag="found"):
    """What a read found; a key that is absent is not there."""

    versions: list[Version] = []


class Heard(Form, tag="heard"):
    versions: list[Version]
    next: int


class Refused(Form, tag="refused"):
    """`current` is the version that a conflict named."""

    code: str
    current: int | None = None


class Handed(Form, tag="handed"):
    handoff: str


class Claimed(Form, tag="claimed"):
    """`handoff` is None where none was offered."""

    handoff: str | None = None
    epoch: int = 0


class Ended(Form, tag="ended"):
    pass


Asked = Write | Read | Watch | Hand | Claim | End
Said = Wrote | Found | Heard | Refused | Handed | Claimed | Ended


class Op(Form):
    """One call: from when to when, in nanoseconds, and what it was answered.

    One that was never answered is open: it may have happened at any time after its call, or never.
    """

    client: str
    called: int
    asked: Asked
    said: Said | None = None
    returned: float = FOR_EVER

    @property
    def is_open(self) -> bool:
        return self.said is None

    @property
    def changes(self) -> list[Change]:
        return self.asked.changes if isinstance(self.asked, Write) else []


class Move(Form):
    """An event of the trail about a handoff."""

    revision: int
    act: str
    handoff: str
    epoch: int
    actor: str


class Record(Form):
    """What the store says at the end: a watch from the beginning, the history of each key, and the trail."""

    begun: int
    watched: list[Version]
    kept: list[Version]
    recorded: list[int]  # the revisions of the trail's events about state
    moves: list[Move]


class History(Form):
    name: str
    ops: list[Op]
    record: Record

    @staticmethod
    def load(path: Path) -> History:
        return msgspec.json.decode(path.read_bytes(), type=History)

    def save(self, path: Path) -> None:
        path.write_bytes(msgspec.json.encode(self))


def token_of(value: Any) -> Any:
    return value[-1] if isinstance(value, list) else value


def shown(op: Op) -> str:
    """One line for a person."""
    until = "never" if op.is_open else f"{op.returned / 1e6:.3f}"
    return f"{op.client:>8}  {op.called / 1e6:.3f}..{until} ms  {_asked(op.asked)}  ->  {_said(op.said)}"


def _asked(asked: Asked) -> str:
    match asked:
        case Write(changes):
            return "; ".join(_change(change) for change in changes)
        case Read(key):
            return f"get {key}" if key else "list"
        case Watch(after, limit):
            return f"watch after {after}, up to {limit}"
        case Hand(priority):
            return f"hand over, priority {priority}"
        case Claim():
            return "claim"
        case End(how, handoff, epoch):
            return f"{how} {handoff[-6:]} at epoch {epoch}"


def _change(change: Change) -> str:
    what = f"delete {change.key}" if change.value is None else f"set {change.key} = {_value(change.value)}"
    return what if change.expect is None else f"{what} over version {change.expect}"


def _value(value: Any) -> str:
    if isinstance(value, list):
        return f"[{'... ' if len(value) > 3 else ''}{' '.join(map(str, value[-3:]))}]"
    return str(value)


def _said(said: Said | None) -> str:
    match said:
        case Wrote(versions) | Found(versions):
            return ", ".join(map(shown_version, versions)) or "absent"
        case Heard(versions, following):
            return f"{', '.join(map(shown_version, versions)) or 'nothing'}; next {following}"
        case Refused(code, current):
            return code if current is None else f"{code}, it has version {current}"
        case Handed(handoff) | Claimed(handoff):
            return f"{handoff[-6:]} at epoch {getattr(said, 'epoch', 0)}" if handoff else "none"
    return "no answer" if said is None else "done"


def shown_version(version: Version) -> str:
    value = "deleted" if version.value is None else _value(version.value)
    return f"{version.key}@{version.version} = {value} (revision {version.revision})"
