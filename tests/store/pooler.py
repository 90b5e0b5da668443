"""PgBouncer in front of a PostgreSQL of tests: transactions of all clients share a few sessions."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from pathlib import Path

import psycopg

from agentmemo.testing.ports import ReservedPort
from agentmemo.testing.postgres import OWNER, system_user

PROGRAM = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
# Few enough that a client often gets another session than before.
SESSIONS = 6
START_SECONDS = 60.0
CONFIGURATION = """
[databases]
* = host=127.0.0.1 port={server}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
pool_mode = transaction
default_pool_size = {sessions}
max_client_conn = 200
auth_type = trust
auth_file = {folder}/users
logfile = {folder}/log
pidfile = {folder}/pid
"""


class Pooler:
    """One PgBouncer in a folder of its own inside the server's, run by the same user: it refuses root."""

    def __init__(self, server) -> None:
        self._server = server
        self._folder = Path(server.folder) / "pooler"
        self._folder.mkdir()
        self._reserved = ReservedPort()
        self._port = self._reserved.number
        user = system_user()
        text = CONFIGURATION.format(server=server.port, port=self._port, sessions=SESSIONS, folder=self._folder)
        (self._folder / "pgbouncer.ini").write_text(text, encoding="ascii")
        (self._folder / "users").write_text(f'"{OWNER}" ""\n', encoding="ascii")
        if user:
            for path in (self._folder, *self._folder.iterdir()):
                shutil.chown(path, user)
        command = [PROGRAM, str(self._folder / "pgbouncer.ini")]
        quiet = subprocess.DEVNULL
        self._process = subprocess.Popen(command, stdout=quiet, stderr=quiet, cwd=self._folder, **as_user(user))
        self._wait_until_ready()

    def url(self, database: str) -> str:
        return f"postgresql://{OWNER}@127.0.0.1:{self._port}/{database}"

    def sessions(self, database: str, query: str) -> list[tuple]:
        """The rows of a query in every session there is, each of them held while the others are asked."""
        with contextlib.ExitStack() as stack:
            held = [stack.enter_context(psycopg.connect(self.url(database))) for _ in range(SESSIONS)]
            return [row for connection in held for row in connection.execute(query, prepare=False).fetchall()]

    def close(self) -> None:
        self._process.terminate()
        self._process.wait()
        self._reserved.close()

    def _wait_until_ready(self) -> None:
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end and self._process.poll() is None:
            with contextlib.suppress(psycopg.OperationalError):
                psycopg.connect(self.url("postgres"), connect_timeout=2).close()
                return
            time.sleep(0.02)
        log = self._folder / "log"
        raise RuntimeError(f"PgBouncer did not start: {log.read_text(errors='replace') if log.exists() else ''}")


def as_user(user: str | None) -> dict:
    return {"user": user, "group": user, "extra_groups": []} if user else {}
