"""Durable steps: runs of ten steps of effect none, 1 KB each, beside DBOS and a LangGraph graph of ten nodes."""

from __future__ import annotations

import itertools
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any, TypedDict

from harness import CLIENTS, Row, Target, compare, contenders, take_turns
from values import VALUES

STEPS = int(os.environ.get("BENCH_STEPS", "10"))
TARGETS = {16: Target(6_000)}
PEERS = {"dbos": "DBOS on SQLite", "langgraph": "LangGraph SqliteSaver"}
SETTINGS = (
    "1 KB per step, durable before the next step; DBOS: its own settings (DELETE, FULL), LangGraph: WAL, FULL, sync"
)
VALUE = VALUES[1]
Workloads = dict[str, Callable[[int], Callable[[], Any]]]


def run() -> list[Row]:
    rows: list[Row] = []
    with contenders(__name__, ["ours", *PEERS]) as started:
        for clients in CLIENTS:
            rows += compare(
                f"durable steps, {clients} run{'s' * (clients > 1)} at once",
                take_turns(started, "run", clients),
                PEERS,
                target=TARGETS.get(clients),
                settings=SETTINGS,
                each=STEPS,
            )
    return rows


def _give() -> Any:
    return VALUE


@contextmanager
def ours(directory: Path) -> Iterator[Workloads]:
    with our_runs(directory / "plane.db") as workloads:
        yield workloads


@contextmanager
def dbos(directory: Path) -> Iterator[Workloads]:
    with dbos_runs(f"sqlite:///{directory / 'dbos.sqlite'}") as workloads:
        yield workloads


@contextmanager
def langgraph(directory: Path) -> Iterator[Workloads]:
    from langgraph.checkpoint.sqlite import SqliteSaver

    with closing(sqlite3.connect(directory / "graph.db", check_same_thread=False)) as connection:
        saver = SqliteSaver(connection)
        saver.setup()
        connection.execute("PRAGMA synchronous=FULL")
        yield graph_runs(saver)


@contextmanager
def our_runs(target: Path | str) -> Iterator[Workloads]:
    """`run` is a run of STEPS steps; `step` is one step of a run that its client keeps open."""
    import agentmemo

    with agentmemo.connect(target, agent="bench") as agent, ExitStack() as held:

        def operation() -> None:
            with agent.run("bench") as run:
                for _ in range(STEPS):
                    run.step("work", _give)

        def step(_client: int) -> Callable[[], Any]:
            run = held.enter_context(agent.run("bench"))
            return lambda: run.step("work", _give)

        yield {"run": lambda _client: operation, "step": step}


@contextmanager
def dbos_runs(database: str) -> Iterator[Workloads]:
    from dbos import DBOS

    DBOS(
        config={
            "name": "bench",
            "system_database_url": database,
            "log_level": "ERROR",
            "run_admin_server": False,
            "sys_db_pool_size": 64,
        }
    )
    step = DBOS.step()(_give)

    @DBOS.workflow()
    def workflow() -> int:
        for _ in range(STEPS):
            step()
        return STEPS

    DBOS.launch()
    try:
        yield {"run": lambda _client: workflow}
    finally:
        DBOS.destroy()


class _State(TypedDict):
    value: dict[str, Any]
    number: int


def graph_runs(saver: Any) -> Workloads:
    from langgraph.graph import END, START, StateGraph

    graph = StateGraph(_State)
    before = START
    for number in range(STEPS):
        graph.add_node(f"node{number}", lambda state: {"value": VALUE, "number": state["number"] + 1})
        graph.add_edge(before, f"node{number}")
        before = f"node{number}"
    graph.add_edge(before, END)
    app = graph.compile(checkpointer=saver)
    threads = itertools.count()

    def operation() -> None:
        thread = {"configurable": {"thread_id": str(next(threads))}}
        app.invoke({"value": VALUE, "number": 0}, thread, durability="sync")

    return {"run": lambda _client: operation}
