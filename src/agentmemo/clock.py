"""The only source of time. Times are integers: microseconds since 1970 in UTC."""

from __future__ import annotations

import contextlib
import datetime
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from agentmemo.errors import Error

SECOND = 1_000_000
MEASURE_EVERY_US = 30 * SECOND
_BOOTTIME = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class Clock(Protocol):
    """What the engine asks of time. Leases use `boot_us`, which no clock change moves; deadlines use `now_us`."""

    boot_id: str

    def now_us(self) -> int: ...
    def boot_us(self) -> int: ...
    def sleep(self, seconds: float) -> None: ...
    async def sleep_async(self, seconds: float) -> None: ...


class SystemClock:
    def __init__(self) -> None:
        self.boot_id = _boot_id()

    def now_us(self) -> int:
        return time.time_ns() // 1000

    def boot_us(self) -> int:
        return time.clock_gettime_ns(_BOOTTIME) // 1000

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    async def sleep_async(self, seconds: float) -> None:
        import asyncio  # here, for most processes have no event loop

        await asyncio.sleep(seconds)


class DatabaseClock:
    """The time of a database that many machines share: this machine's steady clock, and how far the other is ahead.

    Leases of all machines are compared in this time, whatever their own clocks say. The offset is measured again now
    and then, on another thread; in between nothing is asked. It never goes backwards by itself.
    """

    boot_id = "database"

    def __init__(self, inner: Clock, measure: Callable[[Callable[[], int]], int]) -> None:
        """`measure(steady)` tells how many microseconds the database's time is ahead of `steady()`."""
        self._inner = inner
        self._measure = measure
        self._last = 0
        self._measured_at = inner.boot_us()
        self._measuring = threading.Lock()
        self._ahead = measure(inner.boot_us)

    def now_us(self) -> int:
        steady = self._inner.boot_us()
        if steady - self._measured_at > MEASURE_EVERY_US and self._measuring.acquire(blocking=False):
            self._measured_at = steady
            threading.Thread(target=self._measure_again, daemon=True).start()
        self._last = max(self._last, steady + self._ahead)
        return self._last

    def boot_us(self) -> int:
        return self.now_us()

    def sleep(self, seconds: float) -> None:
        self._inner.sleep(seconds)

    async def sleep_async(self, seconds: float) -> None:
        await self._inner.sleep_async(seconds)

    def _measure_again(self) -> None:
        try:
            # While the database is away the old offset serves on.
            with contextlib.suppress(Error):
                self._ahead = self._measure(self._inner.boot_us)
        finally:
            self._measuring.release()


class ManualClock:
    """Time that moves only when told to; sleeping moves it, so no test waits for real seconds."""

    def __init__(self, start_us: int = 1_750_000_000_000_000) -> None:
        self.boot_id = "manual"
        self._now_us = start_us
        self._stepped_us = 0
        self._lock = threading.Lock()

    def now_us(self) -> int:
        return self._now_us + self._stepped_us

    def boot_us(self) -> int:
        return self._now_us

    def advance(self, seconds: float) -> None:
        with self._lock:
            self._now_us += round(seconds * SECOND)

    def step(self, seconds: float) -> None:
        """Set the wall clock, forwards or back, as a person or a time server does; no time passes."""
        with self._lock:
            self._stepped_us += round(seconds * SECOND)

    def sleep(self, seconds: float) -> None:
        self.advance(seconds)

    async def sleep_async(self, seconds: float) -> None:
        import asyncio

        self.advance(seconds)
        await asyncio.sleep(0)


def monotonic() -> float:
    """Real seconds for waiting on other threads; never stored."""
    return time.monotonic()


def iso(at_us: int) -> str:
    """`2026-11-23T14:01:58.123456Z`."""
    moment = datetime.datetime.fromtimestamp(at_us // SECOND, tz=datetime.UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{at_us % SECOND:06d}Z"


def parse_iso(text: str) -> int:
    """Microseconds of an ISO 8601 time; without an offset it counts as UTC. Raises ValueError."""
    moment = datetime.datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=datetime.UTC)
    delta = moment - datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
    return delta // datetime.timedelta(microseconds=1)


def utc(at_us: int) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(at_us / SECOND, tz=datetime.UTC)


def _boot_id() -> str:
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    # Without a boot id (macOS) the boot moment, to the minute, tells one boot from the next.
    return f"boot-{(time.time_ns() - time.clock_gettime_ns(_BOOTTIME)) // 60_000_000_000}"
