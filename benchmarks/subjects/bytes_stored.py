"""What a run of 400 steps of 2 KB leaves on disk, per byte that was new: an agent whose conversation grows by each."""

from __future__ import annotations

import operator
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Annotated, Any, TypedDict

import harness
from contender import Contender
from harness import QUICK, Row, Target
from values import letters, prose

STEPS = 40 if QUICK else 400
SIZE = 2048
PEERS = {"langgraph": "LangGraph SqliteSaver", "dbos": "DBOS on SQLite"}
TEXTS: dict[str, Callable[[int, int], str]] = {"random letters": letters, "typical text": prose}
SETTINGS = f"{STEPS} steps of {SIZE} bytes in one run; growth of all files, closed and so checkpointed"
Workloads = dict[str, Callable[[int], Callable[[], Any]]]


def run() -> list[Row]:
    rows = []
    for text in TEXTS:
        stored = {name: _stored(name, text) for name in ("ours", *PEERS)}
        rows += [
            Row(
                subject=f"bytes stored per unique byte, {text}",
                unit="x",
                peer_name=title,
                ours=stored["ours"],
                peer=stored[name],
                target=Target(1.5, at_most=True) if name == "langgraph" else None,
                settings=SETTINGS,
                repetitions={"ours": [stored["ours"]], title: [stored[name]]},
            )
            for name, title in PEERS.items()
        ]
    return rows


def _stored(name: str, text: str) -> float | None:
    try:
        return (_size(name, text, 1) - _size(name, text, 0)) / (STEPS * SIZE)
    except RuntimeError as error:
        print(f"  {error}", file=sys.stderr)
        return None


def _size(name: str, text: str, runs: int) -> int:
    """Bytes of all files after so many runs and an orderly end."""
    with harness.directory("bytes") as parent:
        contender = Contender(__name__, name, parent / name)
        if runs:
            contender.measure(text, 1, count=runs)
        contender.close()
        return sum(file.stat().st_size for file in (parent / name).rglob("*") if file.is_file())


def _each_text(run_of: Callable[[list[str]], Any]) -> Workloads:
    def workload(make: Callable[[int, int], str]) -> Callable[[int], Callable[[], Any]]:
        messages = [make(number, SIZE) for number in range(STEPS)]
        return lambda _client: lambda: run_of(messages)

    return {text: workload(make) for text, make in TEXTS.items()}


@contextmanager
def ours(directory: Path) -> Iterator[Workloads]:
    import agentmemo

    with agentmemo.connect(directory / "plane.db", agent="bench") as agent:

        def run_of(messages: list[str]) -> None:
            with agent.run("bench") as run:
                for message in messages:
                    run.step("say", lambda said=message: said)

        yield _each_text(run_of)


@contextmanager
def dbos(directory: Path) -> Iterator[Workloads]:
    from dbos import DBOS

    DBOS(
        config={
            "name": "bench",
            "system_database_url": f"sqlite:///{directory / 'dbos.sqlite'}",
            "log_level": "ERROR",
            "run_admin_server": False,
        }
    )
    texts: list[str] = []

    @DBOS.step()
    def say(number: int) -> str:
        return texts[number]

    @DBOS.workflow()
    def workflow() -> int:
        for number in range(len(texts)):
            say(number)
        return len(texts)

    def run_of(messages: list[str]) -> None:
        texts[:] = messages
        workflow()

    DBOS.launch()
    try:
        yield _each_text(run_of)
    finally:
        DBOS.destroy()


class _Conversation(TypedDict):
    messages: Annotated[list[str], operator.add]


@contextmanager
def langgraph(directory: Path) -> Iterator[Workloads]:
    from langgraph.checkpoint.sqlite import SqliteSaver
    from langgraph.graph import END, START, StateGraph

    texts: list[str] = []

    def say(state: _Conversation) -> dict[str, list[str]]:
        return {"messages": [texts[len(state["messages"])]]}

    def onward(state: _Conversation) -> str:
        return END if len(state["messages"]) == len(texts) else "say"

    with closing(sqlite3.connect(directory / "graph.db", check_same_thread=False)) as connection:
        saver = SqliteSaver(connection)
        saver.setup()
        graph = StateGraph(_Conversation)
        graph.add_node("say", say)
        graph.add_edge(START, "say")
        graph.add_conditional_edges("say", onward, ["say", END])
        app = graph.compile(checkpointer=saver)

        def run_of(messages: list[str]) -> None:
            texts[:] = messages
            limits = {"recursion_limit": len(messages) + 2, "configurable": {"thread_id": "1"}}
            app.invoke({"messages": []}, limits, durability="sync")

        yield _each_text(run_of)
