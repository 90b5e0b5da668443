"""Counters of this process and gauges of the store, in Prometheus' text format. Names and numbers only."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from contextlib import contextmanager

from agentmemo.clock import SECOND
from agentmemo.engine.dispatch import Engine
from agentmemo.engine.upkeep.loop import LEADERSHIP
from agentmemo.settings import VERSION
from agentmemo.store.database import Transaction

BUCKETS_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
MEDIA_TYPE = b"text/plain; version=0.0.4; charset=utf-8"


class Latency:
    __slots__ = ("buckets", "count", "total")

    def __init__(self) -> None:
        self.buckets = [0] * (len(BUCKETS_SECONDS) + 1)
        self.count = 0
        self.total = 0.0


class Metrics:
    """Counted on the event loop, so without locks."""

    def __init__(self) -> None:
        self._requests: dict[tuple[str, str], int] = {}
        self._latency: dict[str, Latency] = {}
        self.streams = 0

    def count(self, operation: str, code: str, seconds: float) -> None:
        """One answered request: its operation, its error code or `ok`, and how long it took."""
        key = (operation, code)
        self._requests[key] = self._requests.get(key, 0) + 1
        latency = self._latency.get(operation)
        if latency is None:
            latency = self._latency[operation] = Latency()
        latency.buckets[bisect_left(BUCKETS_SECONDS, seconds)] += 1
        latency.count += 1
        latency.total += seconds

    @contextmanager
    def stream(self) -> Iterator[None]:
        """One open stream."""
        self.streams += 1
        try:
            yield
        finally:
            self.streams -= 1

    def render(self, engine: Engine) -> bytes:
        """Everything, as one page. Reads the store, so it belongs on a thread."""
        lines = [*self._counted(), *engine.database.read(lambda tx: list(_stored(engine, tx)))]
        return ("\n".join(lines) + "\n").encode()

    def _counted(self) -> Iterator[str]:
        yield from _head("agentmemo_info", "gauge", "The version that runs.")
        yield f'agentmemo_info{{version="{VERSION}"}} 1'
        yield from _head("agentmemo_requests_total", "counter", "Requests over HTTP by operation and code.")
        for (operation, code), count in sorted(self._requests.items()):
            yield f'agentmemo_requests_total{{operation="{operation}",code="{code}"}} {count}'
        yield from _head("agentmemo_request_seconds", "histogram", "How long requests took.")
        for operation, latency in sorted(self._latency.items()):
            running = 0
            for bound, count in zip((*BUCKETS_SECONDS, "+Inf"), latency.buckets, strict=True):
                running += count
                yield f'agentmemo_request_seconds_bucket{{operation="{operation}",le="{bound}"}} {running}'
            yield f'agentmemo_request_seconds_sum{{operation="{operation}"}} {latency.total:.6f}'
            yield f'agentmemo_request_seconds_count{{operation="{operation}"}} {latency.count}'
        yield from _head("agentmemo_streams", "gauge", "Open streams of server-sent events.")
        yield f"agentmemo_streams {self.streams}"


def _stored(engine: Engine, tx: Transaction) -> Iterator[str]:
    counters = engine.database.counters()
    yield from _head("agentmemo_commits_total", "counter", "Commits of this process; one serves many requests.")
    yield f"agentmemo_commits_total {counters['commits']}"
    yield from _head("agentmemo_writes_total", "counter", "Requests in those commits.")
    yield f"agentmemo_writes_total {counters['writes']}"
    states: dict[str, int] = {}
    oldest: int | None = None
    for workspace, *_ in tx.all("workspace_all"):
        for state, count in engine.tallies.of(tx, "run_count_by_state", workspace).items():
            states[state] = states.get(state, 0) + count
        row = tx.one("run_oldest_unfinished", workspace=workspace)
        if row is not None:
            oldest = row[3] if oldest is None else min(oldest, row[3])
    yield from _head("agentmemo_runs", "gauge", "Runs by state.")
    for state, count in sorted(states.items()):
        yield f'agentmemo_runs{{state="{state}"}} {count}'
    yield from _head("agentmemo_oldest_unfinished_seconds", "gauge", "Since the longest quiet unfinished run changed.")
    yield f"agentmemo_oldest_unfinished_seconds {0 if oldest is None else max(0, tx.now - oldest) / SECOND:.3f}"
    leader = tx.one("duty_get", name=LEADERSHIP)
    yield from _head("agentmemo_upkeep_leader", "gauge", "1 where this process does the work that time causes.")
    yield f"agentmemo_upkeep_leader {int(leader is not None and leader[0] == engine.incarnation)}"


def _head(name: str, kind: str, text: str) -> tuple[str, str]:
    return f"# HELP {name} {text}", f"# TYPE {name} {kind}"
