"""What must hold of a store at any time, whatever was killed: looked at again and again, each time at what is new.

The first look is at everything. Notes are read before the rows are, so that what they say was acknowledged is there.
"""

from __future__ import annotations

import json
import zlib
from collections import Counter, defaultdict
from typing import Any, NamedTuple

from trail import CHANGES_OF_ENTRIES, MASK, POSITION_BITS, Event, Trail, check_commitment
from workload import digest

from agentmemo.model.escalations import is_of_run

# Names in one question.
PORTION = 500
WITH_TOKENS = ("facts", "counted")
FINISHED = "('completed', 'failed', 'cancelled')"
# By what it says it is woken -> what is not.
FORSAKEN = {
    "something": f"SELECT handle FROM run WHERE wake IS NOT NULL AND state IN {FINISHED}",  # noqa: S608 - our own names
    "a lease": "SELECT r.handle FROM run r LEFT JOIN worker w ON w.id = r.worker"
    " WHERE r.wake = 'lease' AND (w.id IS NULL OR w.stopped_at IS NOT NULL)",
    "a claim": "SELECT r.handle FROM run r LEFT JOIN ready q ON q.run = r.id WHERE r.wake = 'ready' AND q.run IS NULL",
    "a claim of nothing": "SELECT q.run FROM ready q LEFT JOIN run r ON r.id = q.run"
    " WHERE r.wake IS NULL OR r.wake <> 'ready'",
    "a timer": "SELECT handle FROM run WHERE wake = 'timer' AND wake_at IS NULL",
    "a signal": "SELECT handle FROM run WHERE wake = 'signal' AND wait_name IS NULL",
    "a handoff's state": "SELECT handle FROM handoff"
    " WHERE (state IN ('pending', 'claimed', 'submitted')) <> (wake IS NOT NULL)",
    "a handoff's lease": "SELECT h.handle FROM handoff h LEFT JOIN worker w ON w.id = h.worker"
    " WHERE h.worker IS NOT NULL AND (w.id IS NULL OR w.stopped_at IS NOT NULL)",
}
# What was noted as done -> whose event says so.
ACKNOWLEDGED = {
    "started": ("run", "run.start"),
    "finished": ("run", "run.complete"),
    "handed": ("id", "handoff.create"),
    "performed": ("id", "handoff.complete"),
    "asked": ("id", "escalation.create"),
    "approved": ("id", "escalation.decide"),
}
VALUE = (
    "SELECT v.version, v.codec, v.value, v.blob FROM entry e JOIN namespace n ON n.id = e.namespace"
    " JOIN entry_version v ON v.entry = e.id WHERE n.name = ? AND e.key = ?"
)


class Used(NamedTuple):
    """A row of the ledger."""

    run: str | None
    state: str
    counted: int
    nanousd: int | None


def rows_of(file, query: str, names: set) -> list[tuple]:
    """`query` ends where the names go that it asks for."""
    found, left = [], sorted(names)
    while left:
        portion, left = left[:PORTION], left[PORTION:]
        found += file.execute(f"{query} ({', '.join('?' * len(portion))})", tuple(portion)).fetchall()
    return found


class Follower:
    """Knows all of a store that it has looked at. Raises AssertionError for what must not be."""

    def __init__(self) -> None:
        self.trail = Trail()
        self.known: set[str | None] = set()
        self._used: dict[str, Used] = {}
        self._counted: Counter[str] = Counter()
        self._paid: Counter[str] = Counter()
        self._written: set[str] = set()
        self._asked: dict[tuple, str] = {}
        self._acted_under: dict[str, str] = {}
        self._begun: Counter[tuple] = Counter()
        self._probed: Counter[tuple] = Counter()
        self._tokens: dict[tuple, dict[str, int | None]] = defaultdict(dict)
        self._ended: dict[tuple, str] = {}
        # What was completed by the last look but one: notes that come now were written after that.
        self._long_completed: dict[tuple[str, str], int] = {}
        self._newly_completed: dict[tuple[str, str], int] = {}

    def look(self, file, notes: list[dict]) -> None:
        """At one moment of the store, and at what was noted before it."""
        self._file, since = file, dict(self.trail.last)
        events = self.trail.follow(file)
        touched = defaultdict(set)
        for event in events:
            for name in (event.stream, event.leaf.get("run"), event.leaf["subject"].get("id")):
                touched[(name or "")[:3]].add(name)
                self.known.add(name)
        self._check_entries(events, since)
        self._check_runs(touched["run"])
        self._check_steps(touched["run"])
        self._check_handoffs(touched["hof"])
        self._check_escalations(touched["esc"])
        self._check_ledger(touched["use"])
        check_wakes(file)
        self._check_notes(notes)
        self._remember_completed(events)

    def _check_entries(self, events: list[Event], since: dict[int, int]) -> None:
        """A version's row id is its event's position: no change without an event, no event without its change."""
        told = {event.position: event for event in events if event.operation in CHANGES_OF_ENTRIES and event.is_change}
        query = (
            "SELECT v.position, v.kind, n.name, e.key, v.version, v.codec, v.value, e.version, e.position"
            " FROM entry_version v JOIN entry e ON e.id = v.entry JOIN namespace n ON n.id = e.namespace"
            " WHERE v.position > ? AND v.position <= ? ORDER BY v.position"
        )
        found, pairs = {}, defaultdict(list)
        for workspace, last in self.trail.last.items():
            low = since.get(workspace, workspace << POSITION_BITS)
            for position, kind, namespace, key, version, codec, value, *head in self._file.execute(
                query, (low, last | MASK)
            ):
                found[position] = (f"state.{kind}", (namespace, key), version)
                assert tuple(head) == self.trail.versions.get((namespace, key)), f"{namespace}/{key} is at {head}"
                if position in told:
                    check_commitment(told[position], codec, value)
                if namespace == "pairs":
                    pairs[key].append((version, bytes(value)))
                elif namespace in WITH_TOKENS and value is not None:
                    self._check_token(namespace, version, _decoded(codec, value))
        expected = {at: (event.operation, event.key, event.leaf["to_version"]) for at, event in told.items()}
        assert found == expected, f"entries without their events or the other way round: {_differ(found, expected)}"
        for key, versions in pairs.items():
            side, _, slot = key.partition("-")
            other = {"left": "right", "right": "left"}[side]
            differ = set(versions) ^ set(pairs[f"{other}-{slot}"])
            assert versions == pairs[f"{other}-{slot}"], f"half of a transaction: {key}: {sorted(differ)[:4]}"

    def _check_token(self, namespace: str, version: int, value: Any) -> None:
        """Each write brought a token of its own: one that is there twice was done twice. Counters count by one."""
        token = value.get("token")
        assert token is None or token not in self._written, f"done twice: {value}"
        self._written.add(token)
        assert namespace != "counted" or value["n"] == version, f"version {version} of a counter holds {value}"

    def _check_runs(self, handles: set[str]) -> None:
        """One start per run, one end per finished run, at the epoch that its trail is at."""
        found = set()
        for handle, state, epoch in rows_of(
            self._file, "SELECT handle, state, epoch FROM run WHERE handle IN", handles
        ):
            found.add(handle)
            counts = {what: self.trail.counts[handle, f"run.{what}"] for what in ("start", "complete", "fail")}
            expected = {"start": 1, "complete": int(state == "completed"), "fail": int(state == "failed")}
            assert counts == expected, f"{handle} is {state}, and its trail says {counts}"
            assert epoch == self.trail.epochs.get(handle, 0), f"{handle} is at epoch {epoch}"
        assert found == handles, f"runs that nobody has: {handles - found}"

    def _check_steps(self, runs: set[str]) -> None:
        query = (
            "SELECT r.handle, s.name, s.key, s.state, s.effect FROM step s JOIN run r ON r.id = s.run"
            " WHERE s.effect <> 'wait' AND r.handle IN"
        )
        known = set()
        for handle, name, key, state, effect in rows_of(self._file, query, runs):
            step = (handle, f"{name}/{key}")
            known.add(step)
            assert (step in self.trail.completed) == (state == "completed"), (step, state)
            announced = effect in ("write", "irreversible")
            assert (self.trail.steps[(*step, "step.start")] > 0) == announced, step
        lost = [step for step in self.trail.completed if step[0] in runs and step not in known]
        assert not lost, f"completed, and not there: {lost}"

    def _check_handoffs(self, handles: set[str]) -> None:
        """What was performed was so once, and its effect with it."""
        query = "SELECT handle, state, epoch FROM handoff WHERE handle IN"
        found = set()
        for handle, state, epoch in rows_of(self._file, query, handles):
            found.add(handle)
            completed = int(state == "completed")
            assert self.trail.counts[handle, "handoff.complete"] == completed, f"{handle} is {state}"
            assert epoch == self.trail.epochs.get(handle, 0), f"{handle} is at epoch {epoch}"
            effects, _ = self.trail.versions.get(("done", handle), (0, 0))
            assert effects == completed, f"{handle} is {state}, its effect is there {effects} times"
        assert found == handles, f"handoffs that nobody has: {handles - found}"

    def _check_escalations(self, handles: set[str]) -> None:
        """No answer is lost or given twice, none comes too early, and no place in a run asks twice."""
        query = (
            "SELECT handle, state, run, step, kind, collapse_key, ended_at, deadline FROM escalation WHERE handle IN"
        )
        for handle, state, run, step, kind, collapse, ended_at, deadline in rows_of(self._file, query, handles):
            ends = self.trail.counts[handle, "escalation.decide"] + self.trail.counts[handle, "escalation.default"]
            assert ends == (state in ("decided", "defaulted")), f"{handle} is {state}, and ended {ends} times"
            assert state != "defaulted" or ended_at >= deadline, f"{handle} took its default too early"
            if run and not is_of_run(collapse):
                assert self._asked.setdefault((run, step, kind), handle) == handle, f"{run} asked twice at {step}"

    def _check_ledger(self, handles: set[str]) -> None:
        """What ended ended once, and every running sum is that of its rows."""
        query = "SELECT handle, run, state, counted_nanousd, nanousd FROM usage WHERE handle IN"
        scopes = {"workspace"}
        for handle, *row in rows_of(self._file, query, handles):
            now, before = Used(*row), self._used.get(handle, Used(row[0], "reserved", 0, None))
            assert before.state in ("reserved", now.state), f"{handle} was {before.state} and is {now.state}"
            assert now.counted > 0, f"{handle} counts for nothing"
            assert (now.nanousd is None) == (now.state != "settled"), f"{handle} has a cost that is made up, or none"
            for scope in ("workspace", f"run:{now.run}"):
                self._counted[scope] += now.counted - before.counted
                scopes.add(scope)
            self._paid[now.run] += _paid(now) - _paid(before)
            self._used[handle] = now
        for scope, nanousd in rows_of(self._file, "SELECT scope, nanousd FROM ledger_spent WHERE scope IN", scopes):
            assert nanousd == self._counted[scope], f"{scope} sums up to {self._counted[scope]}, not {nanousd}"
        runs = {scope.removeprefix("run:") for scope in scopes}
        for handle, nanousd in rows_of(self._file, "SELECT handle, nanousd FROM run WHERE handle IN", runs):
            assert nanousd == self._paid[handle], f"{handle} was charged {nanousd}, not {self._paid[handle]}"

    def _check_notes(self, notes: list[dict]) -> None:
        for note in notes:
            what = note["what"]
            if what in ACKNOWLEDGED:
                name, operation = ACKNOWLEDGED[what]
                assert self.trail.counts[note[name], operation] == 1, f"lost: {note}"
            elif check := getattr(self, f"_noted_{what}", None):
                check(note)

    def _noted_set(self, note: dict) -> None:
        """An acknowledged write is there, with the version and the value that were acknowledged."""
        found = self._file.execute(
            f"{VALUE} AND v.version = ?", (note["namespace"], note["key"], note["version"])
        ).fetchone()
        assert found, f"lost: {note}"
        _, codec, value, blob = found
        if blob is None:
            assert digest(_decoded(codec, value)) == note["digest"], f"changed: {note}"

    def _noted_pair(self, note: dict) -> None:
        self._at_least(("pairs", f"left-{note['slot']}"), note)

    def _noted_deleted(self, note: dict) -> None:
        self._at_least((note["namespace"], note["key"]), note)

    def _at_least(self, key: tuple[str, str], note: dict) -> None:
        assert self.trail.versions.get(key, (0, 0))[0] >= note["version"], f"lost: {note}"

    def _noted_waited(self, note: dict) -> None:
        assert note["got"] == note["told"], note

    def _noted_reserved(self, note: dict) -> None:
        assert note["id"] in self._used, f"lost: {note}"

    def _noted_settled(self, note: dict) -> None:
        assert self._used[note["id"]].state == "settled", f"lost: {note}"

    def _noted_answered(self, note: dict) -> None:
        """To the person who answered, and to the run that asked, it is the same answer."""
        (row,) = self._file.execute("SELECT state, answer FROM escalation WHERE handle = ?", (note["id"],)).fetchall()
        assert (row[0], json.loads(row[1])["choice"]) == ("decided", note["choice"]), note

    _noted_told = _noted_answered

    def _noted_begin(self, note: dict) -> None:
        """A finished step runs no further time, an announced one no time more than somebody allowed.

        A process that was frozen between the announcement and the function begins it whenever it thaws; what it does is
        refused by its epoch. Under the epoch of the result, or a later one, nobody begins again.
        """
        step = (note["run"], note.get("step"))
        place, epoch = (step[0], f"{step[1]}/1"), note.get("epoch")
        finished_at = self._tokens[step][self._ended[step]] if step in self._ended else None
        finished_at = finished_at or self._long_completed.get(place)
        if finished_at is not None:
            assert (epoch or finished_at) < finished_at, (
                f"{step} was finished at epoch {finished_at}, and ran at {epoch}"
            )
        self._begun[step] += 1
        self._tokens[step][note.get("token")] = epoch
        if note.get("effect") == "write":
            allowed = 1 + self.trail.steps[(*place, "retry")] + self._probed[step]
            assert self._begun[step] <= allowed, f"{step} ran {self._begun[step]} times where {allowed} were allowed"
        if step[1] == "transfer":
            self._check_approved(note)

    def _check_approved(self, note: dict) -> None:
        """What was approved is done by whoever honours keys: begun under one, and after the approval was used."""
        key = self._acted_under.setdefault(note["run"], note["key"])
        assert key == note["key"], f"{note['run']} acted under {key}, and under {note['key']}"
        query = "SELECT redeemed IS NOT NULL AND uses = 0 FROM escalation WHERE kind = 'approval' AND run = ?"
        assert self._file.execute(query, (note["run"],)).fetchall() in ([(1,)], [(True,)]), f"not approved: {note}"

    def _noted_probed(self, note: dict) -> None:
        self._probed[note["run"], note["step"]] += 1

    def _noted_end(self, note: dict) -> None:
        step, token = (note["run"], note["step"]), note["token"]
        assert token in self._tokens[step], f"{step} gave a result that none of its executions made"
        if self._ended.setdefault(step, token) != token:
            raise AssertionError(f"{step} gave two results")
        found = self._file.execute(VALUE, ("steps", f"{step[0]}/{step[1]}")).fetchall()
        assert [version for version, *_ in found] == [1], f"{step} wrote {len(found)} times"
        assert _decoded(found[0][1], found[0][2]) == token, f"the state written in {step} is not its result's"

    def _remember_completed(self, events: list[Event]) -> None:
        self._long_completed |= self._newly_completed
        steps = {(event.stream, event.leaf.get("step")) for event in events if event.operation == "step.complete"}
        self._newly_completed = {step: self.trail.completed[step] for step in steps if step in self.trail.completed}

    def check_nothing_else(self, file) -> None:
        """Whatever is there has a trail."""
        for table in ("run", "handoff", "escalation", "usage"):
            for (handle,) in file.execute(f"SELECT handle FROM {table}").fetchall():  # noqa: S608 - our own table names
                assert handle in self.known, f"{handle} is there without an event"


def check_wakes(file) -> None:
    """What is unfinished has exactly the one thing that will wake it; nothing is ready twice or for nobody."""
    for source, query in FORSAKEN.items():
        found = file.execute(query).fetchall()
        assert found == [], f"nothing wakes {found} (by {source})"


def _differ(found: dict[int, Any], expected: dict[int, Any]) -> dict[int, tuple]:
    return {
        at: (found.get(at), expected.get(at))
        for at in found.keys() | expected.keys()
        if found.get(at) != expected.get(at)
    }


def _paid(used: Used) -> int:
    return used.counted if used.state != "reserved" else 0


def _decoded(codec: int, value: bytes | None) -> object:
    return None if value is None else json.loads(zlib.decompress(value) if codec else bytes(value))
