"""A PostgreSQL, servers and workers as real processes, and what can befall them."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import threading
import time
from collections import Counter
from pathlib import Path

import checker
import psycopg
import workload
from children import kills
from forked import Forked

import agentmemo
from agentmemo.testing.postgres import PostgresServer

PROGRAM = Path(__file__).with_name("chaos.py")
LEASE_SECONDS = 2.0
# Shorter than the longest absence of the database, so that callers are refused and what they held has to be freed.
PATIENCE_SECONDS = 2.0
END_SECONDS = 150.0
READY_SECONDS = 150.0
# What counts as work done, for the rate.
WORK = frozenset({"set", "end", "started", "finished", "waited", "pair"})


class Rows:
    """The tables of a PostgreSQL database, asked as sqlite3 is."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection

    def execute(self, sql: str, parameters: tuple = ()) -> psycopg.Cursor:
        return self._connection.execute(sql.replace("%", "%%").replace("?", "%s"), parameters)


class Process:
    """One of ours; its standard error goes to a file that failures show."""

    def __init__(self, arguments: list[str], environment: dict[str, str], log: Path) -> None:
        self._make = (arguments, environment, log)
        self.start()

    def start(self) -> None:
        arguments, environment, log = self._make
        with log.open("ab") as errors:
            self.process = Forked(arguments, environment, errors)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.process.close()
        kills.append(self.process.pid)

    def pause(self, seconds: float) -> None:
        self.process.send_signal(signal.SIGSTOP)
        time.sleep(seconds)
        self.process.send_signal(signal.SIGCONT)

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.process.close()


class Server(Process):
    """`agentmemo up` on a port of its own choice, on the list of addresses while it is there."""

    def __init__(self, url: str, environment: dict[str, str], log: Path, addresses: Path) -> None:
        self._addresses = addresses
        super().__init__(["-m", "agentmemo", "up", "--database", url, "--port", "0", "--json"], environment, log)

    def announced(self) -> dict:
        """What it says once it listens. {} where it ended instead, for want of a database."""
        line = self.process.stdout.readline()
        said = json.loads(line) if line else {}
        if said:
            with _addresses_lock:
                known = self._addresses.read_text(encoding="ascii") if self._addresses.exists() else ""
                self._write(f"{known}{said['url']}\n")
            self.url = said["url"]
        return said

    def kill(self) -> None:
        with _addresses_lock:
            known = self._addresses.read_text(encoding="ascii").splitlines()
            self._write("".join(f"{line}\n" for line in known if line != self.url))
        super().kill()

    def start_again(self, seconds: float = READY_SECONDS) -> None:
        end = time.monotonic() + seconds
        while True:
            self.start()
            if self.announced():
                return
            self.end()
            assert time.monotonic() < end, "the server does not start"

    def _write(self, text: str) -> None:
        partial = self._addresses.with_suffix(".new")
        partial.write_text(text, encoding="ascii")
        partial.rename(self._addresses)


_addresses_lock = threading.Lock()


class Arena:
    """Everything of one test. `url` is what clients are given."""

    def __init__(self, directory: Path, url: str) -> None:
        self.url = url
        self.side = directory / "side"
        self._addresses = directory / "servers"
        self._log = directory / "errors"
        self._key = ""
        self.servers: list[Server] = []
        self.workers: list[Process] = []
        self.environment = {name: value for name, value in os.environ.items() if name != "AGENTMEMO_KEY"} | {
            "AGENTMEMO_DATA": str(directory / "data"),
            "AGENTMEMO_LEASE_SECONDS": str(LEASE_SECONDS),
            "AGENTMEMO_UPKEEP_INTERVAL_SECONDS": "0.1",
            "AGENTMEMO_POSTGRES_PATIENCE_SECONDS": str(PATIENCE_SECONDS),
            "AGENTMEMO_POSTGRES_WRITERS": "2",
            "AGENTMEMO_POSTGRES_READERS": "4",
            "CHAOS_FINISH_SECONDS": str(END_SECONDS),
        }

    def serve(self, count: int) -> None:
        """Servers, and their key for those who work over HTTP."""
        for _ in range(count):
            self.servers.append(Server(self.url, self.environment, self._log, self._addresses))
            said = self.servers[-1].announced()
            assert said, self.errors()
            if said.get("agent_key_file"):
                self._key = Path(said["agent_key_file"]).read_text(encoding="ascii").strip()

    def work(self, processes: int, workers: int, *, http: bool = False, name: str = "w") -> None:
        """Processes with so many busy workers each; they keep their names when they are started again."""
        target = str(self._addresses) if http else self.url
        environment = self.environment | ({"AGENTMEMO_KEY": self._key} if http else {})
        for number in range(processes):
            arguments = [str(PROGRAM), "work", target, str(self.side), f"{name}{number}", str(workers)]
            self.workers.append(Process(arguments, environment, self._log))

    def notes(self) -> list[dict]:
        return workload.read_notes(self.side)

    def wait_for_work(self, workers: int, *, after: float = 0.0, seconds: float = READY_SECONDS) -> float:
        """So many different workers have done something since `after`. Returns how many seconds that took."""
        begun = time.monotonic()
        while True:
            slots = {note["slot"] for note in self.notes() if note["what"] in WORK and note["at"] > after}
            if len(slots) >= workers:
                return time.monotonic() - begun
            for worker in self.workers:
                assert worker.process.poll() is None, f"a worker ended by itself\n{self.errors()}"
            assert time.monotonic() < begun + seconds, f"only {len(slots)} of {workers} went on\n{self.errors()}"
            time.sleep(0.05)

    def rate(self, since: float, until: float) -> float:
        """Acknowledged pieces of work a second."""
        done = sum(note["what"] in WORK and since <= note["at"] < until for note in self.notes())
        return done / (until - since)

    def stop_workers(self) -> None:
        """They end what they are at."""
        Path(f"{self.side}.stop").touch()
        for worker in self.workers:
            try:
                code = worker.process.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                worker.process.send_signal(signal.SIGUSR1)
                time.sleep(0.5)  # it writes down where its threads are
                worker.kill()
                raise AssertionError(f"a worker did not end\n{self.errors()}") from None
            assert code == 0, f"a worker ended with {code}\n{self.errors()}"

    def finish(self) -> float:
        """Bring everything to its end; returns how many seconds that took."""
        begun = time.monotonic()
        child = Process([str(PROGRAM), "finish", self.url, str(self.side), "f", "1"], self.environment, self._log)
        try:
            assert child.process.wait(END_SECONDS + READY_SECONDS) == 0, self.errors()
        finally:
            child.end()
        return time.monotonic() - begun

    def check(self, url: str | None = None) -> Counter:
        """Every invariant, read from the database itself and through the product."""
        notes = self.notes()
        with agentmemo.connect(url or self.url, agent="checker") as agent:
            verified = agent.audit.verify()
            assert verified.intact, verified.first_fault
            checker.check_acknowledged(agent, notes)
        with psycopg.connect(url or self.url) as connection:
            rows = Rows(connection)
            checker.check_rows(rows, notes)
        return Counter(note["what"] for note in notes)

    def errors(self) -> str:
        return self._log.read_text(errors="replace")[-20_000:] if self._log.exists() else ""

    def end(self) -> None:
        for process in [*self.workers, *self.servers]:
            process.end()


class Faults:
    """What can befall an arena and its database, one thing at a time, each in the name of the chance it was given."""

    def __init__(self, arena: Arena, database: PostgresServer, chance: random.Random) -> None:
        self._arena = arena
        self._database = database
        self._chance = chance
        self.done: Counter = Counter()
        self.all = (
            self.database_killed,
            self.database_away,
            self.sessions_ended,
            self.session_frozen,
            self.database_frozen,
            self.worker_killed,
            self.worker_frozen,
            self.server_killed,
        )

    def one(self) -> None:
        self.run(self._chance.choice(self.all))

    def run(self, fault) -> None:
        self.done[fault.__name__] += 1
        fault()

    def database_killed(self) -> None:
        self._database.kill()
        self._database.start()

    def database_away(self) -> None:
        """For longer than anybody has patience."""
        self._database.kill()
        time.sleep(PATIENCE_SECONDS * 1.5)
        self._database.start()

    def sessions_ended(self) -> None:
        for process in self._sessions(3):
            self._database.execute(f"SELECT pg_terminate_backend({process})")

    def session_frozen(self) -> None:
        """Whoever has the turn keeps it for that long."""
        with _frozen(self._sessions(2)):
            time.sleep(self._chance.uniform(0.2, 1.0))

    def database_frozen(self) -> None:
        self._database.freeze()
        time.sleep(self._chance.uniform(0.2, 1.0))
        self._database.thaw()

    def worker_killed(self) -> None:
        worker = self._chance.choice(self._arena.workers)
        worker.kill()
        worker.start()

    def worker_frozen(self) -> None:
        self._chance.choice(self._arena.workers).pause(self._chance.uniform(0.5, 1.5 * LEASE_SECONDS))

    def server_killed(self) -> None:
        server = self._chance.choice(self._arena.servers)
        server.kill()
        server.start_again()

    def _sessions(self, count: int) -> list[int]:
        query = "SELECT pid FROM pg_stat_activity WHERE application_name = 'agentmemo' AND pid <> pg_backend_pid()"
        found = [row[0] for row in self._database.execute(query)]
        return self._chance.sample(found, min(count, len(found)))


@contextlib.contextmanager
def _frozen(processes: list[int]):
    _tell(processes, signal.SIGSTOP)
    try:
        yield
    finally:
        _tell(processes, signal.SIGCONT)


def _tell(processes: list[int], number: int) -> None:
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, number)
