"""Servers of the benchmark: started on loopback with a directory of their own, stopped by their process."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

START_SECONDS = 20


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def find(program: str) -> str:
    """Its path, beside this Python first: some packages bring a server along. Raises RuntimeError where it is not."""
    path = shutil.which(program, path=os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", ""))))
    if path is None:
        raise RuntimeError(f"{program} is not installed")
    return path


@contextmanager
def running(command: Sequence[str], ready: Callable[[], object]) -> Iterator[subprocess.Popen[bytes]]:
    """The process, once `ready` no longer raises OSError."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + START_SECONDS
        while True:
            try:
                ready()
                break
            except OSError as error:
                if process.poll() is not None or time.monotonic() > end:
                    raise RuntimeError(f"{command[0]} did not start") from error
                time.sleep(0.01)
        yield process
    finally:
        stop(process)


@contextmanager
def our_server(directory: Path) -> Iterator[dict[str, Any]]:
    """`agentmemo up`; what it announced, with its process id as `process` and its key as `agent_key`."""
    command = [sys.executable, "-m", "agentmemo", "--json", "up", "--data", str(directory), "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        if not line:
            raise RuntimeError("agentmemo up did not start")
        yield json.loads(line)
    finally:
        stop(process)


@contextmanager
def redis(directory: Path) -> Iterator[int]:
    """Its port. Every write is on disk before it is answered."""
    port = free_port()
    command = [
        find("redis-server"),
        *("--port", str(port), "--bind", "127.0.0.1", "--dir", str(directory)),
        *("--appendonly", "yes", "--appendfsync", "always", "--save", ""),
    ]
    with running(command, lambda: socket.create_connection(("127.0.0.1", port), timeout=1).close()):
        yield port


@contextmanager
def nats(directory: Path) -> Iterator[str]:
    """Its address, with JetStream. Every message is on disk before it is answered, which 2.10 is the first to do."""
    port, settings = free_port(), directory / "nats.conf"
    settings.write_text(
        f'listen: "127.0.0.1:{port}"\njetstream {{ store_dir: "{directory / "jetstream"}", sync_interval: always }}\n'
    )
    command = [find("nats-server"), "-c", str(settings)]
    with running(command, lambda: socket.create_connection(("127.0.0.1", port), timeout=1).close()):
        yield f"nats://127.0.0.1:{port}"


def stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


class HttpConnection(asyncio.Protocol):
    """One keep-alive connection, one request at a time, the same and nearly free for every HTTP server."""

    def __init__(self) -> None:
        self._buffer = b""
        self._answer: asyncio.Future[bytes] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport

    async def send(self, request: bytes) -> bytes:
        """The body of the answer. Raises OSError unless its status is 200."""
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._answer

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, separator, body = self._buffer.partition(b"\r\n\r\n")
        if not separator or self._answer is None:
            return
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        if len(body) < length:
            return
        self._buffer = b""
        if head.split(b" ", 2)[1] == b"200":
            self._answer.set_result(body)
        else:
            self._answer.set_exception(OSError(self._shown(head, body)))

    def connection_lost(self, _error: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionResetError())

    def close(self) -> None:
        self._transport.close()

    @staticmethod
    def _shown(head: bytes, body: bytes) -> str:
        return (head[:40] + b" " + body[:200]).decode(errors="replace")


class RedisConnection(HttpConnection):
    """The same for Redis: a simple string or one bulk string."""

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        line, separator, rest = self._buffer.partition(b"\r\n")
        if not separator or self._answer is None:
            return
        if line[:1] == b"$":
            length = int(line[1:])
            if len(rest) < length + 2:
                return
            rest = rest[:length]
        self._buffer = b""
        if line[:1] in b"+$":
            self._answer.set_result(rest)
        else:
            self._answer.set_exception(OSError(line.decode()))
