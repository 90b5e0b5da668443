"""A store of any size, and what each operation makes its database do there.

`sample` does through the product one of everything, some times over. `Growth` copies the rows that this left, under
positions, handles and keys of their own, so that the store is as if the same had been done as often. `Meter` counts the
steps of SQLite's virtual machine: they do not depend on the machine nor on what else it does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

import apsw

from agentmemo.store import sqlite
from agentmemo.store.audit import POSITION_BITS, REVISION_MASK
from agentmemo.store.transfer import TABLES

ROUNDS = 7
PAGE = 5
MODEL = "cheap-1"
USED = {"input_tokens": 1000, "output_tokens": 100}
# Columns that hold a position: a copy of a row has others.
POSITIONS = {
    "event": ("position",),
    "entry_version": ("position", "entry"),
    "entry": ("id", "position"),
    "run": ("id",),
    "run_value": ("run",),
    "ready": ("run",),
    "step": ("run",),
    "note": ("run", "position"),
    "signal": ("run",),
    "run_watch": ("run",),
    "handoff": ("id",),
    "handoff_value": ("handoff",),
    "handoff_attempt": ("handoff",),
    "escalation": ("id",),
    "escalation_value": ("escalation",),
    "escalation_waiter": ("escalation",),
    "escalation_vote": ("escalation",),
    "escalation_comment": ("escalation",),
    "usage": ("id",),
    "guarded": ("id",),
    "workflow": ("id",),
    "workflow_version": ("id", "workflow"),
    "workflow_word": ("workflow",),
    "execution": ("run",),
    "execution_attempt": ("run",),
    "request": (),
}
# Columns that say which one it is: a copy is another.
NAMES = {
    "event": ("id", "stream"),
    "entry_version": ("run",),
    "entry": ("key",),
    "run": ("handle", "key", "parent"),
    "handoff": ("handle", "key", "root", "parent", "run", "sender_run", "verifies"),
    "escalation": ("handle", "collapse_key", "run", "superseded_by", "supersedes"),
    "escalation_waiter": ("key", "run"),
    "usage": ("handle", "run"),
    "guarded": ("key", "escalation"),
    "workflow": ("name",),
    "execution": ("workflow",),
    "execution_attempt": ("workflow", "reservation"),
    "request": ("key",),
}
# When it was: no two copies share a microsecond.
TIMES = ("at", "created_at", "ended_at", "finished_at", "notice_at", "updated_at")
# Who it was: each workspace has its own.
ACTORS = ("agent", "actor", "asker", "author", "holder", "sender")
ACTORS_ELSEWHERE = 1_000_000
COPIES_AT_ONCE, STEPS_AT_ONCE = 200, 20_000
PARKED_BEYOND = 1 << 38
# Numbered by the store itself.
NUMBERED = {name for name, positions in POSITIONS.items() if not {"id", "position"} & {*positions}} | {"note"}
COLUMNS = {table.name: table.columns for table in TABLES} | {
    "request": ("id", "workspace", "actor", "key", "fingerprint", "summary", "answer", "at")
}


def sample(agent: Any, person: Any, rounds: int = ROUNDS) -> None:
    """One of everything, `rounds` times: entries, runs that ended and that wait, handoffs, questions, workflows."""
    agent.handoff.announce(queues=["grown", "measured"])

    @agent.task("parked")
    def parked(run: Any) -> None:
        run.wait("never")

    with suppress(RuntimeError), agent.run("long", "1", max_attempts=1000) as run:
        for number in range(PAGE + 1):
            run.step("step", lambda number=number: number)
            run.decide(f"go on {number}")
        raise RuntimeError("later")
    for number in range(rounds):
        _sample_state(agent, number)
        _sample_runs(agent, number)
        done, _left = (agent.handoff.create(to_queue="grown", context={"n": number}) for _ in range(2))
        agent.handoff.complete(agent.handoff.claim(done.id).id, number)
        asked = [agent.escalate(severity="high", reason=f"{number} {part}?", wait=False) for part in range(2)]
        person.inbox.answer(asked[0].id, "answer", comment="yes")
        agent.ledger.record(USED, model=MODEL, workflow="flow")
        agent.guards.check("tool", {"n": number}, annotations={"reversible": True})
        agent.workflows.create(
            name=f"flow-{number}", steps="1. Do it", designed_by="m", triggers=[f"do number {number}"]
        )
        agent.workflows.start(f"flow-{number}", {"n": number})


def _sample_state(agent: Any, number: int) -> None:
    for _ in range(2):
        agent.state.set("grown", f"key-{number}", {"n": number, "text": f"words of number {number}"})
    agent.state.set("grown", "many versions", number)


def _sample_runs(agent: Any, number: int) -> None:
    with agent.run("grown", f"done-{number}") as run:
        for step in range(3):
            run.step("step", lambda step=step: step)
        run.decide("go on", because="it works")
        run.complete(number)
    with suppress(RuntimeError), agent.run("grown", f"failed-{number}", max_attempts=1):
        raise RuntimeError("failed")
    agent.start("parked", key=str(number))
    agent.work(concurrency=1, until_idle=True)
    agent.start("later", key=str(number))


class Growth:
    """Copies of what `sample` left in a store, each behind the others. The index of the search gets none."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._low, self._high = connection.execute("SELECT min(position), max(position) FROM event").get
        self._span = self._high - self._low + 1
        self._requests = connection.execute("SELECT max(id) FROM request").get or 0
        self._made = self._lengthened = 0

    def add(self, copies: int, *, elsewhere: bool = False, tables: Iterable[str] = POSITIONS) -> None:
        """So many more. `elsewhere` they are in the next workspace: what is sought here has to be found past them."""
        numbers = range(self._made + 1, self._made + copies + 1)
        # Behind all that was done meanwhile.
        beyond = self.events() - self._made * self._span
        self._made += copies
        with self._connection:
            self._connection.execute("CREATE TEMP TABLE copy (n INTEGER PRIMARY KEY)")
            self._connection.executemany("INSERT INTO temp.copy VALUES (?)", ((n,) for n in numbers))
            for table in tables:
                self._connection.execute(self._copy(table, beyond - self._span, elsewhere=elsewhere))
            self._connection.execute("UPDATE workspace SET indexed = (SELECT max(position) FROM event)")
            self._connection.execute("DROP TABLE temp.copy")

    def events(self) -> int:
        """How many events the workspace has."""
        last = self._low | REVISION_MASK
        newest = self._connection.execute("SELECT max(position) FROM event WHERE position <= ?", (last,)).get
        return newest - self._low + 1

    def until(self, events: int, *, elsewhere: bool = False) -> None:
        """Copies until the workspace has so many events, a portion at a time; `elsewhere`, as many in the next too."""
        while (copies := (events - self.events()) // self._span) > 0:
            # First there: it goes on where the workspace has got to.
            if elsewhere:
                self.add(min(copies, COPIES_AT_ONCE), elsewhere=True)
            self.add(min(copies, COPIES_AT_ONCE))

    def lengthen_trail(self, events: int) -> None:
        """Copies of the events alone, until the workspace has so many."""
        while (copies := (events - self.events()) // self._span) > 0:
            self.add(min(copies, 10 * COPIES_AT_ONCE), tables=("event",))

    def park(self, runs: int) -> None:
        """So many more runs that wait for a signal, beyond all that the workspace will still do."""
        changed = {"id": f"t.id + {PARKED_BEYOND} + n", "handle": "t.handle || '-p' || n", "key": "t.key || '-p' || n"}
        columns = COLUMNS["run"]
        with self._connection:
            self._connection.execute(
                f"INSERT INTO run ({', '.join(columns)})"  # noqa: S608 - names from above
                f" WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < {runs})"
                f" SELECT {', '.join(changed.get(name, f't.{name}') for name in columns)} FROM c CROSS JOIN"
                " (SELECT * FROM run WHERE name = 'parked' AND state = 'waiting' ORDER BY id LIMIT 1) t"
            )

    def _copy(self, table: str, beyond: int, *, elsewhere: bool) -> str:
        positions = POSITIONS[table]
        columns = [name for name in COLUMNS[table] if not (name == "id" and table in NUMBERED)]
        moved = f"c.n * {self._span} + {beyond + (elsewhere << POSITION_BITS)}"
        changed = {name: f"t.{name} + {moved}" for name in positions}
        changed |= {name: f"t.{name} || '-' || c.n" for name in NAMES.get(table, ())}
        changed |= {name: f"t.{name} + c.n" for name in TIMES}
        changed |= {"workspace": f"t.workspace + {int(elsewhere)}"}
        changed |= {name: f"t.{name} + {ACTORS_ELSEWHERE * elsewhere}" for name in ACTORS}
        values = ", ".join(changed.get(name, f"t.{name}") for name in columns)
        sampled = f"t.{positions[0]} <= {self._high}" if positions else f"t.id <= {self._requests}"
        return (
            f"INSERT INTO main.{table} ({', '.join(columns)})"  # noqa: S608 - names from above
            f" SELECT {values} FROM temp.copy c CROSS JOIN main.{table} t WHERE {sampled}"
        )

    def lengthen(self, steps: int) -> None:
        """So many more steps, and notes, in the run `long`; who holds it writes in between."""
        while steps > 0:
            self._lengthened += 1
            portion = min(steps, STEPS_AT_ONCE)
            for table, name in (("step", "name"), ("note", "text")):
                self._copy_last(table, name, portion)
            steps -= portion

    def _copy_last(self, table: str, name: str, times: int) -> None:
        columns = ", ".join(each for each in COLUMNS[table] if each != "id")
        values = columns.replace(f"{name},", f"{name} || '-{times}-{self._lengthened}-' || n,", 1)
        with self._connection:
            self._connection.execute(
                f"INSERT INTO {table} ({columns})"  # noqa: S608 - names from above
                f" WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < {times})"
                f" SELECT {values} FROM c CROSS JOIN (SELECT t.* FROM {table} t JOIN run r ON r.id = t.run"
                " WHERE r.name = 'long' ORDER BY t.id LIMIT 1)"
            )


class Meter:
    """Counts what SQLite does for this process: steps of its machine, and statements."""

    def __init__(self, patch: Callable[[type, str, Any], None]) -> None:
        self.steps = self.statements = 0
        self._patch, connect = patch, sqlite.SqliteDatabase._connect
        self._connect = connect

        def counted(database: sqlite.SqliteDatabase) -> apsw.Connection:
            connection = connect(database)
            connection.trace_v2(apsw.SQLITE_TRACE_PROFILE, self._ended)
            return connection

        patch(sqlite.SqliteDatabase, "_connect", counted)
        self.seen: dict[str, int] = {}

    def remove(self) -> None:
        self._patch(sqlite.SqliteDatabase, "_connect", self._connect)

    def _ended(self, event: dict[str, Any]) -> None:
        steps = event["stmt_status"]["SQLITE_STMTSTATUS_VM_STEP"]
        self.steps += steps
        self.statements += 1
        self.seen[event["sql"]] = self.seen.get(event["sql"], 0) + steps

    def measure(self, work: Callable[[], Any]) -> tuple[int, int, dict[str, int]]:
        """Steps and statements of `work`, and the steps by statement."""
        self.steps = self.statements = 0
        self.seen = {}
        work()
        return self.steps, self.statements, self.seen
