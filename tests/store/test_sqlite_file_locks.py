"""POSIX drops all of a process's locks on a file when the process closes any descriptor of it: we never open it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from agentmemo.clock import SystemClock
from agentmemo.store.open import open_database

# What SQLite grants only to a process that is alone with a store: folding the log into the file and deleting it.
TAKE_ALONE = """
import sys, apsw
connection = apsw.Connection(sys.argv[1])
connection.set_busy_timeout(0)
try:
    connection.pragma("locking_mode", "EXCLUSIVE")
    print(connection.pragma("journal_mode", "DELETE"))
except apsw.BusyError:
    print("busy")
"""


@pytest.fixture
def database(tmp_path):
    database = open_database(str(tmp_path / "store.db"), SystemClock())
    yield database
    database.close()


def test_no_other_process_gets_the_store_for_itself(database, tmp_path):
    database.read(lambda tx: tx.all("workspace_all"))
    # Were the log deleted under this process, it would go on writing to nothing, and a crash would lose it all.
    done = subprocess.run(
        [sys.executable, "-c", TAKE_ALONE, str(tmp_path / "store.db")],
        check=True, timeout=180, capture_output=True, text=True,
    )  # fmt: skip
    assert done.stdout.strip() in {"busy", "wal"}
    assert (tmp_path / "store.db-wal").exists()


def test_the_store_is_its_owners_from_the_first_byte(database, tmp_path):
    assert {file.stat().st_mode & 0o077 for file in tmp_path.glob("store.db*") if file.is_file()} == {0}
