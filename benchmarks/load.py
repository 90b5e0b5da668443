"""Closed-loop load: N clients, each sends its next operation when the last was answered.

A workload is a factory: given the client's number it returns the function of one operation, or, as a coroutine
function, it is awaited and returns an async one. What a factory needs per client (a connection) it makes itself. An
operation that returns `Seconds` took that long, whatever else it did.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import uvloop

Factory = Callable[[int], Any]
Sample = dict[str, float]
ERRORS_SHOWN = 1


class Seconds(float):
    """What an operation answers whose end is seen in another process."""

    __slots__ = ()


def measure(
    factory: Factory, clients: int, seconds: float | None = None, count: int | None = None, hogs: int = 0
) -> Sample:
    """Operations per second and latencies over `seconds`, or of `count` operations by each client."""
    with _hogs(hogs):
        if inspect.iscoroutinefunction(factory):
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                return runner.run(_measure_async(factory, clients, seconds, count))
        return _measure_threads(factory, clients, seconds, count)


class _Client:
    """What one client saw: latencies in seconds, and how often it was refused."""

    def __init__(self) -> None:
        self.latencies: list[float] = []
        self.errors = 0
        self.first_error = ""

    def succeeded(self, answer: Any, begin: float) -> None:
        self.latencies.append(answer if isinstance(answer, Seconds) else time.perf_counter() - begin)

    def failed(self, error: Exception) -> None:
        self.errors += 1
        self.first_error = self.first_error or repr(error)


def _measure_threads(factory: Factory, clients: int, seconds: float | None, count: int | None) -> Sample:
    seen = [_Client() for _ in range(clients)]
    ready = threading.Barrier(clients + 1)
    stop = threading.Event()

    def client(number: int) -> None:
        operation = factory(number)
        mine = seen[number]
        left = count
        ready.wait()
        while not stop.is_set() and left != 0:
            begin = time.perf_counter()
            try:
                answer = operation()
            except Exception as error:  # noqa: BLE001 - counted, and shown with the sample
                mine.failed(error)
            else:
                mine.succeeded(answer, begin)
            left = left - 1 if left is not None else None

    threads = [threading.Thread(target=client, args=(number,), daemon=True) for number in range(clients)]
    for thread in threads:
        thread.start()
    ready.wait()
    begin, cpu = time.perf_counter(), time.process_time()
    if seconds is not None:
        time.sleep(seconds)
        stop.set()
    for thread in threads:
        thread.join()
    return _sample(seen, time.perf_counter() - begin, time.process_time() - cpu)


async def _measure_async(factory: Factory, clients: int, seconds: float | None, count: int | None) -> Sample:
    seen = [_Client() for _ in range(clients)]
    operations = [await factory(number) for number in range(clients)]
    begin, cpu = time.perf_counter(), time.process_time()
    end = begin + seconds if seconds is not None else None

    async def client(number: int) -> None:
        operation, mine, left = operations[number], seen[number], count
        while left != 0 and (end is None or time.perf_counter() < end):
            start = time.perf_counter()
            try:
                answer = await operation()
            except Exception as error:  # noqa: BLE001 - counted, and shown with the sample
                mine.failed(error)
            else:
                mine.succeeded(answer, start)
            left = left - 1 if left is not None else None

    await asyncio.gather(*(client(number) for number in range(clients)))
    sample = _sample(seen, time.perf_counter() - begin, time.process_time() - cpu)
    for operation in operations:
        if close := getattr(operation, "close", None):
            await close()
    return sample


def _sample(seen: list[_Client], elapsed: float, cpu: float) -> Sample:
    latencies = sorted(latency for client in seen for latency in client.latencies)
    errors = sum(client.errors for client in seen)
    first = next((client.first_error for client in seen if client.first_error), "")
    if not latencies:
        raise RuntimeError(f"No operation succeeded; {errors} failed: {first}")
    return {
        "rate": len(latencies) / elapsed,
        "p50_ms": latencies[len(latencies) // 2] * 1e3,
        "p99_ms": latencies[min(len(latencies) - 1, int(len(latencies) * 0.99))] * 1e3,
        "cpu": cpu / elapsed,
        "errors": errors,
    }


@contextlib.contextmanager
def _hogs(number: int) -> Iterator[None]:
    """Threads of pure Python that want the interpreter all the time."""
    stop = threading.Event()

    def hog() -> None:
        total = 0
        while not stop.is_set():
            total = (total + 1) & 0xFFFF

    threads = [threading.Thread(target=hog, daemon=True) for _ in range(number)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()
