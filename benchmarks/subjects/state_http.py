"""State over HTTP: one server process and 64 connections, beside etcd's JSON gateway and Redis (AOF always)."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import urllib.request
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import servers
from harness import QUICK, Row, Target, compare, contenders, take_turns
from values import KEYS, KEYS_READ, VALUES

CLIENTS = 16 if QUICK else 64
TARGETS = {"set": Target(5_000), "get": Target(9_500)}
PEERS = {"etcd": "etcd JSON gateway", "redis": "Redis, AOF always"}
SETTINGS = "1 KB JSON, fsync before each answer; the same bare client for all"
Workloads = dict[str, Callable[[int], Awaitable[Callable[[], Awaitable[Any]]]]]


def run() -> list[Row]:
    rows: list[Row] = []
    with contenders(__name__, ["ours", *PEERS]) as started:
        for workload in ("set", "get"):
            rows += compare(
                f"state {workload}, HTTP, {CLIENTS} clients",
                take_turns(started, workload, CLIENTS),
                PEERS,
                target=TARGETS[workload],
                settings=SETTINGS,
            )
    return rows


def _workloads(
    port: int,
    put: Callable[[str, bytes], bytes],
    get: Callable[[str], bytes],
    connection: type[servers.HttpConnection] = servers.HttpConnection,
) -> Workloads:
    numbers = itertools.count()
    bodies = [json.dumps(value, separators=(",", ":")).encode() for value in VALUES]

    def workload(request: Callable[[int], bytes]) -> Callable[[int], Awaitable[Callable[[], Awaitable[Any]]]]:
        async def factory(_client: int) -> Callable[[], Awaitable[Any]]:
            _, protocol = await asyncio.get_running_loop().create_connection(connection, "127.0.0.1", port)

            async def operation() -> None:
                await protocol.send(request(next(numbers)))

            async def close() -> None:
                protocol.close()

            operation.close = close  # type: ignore[attr-defined]
            return operation

        return factory

    async def fill() -> None:
        _, protocol = await asyncio.get_running_loop().create_connection(connection, "127.0.0.1", port)
        for number in range(KEYS_READ):
            await protocol.send(put(f"key:{number}", bodies[number % len(bodies)]))
        protocol.close()

    asyncio.run(fill())
    return {
        "set": workload(lambda number: put(f"key:{number % KEYS}", bodies[number % len(bodies)])),
        "get": workload(lambda number: get(f"key:{number % KEYS_READ}")),
    }


def _http(method: str, path: str, body: bytes = b"", key: str = "") -> bytes:
    authorization = f"authorization: Bearer {key}\r\n" if key else ""
    head = f"{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n{authorization}content-type: application/json\r\n"
    return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body


@contextmanager
def ours(directory: Path) -> Iterator[Workloads]:
    with servers.our_server(directory) as server:
        key = server["agent_key"]
        yield _workloads(
            urlsplit(server["url"]).port or 80,
            lambda name, body: _http("PUT", f"/v1/state/bench/{name}", b'{"value":' + body + b"}", key),
            lambda name: _http("GET", f"/v1/state/bench/{name}", key=key),
        )


@contextmanager
def etcd(directory: Path) -> Iterator[Workloads]:
    client, peer = servers.free_port(), servers.free_port()
    url, peer_url = f"http://127.0.0.1:{client}", f"http://127.0.0.1:{peer}"
    command = [
        servers.find("etcd"),
        *("--data-dir", str(directory / "data")),
        *("--listen-client-urls", url),
        *("--advertise-client-urls", url),
        *("--listen-peer-urls", peer_url),
        *("--initial-advertise-peer-urls", peer_url),
        *("--initial-cluster", f"default={peer_url}"),
        *("--log-level", "error"),
    ]

    def encoded(text: bytes) -> bytes:
        return base64.b64encode(text)

    def put(name: str, body: bytes) -> bytes:
        return _http("POST", "/v3/kv/put", b'{"key":"%b","value":"%b"}' % (encoded(name.encode()), encoded(body)))

    def get(name: str) -> bytes:
        return _http("POST", "/v3/kv/range", b'{"key":"%b"}' % encoded(name.encode()))

    def ready() -> None:
        with urllib.request.urlopen(f"{url}/health", timeout=1) as answer:  # noqa: S310 - the address is ours
            answer.read()

    with servers.running(command, ready):
        yield _workloads(client, put, get)


@contextmanager
def redis(directory: Path) -> Iterator[Workloads]:
    def command_of(*words: bytes) -> bytes:
        return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)

    with servers.redis(directory) as port:
        yield _workloads(
            port,
            lambda name, body: command_of(b"SET", name.encode(), body),
            lambda name: command_of(b"GET", name.encode()),
            servers.RedisConnection,
        )
