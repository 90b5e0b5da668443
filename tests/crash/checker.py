"""What must hold after any number of kills: read from the file itself, and through the product."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter, defaultdict
from contextlib import closing
from pathlib import Path

from workload import big_text, digest

import agentmemo

POSITION_BITS = 40
MASK = (1 << POSITION_BITS) - 1
CHANGES_OF_ENTRIES = ("state.set", "state.delete", "state.expire")
# An event of these says that somebody holds the run from now on.
CLAIMS = ("run.start", "run.claim", "run.takeover")


def check(store: Path, notes: list[dict], *, finished: bool = True) -> None:
    """Everything. With `finished`, all runs must have come to their end."""
    with agentmemo.connect(store, agent="checker") as agent:
        check_told(agent, notes)
    check_left(store, notes, finished=finished)


def check_told(agent: agentmemo.Connection, notes: list[dict]) -> None:
    """What the product itself says of its store."""
    verified = agent.audit.verify()
    assert verified.intact, verified.first_fault
    check_acknowledged(agent, notes)


def check_left(store: Path, notes: list[dict], *, finished: bool = True) -> None:
    """What stands in a file that nobody has open."""
    with closing(sqlite3.connect(f"file:{store}?mode=ro", uri=True)) as file:
        check_file(file)
        check_rows(file, notes, finished=finished)


def check_rows(file: sqlite3.Connection, notes: list[dict], *, finished: bool = True) -> None:
    """What holds among the rows of a store, whatever database keeps them: `file` answers `execute` as sqlite3 does."""
    check_positions(file)
    check_entries_have_events(file)
    check_pairs(file)
    check_blobs(file)
    check_epochs(file)
    check_runs_have_events(file, finished=finished)
    check_steps(file, notes)
    check_notes_once(file)
    check_handoffs(file, notes, finished=finished)
    check_escalations(file, notes, finished=finished)
    check_ledger(file, notes, finished=finished)


def check_ledger(file: sqlite3.Connection, notes: list[dict], *, finished: bool) -> None:
    """What was set aside is there, what ended ended once, and every running sum is that of its rows."""
    rows = file.execute("SELECT handle, state, run, counted_nanousd, nanousd FROM usage").fetchall()
    states = {row[0]: row[1] for row in rows}
    for note in notes:
        if note["what"] == "reserved":
            assert note["id"] in states
        elif note["what"] == "settled":
            assert states[note["id"]] == "settled"
    assert all(row[3] > 0 and (row[4] is None) == (row[1] != "settled") for row in rows), (
        "a cost is missing, or made up"
    )
    assert not finished or "reserved" not in states.values(), "a dead holder's reservation was left open"
    whole, of_runs, paid = 0, Counter(), Counter()
    for _, state, run, counted, _ in rows:
        whole += counted
        of_runs[f"run:{run}"] += counted
        paid[run] += counted if state != "reserved" else 0
    running = dict(file.execute("SELECT scope, nanousd FROM ledger_spent"))
    assert running.pop("workspace", 0) == whole
    assert running == dict(of_runs)
    charged = dict(file.execute("SELECT handle, nanousd FROM run WHERE nanousd > 0"))
    assert charged == {run: spent for run, spent in paid.items() if spent}


def check_handoffs(file: sqlite3.Connection, notes: list[dict], *, finished: bool) -> None:
    """What was handed over is there; what was performed was so once, and its effect with it."""
    states = dict(file.execute("SELECT handle, state FROM handoff"))
    done = Counter(
        key
        for (key,) in file.execute(
            "SELECT e.key FROM entry_version v JOIN entry e ON e.id = v.entry"
            " JOIN namespace n ON n.id = e.namespace WHERE n.name = 'done'"
        )
    )
    for note in notes:
        if note["what"] == "handed":
            assert note["id"] in states
        elif note["what"] == "performed":
            assert states[note["id"]] == "completed"
    for handle, state in states.items():
        assert state == "completed" or not finished, f"{handle} is {state}"
        assert done[handle] == (state == "completed"), f"{handle} is {state}, its effect is there {done[handle]} times"


def check_escalations(file: sqlite3.Connection, notes: list[dict], *, finished: bool) -> None:
    """No answer is lost, none is given twice or otherwise, and no run asks twice."""
    rows = {
        handle: (state, json.loads(answer)["choice"] if answer else None)
        for handle, state, answer in file.execute("SELECT handle, state, answer FROM escalation")
    }
    for note in notes:
        if note["what"] == "asked":
            assert note["id"] in rows
        elif note["what"] in ("answered", "told"):
            assert rows[note["id"]] == ("decided", note["choice"]), note
        elif note["what"] == "approved":
            assert rows[note["id"]][0] == "decided", note
    asked = Counter(file.execute("SELECT run, kind FROM escalation WHERE run IS NOT NULL"))
    assert set(asked.values()) <= {1}, "a run asked twice"
    _check_approved(file, notes)
    early = file.execute("SELECT count(*) FROM escalation WHERE state = 'defaulted' AND ended_at < deadline")
    assert early.fetchall()[0][0] == 0
    ends = Counter(
        stream
        for (stream,) in file.execute(
            "SELECT stream FROM event WHERE operation IN ('escalation.decide', 'escalation.default')"
        )
    )
    assert all(ends[handle] == (state in ("decided", "defaulted")) for handle, (state, _) in rows.items())
    if finished:
        waiting = "SELECT count(*) FROM escalation_waiter WHERE run IS NOT NULL AND state <> 'applied'"
        assert file.execute(waiting).fetchall()[0][0] == 0


def _check_approved(file: sqlite3.Connection, notes: list[dict]) -> None:
    """What was approved is done once by whoever honours keys: begun under one, and only after the approval was used."""
    keys: dict[str, set] = defaultdict(set)
    for note in notes:
        if note["what"] == "begin" and note["step"] == "transfer":
            keys[note["run"]].add(note["key"])
    used = dict(file.execute("SELECT run, redeemed IS NOT NULL AND uses = 0 FROM escalation WHERE kind = 'approval'"))
    for run, several in keys.items():
        assert (used[run], len(several)) == (1, 1), f"{run} acted under {several}, its approval used: {used[run]}"


def check_file(file: sqlite3.Connection) -> None:
    assert file.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def check_positions(file: sqlite3.Connection) -> None:
    """Revisions of a workspace count 1, 2, 3, ... and sequences of a stream too."""
    found = file.execute(
        "SELECT position >> 40, count(*), min(position), max(position) FROM event GROUP BY 1"
    ).fetchall()
    for workspace, count, lowest, highest in found:
        assert (lowest & MASK, highest & MASK) == (1, count), f"gaps in workspace {workspace}"
    gaps = file.execute(
        "SELECT stream FROM event GROUP BY stream HAVING min(sequence) <> 1 OR max(sequence) <> count(*)"
    )
    assert gaps.fetchall() == []


def check_entries_have_events(file: sqlite3.Connection) -> None:
    """A version's row id is its event's position: no change without an event, no event without its change."""
    events = dict(
        file.execute("SELECT position, operation FROM event WHERE operation IN (?, ?, ?)", CHANGES_OF_ENTRIES)
    )
    versions = {
        position: f"state.{kind}" for position, kind in file.execute("SELECT position, kind FROM entry_version")
    }
    assert versions == events
    skipped = file.execute(
        "SELECT e.key FROM entry e JOIN entry_version v ON v.entry = e.id"
        " GROUP BY e.id, e.key, e.version"
        " HAVING min(v.version) <> 1 OR max(v.version) <> count(*) OR max(v.version) <> e.version"
    )
    assert skipped.fetchall() == [], "versions with gaps"


def check_pairs(file: sqlite3.Connection) -> None:
    """What one transaction wrote is there whole or not at all."""
    found: dict[str, list] = defaultdict(list)
    query = (
        "SELECT e.key, v.version, v.value FROM entry_version v JOIN entry e ON e.id = v.entry"
        " JOIN namespace n ON n.id = e.namespace WHERE n.name = 'pairs' ORDER BY v.position"
    )
    for key, version, value in file.execute(query):
        side, _, slot = key.partition("-")
        found[f"{side}/{slot}"].append((version, value))
    for name, versions in found.items():
        side, _, slot = name.partition("/")
        other = {"left": "right", "right": "left"}[side]
        assert versions == found[f"{other}/{slot}"]


def check_blobs(file: sqlite3.Connection) -> None:
    """Whatever refers to a blob finds it complete; one that was half written is referred to by nothing."""
    for table in ("entry_version", "step", "run_value", "signal"):
        half = file.execute(
            f"SELECT t.size FROM {table} t LEFT JOIN blob b ON b.id = t.blob"  # noqa: S608 - our own table names
            " WHERE t.blob IS NOT NULL AND (b.complete IS NULL OR b.complete = 0)"
        )
        assert half.fetchall() == [], f"{table} refers to half a blob"


def check_epochs(file: sqlite3.Connection) -> None:
    """In each run's stream epochs only rise, and each claim raises its epoch by one: no stale write was accepted."""
    epochs: dict[str, int] = {}
    for stream, operation, leaf in file.execute("SELECT stream, operation, leaf FROM event ORDER BY position"):
        if not stream.startswith("run_"):
            continue
        event = json.loads(leaf)
        before = epochs.get(stream, 0)
        if operation in CLAIMS[1:]:
            assert (event["from_version"], event["to_version"]) == (before, before + 1), event
        if (epoch := event.get("epoch")) is not None:
            raised = before + 1 if operation in CLAIMS[1:] else max(before, 1 if operation == "run.start" else 0)
            assert epoch in (before, raised), f"{operation} of {stream} under epoch {epoch}, the run being at {before}"
            epochs[stream] = epoch
    for handle, epoch in file.execute("SELECT handle, epoch FROM run"):
        assert epochs.get(handle, 0) == epoch
    foreign = file.execute(
        "SELECT v.position FROM entry_version v LEFT JOIN run r ON r.handle = v.run"
        " WHERE v.run IS NOT NULL AND r.id IS NULL"
    )
    assert foreign.fetchall() == []


def check_runs_have_events(file: sqlite3.Connection, *, finished: bool) -> None:
    """One start per run, one end per finished run, and the other way round."""
    runs = dict(file.execute("SELECT handle, state FROM run"))
    events: dict[str, Counter] = defaultdict(Counter)
    for stream, operation in file.execute(
        "SELECT stream, operation FROM event WHERE stream LIKE 'run\\_%' ESCAPE '\\'"
    ):
        events[stream][operation] += 1
    assert set(events) == set(runs)
    for handle, state in runs.items():
        counts = events[handle]
        assert counts["run.start"] == 1
        assert counts["run.complete"] == (state == "completed")
        assert counts["run.fail"] == (state == "failed")
        if finished:
            assert state == "completed", f"{handle} is {state}"


def check_steps(file: sqlite3.Connection, notes: list[dict]) -> None:
    """Finished steps ran no further time; announced ones no time more than somebody allowed; rows fit events."""
    rows = file.execute(
        "SELECT r.handle, s.name, s.key, s.state, s.effect FROM step s JOIN run r ON r.id = s.run"
        " WHERE s.effect <> 'wait'"
    ).fetchall()
    counts: Counter = Counter()
    query = "SELECT stream, operation, leaf FROM event WHERE operation LIKE 'step.%' OR operation = 'run.resolve'"
    for stream, operation, leaf in file.execute(query):
        event = json.loads(leaf)
        if operation == "run.resolve":
            # That three workers died on it in a row is a question about the run, not about a step.
            counts[stream, event.get("step"), event["subject"]["decision"]] += 1
        elif event["subject"]["kind"] == "step":
            counts[stream, event["step"], operation] += 1
    known = set()
    for handle, name, key, state, effect in rows:
        step = f"{name}/{key}"
        known.add((handle, step))
        assert counts[handle, step, "step.complete"] == (state == "completed"), (handle, step, state)
        announced = effect in ("write", "irreversible")
        assert (counts[handle, step, "step.start"] > 0) == announced, (handle, step)
    assert {(stream, step) for (stream, step, what) in counts if what.startswith("step.")} == known
    _check_executions(file, notes, counts)


def _check_executions(file: sqlite3.Connection, notes: list[dict], counts: Counter) -> None:
    begun: Counter = Counter()
    probed: Counter = Counter()
    ended: dict[tuple, str] = {}
    effects = {}
    tokens: dict[tuple, dict] = defaultdict(dict)
    for note in notes:
        step = (note.get("run"), note.get("step"))
        if note["what"] == "begin":
            # A process that was frozen between the announcement and the function begins it whenever it thaws; what it
            # does is refused by its epoch. Under the epoch of the result, or a later one, nobody begins again.
            finished_at = tokens[step][ended[step]] if step in ended else None
            stale = finished_at is not None and note.get("epoch", finished_at) < finished_at
            assert step not in ended or stale, f"{step} was finished, and ran again"
            begun[step] += 1
            tokens[step][note.get("token")] = note.get("epoch")
            effects[step] = note.get("effect")
        elif note["what"] == "probed":
            probed[step] += 1
        elif note["what"] == "end":
            assert note["token"] in tokens[step], f"{step} gave a result that none of its executions made"
            assert ended.setdefault(step, note["token"]) == note["token"], f"{step} gave two results"
    for step, times in begun.items():
        if effects[step] == "write":
            allowed = 1 + counts[step[0], f"{step[1]}/1", "retry"] + probed[step]
            assert times <= allowed, f"{step} ran {times} times where {allowed} were allowed"
    state = {
        key: (version, json.loads(value))
        for key, version, value in file.execute(
            "SELECT e.key, e.version, v.value FROM entry e JOIN entry_version v ON v.position = e.position"
            " JOIN namespace n ON n.id = e.namespace WHERE n.name = 'steps'"
        )
    }
    for (run, name), token in ended.items():
        assert state[f"{run}/{name}"] == (1, token), f"the state written in {run}/{name} is not its result's"


def check_notes_once(file: sqlite3.Connection) -> None:
    twice = file.execute("SELECT run, kind, text, step FROM note GROUP BY 1, 2, 3, 4 HAVING count(*) > 1")
    assert twice.fetchall() == []
    missing = file.execute(
        "SELECT n.id FROM note n LEFT JOIN event e ON e.position = n.position WHERE e.position IS NULL"
    )
    assert missing.fetchall() == []


def check_acknowledged(agent: agentmemo.Connection, notes: list[dict]) -> None:
    """Every acknowledged write is there, with the version and the value that were acknowledged."""
    sets = [note for note in notes if note["what"] == "set"]
    known: dict[tuple[str, str], dict[int, object]] = {}
    for namespace, key in {(note["namespace"], note["key"]) for note in sets}:
        known[namespace, key] = {
            entry.version: None if entry.deleted else entry.value for entry in agent.state.history(namespace, key)
        }
    for note in sets:
        versions = known[note["namespace"], note["key"]]
        assert note["version"] in versions, f"lost: {note}"
        assert digest(versions[note["version"]]) == note["digest"], f"changed: {note}"
    # What nobody was told of is whole all the same.
    for (namespace, _), versions in known.items():
        if namespace == "large":
            texts = {big_text(seed) for seed in range(7)}
            assert all(value["text"] in texts for value in versions.values())
    for note in notes:
        if note["what"] == "deleted":
            assert agent.state.history(note["namespace"], note["key"]).items, note
        elif note["what"] == "finished":
            assert agent.runs.get(note["run"]).state == "completed", note
        elif note["what"] == "waited":
            assert note["got"] == note["told"], note
        elif note["what"] == "started":
            assert agent.runs.get(note["run"]).key == note["key"], note
