"""Planes on one PostgreSQL database, and ways to look at them."""

from __future__ import annotations

import threading
import time

from agentmemo.clock import SystemClock
from agentmemo.embedded import LocalPlane, connection_for, local_caller
from agentmemo.settings import Settings

WAIT_SECONDS = 60.0
# How late a busy machine may be.
MARGIN_SECONDS = 50.0
SHORT = 0.5


class Stand:
    """Planes on one database, closed at the end; `trusted` speaks to the server without the line."""

    def __init__(self, url):
        self.url = url
        self._planes = []

    def plane(self, url=None, **settings):
        chosen = {"postgres_allow_lossy": True, "postgres_patience_seconds": WAIT_SECONDS} | settings
        self._planes.append(LocalPlane(url or self.url, SystemClock(), Settings(**chosen), upkeep=False))
        return self._planes[-1]

    def agent(self, url=None, name="a", **settings):
        return self.agent_on(self.plane(url, **settings), name)

    def agent_on(self, plane, name="a"):
        return connection_for(plane, local_caller(name, None, "default"))

    def trusted(self):
        return self.agent(name="checker")

    def close(self):
        for plane in self._planes:
            plane.close()


def versions(agent, key="counter"):
    return [(entry.version, entry.value) for entry in reversed(list(agent.state.history("counters", key)))]


def in_order(engine, works):
    """Threads whose requests wait in the queue in this order."""
    threads = []
    lanes = engine.database._lanes
    for work in works:
        waiting = queued(lanes)
        threads.append(threading.Thread(target=work))
        threads[-1].start()
        until(lambda known=waiting: queued(lanes) == known + 1)
    return threads


def queued(lanes):
    return sum(len(lane.waiting) for lane in list(lanes._lanes.values()))


def until(ready, seconds=WAIT_SECONDS):
    end = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.002)
