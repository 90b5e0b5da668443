"""Our HTTP clients against our server, beside httpx against the same server."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import servers
from harness import Row, Target, compare, contenders, take_turns
from values import KEYS_READ, VALUES

PEERS = {"httpx": "httpx"}
SETTINGS = "get of 1 KB JSON over HTTP, decoded; one client process, one server process"


def run() -> list[Row]:
    rows: list[Row] = []
    with contenders(__name__, ["ours", *PEERS]) as started:
        for workload, clients, target in (("async", 16, Target(6_000)), ("sync", 1, Target(2_000))):
            rows += compare(
                f"our HTTP client, {workload}, {clients} at once",
                take_turns(started, workload, clients),
                PEERS,
                target=target,
                settings=SETTINGS,
            )
    return rows


@contextmanager
def ours(directory: Path) -> Iterator[dict[str, Any]]:
    import agentmemo

    numbers = itertools.count()
    with servers.our_server(directory) as server:
        url, key = server["url"], server["agent_key"]
        with agentmemo.connect(url, key=key) as agent:
            for number in range(KEYS_READ):
                agent.state.set("bench", f"key:{number}", VALUES[number % len(VALUES)])

            def sync(_client: int) -> Callable[[], Any]:
                return lambda: agent.state.get("bench", f"key:{next(numbers) % KEYS_READ}")["status"]

            shared: dict[str, Any] = {}

            async def async_(client: int) -> Callable[[], Awaitable[Any]]:
                if client == 0:
                    shared["agent"] = await agentmemo.connect_async(url, key=key)
                connection = shared["agent"]

                async def operation() -> None:
                    await connection.state.get("bench", f"key:{next(numbers) % KEYS_READ}")

                if client == 0:
                    operation.close = connection.close  # type: ignore[attr-defined]
                return operation

            yield {"sync": sync, "async": async_}


@contextmanager
def httpx(directory: Path) -> Iterator[dict[str, Any]]:
    import httpx

    numbers = itertools.count()
    with servers.our_server(directory) as server:
        base, headers = f"{server['url']}/v1/state/bench/", {"authorization": f"Bearer {server['agent_key']}"}
        with httpx.Client(headers=headers) as client:
            for number in range(KEYS_READ):
                client.put(f"{base}key:{number}", json={"value": VALUES[number % len(VALUES)]}).raise_for_status()

            def sync(_client: int) -> Callable[[], Any]:
                return lambda: client.get(f"{base}key:{next(numbers) % KEYS_READ}").raise_for_status().json()

            shared: dict[str, httpx.AsyncClient] = {}

            async def async_(number: int) -> Callable[[], Awaitable[Any]]:
                if number == 0:
                    shared["client"] = httpx.AsyncClient(headers=headers)
                session = shared["client"]

                async def operation() -> None:
                    (await session.get(f"{base}key:{next(numbers) % KEYS_READ}")).raise_for_status().json()

                if number == 0:
                    operation.close = session.aclose  # type: ignore[attr-defined]
                return operation

            yield {"sync": sync, "async": async_}
