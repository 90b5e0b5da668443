"""From a person's answer to the code that waited for it, and what waiting costs.

Ours is measured across the store: the answer is committed, the run is woken, a worker in another thread claims it,
opens it from its first step, and its code goes on. LangGraph's graph is resumed by whoever has the answer, in the same
call; nothing has to notice. It runs the node again from its start.
"""

from __future__ import annotations

import os
import sqlite3
import statistics
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, TypedDict

import harness
from harness import QUICK, Row, Target
from subjects import escalation_crowds
from subjects.escalation_crowds import CLOSED

import agentmemo

ANSWERS = 30 if QUICK else 1_000
PEER_ANSWERS = 30 if QUICK else 300
OPEN = 300 if QUICK else 10_000
PAGES = 20 if QUICK else 100
MEMORY = Path("/proc/self/statm")
SETTINGS = "one SQLite file, synchronous FULL; one worker, one question at a time, one step before it"
OURS, PEER = "agentmemo", "LangGraph SqliteSaver, resumed by the caller"


def run() -> list[Row]:
    with harness.directory("escalations") as folder:
        ours = _answers(folder / "plane.db")
        peer = _peer(folder / "graph.db")
        waiting, pages = _waiting(folder / "crowd.db")
        escalation_crowds.close_many(folder / "crowd.db")
        with agentmemo.connect(folder / "crowd.db", person="ana") as ana:
            old_pages = _pages(ana)
    rows = [
        Row(
            subject=f"answer committed -> the waiting code goes on, {name}",
            unit="ms",
            peer_name=PEER,
            ours=1e3 * measure(ours),
            peer=1e3 * measure(peer) if peer else None,
            target=Target(bound, at_most=True),
            settings=SETTINGS,
            repetitions={OURS: [{"seconds": ours}], PEER: [{"seconds": peer}]},
        )
        for name, measure, bound in (("p50", statistics.median, 100), ("p99", _p99, 1000))
    ]
    rows += [
        Row(
            subject=f"first page of the inbox beside {beside}, p95",
            unit="ms",
            ours=1e3 * sorted(times)[int(len(times) * 0.95)],
            target=Target(100, at_most=True),
            settings="25 questions a page, embedded",
        )
        for beside, times in (
            (f"{OPEN:,} open questions", pages),
            (f"{OPEN:,} open and {CLOSED:,} ended ones", old_pages),
        )
    ]
    rows += [
        Row(
            subject=f"{what} for {OPEN:,} parked runs",
            unit=unit,
            ours=number,
            target=Target(bound, at_most=True),
            settings="the process that has the store open",
        )
        for what, (unit, number, bound) in waiting.items()
    ]
    return rows + escalation_crowds.run()


def _p99(times: list[float]) -> float:
    return sorted(times)[int(len(times) * 0.99)]


def _answers(store: Path) -> list[float]:
    """Seconds from before the answer is sent until the code after `escalate` runs."""
    went_on: list[float] = []
    with agentmemo.connect(store, agent="bench") as agent, agentmemo.connect(store, person="ana") as ana:
        _register(agent, lambda: went_on.append(time.perf_counter()))
        worker = threading.Thread(target=agent.work, kwargs={"concurrency": 1})
        worker.start()
        taken = []
        for number in range(ANSWERS):
            agent.start("asker", key=str(number))
            while not (asked := list(ana.inbox.list(limit=1))):
                time.sleep(0.001)
            began = time.perf_counter()
            ana.inbox.answer(asked[0].id, "answer", comment="go on")
            while len(went_on) <= number:
                time.sleep(0.0005)
            taken.append(went_on[number] - began)
        agent.stop()
        worker.join()
    return taken


def _register(agent: agentmemo.Connection, then: Callable[[], Any]) -> None:
    @agent.task("asker")
    def asker(run: agentmemo.Run) -> None:
        run.step("before", lambda: 1)
        agent.escalate(severity="high", reason="Go on?", collapse_key=run.id)
        then()


def _peer(store: Path) -> list[float]:
    try:
        from langgraph.checkpoint.sqlite import SqliteSaver
        from langgraph.graph import END, START, StateGraph
        from langgraph.types import Command, interrupt
    except ImportError:
        return []

    class State(TypedDict):
        said: str

    went_on: list[float] = []

    def ask(_state: State) -> State:
        said = interrupt("Go on?")
        went_on.append(time.perf_counter())
        return {"said": said}

    with closing(sqlite3.connect(store, check_same_thread=False)) as connection:
        saver = SqliteSaver(connection)
        saver.setup()
        connection.execute("PRAGMA synchronous=FULL")
        graph = StateGraph(State)
        graph.add_node("before", lambda state: state)
        graph.add_node("ask", ask)
        graph.add_edge(START, "before")
        graph.add_edge("before", "ask")
        graph.add_edge("ask", END)
        compiled = graph.compile(checkpointer=saver)
        taken = []
        for number in range(PEER_ANSWERS):
            thread: Any = {"configurable": {"thread_id": str(number)}}
            compiled.invoke({"said": ""}, thread)
            began = time.perf_counter()
            compiled.invoke(Command(resume="go on"), thread)
            taken.append(went_on[-1] - began)
    return taken


def _waiting(store: Path) -> tuple[dict[str, tuple[str, float, float]], list[float]]:
    """What a process has more of when so many runs wait for people, and how long its inbox takes."""
    with agentmemo.connect(store, agent="bench") as agent, agentmemo.connect(store, person="ana") as ana:
        _register(agent, lambda: None)
        agent.start("asker", key="first")
        agent.work(concurrency=1, until_idle=True)
        threads, memory = threading.active_count(), _memory_mib()
        for number in range(OPEN - 1):
            agent.start("asker", key=str(number))
        agent.work(concurrency=4, until_idle=True)
        found = {
            "more threads": ("", float(threading.active_count() - threads), 0.0),
            "more memory": ("MiB", _memory_mib() - memory, 25.0),
        }
        pages = _pages(ana)
    return found, pages


def _pages(ana: agentmemo.Connection) -> list[float]:
    """Seconds for the first page of each of the lists that a person looks at."""
    pages = []
    for _ in range(PAGES):
        for section in ("open", "mine", "undelivered", "done"):
            began = time.perf_counter()
            ana.inbox.list(section=section, limit=25)
            pages.append(time.perf_counter() - began)
    return pages


def _memory_mib() -> float:
    pages = int(MEMORY.read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
