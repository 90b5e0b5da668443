"""What a neighbour costs: how long one sender's handoffs wait while another sends a hundred for each of them.

Both send to one queue with sixteen workers, which the neighbour alone keeps busy: there is a backlog all the time.
Beside it stands what the neighbour's own handoffs waited, which is what everybody would wait in a queue without turns.
The second row is about neighbours who do nothing: workers that wait for handoffs while somebody else writes state.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import harness
from harness import QUICK, REPETITIONS, SECONDS, Row, Target
from subjects.handoffs import VALUE, fill

import agentmemo

FLOOD = 100
SENT = 10 if QUICK else 40
INTERVAL_SECONDS = 0.2
WORKERS, WORK_SECONDS = 16, 0.04
# There before the first of the victim's: as much as the workers do in half a second.
BACKLOG = 200
TARGET = Target(2, at_most=True)
IDLE = 64
VICTIM, NEIGHBOUR = "victim", "neighbour"
SETTINGS = (
    f"created to claimed, SQLite, one process, {WORKERS} workers that take {1e3 * WORK_SECONDS:g} ms for each handoff;"
    f" {1 / INTERVAL_SECONDS:g} a second from one sender, {FLOOD / INTERVAL_SECONDS:g} from the other"
)


def run() -> list[Row]:
    return [_flood_row(), _idle_row()]


def _flood_row() -> Row:
    alone, beside, neighbours = [], [], []
    for _ in range(REPETITIONS):
        alone.append(statistics.median(_waits(flooded=False)[VICTIM]))
        waits = _waits(flooded=True)
        beside.append(statistics.median(waits[VICTIM]))
        neighbours.append(statistics.median(waits[NEIGHBOUR]))
    calm, ours, neighbour = (statistics.median(times) for times in (alone, beside, neighbours))
    repetitions = {"alone": alone, "beside the flood": beside, "the neighbour": neighbours}
    return Row(
        subject=f"wait beside a neighbour who sends {FLOOD} to 1, p50 of the wait without",
        unit="x",
        peer_name="the neighbour's own wait",
        ours=ours / calm,
        peer=neighbour / calm,
        target=TARGET,
        settings=SETTINGS,
        note=f"{calm:.2f} ms without, {ours:.2f} ms with it",
        repetitions={name: list(times) for name, times in repetitions.items()},
    )


def _idle_row() -> Row:
    rates: dict[int, list[float]] = {0: [], IDLE: []}
    for _ in range(REPETITIONS):
        for idle, found in rates.items():
            with _queue(lambda _handoff: None, workers=idle) as agents:
                found.append(_sets(agents[VICTIM]))
    return Row(
        subject=f"state set beside {IDLE} workers that wait, 1 client",
        unit="per s",
        peer_name="without them",
        ours=statistics.median(rates[IDLE]),
        peer=statistics.median(rates[0]),
        settings="SQLite, one process, 1 KB JSON, fsync before each answer",
        repetitions={"with": list(rates[IDLE]), "without": list(rates[0])},
    )


def _sets(agent: agentmemo.Connection) -> float:
    """Per second."""
    number, end = 0, time.monotonic() + SECONDS
    while time.monotonic() < end:
        agent.state.set("bench", f"key:{number}", VALUE)
        number += 1
    return number / SECONDS


def _waits(*, flooded: bool) -> dict[str, list[float]]:
    """By sender: milliseconds from the create of a handoff to its claim, for as long as the victim sends."""
    waits: dict[str, list[float]] = {VICTIM: [], NEIGHBOUR: []}

    def handle(handoff: agentmemo.Handoff) -> None:
        waits[handoff.from_agent.partition(":")[2]].append((handoff.claimed_at - handoff.created_at) / 1e3)
        time.sleep(WORK_SECONDS)

    with _queue(handle) as agents:
        if flooded:
            fill(agents[NEIGHBOUR], BACKLOG, to_queue="desk")
        over = threading.Event()
        flood = threading.Thread(target=_flood, args=(agents[NEIGHBOUR], over))
        if flooded:
            flood.start()
        for number in range(SENT):
            time.sleep(INTERVAL_SECONDS)
            agents[VICTIM].handoff.create(to_queue="desk", context=VALUE, key=f"{number}")
        _until(lambda: len(waits[VICTIM]) == SENT)
        over.set()
        if flooded:
            flood.join()
    return waits


@contextmanager
def _queue(handle: Any, workers: int = WORKERS) -> Iterator[dict[str, agentmemo.Connection]]:
    """Both senders, and a worker's agent with its threads until the end."""
    with ExitStack() as stack:
        file = stack.enter_context(harness.directory("fairness")) / "plane.db"
        agents = {
            name: stack.enter_context(agentmemo.connect(file, agent=name)) for name in (VICTIM, NEIGHBOUR, "worker")
        }
        worker = agents["worker"]
        working = threading.Thread(
            target=worker.handoff.work, args=(handle,), kwargs={"concurrency": workers, "queues": ["desk"]}
        )
        working.start()
        try:
            yield agents
        finally:
            worker.stop()
            working.join()


def _flood(neighbour: agentmemo.Connection, over: threading.Event) -> None:
    """At an even pace; who falls behind because the machine is slow sends what is due at once."""
    pace = INTERVAL_SECONDS / FLOOD
    due = time.monotonic()
    while not over.wait(max(0.0, due - time.monotonic())):
        neighbour.handoff.create(to_queue="desk", context=VALUE)
        due += pace


def _until(done: Any) -> None:
    end = time.monotonic() + 60
    while not done():
        if time.monotonic() > end:
            raise RuntimeError("the victim's handoffs were not all claimed within a minute")
        time.sleep(0.01)
