"""Connections to a PostgreSQL server: opening them, checking what they reach, and what their failures mean.

They carry no session state, so that a pooler in transaction mode may stand in between: settings hold for a transaction,
and where the pooler does not know prepared statements, none are used from the first refusal on.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from agentmemo.errors import Error, InvalidInput, Unavailable
from agentmemo.settings import Settings
from agentmemo.store.postgres_wire import Refused, Wire

CONNECT_SECONDS = "5"
# A machine that is gone sends no goodbye: unanswered bytes end the connection after this time.
TCP_USER_TIMEOUT_MS = "10000"
DEFAULTS = {
    "application_name": "agentmemo",
    "connect_timeout": CONNECT_SECONDS,
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": TCP_USER_TIMEOUT_MS,
}
# What is sent and read is UTF-8, whatever PGCLIENTENCODING, the role or the database have for others.
OURS = {"client_encoding": "UTF8"}
# "prepared statement ... does not exist" and "... already exists": somebody else's session, behind a pooler.
OTHERS_SESSION = frozenset({"26000", "42P05"})
NOT_YET = "25006"


class Permits:
    """So many at once, and the others in the order they came; a semaphore lets whoever is quick overtake who waits.

    Nothing is locked that others need: a signal handler that reads may interrupt whoever passes here.
    """

    def __init__(self, count: int) -> None:
        self._free = deque([None] * count)
        self._waiting: deque[threading.Lock] = deque()

    @property
    def free(self) -> int:
        return len(self._free)

    def take(self, seconds: float) -> None:
        """Wait for a permit. Raises Unavailable when none came in time."""
        if not self._waiting:
            with suppress(IndexError):
                return self._free.pop()
        mine = threading.Lock()
        mine.acquire()
        try:
            self._waiting.append(mine)
            self._hand_out()
            if mine.acquire(timeout=seconds):
                return None
        except BaseException:
            # An interrupted caller wants none any more.
            if not self._withdraws(mine):
                self.give_back()
            raise
        if not self._withdraws(mine):
            return None  # it came just then
        raise Unavailable(
            "All connections for reading are in use.",
            why="More readers wait than the database answers in time.",
            next_call="Try again, or raise AGENTMEMO_POSTGRES_READERS.",
        )

    def give_back(self) -> None:
        self._free.append(None)
        self._hand_out()

    def _hand_out(self) -> None:
        """Whoever adds a permit or a wish comes here afterwards, so no two of them lie beside each other."""
        while self._free and self._waiting:
            with suppress(IndexError):
                self._free.pop()
                try:
                    self._waiting.popleft().release()
                except IndexError:
                    self._free.append(None)

    def _withdraws(self, mine: threading.Lock) -> bool:
        """False if the permit was handed out already."""
        try:
            self._waiting.remove(mine)
        except ValueError:
            return False
        return True


class Sessions:
    """Makes connections, keeps idle readers, and counts what is open."""

    def __init__(self, url: str, settings: Settings) -> None:
        self.url = _checked(url)
        # Each transaction sets them for itself: the server frees what a frozen process holds after `idle`.
        self.settings = {
            "idle": f"{round(settings.postgres_idle_seconds * 1000)}ms",
            "statement": f"{round(settings.postgres_statement_seconds * 1000)}ms",
        }
        # The server ends a slow statement by itself; one that does not is not well.
        self._answer = 2 * settings.postgres_statement_seconds
        self._patience = settings.postgres_patience_seconds
        self._prepares = settings.postgres_prepare
        self._idle: deque[Wire] = deque()
        self._closed = False
        self._readers = Permits(settings.postgres_readers)

    @property
    def shown(self) -> str:
        """The address without its secrets, for people."""
        return shown(self.url)

    def connect(self) -> psycopg.Connection[Any]:
        """A plain connection, in which every statement is its own transaction. Raises Unavailable."""
        given = conninfo_to_dict(self.url)
        try:
            return psycopg.connect(
                make_conninfo(self.url, **{**DEFAULTS, **given, **OURS}), autocommit=True, prepare_threshold=None
            )
        except psycopg.Error as error:
            raise self._unreachable(error) from error

    @contextmanager
    def connected(self) -> Iterator[psycopg.Connection[Any]]:
        """A plain connection for as long as the block lasts. Raises Unavailable, also for what goes wrong in it."""
        try:
            with self.connect() as connection:
                yield connection
        except psycopg.OperationalError as error:
            raise self._unreachable(error) from error
        except psycopg.Error as error:
            raise Unavailable(
                f"The database at {self.shown} refused: {_first_line(error)}.",
                why="The user lacks a right there, or what lies there is not AgentMemo's.",
                next_call="Grant it, or name another database, or another schema: ?options=-csearch_path%3DNAME.",
                retry_safe=False,
            ) from error

    def open(self) -> Wire:
        return Wire(self.connect(), prepares=self._prepares, answer_seconds=self._answer)

    @contextmanager
    def reader(self) -> Iterator[Wire]:
        """A connection for reads; one that failed is closed. Raises Unavailable when all are in use for too long."""
        self._readers.take(self._patience)
        try:
            try:
                wire = self._idle.pop()
            except IndexError:
                wire = self.open()
            try:
                yield wire
            except Error:
                # A refusal of ours, such as NotFound: the connection is as good as before.
                self._keep(wire)
                raise
            except BaseException:
                wire.close()
                raise
            self._keep(wire)
        finally:
            self._readers.give_back()

    def _keep(self, wire: Wire) -> None:
        self._idle.append(wire)
        if self._closed:
            # It was read while all were closed: whoever did that has not seen this one.
            self.forget_idle()

    def _unreachable(self, error: Exception) -> Unavailable:
        return Unavailable(
            f"The database at {self.shown} cannot be reached: {_first_line(error)}.",
            why="It is down, refuses the credentials, or no server of the list takes writes.",
            next_call="Check the address; agentmemo doctor says more.",
        )

    def learn_from(self, refused: Refused) -> bool:
        """True if the refusal came from a pooler that does not keep prepared statements: from now on none are made.

        Each connection that was open before is told so once; it is to be closed.
        """
        if refused.state not in OTHERS_SESSION:
            return False
        self._prepares = False
        self.forget_idle()
        return True

    def forget_idle(self) -> None:
        """Close what is idle: after a failover it leads to the old server."""
        with suppress(IndexError):
            while True:
                self._idle.pop().close()

    def close(self) -> None:
        """Close what is idle now, and what comes back later."""
        self._closed = True
        self.forget_idle()

    def abandon(self) -> None:
        """In a forked child: the connections are the parent's."""
        for wire in self._idle:
            wire.abandon()
        self._idle.clear()


def shown(url: str) -> str:
    """An address with its password and other secrets left out."""
    parts = conninfo_to_dict(url)
    hosts, ports = str(parts.get("host") or "localhost").split(","), str(parts.get("port") or "").split(",")
    places = [f"{host}:{port}" if port else host for host, port in zip(hosts, ports * len(hosts), strict=False)]
    user = f"{parts['user']}@" if parts.get("user") else ""
    return f"postgresql://{user}{','.join(places)}/{parts.get('dbname') or ''}"


def unavailable(problem: Exception, *, again: bool, doubt: bool = False) -> Unavailable:
    """What kept the database from doing it, in our words. In doubt is what was lost while it was being committed."""
    if doubt:
        return Unavailable(
            f"Whether the call was kept is not known: {_first_line(problem)}.",
            why="The connection was lost while the call was being committed, and none came back within patience.",
            next_call="Look at what is there, or repeat the call with the same key or if_version.",
            retry_safe=False,
            details={"in_doubt": True},
        )
    if isinstance(problem, Unavailable):
        return problem
    if isinstance(problem, Refused) and problem.state == NOT_YET:
        return Unavailable(
            "The database takes no writes now: it is a standby or read-only.",
            next_call="Add target_session_attrs=read-write to the address and name all hosts, or promote it.",
        )
    if isinstance(problem, Refused):
        return Unavailable(
            f"The database refused: {problem} (SQLSTATE {problem.state}).",
            why="Nothing of the call was kept.",
            next_call="Repeat the call; agentmemo doctor looks deeper." if again else "Run agentmemo doctor.",
            retry_safe=again,
        )
    return Unavailable(
        f"The connection to the database was lost: {_first_line(problem)}.",
        why="Nothing of the call was kept.",
        next_call="Repeat the call; agentmemo doctor looks deeper.",
    )


def _first_line(error: Exception) -> str:
    """What happened, in a line; the messages of libpq name hosts and users, never passwords."""
    return (str(error).strip().splitlines() or ["no reason given"])[0].rstrip(".")


def _checked(url: str) -> str:
    try:
        conninfo_to_dict(url)
    except psycopg.Error:
        # The parser's message would repeat the address, and with it a password.
        raise InvalidInput(
            "The address of the database cannot be read.",
            next_call="Use postgresql://user@host:5432/name?target_session_attrs=read-write.",
        ) from None
    return url
