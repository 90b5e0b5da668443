"""The trail of a store, followed as it grows: what is new must join what is known, and says what the tables hold."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import zlib
from collections import Counter
from typing import Any, NamedTuple

import msgspec

POSITION_BITS = 40
MASK = (1 << POSITION_BITS) - 1
CHANGES_OF_ENTRIES = ("state.set", "state.delete", "state.expire")
# An event of these says that somebody holds the run from now on.
CLAIMS = ("run.start", "run.claim", "run.takeover")
EVENTS = (
    "SELECT position, stream, sequence, leaf, payload FROM event WHERE position > ? AND position <= ? ORDER BY position"
)


class Event(NamedTuple):
    position: int
    leaf: dict[str, Any]
    payload: bytes | None

    @property
    def stream(self) -> str:
        return self.leaf["stream"]

    @property
    def operation(self) -> str:
        return self.leaf["operation"]

    @property
    def is_change(self) -> bool:
        return self.leaf["outcome"] == "ok"

    @property
    def key(self) -> tuple[str, str]:
        """Of what entry it tells."""
        return self.leaf["subject"]["namespace"], self.leaf["subject"]["key"]


class Trail:
    """What all events so far say. `follow` raises AssertionError where the next ones cannot come after them."""

    def __init__(self) -> None:
        self.last: dict[int, int] = {}  # of each workspace, the position
        self.epochs: dict[str, int] = {}
        self.versions: dict[tuple[str, str], tuple[int, int]] = {}  # of an entry: the newest, and its position
        self.counts: Counter[tuple[str, str]] = Counter()  # stream, operation
        self.totals: Counter[str] = Counter()  # operation
        self.steps: Counter[tuple[str, str, str]] = Counter()  # run, step, operation or decision
        self.completed: dict[tuple[str, str], int] = {}  # run and step, under which epoch
        self._heads: dict[str, tuple[int, str]] = {}

    def follow(self, file) -> list[Event]:
        """All events that are new."""
        events = []
        for (workspace,) in file.execute("SELECT id FROM workspace").fetchall():
            low = workspace << POSITION_BITS
            last = self.last.get(workspace, low)
            for position, stream, sequence, leaf, payload in file.execute(EVENTS, (last, low | MASK)):
                assert position == last + 1, f"revisions {(last & MASK) + 1} to {(position & MASK) - 1} are missing"
                event = Event(position, json.loads(bytes(leaf)), payload)
                self._join(event, stream, sequence, bytes(leaf))
                self._take(event)
                events.append(event)
                last = position
            self.last[workspace] = last
        return events

    def _join(self, event: Event, stream: str, sequence: int, leaf: bytes) -> None:
        before, previous = self._heads.get(stream, (0, ""))
        assert (stream, sequence) == (event.stream, before + 1), f"{stream} goes on from {before} with {event.leaf}"
        assert (event.leaf["sequence"], event.leaf["previous"]) == (sequence, previous), (
            f"the chain of {stream} is broken"
        )
        self._heads[stream] = (sequence, hashlib.sha256(b"\x00" + leaf).hexdigest())

    def _take(self, event: Event) -> None:
        if not event.is_change:
            return
        self.counts[event.stream, event.operation] += 1
        self.totals[event.operation] += 1
        if event.stream.startswith("run_"):
            self._take_epoch_of_run(event)
        elif event.operation.startswith("handoff.") and event.stream.startswith("hof_"):
            self._take_epoch_of_handoff(event)
        if event.operation in CHANGES_OF_ENTRIES:
            self._take_version(event)
        elif event.operation == "run.resolve":
            # That three workers died on it in a row is a question about the run, not about a step.
            self.steps[event.stream, event.leaf.get("step"), event.leaf["subject"]["decision"]] += 1
        elif event.operation.startswith("step.") and event.leaf["subject"]["kind"] == "step":
            self._take_step(event)

    def _take_epoch_of_run(self, event: Event) -> None:
        """Epochs only rise, and each claim raises its run's by one: no stale write was accepted."""
        before = self.epochs.get(event.stream, 0)
        claims = event.operation in CLAIMS[1:]
        if claims:
            assert (event.leaf["from_version"], event.leaf["to_version"]) == (before, before + 1), event
        if (epoch := event.leaf.get("epoch")) is None:
            return
        raised = before + 1 if claims else max(before, int(event.operation == "run.start"))
        assert epoch in (before, raised), f"a stale write: {event.leaf}, the run being at {before}"
        self.epochs[event.stream] = epoch

    def _take_epoch_of_handoff(self, event: Event) -> None:
        before = self.epochs.get(event.stream, 0)
        expected = before + (event.operation == "handoff.claim")
        assert event.leaf["epoch"] == expected, f"a stale write: {event.leaf}, the handoff being at {before}"
        self.epochs[event.stream] = expected

    def _take_version(self, event: Event) -> None:
        before, _ = self.versions.get(event.key, (0, 0))
        known = (event.leaf["from_version"], event.leaf["to_version"])
        assert known == (before, before + 1), f"{event.leaf} after version {before}"
        self.versions[event.key] = (before + 1, event.position)

    def _take_step(self, event: Event) -> None:
        step = (event.stream, event.leaf["step"])
        self.steps[(*step, event.operation)] += 1
        if event.operation == "step.complete":
            assert step not in self.completed, f"{step} was completed twice: {event.leaf}"
            self.completed[step] = event.leaf["epoch"]


def check_commitment(event: Event, codec: int, value: bytes | None) -> None:
    """A value that lies in its row is the one that its event committed to."""
    if value is None or "value" not in event.leaf.get("commitments", {}):
        return
    content = zlib.decompress(value) if codec else bytes(value)
    salt = msgspec.msgpack.decode(event.payload)["value"][0]
    found = base64.urlsafe_b64encode(hmac.digest(salt, b"value\x00" + content, "sha256")).decode().rstrip("=")
    assert found == event.leaf["commitments"]["value"], f"the value of {event.key} is not the one of its event"
