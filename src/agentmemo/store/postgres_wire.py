"""One connection to PostgreSQL in libpq's pipeline mode: many statements on the way, one wait for their answers.

psycopg's cursors wait for the socket once a statement; here a whole batch is one write and one read
(docs/decisions/0012-postgres-turns.md has the figures). Connecting, TLS, and libpq itself are psycopg's.
"""

from __future__ import annotations

import hashlib
import re
import select
import struct
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple

import psycopg
from psycopg import pq

from agentmemo.store.queries import Query

INT8, TEXT, BYTEA = 20, 25, 17
_ELEMENT = {"bigint": INT8, "text": TEXT, "bytea": BYTEA}
_LITERAL = re.compile(r"'(?:[^']|'')*'")
_PARAMETER = re.compile(r"(?<![:\w]):([a-z_]\w*)(?:::(bigint|text|bytea)\[\])?")
_TABLE = re.compile(r"\b(?:FROM|JOIN|INTO|UPDATE)\s+(?!unnest\b|json_|SET\b)([a-z_]+)", re.IGNORECASE)
# SQLite's spelling -> PostgreSQL's, where the meaning is the same.
_DIALECT = (
    (re.compile(r"json_each\((:\w+)\)"), r"json_array_elements_text(CAST(\1 AS json))"),
    (
        re.compile(r"instr\(lower\(CAST\((\w+) AS TEXT\)\), (:\w+)\)"),
        r"position(lower(encode(convert_to(\2, 'UTF8'), 'escape')) IN lower(encode(\1, 'escape')))",
    ),
)
_OK = frozenset({pq.ExecStatus.COMMAND_OK, pq.ExecStatus.TUPLES_OK, pq.ExecStatus.SINGLE_TUPLE})
_int8, _int4, _head = struct.Struct("!q"), struct.Struct("!i"), struct.Struct("!5i")
# "Invalid character or value for the column": what the server itself would have said.
UNSENDABLE = "22000"
_NULL, _EIGHT = _int4.pack(-1), _int4.pack(8)


class Statement(NamedTuple):
    """A query as PostgreSQL takes it. `arrays` holds the element type of each parameter where it is for many rows."""

    name: str
    sql: bytes
    parameters: tuple[str, ...]
    arrays: tuple[int, ...]
    by: tuple[str, ...]
    id_first: bool
    tables: frozenset[str]
    writes: bool

    @property
    def many(self) -> bool:
        return bool(self.arrays)


class Answer(NamedTuple):
    """What one statement returned: its rows, and how many it changed."""

    rows: list[tuple[Any, ...]]
    changed: int


class Refused(Exception):
    """The server refused a statement. `state` is its SQLSTATE; the transaction is over."""

    def __init__(self, state: str, message: str) -> None:
        super().__init__(message)
        self.state = state


class Lost(Exception):
    """The connection is gone. What was on its way may have happened or not."""


@cache
def statement(name: str, query: Query) -> Statement:
    sql = query.sql
    for pattern, replacement in _DIALECT:
        sql = pattern.sub(replacement, sql)
    names: list[str] = []
    arrays: list[int] = []

    def number(match: re.Match[str]) -> str:
        found, element = match.groups()
        if found not in names:
            names.append(found)
            if element:
                arrays.append(_ELEMENT[element])
        return f"${names.index(found) + 1}" + (f"::{element}[]" if element else "")

    pieces = _split_literals(sql)
    text = "".join(piece if literal else _PARAMETER.sub(number, piece) for literal, piece in pieces)
    plain = "".join("''" if literal else piece for literal, piece in pieces)
    writes = plain.lstrip()[:6].upper() in {"INSERT", "UPDATE", "DELETE"}
    return Statement(
        name,
        text.encode(),
        tuple(names),
        tuple(arrays),
        query.by,
        query.id_first,
        frozenset(_TABLE.findall(plain)),
        writes,
    )


def guarded(known: Statement) -> Statement:
    """The same change, which fails unless it changes as many rows as its last parameter says: COMMIT can follow it."""
    sql = known.sql.decode()
    place = len(known.parameters) + 1
    text = (
        f"WITH done AS ({sql} RETURNING 1) "  # noqa: S608 - our own query, from its file
        f"SELECT 1 / (CASE WHEN count(*) = ${place}::bigint THEN 1 ELSE 0 END) FROM done"
    )
    return known._replace(name=f"{known.name}!", sql=text.encode(), parameters=(*known.parameters, "expect!"))


class Wire:
    """Statements go out with `send`, and `settle` waits for the answers to all of them. One thread at a time."""

    def __init__(self, connection: psycopg.Connection[Any], *, prepares: bool, answer_seconds: float) -> None:
        """Whoever does not answer for `answer_seconds` is Lost: a machine that hangs still takes what it is sent."""
        self._connection = connection  # kept: its end would close the socket
        self._pg: Any = connection.pgconn
        self._pg.nonblocking = 1
        self._pg.enter_pipeline_mode()
        self._prepares = prepares
        self._answer_ms = answer_seconds * 1000
        self._prepared: dict[str, bytes] = {}
        # Prepared since the last success: after a failure nobody knows whether the server heard of them.
        self._unsure: list[str] = []
        self._failures = 0
        # What is on the way, by kind: "prepare", "ask" (its rows are wanted), "tell", "sync".
        self._sent: list[str] = []
        self._poll = select.poll()

    @property
    def process(self) -> int:
        """The server's process that works for this connection."""
        return int(self._pg.backend_pid)

    def send(self, known: Statement, values: Sequence[Any], *, ask: bool = False) -> None:
        """Put a statement on its way; with `ask` its answer is among those that `settle` returns."""
        try:
            encoded, formats = _encode_many(known, values) if known.arrays else _encode(values)
        except (ValueError, TypeError, AttributeError, struct.error) as error:
            # Found only while a batch goes out, after its handlers have run: as if the server had refused it.
            raise Refused(UNSENDABLE, f"a value of {known.name} cannot be sent: {error}") from error
        try:
            if not self._prepares:
                self._pg.send_query_params(known.sql, encoded, None, formats, 1)
            else:
                name = self._prepared.get(known.name) or self._prepare(known)
                self._pg.send_query_prepared(name, encoded, formats, 1)
        except psycopg.Error as error:
            raise Lost(str(error)) from error
        self._sent.append("ask" if ask else "tell")

    def command(self, sql: bytes) -> None:
        """A statement without parameters or answer, such as BEGIN."""
        try:
            self._pg.send_query_params(sql, [], None, [], 1)
        except psycopg.Error as error:
            raise Lost(str(error)) from error
        self._sent.append("tell")

    def settle(self) -> list[Answer]:
        """Wait for everything sent, and return what was asked for, in order. Raises Refused or Lost.

        Ends with a Sync, inside a transaction too: only then does the server count for how long that one is idle, and
        frees what a frozen process holds. After a mere Flush it would wait for ever.
        """
        try:
            self._sync()
            answers, refusal = self._collect()
        except (psycopg.Error, OSError) as error:
            raise Lost(str(error)) from error
        if refusal is not None:
            for name in self._unsure:
                self._prepared.pop(name, None)
            self._unsure.clear()
            self._failures += 1
            if self._pg.status == pq.ConnStatus.BAD:
                raise Lost(str(refusal))
            raise refusal
        self._unsure.clear()
        return answers

    def post(self) -> None:
        """Let what was sent go, and wait for its answers with those of the next statement."""
        try:
            self._sync()
            self._flush()
        except (psycopg.Error, OSError) as error:
            raise Lost(str(error)) from error

    def close(self) -> None:
        self._connection.close()

    def abandon(self) -> None:
        """Forget the connection without a word to the server: in a forked child it is the parent's."""
        self._connection._closed = True  # noqa: SLF001 - else its end warns of an open connection

    def _prepare(self, known: Statement) -> bytes:
        # A pooler may hand us a session in which another process prepared something: one name, one statement.
        name = f"am_{hashlib.sha256(known.sql).hexdigest()[:24]}_{self._failures}".encode()
        self._pg.send_prepare(name, known.sql)
        self._sent.append("prepare")
        self._prepared[known.name] = name
        self._unsure.append(known.name)
        return name

    def _sync(self) -> None:
        self._pg.pipeline_sync()
        self._sent.append("sync")

    def _collect(self) -> tuple[list[Answer], Refused | None]:
        answers: list[Answer] = []
        refusal: Refused | None = None
        sent, self._sent = self._sent, []
        self._flush()
        for kind in sent:
            result = self._next()
            if kind == "sync":
                continue
            if result.status in _OK:
                if kind == "ask":
                    answers.append(_answer(result))
            elif refusal is None:
                refusal = _refusal(result)
            # A statement's answers end with an empty one.
            while self._next_or_none() is not None:
                pass
        return answers, refusal

    def _flush(self) -> None:
        while self._pg.flush() == 1:
            if self._wait(select.POLLIN | select.POLLOUT) & select.POLLIN:
                self._pg.consume_input()

    def _next(self) -> Any:
        while (result := self._next_or_none()) is None:
            if self._pg.status == pq.ConnStatus.BAD:
                raise OSError("the server closed the connection")
        return result

    def _next_or_none(self) -> Any:
        while self._pg.is_busy():
            self._wait(select.POLLIN)
            self._pg.consume_input()
        return self._pg.get_result()

    def _wait(self, events: int) -> int:
        # Not `select`: it refuses descriptors above 1023, which a busy server has. Other threads run meanwhile.
        self._poll.register(self._pg.socket, events)
        ready = self._poll.poll(self._answer_ms)
        if not ready:
            raise TimeoutError("the server does not answer")
        return ready[0][1]


def _split_literals(sql: str) -> list[tuple[bool, str]]:
    pieces: list[tuple[bool, str]] = []
    end = 0
    for match in _LITERAL.finditer(sql):
        pieces += [(False, sql[end : match.start()]), (True, match[0])]
        end = match.end()
    return [*pieces, (False, sql[end:])]


def _encode(values: Sequence[Any]) -> tuple[list[bytes | None], list[int]]:
    """Everything as text but bytes: the server knows from the statement what each is."""
    encoded: list[bytes | None] = []
    formats: list[int] = []
    for value in values:
        binary = isinstance(value, bytes)
        formats.append(int(binary))
        if not binary and value is not None:
            value = str(value).encode()  # noqa: PLW2901 - what is sent of it
            if b"\0" in value:
                # libpq would send what stands before it: another name, perhaps one that there is.
                raise ValueError("it holds U+0000")
        encoded.append(value)
    return encoded, formats


def _encode_many(known: Statement, columns: Sequence[Any]) -> tuple[list[bytes | None], list[int]]:
    encoded: list[bytes | None] = [
        _array(element, column) for element, column in zip(known.arrays, columns, strict=False)
    ]
    formats = [1] * len(encoded)
    for extra in columns[len(known.arrays) :]:  # how many rows a guarded change has to meet
        encoded.append(str(extra).encode())
        formats.append(0)
    return encoded, formats


def _array(element: int, items: Sequence[Any]) -> bytes:
    """PostgreSQL's binary form of a one-dimensional array."""
    head = _head.pack(1, 1, element, len(items), 1)
    if element == INT8:
        return head + b"".join([_NULL if item is None else _EIGHT + _int8.pack(item) for item in items])
    pieces = [head]
    for item in items:
        if item is None:
            pieces.append(_NULL)
        else:
            content = item.encode() if element == TEXT else item
            pieces += (_int4.pack(len(content)), content)
    return b"".join(pieces)


def _text(content: bytes) -> str:
    return content.decode()


def _signed(content: bytes) -> int:
    return int.from_bytes(content, "big", signed=True)


_DECODERS: dict[int, Callable[[bytes], Any]] = {
    BYTEA: bytes,
    INT8: _signed,
    23: _signed,
    21: _signed,
    TEXT: _text,
    1043: _text,
    16: lambda content: content == b"\x01",
    701: lambda content: struct.unpack("!d", content)[0],
}


def _answer(result: Any) -> Answer:
    columns = result.nfields
    if not columns:
        return Answer([], result.command_tuples or 0)
    decoders = [_DECODERS.get(result.ftype(column), _text) for column in range(columns)]
    value = result.get_value
    rows = [
        tuple(
            None if (content := value(row, column)) is None else decoders[column](content) for column in range(columns)
        )
        for row in range(result.ntuples)
    ]
    return Answer(rows, result.command_tuples or 0)


def _refusal(result: Any) -> Refused:
    state = result.error_field(pq.DiagnosticField.SQLSTATE)
    message = result.error_field(pq.DiagnosticField.MESSAGE_PRIMARY)
    if result.status == pq.ExecStatus.PIPELINE_ABORTED:
        return Refused("25P02", "An earlier statement was refused.")
    return Refused((state or b"").decode(), (message or b"no reason given").decode(errors="replace"))
