"""Hostile clients against one real server, and what another client feels of it meanwhile.

    python hostile.py [--clients 10000] [--seconds 4]

Each attack is one line: the server's memory at its height, and the times of a well-behaved client's reads and writes.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import re
import resource
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "shared"))
from served import Server

import agentmemo

AT_ONCE = 200
KIB = 1024
SETTINGS = {"AGENTMEMO_WATCHERS_MAX": "20000", "AGENTMEMO_WATCHERS_PER_ACTOR_MAX": "20000"}


class Probe(threading.Thread):
    """A client that reads and writes one after the other, and notes how long each took."""

    def __init__(self, url: str, key: str) -> None:
        super().__init__()
        self.url, self.key = url, key
        self.stop = threading.Event()
        self.milliseconds: list[float] = []

    def run(self) -> None:
        with agentmemo.connect(self.url, key=self.key) as agent:
            number = 0
            while not self.stop.is_set():
                self._timed(agent.state.set, "probe", "k", number)
                self._timed(agent.state.get, "probe", "k")
                number += 1
                self.stop.wait(0.02)

    def _timed(self, call, *arguments) -> None:
        began = time.perf_counter()
        call(*arguments)
        self.milliseconds.append(1000 * (time.perf_counter() - began))

    def said(self) -> str:
        times = sorted(self.milliseconds)
        return f"{len(times)} calls, p50 {times[len(times) // 2]:.0f} ms, p99 {times[int(len(times) * 0.99)]:.0f} ms"


class Attack:
    def __init__(self, server: Server, clients: int, seconds: float) -> None:
        self.server, self.clients, self.seconds = server, clients, seconds
        self.place = ("127.0.0.1", int(server.url.rpartition(":")[2]))
        self.gate = asyncio.Semaphore(AT_ONCE)
        self.open: list[asyncio.StreamWriter] = []

    async def dial(self, data: bytes, *, answered: bool = False) -> asyncio.StreamReader | None:
        """Connect and send; with `answered`, until the answer has begun."""
        async with self.gate:
            with contextlib.suppress(OSError):
                reader, writer = await asyncio.open_connection(*self.place)
                self.open.append(writer)
                writer.write(data)
                await writer.drain()
                if answered:
                    await reader.readuntil(b"\r\n\r\n")
                return reader
        return None

    async def many(self, count: int, data: bytes, *, answered: bool = False) -> int:
        found = await asyncio.gather(*(self.dial(data, answered=answered) for _ in range(count)))
        return sum(reader is not None for reader in found)

    def request(self, line: str, *headers: str) -> bytes:
        lines = [f"{line} HTTP/1.1", "host: x", f"authorization: Bearer {self.server.key}", *headers]
        return ("\r\n".join(lines) + "\r\n\r\n").encode()

    async def nothing(self) -> int:
        return 0

    async def idle_watchers(self) -> int:
        head = self.request("GET /v1/changes/quiet?after=0", "accept: text/event-stream")
        return await self.many(self.clients, head, answered=True)

    async def slow_heads(self) -> int:
        return await self.many(self.clients // 2, b"GET /healthz HTTP/1.1\r\nx-a: ")

    async def slow_bodies(self) -> int:
        head = self.request("PUT /v1/state/ns/k", "content-length: 90000000")
        return await self.many(self.clients // 50, head + b" " * 60_000)

    async def large_bodies(self) -> int:
        head = self.request("PUT /v1/state/ns/k", "transfer-encoding: chunked")
        piece = b"ffff\r\n" + b" " * 65535 + b"\r\n"
        return await self.many(40, head + piece * 400)

    async def header_floods(self) -> int:
        return await self.many(self.clients // 10, b"GET / HTTP/1.1\r\n" + b"x-a: 1\r\n" * 20_000)

    async def pipelined_garbage(self) -> int:
        return await self.many(self.clients // 10, b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n" * 500 + b"\0" * 5000)

    async def early_leavers(self) -> int:
        head = self.request("GET /v1/changes/quiet?after=0&wait=60")
        found = await self.many(self.clients // 10, head)
        self.hang_up()
        return found

    def hang_up(self) -> None:
        for writer in self.open:
            writer.transport.abort()
        self.open.clear()

    async def run(self, name: str) -> None:
        probe = Probe(self.server.url, self.server.key)
        probe.start()
        memory = 0
        attack = asyncio.ensure_future(getattr(self, name)())
        began = time.monotonic()
        while not attack.done() or time.monotonic() - began < self.seconds:
            await asyncio.sleep(0.1)
            memory = max(memory, resident(self.server.process.pid))
        reached = attack.result()
        took = time.monotonic() - began
        probe.stop.set()
        await asyncio.to_thread(probe.join)
        self.hang_up()
        await asyncio.sleep(0.5)
        left = resident(self.server.process.pid)
        print(f"{name:18} {reached:6} in {took:4.1f} s; {memory:4} MiB, then {left:4} MiB; {probe.said()}", flush=True)


def resident(process: int) -> int:
    status = Path(f"/proc/{process}/status").read_text(encoding="ascii")
    return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) // KIB


ATTACKS = [
    "nothing", "idle_watchers", "slow_heads", "slow_bodies", "large_bodies", "header_floods", "pipelined_garbage",
    "early_leavers",
]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--clients", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--only", choices=ATTACKS, action="append")
    wanted = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with tempfile.TemporaryDirectory() as place:
        server = Server(Path(place) / "agentmemo.db", **SETTINGS)
        try:
            for name in wanted.only or ATTACKS:
                asyncio.run(Attack(server, min(wanted.clients, hard - 300), wanted.seconds).run(name))
        finally:
            _, said = server.stop()
        print(f"the server said: {said[-2000:] or 'nothing'}")


if __name__ == "__main__":
    main()
