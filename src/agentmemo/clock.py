"""The only source of time. Times are integers: microseconds since 1970 in UTC."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import threading
import time
from pathlib import Path
from typing import Protocol

SECOND = 1_000_000
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
        await asyncio.sleep(seconds)


class ManualClock:
    """Time that moves only when told to; sleeping moves it, so no test waits for real seconds."""

    def __init__(self, start_us: int = 1_750_000_000_000_000) -> None:
        self.boot_id = "manual"
        self._now_us = start_us
        self._lock = threading.Lock()

    def now_us(self) -> int:
        return self._now_us

    def boot_us(self) -> int:
        return self._now_us

    def advance(self, seconds: float) -> None:
        with self._lock:
            self._now_us += round(seconds * SECOND)

    def sleep(self, seconds: float) -> None:
        self.advance(seconds)

    async def sleep_async(self, seconds: float) -> None:
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
