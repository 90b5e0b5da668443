"""The options every command has, and the connection they ask for."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Group, Parameter

from agentmemo.cli.output import Output
from agentmemo.cli.values import read_file
from agentmemo.connect import open_connection, open_connection_async
from agentmemo.errors import InvalidInput
from agentmemo.model.access import Identity
from agentmemo.model.runs import Budget
from agentmemo.settings import default_target, os_user
from agentmemo.store.open import database_path, is_postgres

if TYPE_CHECKING:
    from agentmemo.client._async.connection import AsyncConnection
    from agentmemo.client._sync.connection import Connection

COMMON = Group("Common options", sort_key=100)
HTTP = ("http://", "https://")


def flag(help: str) -> Parameter:  # noqa: A002 - cyclopts' word
    """An option whose absence says enough, so that the help need not show its default."""
    return Parameter(show_default=False, help=help)


Json = Annotated[str, Parameter(allow_leading_hyphen=True, help="JSON; - reads standard input, @FILE a file.")]
Limit = Annotated[int, Parameter(help="At most this many.")]
Cursor = Annotated[str | None, Parameter(help="Go on where the page before ended.")]
Steps = Annotated[int | None, Parameter(help="Budget: finished steps.")]
Seconds = Annotated[float | None, Parameter(help="Budget: seconds of working time.")]
Tokens = Annotated[int | None, Parameter(help="Budget: tokens.")]
Nanousd = Annotated[int | None, Parameter(help="Budget: billionths of a dollar.")]


@Parameter(name="*", group=COMMON)
@dataclass(frozen=True, kw_only=True)
class Common:
    """Who asks which plane, and how the answer is printed."""

    json: Annotated[bool, flag("Print JSON: one document, or JSON lines where it goes on.")] = False
    url: Annotated[str | None, Parameter(help="Ask the plane at this address (also AGENTMEMO_URL).")] = None
    data: Annotated[
        str | None, Parameter(help="Open the store in this directory or file (also AGENTMEMO_DATA), without a server.")
    ] = None
    database: Annotated[
        str | None,
        Parameter(
            help="Open this PostgreSQL database, postgresql://..., without a server. Rather set AGENTMEMO_URL where "
            "it holds a password."
        ),
    ] = None
    workspace: Annotated[str | None, Parameter(help="Workspace of an opened store; a key has its own.")] = None
    agent: Annotated[str | None, Parameter(help="Act as this agent (also AGENTMEMO_AGENT).")] = None
    person: Annotated[str | None, Parameter(help="Act as this person.")] = None
    key: Annotated[
        str | None,
        Parameter(help="Key for --url. Others on this machine can see it: rather set AGENTMEMO_KEY or --key-file."),
    ] = None
    key_file: Annotated[str | None, Parameter(help="File that holds the key (- reads standard input).")] = None

    @property
    def out(self) -> Output:
        return Output(json=self.json)

    @property
    def target(self) -> str | None:
        """What to connect to; None is the user's data directory. Raises InvalidInput for a contradiction."""
        if self.url is not None and (self.data is not None or self.database is not None):
            raise InvalidInput("--url asks a server; --data and --database open a store.", next_call="Leave one out.")
        if self.url is not None and not self.url.startswith(HTTP):
            raise InvalidInput(
                f"{self.url!r} is not the address of a plane.",
                next_call="Use http://127.0.0.1:7707, or --data for a store.",
            )
        return self.url or self.store or default_target()

    @property
    def store(self) -> str | None:
        """The store to open, as far as the command line names one. Raises InvalidInput for a contradiction."""
        if self.data is not None and self.database is not None:
            raise InvalidInput("--data and --database name two stores.", next_call="Leave one out.")
        if self.database is not None and not is_postgres(self.database):
            raise InvalidInput(
                "--database takes a PostgreSQL database.",
                next_call="Use postgresql://user@host:5432/name, or --data for a directory or file.",
            )
        return self.data or self.database

    @contextlib.contextmanager
    def connect(self, *, deciding: bool = False, begins: bool = False) -> Iterator[Connection]:
        """A connection for one command.

        `deciding` is for what only a person may do: in an opened store the caller is then the operating system's
        user as a person, unless --person names one, or --agent or AGENTMEMO_AGENT says that an agent calls, which
        the plane refuses. Over HTTP the key alone says who calls. Where no store is yet, the first change makes one
        and a read is refused with NotFound; one that `begins` makes it before it looks.
        """
        target, remote = self.target, self.is_remote
        person = self.person
        if deciding and not remote and person is None and self.agent is None and not os.environ.get("AGENTMEMO_AGENT"):
            person = os_user()
        with self._opened(target, person, begins=begins) as connection:
            if remote and self._names_somebody:
                self._check_identity(connection.keys.whoami())
            yield connection

    def _opened(self, target: str | None, person: str | None, *, begins: bool) -> Connection:
        key, workspace = self._key(), self.workspace or "default"
        path = None if begins or key or self.is_remote or is_postgres(target) else database_path(target)
        if path is None or path.exists():
            return open_connection(target, agent=self.agent, person=person, key=key, workspace=workspace, door="cli")
        from agentmemo.cli.first_use import connection_to_unmade
        from agentmemo.embedded import local_caller

        return connection_to_unmade(path, local_caller(self.agent, person, workspace, "cli"))

    @contextlib.asynccontextmanager
    async def connect_async(self) -> AsyncIterator[AsyncConnection]:
        """The same for what runs on an event loop."""
        connection = await open_connection_async(
            self.target,
            agent=self.agent,
            person=self.person,
            key=self._key(),
            workspace=self.workspace or "default",
            door="cli",
        )
        async with connection:
            if self.is_remote and self._names_somebody:
                self._check_identity(await connection.keys.whoami())
            yield connection

    @property
    def is_remote(self) -> bool:
        """Whether a server is asked."""
        return (self.target or "").startswith(HTTP)

    @property
    def _names_somebody(self) -> bool:
        return self.agent is not None or self.person is not None or self.workspace is not None

    def _key(self) -> str | None:
        if self.key is not None and self.key_file is not None:
            raise InvalidInput("--key and --key-file name two keys.", next_call="Leave one out.")
        if self.key_file is None:
            return self.key
        return read_file(self.key_file).decode(errors="replace").strip()

    def _check_identity(self, identity: Identity) -> None:
        """Over HTTP the key says who calls: a name on the command line that differs is a mistake, not a wish."""
        wanted = ("agent", self.agent) if self.agent is not None else ("person", self.person)
        if wanted[1] is not None and (identity.kind, identity.actor) != wanted:
            raise InvalidInput(
                f"The key is that of {identity.kind} {identity.actor!r}, not of {wanted[0]} {wanted[1]!r}.",
                why="Over HTTP the key alone says who calls.",
                next_call=f"Use a key of {wanted[1]!r}, or leave --{wanted[0]} out.",
            )
        if self.workspace is not None and identity.workspace != self.workspace:
            raise InvalidInput(
                f"The key belongs to the workspace {identity.workspace!r}, not {self.workspace!r}.",
                next_call="Use a key of that workspace, or leave --workspace out.",
            )


EVERYWHERE = Common()


def budget_of(steps: int | None, seconds: float | None, tokens: int | None, nanousd: int | None) -> Budget | None:
    """The budget that four options name. Raises InvalidInput for a negative bound."""
    if steps is None and seconds is None and tokens is None and nanousd is None:
        return None
    for name, bound in (("steps", steps), ("seconds", seconds), ("tokens", tokens), ("nanousd", nanousd)):
        if bound is not None and bound < 0:
            raise InvalidInput(f"--{name} is not negative.", next_call="Give 0 or more, or leave it out.")
    return Budget(steps=steps, seconds=seconds, tokens=tokens, nanousd=nanousd)


def group_of_commands(name: str, help: str) -> App:  # noqa: A002 - cyclopts' word
    """The commands of one noun."""
    return App(name=name, help=help, version_flags=())
