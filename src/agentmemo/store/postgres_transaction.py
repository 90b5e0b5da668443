"""The Transaction of PostgreSQL: it reads what it must, and holds its writes back until they can go together.

A batch of requests is one transaction. Reads that were foreseen are made for all of them in one round trip; writes
wait and go with COMMIT in another, equal statements as one statement over arrays. Both rest on `by` of a query: it
names the row, so a write to another row changes nothing that was read before.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from agentmemo.errors import LeaseLost
from agentmemo.model.audit import leaf_hash
from agentmemo.store.database import COMMON_LANE, Head, Read, Row
from agentmemo.store.postgres_wire import Answer, Refused, Statement, Wire, guarded

POSITION_BITS = 40
HEADS_CACHED = 50_000
EVENT = "event_add"
# Said in full: a database may have another default, under which what follows the turn would be read too early.
BEGIN = b"BEGIN ISOLATION LEVEL READ COMMITTED"
# A guard divides by zero where a change met another number of rows than it must.
GUARD_FAILED = "22012"


class Statements:
    """Every query of the store, ready to be sent, and the guarded form of those that change something."""

    def __init__(self, known: dict[str, Statement]) -> None:
        self._known = known
        self._guarded = {name: guarded(one) for name, one in known.items() if one.writes}
        reads = [one for one in known.values() if one.by and one.many and not one.writes]
        # A change -> the reads beforehand that may have become untrue by it.
        self._touched = {
            name: tuple(read for read in reads if read.tables & one.tables) for name, one in known.items() if one.writes
        }

    def __getitem__(self, name: str) -> Statement:
        return self._known[name]

    def guarded(self, name: str) -> Statement:
        return self._guarded[name]

    def touched(self, name: str) -> tuple[Statement, ...]:
        return self._touched.get(name, ())


class _Write(NamedTuple):
    statement: Statement
    parameters: dict[str, Any]
    expect: int | None


class _Mark(NamedTuple):
    """Where a request of the batch began, so that it can be undone while nothing of it was sent."""

    waiting: int
    changes: int
    positions: dict[int, int]
    proof: tuple[int, str] | None


class ReadTransaction:
    """Reads only. On a snapshot the first read brings BEGIN along, and `end` ends it."""

    def __init__(self, wire: Wire, statements: Statements, now: int, begin: Sequence[bytes] = ()) -> None:
        self._wire = wire
        self._statements = statements
        self._begin = tuple(begin)
        self._open = False
        self.now = now

    def fetch(self, *reads: Read) -> list[list[Row]]:
        self._before()
        for name, parameters in reads:
            self._ask(self._statements[name], parameters)
        answers = self._wire.settle()
        return [_rows(self._statements[name], answer) for (name, _), answer in zip(reads, answers, strict=True)]

    def one(self, name: str, /, **parameters: Any) -> Row | None:
        rows = self.all(name, **parameters)
        return rows[0] if rows else None

    def all(self, name: str, /, **parameters: Any) -> list[Row]:
        return self.fetch((name, parameters))[0]

    def head(self, stream: str) -> Head | None:
        row = self.one("event_last_of_stream", stream=stream)
        return Head(row[0], leaf_hash(row[1])) if row else None

    def write(self, name: str, /, *, expect: int | None = None, **parameters: Any) -> None:
        del expect, parameters
        raise RuntimeError(f"{name} inside a read.")

    def run(self, name: str, /, **parameters: Any) -> int:
        del parameters
        raise RuntimeError(f"{name} inside a read.")

    def next_position(self, workspace: int) -> int:
        raise RuntimeError(f"A position of workspace {workspace} inside a read.")

    def set_head(self, stream: str, head: Head) -> None:
        del head
        raise RuntimeError(f"The head of {stream} inside a read.")

    def changes(self) -> int:
        return 0

    def end(self) -> None:
        """End the snapshot; nobody waits for the answer."""
        if self._open:
            self._wire.command(b"COMMIT")
            self._wire.post()

    def _before(self) -> None:
        if self._begin and not self._open:
            for command in self._begin:
                self._wire.command(command)
            self._open = True

    def _ask(self, statement: Statement, parameters: dict[str, Any]) -> None:
        self._wire.send(statement, _values(statement, parameters), ask=True)


class WriteTransaction:
    """The transaction of one batch. `careful` sends every change at once and checks it, to find who spoils a batch."""

    def __init__(
        self, wire: Wire, statements: Statements, now: int, heads: dict[str, Head], *, careful: bool = False
    ) -> None:
        self._wire = wire
        self._statements = statements
        self._heads = heads
        self._careful = careful
        self._waiting: list[_Write] = []
        self._waiting_tables: set[str] = set()
        self._changes = 0
        # Query -> what `by` of it -> its parameters in full, and the row.
        self._foreseen: dict[str, dict[tuple[Any, ...], tuple[dict[str, Any], Row | None]]] = {}
        self._positions: dict[int, int] = {}
        self._taken: dict[int, int] = {}
        self._new_heads: dict[str, Head] = {}
        self._mark = _Mark(0, 0, {}, None)
        # Something of the request that runs now has been sent.
        self._spoils = False
        # (position, id) of an event of this transaction: whether it is there tells whether the commit was.
        self.proof: tuple[int, str] | None = None
        self.committing = False
        self.now = now

    def begin(self, settings: dict[str, str], lane: int, reads: Sequence[Read]) -> None:
        """BEGIN, the lane's turn and everything foreseen, in one round trip."""
        self._wire.command(BEGIN)
        self._wire.send(
            self._statements["transaction_settings"], _values(self._statements["transaction_settings"], settings)
        )
        self._wire.send(self._statements["turn_take"], [lane], ask=True)
        groups = self._ask_all(reads)
        turn, *answers = self._wire.settle()
        self._took(lane, turn)
        self._remember(groups, answers)

    def foresee(self, reads: Sequence[Read]) -> None:
        """More of the same, for requests that came while the turn was waited for; before anything is written."""
        if groups := self._ask_all(reads):
            self._remember(groups, self._wire.settle())

    def _ask_all(self, reads: Sequence[Read]) -> list[tuple[Statement, list[dict[str, Any]]]]:
        groups = self._group(reads)
        for statement, wanted in groups:
            self._wire.send(statement, _columns(statement, wanted), ask=True)
        return groups

    def _remember(self, groups: list[tuple[Statement, list[dict[str, Any]]]], answers: list[Answer]) -> None:
        for (statement, wanted), answer in zip(groups, answers, strict=True):
            found = {row[0]: row[1:] for row in answer.rows}
            rows = self._foreseen.setdefault(statement.name, {})
            for number, parameters in enumerate(wanted, start=1):
                rows[_key(statement, parameters)] = (parameters, found.get(number))

    def fetch(self, *reads: Read) -> list[list[Row]]:
        statements = [self._statements[name] for name, _ in reads]
        if any(self._waiting_tables & statement.tables for statement in statements):
            self._send_waiting()
        for statement, (_, parameters) in zip(statements, reads, strict=True):
            self._wire.send(statement, _values(statement, parameters), ask=True)
        answers = self._settle(reads[-1][0])
        return [_rows(statement, answer) for statement, answer in zip(statements, answers, strict=True)]

    def one(self, name: str, /, **parameters: Any) -> Row | None:
        statement = self._statements[name]
        if statement.by and (foreseen := self._foreseen.get(name)) is not None:
            known = foreseen.get(_key(statement, parameters))
            if known is not None and known[0] == parameters:
                return known[1]
        rows = _rows(statement, self._ask(statement, parameters))
        return rows[0] if rows else None

    def all(self, name: str, /, **parameters: Any) -> list[Row]:
        statement = self._statements[name]
        return _rows(statement, self._ask(statement, parameters))

    def write(self, name: str, /, *, expect: int | None = None, **parameters: Any) -> None:
        statement = self._statements[name]
        if name == EVENT and self.proof is None:
            self.proof = (parameters["position"], parameters["id"])
        self._forget_reads(statement, parameters)
        self._changes += 1
        self._waiting.append(_Write(statement, parameters, expect))
        self._waiting_tables |= statement.tables
        if self._careful:
            self._send_waiting()
            self._settle(name)

    def run(self, name: str, /, **parameters: Any) -> int:
        return self._ask(self._statements[name], parameters).changed

    def next_position(self, workspace: int) -> int:
        last = self._positions.get(workspace)
        if last is None:
            last = self._take_turn(workspace)
        self._positions[workspace] = last + 1
        return last + 1

    def head(self, stream: str) -> Head | None:
        head = self._new_heads.get(stream) or self._heads.get(stream)
        if head is None and (row := self.one("event_last_of_stream", stream=stream)):
            head = Head(row[0], leaf_hash(row[1]))
        return head

    def set_head(self, stream: str, head: Head) -> None:
        self._new_heads[stream] = head

    def changes(self) -> int:
        return self._changes

    @property
    def taken(self) -> dict[int, int]:
        """The workspaces whose turn this transaction holds, and their last positions when it took it."""
        return self._taken

    @property
    def last(self) -> dict[int, int]:
        """The last positions once this transaction has committed."""
        return self._taken | self._positions

    def begin_request(self) -> None:
        self._new_heads = {}
        self._mark = _Mark(len(self._waiting), self._changes, dict(self._positions), self.proof)
        self._spoils = False

    def keep(self) -> None:
        """The request succeeded: what it learned holds for the next ones."""
        if len(self._heads) > HEADS_CACHED:
            self._heads.clear()
        self._heads.update(self._new_heads)

    def undo_request(self) -> bool:
        """Forget what the request wanted to write. False if some of it was sent: then the batch is spoiled."""
        if self._spoils:
            return False
        del self._waiting[self._mark.waiting :]
        self._waiting_tables = {table for write in self._waiting for table in write.statement.tables}
        self._changes = self._mark.changes
        self._positions = self._mark.positions
        self._new_heads = {}
        self.proof = self._mark.proof
        return True

    def forget(self) -> None:
        """Nothing of this transaction is wanted any more."""
        self._waiting, self._positions, self._changes = [], {}, 0

    def commit(self) -> None:
        """Everything that waits, the new positions and COMMIT, in one round trip."""
        self._send_waiting()
        for workspace, position in self._positions.items():
            self._wire.send(self._statements["turn_set"], [position, workspace])
        self._wire.command(b"COMMIT")
        self.committing = True
        self._wire.settle()

    def roll_back(self) -> None:
        self._wire.command(b"ROLLBACK")
        self._wire.settle()

    def _take_turn(self, workspace: int) -> int:
        """The lock order: the common lane may take workspaces one after another, a workspace never a second one."""
        if workspace not in self._taken:
            if COMMON_LANE not in self._taken:
                raise RuntimeError(f"A write in {sorted(self._taken)} wants the turn of {workspace} too.")
            self._wire.send(self._statements["turn_take"], [workspace], ask=True)
            self._took(workspace, self._wire.settle()[0])
        return self._taken[workspace]

    def _took(self, workspace: int, turn: Answer) -> None:
        if not turn.rows:
            # The first write in a workspace. Whoever else is first waits here for this transaction's end.
            self._wire.send(self._statements["turn_add"], [workspace, workspace << POSITION_BITS])
            self._wire.send(self._statements["turn_take"], [workspace], ask=True)
            turn = self._wire.settle()[0]
        self._taken[workspace] = turn.rows[0][0]

    def _ask(self, statement: Statement, parameters: dict[str, Any]) -> Answer:
        if statement.writes:
            self._changes += 1
            self._forget_reads(statement, parameters)
        if statement.writes or self._waiting_tables & statement.tables:
            self._send_waiting()
        self._spoils = self._spoils or statement.writes
        self._wire.send(statement, _values(statement, parameters), ask=True)
        return self._settle(statement.name)[0]

    def _settle(self, name: str) -> list[Answer]:
        try:
            return self._wire.settle()
        except Refused as refused:
            if self._careful and refused.state == GUARD_FAILED:
                raise LeaseLost(
                    f"The write was refused: {name} met other rows than it had to.",
                    why="The claim is stale, or the row changed meanwhile.",
                    next_call="Open the run again to get the current epoch.",
                ) from refused
            raise

    def _send_waiting(self) -> None:
        if not self._waiting:
            return
        self._spoils = self._spoils or len(self._waiting) > self._mark.waiting
        self._mark = self._mark._replace(waiting=0)
        waiting, self._waiting, self._waiting_tables = self._waiting, [], set()
        for statement, rows, expect in _arranged(waiting):
            chosen = self._statements.guarded(statement.name) if expect is not None else statement
            values = _columns(statement, rows) if statement.many else _values(statement, rows[0])
            self._wire.send(chosen, [*values, expect] if expect is not None else values)

    def _forget_reads(self, statement: Statement, parameters: dict[str, Any]) -> None:
        """What was read beforehand of the rows that this changes is no longer true."""
        for known in self._statements.touched(statement.name):
            rows = self._foreseen.get(known.name)
            if not rows:
                continue
            if set(known.by) <= set(statement.by):
                rows.pop(_key(known, parameters), None)
            elif known.id_first and "id" in statement.by:
                for key in [key for key, (_, row) in rows.items() if row and row[0] == parameters["id"]]:
                    del rows[key]
            else:
                rows.clear()

    def _group(self, reads: Sequence[Read]) -> list[tuple[Statement, list[dict[str, Any]]]]:
        groups: dict[str, list[dict[str, Any]]] = {}
        for name, parameters in reads:
            wanted = groups.setdefault(name, [])
            if (
                not (name == "event_last_of_stream" and parameters["stream"] in self._heads)
                and parameters not in wanted
            ):
                wanted.append(parameters)
        return [(self._statements[name], wanted) for name, wanted in groups.items() if wanted]


def _arranged(waiting: list[_Write]) -> list[tuple[Statement, list[dict[str, Any]], int | None]]:
    """(statement, its rows, how many it must change): equal statements together, the order kept where it counts.

    A statement never meets a row twice, and what waits for a table goes before anything else that touches it.
    """
    ordered: list[tuple[Statement, list[dict[str, Any]], int | None]] = []
    groups: dict[tuple[str, bool], list[_Write]] = {}
    keys: dict[tuple[str, bool], set[tuple[Any, ...]]] = {}

    def close(tables: frozenset[str]) -> None:
        for place in [place for place, writes in groups.items() if writes[0].statement.tables & tables]:
            writes = groups.pop(place)
            del keys[place]
            expected = sum(write.expect or 0 for write in writes) if place[1] else None
            ordered.append((writes[0].statement, [write.parameters for write in writes], expected))

    for write in waiting:
        statement, parameters, expect = write
        place = (statement.name, expect is not None)
        if not statement.many:
            close(statement.tables)
            ordered.append((statement, [parameters], expect))
            continue
        key = _key(statement, parameters)
        others = any(
            known != place
            and writes[0].statement.tables & statement.tables
            and (writes[0].statement.by != statement.by or key in keys[known])
            for known, writes in groups.items()
        )
        if others or key in keys.get(place, ()):
            close(statement.tables)
        groups.setdefault(place, []).append(write)
        keys.setdefault(place, set()).add(key)
    close(frozenset(table for writes in groups.values() for table in writes[0].statement.tables))
    return ordered


def _key(statement: Statement, parameters: dict[str, Any]) -> tuple[Any, ...]:
    return tuple([parameters[name] for name in statement.by])


def _values(statement: Statement, parameters: dict[str, Any]) -> list[Any]:
    if statement.many:
        return [[parameters[name]] for name in statement.parameters]
    return [parameters[name] for name in statement.parameters]


def _columns(statement: Statement, rows: Sequence[dict[str, Any]]) -> list[list[Any]]:
    return [[row[name] for row in rows] for name in statement.parameters]


def _rows(statement: Statement, answer: Answer) -> list[Row]:
    """The rows; those of a statement for many begin with which of them they belong to."""
    return [row[1:] for row in answer.rows] if statement.many and not statement.writes else answer.rows
