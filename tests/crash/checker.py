"""What must hold after any number of kills: read from the file itself, and through the product."""

from __future__ import annotations

import sqlite3
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

import apsw
import msgspec
from follower import Follower
from workload import SMALLER_BYTES, big_text, digest

import agentmemo
from agentmemo.model.workflow_search import counts_of
from agentmemo.model.workflows import WorkflowDocument

INDEX_SECONDS = 120.0
# What nobody works at any more, each with how it is asked for.
UNFINISHED = {
    "runs": "SELECT handle, name, state, wake, waiting_for, reason FROM run WHERE wake IS NOT NULL",
    "handoffs": "SELECT handle, state, wake, reason FROM handoff WHERE wake IS NOT NULL",
    "reservations": "SELECT handle, run FROM usage WHERE state = 'reserved'",
    "answers": "SELECT run, step, state FROM escalation_waiter WHERE run IS NOT NULL AND state <> 'applied'",
}


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
    follower = Follower()
    follower.look(file, notes)
    follower.check_nothing_else(file)
    check_blobs(file)
    check_notes_once(file)
    if finished:
        left = unfinished(file)
        assert not any(left.values()), left
        failed = file.execute("SELECT handle, name, state, error FROM run WHERE state <> 'completed'").fetchall()
        assert failed == [], "not everything was completed"


def unfinished(file: sqlite3.Connection) -> dict[str, list[tuple]]:
    """What somebody has still to do."""
    return {what: file.execute(query).fetchall() for what, query in UNFINISHED.items()}


def check_file(file: sqlite3.Connection) -> None:
    assert file.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def check_blobs(file: sqlite3.Connection) -> None:
    """Whatever refers to a blob finds it complete; one that was half written is referred to by nothing."""
    for table in ("entry_version", "step", "run_value", "signal"):
        half = file.execute(
            f"SELECT t.size FROM {table} t LEFT JOIN blob b ON b.id = t.blob"  # noqa: S608 - our own table names
            " WHERE t.blob IS NOT NULL AND (b.complete IS NULL OR b.complete = 0)"
        )
        assert half.fetchall() == [], f"{table} refers to half a blob"


def check_notes_once(file: sqlite3.Connection) -> None:
    twice = file.execute("SELECT run, kind, text, step FROM note GROUP BY 1, 2, 3, 4 HAVING count(*) > 1")
    assert twice.fetchall() == []
    missing = file.execute(
        "SELECT n.id FROM note n LEFT JOIN event e ON e.position = n.position WHERE e.position IS NULL"
    )
    assert missing.fetchall() == []


def check_acknowledged(agent: agentmemo.Connection, notes: list[dict]) -> None:
    """Every acknowledged write is there for whoever asks, with the version and the value that were acknowledged."""
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
            texts = [big_text(seed) for seed in range(7)]
            texts += [text[:SMALLER_BYTES] for text in texts]  # a shorter one begins alike
            assert all(value["text"] in texts for value in versions.values()), "half a text"
    for note in notes:
        if note["what"] == "finished":
            assert agent.runs.get(note["run"]).state == "completed", note
        elif note["what"] == "started":
            assert agent.runs.get(note["run"]).key == note["key"], note


def check_derived(store: Path) -> None:
    """What is kept so that it is found quickly says what the rows say from which it was made."""
    with agentmemo.connect(store, agent="checker") as agent, closing(apsw.Connection(str(store))) as file:
        _wait_for_index(file)
        for entry in agent.state.list("facts"):
            token = entry.value["token"]
            found = [(match.entry.key, match.entry.version) for match in agent.state.search(token)]
            assert found == [(entry.key, entry.version)], f"{token} of {entry.key} is found in {found}"
        words = Counter()
        for workflow in agent.workflows.list():
            document = msgspec.convert(agent.workflows.get(workflow.name).document, WorkflowDocument)
            words.update(counts_of(document))
        assert words == Counter(dict(file.execute("SELECT word, sum(count) FROM workflow_word GROUP BY word"))), "words"
        assert words.total() == file.execute("SELECT sum(words) FROM workflow").fetchone()[0]
        indexed = file.execute("SELECT rowid FROM entry_search ORDER BY rowid").fetchall()
        assert indexed == file.execute("SELECT id FROM entry WHERE live = 1 ORDER BY id").fetchall()
        counted = "SELECT count(*) FROM step s WHERE s.run = r.id AND s.state = 'completed' AND s.effect <> 'wait'"
        wrong = file.execute(f"SELECT handle, steps FROM run r WHERE steps <> ({counted})")  # noqa: S608 - our own text
        assert wrong.fetchall() == [], "steps are counted wrongly"


def _wait_for_index(file: apsw.Connection) -> None:
    """Full-text search follows by less than a second, where the machine has one to spare."""
    end = time.monotonic() + INDEX_SECONDS
    behind = (
        "SELECT count(*) FROM entry_version v JOIN workspace w ON w.id = v.position >> 40 AND v.position > w.indexed"
    )
    while file.execute(behind).fetchone()[0]:
        assert time.monotonic() < end, "what was written is not indexed"
        time.sleep(0.02)
