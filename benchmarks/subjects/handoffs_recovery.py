"""From `kill -9` of the worker that holds a handoff to the moment another worker's handler has it again.

On one machine the dead worker's file lock tells; across machines only its lease does. For the second row the lock files
are removed first, which is how a worker on another machine looks.
"""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path

from harness import QUICK, REPETITIONS, Row, Target
from subjects.takeover import CONTINUED, STARTED, WAIT_SECONDS, takeover

from agentmemo.settings import Settings

LEASE_SECONDS = Settings().lease_seconds
# What others wait before they give work to somebody else, by their documentation.
PUBLISHED = {"PGQueuer": 30.0, "NATS JetStream": 30.0}
ROWS = {
    "handoff again after kill -9, one machine": (True, Target(1.0, at_most=True)),
    "handoff again after kill -9, lease only": (False, Target(LEASE_SECONDS + 2, at_most=True)),
}


def run() -> list[Row]:
    rows = []
    for subject, (provable, target) in ROWS.items():
        # Of what lasts as long as a lease, one measurement is enough for a bound.
        times = [takeover(__file__, provable=provable) for _ in range(REPETITIONS if provable and not QUICK else 1)]
        rows += [
            Row(
                subject=subject,
                unit="s",
                peer_name=f"{title} (published)",
                ours=statistics.median(times),
                peer=published,
                target=target if number == 0 else None,
                settings=f"two worker processes on one store, a lease of {LEASE_SECONDS:g} s; the peers' figures are"
                " their documented defaults, not measured",
                repetitions={"ours": times, title: [published]},
            )
            for number, (title, published) in enumerate(PUBLISHED.items())
        ]
    return rows


def _work(directory: Path, role: str) -> None:
    import agentmemo

    with agentmemo.connect(directory / "plane.db", agent=role) as agent:

        def handle(_handoff: object) -> None:
            if role == "holder":
                (directory / STARTED).write_text("now")
                time.sleep(WAIT_SECONDS)
            (directory / CONTINUED).write_text(str(time.time()))

        if role == "holder":
            agent.handoff.create(to_queue="desk", goal="be killed")
        (directory / f"{role}.ready").write_text("now")
        agent.handoff.work(handle, queues=["desk"])


if __name__ == "__main__":
    _work(Path(sys.argv[1]), sys.argv[2])
