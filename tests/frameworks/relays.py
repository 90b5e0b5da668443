"""The three programs of examples/frameworks on one store, and what must be true of it whoever died meanwhile."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import agentmemo

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "frameworks"
MODULES = {
    "researcher": ["langgraph.graph", "langchain_core.language_models.fake_chat_models"],
    "engineer": ["agents.testing"],
    # The last two are what its first use imports.
    "reviewer": [
        "pydantic_ai.models.function",
        "pydantic_ai.models.test",
        "genai_prices.data",
        "anyio._backends._asyncio",
    ],
}
STEPS = {
    "researcher": ["read", "locate", "hand over", "conclude"],
    "engineer": ["plan", "change", "test", "hand on"],
    "reviewer": ["read", "judge"],
}
INTENTION = "Return 0.0 before dividing when there are no values."
REPAIRED = "def average(values):\n    return sum(values) / len(values) if values else 0.0\n"
# Nothing takes as long, on a busy machine too.
SECONDS = 300.0
STARTING_SECONDS = 300.0


class Nursery:
    """Where the processes of one program come from: see nursery.py. The workers of one test run share it."""

    def __init__(self, python, name, folder):
        orders = folder / f"{name}-orders"
        if not orders.exists():
            os.mkfifo(orders)
        self._starting = None
        try:
            self._orders = os.open(orders, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:  # nobody reads there
            reading = os.open(orders, os.O_RDONLY | os.O_NONBLOCK)
            self._orders = os.open(orders, os.O_WRONLY)
            os.set_blocking(reading, True)
            command = [python, Path(__file__).with_name("nursery.py"), FOLDER / f"{name}.py", *MODULES[name]]
            self._starting = subprocess.Popen(command, stdin=reading)
            os.close(reading)

    def wait_ready(self):
        assert self._starting is None or self._starting.wait(STARTING_SECONDS) == 0, "a framework cannot be imported"

    def start(self, **order):
        os.write(self._orders, json.dumps(order).encode() + b"\n")

    def close(self):
        os.close(self._orders)


class Program:
    """One process of one agent."""

    def __init__(self, nursery, name, output, pipe, environment):
        self.name = name
        self.code = None
        self._output = output
        self._text = b""
        os.mkfifo(pipe)
        self._pipe = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
        nursery.start(environment=environment, output=str(output), told=str(pipe))
        self.pid = int(self._told(1))

    def wait(self, seconds=SECONDS):
        """Its exit code."""
        if self.code is None:
            self.code = int(self._told(2, seconds))
            os.close(self._pipe)
        return self.code

    def end(self, with_signal=signal.SIGKILL):
        if self.code is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, with_signal)
            self.wait()

    def _told(self, line, seconds=SECONDS):
        end = time.monotonic() + seconds
        while self._text.count(b"\n") < line:
            left = end - time.monotonic()
            ready, _, _ = select.select([self._pipe], [], [], max(left, 0.0))
            assert left > 0, f"the {self.name} does not end:\n{self._output.read_text()[-4000:]}"
            if ready:
                found = os.read(self._pipe, 4096)
                self._text += found
                if not found:
                    time.sleep(0.002)  # its guardian has not opened the pipe yet
        return self._text.split(b"\n")[line - 1]


class Relay:
    """A store, its three agents, and what they said they did."""

    def __init__(self, nurseries, folder, target=None):
        folder.mkdir(exist_ok=True)
        self.target = target or str(folder / "data")
        self._nurseries = nurseries
        self._folder = folder
        self._output = folder / "said"
        self._output.touch()
        self._started = []

    def start(self, name, point=""):
        environment = {
            "AGENTMEMO_URL" if "://" in self.target else "AGENTMEMO_DATA": self.target,
            "AGENTMEMO_POSTGRES_ALLOW_LOSSY": "true",
            "AGENTMEMO_UPKEEP_INTERVAL_SECONDS": "0.05",
            "AGENTMEMO_LEASE_SECONDS": "60",  # what is free within seconds is free because its holder's lock is
            "AGENTMEMO_TEST_CRASH": point,
        }
        pipe = self._folder / f"told-{len(self._started)}"
        program = Program(self._nurseries[name], name, self._output, pipe, environment)
        self._started.append(program)
        return program

    def start_all(self, points=()):
        """All three at once, those that `points` names to die there."""
        points = dict(points)
        return {name: self.start(name, points.get(name, "")) for name in STEPS}

    def wait_done(self):
        """The exit code of the researcher: when it has its answer, everything is done."""
        return [program for program in self._started if program.name == "researcher"][-1].wait()

    def wait_said(self, agent, step):
        end = time.monotonic() + SECONDS
        while (agent, step) not in self.said():
            assert time.monotonic() < end, f"no {agent}: {step}\n{self.shown()[-4000:]}"
            time.sleep(0.005)

    def shown(self):
        return self._output.read_text()

    def said(self):
        """What began, in order: (agent, step)."""
        lines = (line.partition(": ") for line in self.shown().splitlines())
        return [(agent, step) for agent, _, step in lines if step in STEPS.get(agent, ())]

    def look(self):
        """What is in the store, and after it what was said: at a death, these tell what it interrupted."""
        with self.connect() as agent:
            kept = {
                (run.agent.removeprefix("agent:"), step.name)
                for run in agent.runs.list()
                for step in agent.runs.steps(run.id)
                if step.state == "completed"
            }
        return Look(kept, self.said())

    def connect(self):
        return agentmemo.connect(self.target, agent="test")

    def end_all(self):
        for program in self._started:
            program.end()


@dataclass(frozen=True)
class Look:
    kept: set[tuple[str, str]]
    said: list[tuple[str, str]]


def check(relay, killed=()):
    """The work is done once, whole and right; only what each death in `killed` interrupted was begun again."""
    check_steps(relay.said(), dict(killed))
    with relay.connect() as agent:
        check_work(agent)
        assert agent.audit.verify().intact


def check_steps(said, killed):
    interrupted = {
        (agent, step) for agent, look in killed.items() for step in STEPS[agent] if (agent, step) in look.said
    }
    interrupted = {each for each in interrupted if each not in killed[each[0]].kept}
    wanted = {(agent, step): 1 for agent, steps in STEPS.items() for step in steps}
    assert Counter(said) == wanted | dict.fromkeys(interrupted, 2)
    for look in killed.values():
        assert look.kept.isdisjoint(said[len(look.said) :]), "what was kept began again"


def check_work(agent):
    run = agent.runs.find("analysis", "case-1")
    first = next(each for each in agent.handoff.list() if each.parent is None)
    chain = list(agent.handoff.lineage(first.id))
    assert {each.id for each in agent.handoff.list()} == {each.id for each in chain}
    assert [(each.from_agent, each.to, each.key, each.parent, each.root, each.state) for each in chain] == [
        ("agent:researcher", "agent:engineer", "case-1", None, first.id, "completed"),
        ("agent:engineer", "agent:reviewer", f"review of {first.id}", first.id, first.id, "completed"),
    ]
    review = {"approved": True, "remarks": ["An empty list has its own case now."]}
    repair = {"source": REPAIRED, "intention": INTENTION, "tested": "0.0", "review": review}
    assert [each.result for each in chain] == [repair, review]
    assert run.result == {"conclusion": "Repaired and approved: average([]) is 0.0.", "repair": repair}
    assert chain[1].on_behalf_of == ["agent:researcher", "agent:engineer"]
    assert all(each.received_at for each in chain), "each sender has heard"
    runs = agent.runs.list()
    assert {(each.name, each.key) for each in runs} == {("analysis", "case-1"), *(("handoff", h.id) for h in chain)}
    assert [each.state for each in runs] == ["completed"] * 3
    done = Counter(event.operation for event in agent.audit.events() if event.outcome == "ok")
    assert (done["handoff.create"], done["handoff.complete"], done["run.complete"]) == (2, 2, 3)
