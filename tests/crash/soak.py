"""A server under steady load: does anything of it grow that should not?

    python soak.py [--minutes 60] [--rate 3] [--every 30]

Each round of the load is one of everything an agent does. Retention is set to seconds, so that what ends goes at once.
Every sample is a line of JSON; the last lines say how much each measure grew in an hour, by least squares over the last
third of the time: until then pools and caches fill. Events are kept for ever, so the file may grow with them alone.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "shared"))
from served import Server

import agentmemo
from agentmemo import ids
from agentmemo.errors import Error, Unavailable

KEYS = 200
BLOB_EVERY = 5
ENDED_DAYS, FORGOTTEN_HOURS = "0.001", "0.02"
RETENTION = {
    "AGENTMEMO_FINISHED_RUNS_DAYS": ENDED_DAYS,
    "AGENTMEMO_VERSIONS_DAYS": ENDED_DAYS,
    "AGENTMEMO_VERSIONS_KEPT": "3",
    "AGENTMEMO_REQUEST_HOURS": FORGOTTEN_HOURS,
    "AGENTMEMO_BLOB_HOURS": FORGOTTEN_HOURS,
}
MEASURES = ("rss_mib", "threads", "descriptors", "file_mib", "log_mib", "file_bytes_per_event")
LIMITS_PER_HOUR = {"rss_mib": 2.0, "threads": 1.0, "descriptors": 2.0, "log_mib": 4.0}


class Load:
    """One client that does one of everything, `rate` rounds a second, and two that follow what it does."""

    def __init__(self, server: Server, rate: float) -> None:
        self.agent = agentmemo.connect(server.url, key=server.key)
        self.agent.handoff.announce(queues=["soak"])
        self.stop = threading.Event()
        self.pause = 1 / rate
        self.rounds = 0
        self.errors: list[str] = []
        self.seen = 0
        self._threads = [
            threading.Thread(target=work, daemon=True) for work in (self._go_on, self._watch, self._follow)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        self.stop.set()
        self._threads[0].join()

    def _go_on(self) -> None:
        due = time.monotonic()
        while not self.stop.is_set():
            try:
                self._round(self.rounds)
            except Error as error:
                self.errors.append(repr(error))
            self.rounds += 1
            due = max(due + self.pause, time.monotonic() - self.pause)
            self.stop.wait(max(0.0, due - time.monotonic()))

    def _round(self, number: int) -> None:
        agent, text = self.agent, ids.random_bytes(400).hex()
        agent.state.set("soak", f"key-{number % KEYS}", {"n": number, "text": text})
        agent.state.set("soak", f"passing-{number % KEYS}", text, ttl_seconds=5)
        agent.state.get("soak", f"key-{number * 7 % KEYS}")
        agent.state.list("soak", prefix="key-1", limit=20)
        if number % BLOB_EVERY == 0:
            agent.state.set("soak", f"blob-{number % KEYS}", ids.random_bytes(10_000).hex())
            agent.state.delete("soak", f"blob-{number % KEYS}")
        with agent.run("soak", str(number)) as run:
            run.step("first", lambda: text)
            run.step("second", lambda: number)
            run.complete(number)
        agent.handoff.create(to_queue="soak", context=text)
        taken = agent.handoff.claim()
        agent.handoff.complete(taken.id, number)
        asked = agent.escalations.create(severity="low", reason="Soaked?", key=f"soak-{number}", wait=False)
        agent.escalations.withdraw(asked.id, "only asked")
        agent.audit.events(limit=20)

    def _watch(self) -> None:
        # The server goes while both wait.
        with suppress(Unavailable):
            for _ in self.agent.state.watch("soak"):
                self.seen += 1

    def _follow(self) -> None:
        position = self.agent.status().revision
        with suppress(Unavailable):
            while not self.stop.is_set():
                page = self.agent.audit.events(after=position, wait_seconds=10, limit=100)
                position = page.items[-1].revision if page.items else position


def sample(server: Server, place: Path, load: Load) -> dict[str, float]:
    process = Path(f"/proc/{server.process.pid}")
    status = (process / "status").read_text(encoding="ascii")
    counted = {name: int(re.search(rf"{name}:\s+(\d+)", status)[1]) for name in ("VmRSS", "Threads")}
    size, log = (file.stat().st_size for file in (place, place.with_name(place.name + "-wal")))
    events = load.agent.status().revision
    return {
        "rss_mib": counted["VmRSS"] / 1024,
        "threads": counted["Threads"],
        "descriptors": len(list((process / "fd").iterdir())),
        "file_mib": size / 2**20,
        "log_mib": log / 2**20,
        "events": events,
        "file_bytes_per_event": size / events,
        "rounds": load.rounds,
        "seen": load.seen,
        "errors": len(load.errors),
    }


def slope(samples: list[dict[str, float]], name: str) -> float:
    """How much it grew in an hour, by least squares."""
    hours = [each["minutes"] / 60 for each in samples]
    values = [each[name] for each in samples]
    mean, middle = sum(values) / len(values), sum(hours) / len(hours)
    spread = sum((hour - middle) ** 2 for hour in hours)
    return sum((hour - middle) * (value - mean) for hour, value in zip(hours, values, strict=True)) / spread


def soak(minutes: float, rate: float, every: float) -> bool:
    samples: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory(prefix="agentmemo-soak-") as directory:
        place = Path(directory) / "agentmemo.db"
        server = Server(place, **RETENTION)
        load = Load(server, rate)
        began = time.monotonic()
        try:
            load.start()
            while time.monotonic() - began < minutes * 60:
                time.sleep(every)
                passed = {"minutes": round((time.monotonic() - began) / 60, 2)}
                samples.append(passed | sample(server, place, load))
                print(json.dumps({name: round(value, 2) for name, value in samples[-1].items()}), flush=True)
        finally:
            load.end()
            _, said = server.stop()
    print(f"the server said: {said[-2000:] or 'nothing'}; {load.errors[:3] or 'no errors'}")
    return judged(samples[len(samples) * 2 // 3 :]) and not load.errors


def judged(samples: list[dict[str, float]]) -> bool:
    slopes = {name: slope(samples, name) for name in MEASURES}
    for name, found in slopes.items():
        limit = LIMITS_PER_HOUR.get(name)
        verdict = "" if limit is None else "flat" if found <= limit else f"GREW by more than {limit:g}"
        low, high = (choose(each[name] for each in samples) for choose in (min, max))
        print(f"{name:22} {found:+10.2f} an hour, between {low:.2f} and {high:.2f} {verdict}")
    return all(slopes[name] <= limit for name, limit in LIMITS_PER_HOUR.items())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--rate", type=float, default=3, help="rounds of the load in a second")
    parser.add_argument("--every", type=float, default=30, help="seconds between two samples")
    wanted = parser.parse_args()
    return int(not soak(wanted.minutes, wanted.rate, wanted.every))


if __name__ == "__main__":
    sys.exit(main())
