"""Many at once: runs that ask the same, people who answer together, deadlines of the same seconds, old questions.

Each is measured through the public calls on one SQLite file; what is counted must be exact, what is timed has a bound.
"""

from __future__ import annotations

import http.server
import json
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import apsw
import harness
from harness import QUICK, Row, Target
from servers import our_server

import agentmemo
from agentmemo.errors import InvalidTransition

RUNS, EQUAL = (5, 60) if QUICK else (50, 1_000)
PEOPLE, QUESTIONS = (8, 3) if QUICK else (50, 20)
TIMERS, SPREAD_SECONDS, AWAY_SECONDS = (60, 4.0, 1.0) if QUICK else (5_000, 20.0, 5.0)
CLOSED = 2_000 if QUICK else 1_000_000
WRITERS = 16
MESSAGES_SECONDS = 10.0
SECOND = 1_000_000


def run() -> list[Row]:
    rows: list[Row] = []
    for measure in (_equal_questions, _answers_at_once, _timers):
        with harness.directory("crowd") as folder:
            rows += measure(folder)
    return rows


# equal questions


def _equal_questions(folder: Path) -> list[Row]:
    """The runs ask in calls of their own, and other agents ask the same again; people hear of one question."""
    messages: list[dict[str, Any]] = []
    went_on: list[str] = []
    with _sink(messages) as address, _allowed("AGENTMEMO_WEBHOOK_PRIVATE_ADDRESSES"), _plane(folder) as (agent, ana):
        ana.policies.set("contact", "ana", {"channels": [{"kind": "webhook", "address": address}]})

        @agent.task("asker")
        def asker(run: agentmemo.Run) -> None:
            agent.escalate(severity="high", reason="Rotate the credential?", collapse_key="credential")
            went_on.append(run.id)

        for number in range(RUNS):
            agent.start("asker", key=str(number))
        agent.work(concurrency=8, until_idle=True)

        def ask(number: int) -> None:
            agent.escalations.create(
                severity="high", reason="Rotate the credential?", collapse_key="credential", key=str(number), wait=False
            )

        _each(ask, range(EQUAL - RUNS))
        (asked,) = ana.inbox.list()
        time.sleep(MESSAGES_SECONDS / 5)
        ana.inbox.answer(asked.id, "answer", comment="yes")
        agent.work(concurrency=8, until_idle=True)
        time.sleep(MESSAGES_SECONDS / 5)
    kinds = Counter(message["type"] for message in messages)
    settings = f"{EQUAL:,} asks of {RUNS} runs and of calls outside runs, one person with a webhook"
    return [
        _row("questions that equal asks became", "", 1.0 if asked.occurrences == EQUAL else float("nan"), 1, settings),
        _row("messages that ask, with those that say how often", "", kinds["escalation.asked"], 4, settings),
        _row("times a waiting run went on", "", len(went_on) / len(set(went_on)), 1, settings),
    ]


@contextmanager
def _sink(messages: list[dict[str, Any]]) -> Iterator[str]:
    """A receiver of webhooks on loopback that keeps what it is told."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            messages.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


# many people at once


def _answers_at_once(folder: Path) -> list[Row]:
    rows = []
    with ExitStack() as stack:
        agent, *people = [
            stack.enter_context(agentmemo.connect(folder / "plane.db", **who))
            for who in ({"agent": "bench"}, *({"person": f"p{number}"} for number in range(PEOPLE)))
        ]
        rows += _rounds("embedded", agent, people)
    with our_server(folder / "served") as said, agentmemo.connect(folder / "served", person="root") as root:
        keys = [root.keys.create("person", f"p{number}").secret for number in range(PEOPLE)]
        with ExitStack() as stack:
            agent, *people = [
                stack.enter_context(agentmemo.connect(said["url"], key=key)) for key in (said["agent_key"], *keys)
            ]
            rows += _rounds("over HTTP", agent, people)
    return rows


def _rounds(how: str, agent: agentmemo.Connection, people: Sequence[agentmemo.Connection]) -> list[Row]:
    """Each question is answered by everybody at the same moment."""
    worst, told, seconds = 0, PEOPLE, []
    with ThreadPoolExecutor(PEOPLE) as pool:
        for number in range(QUESTIONS):
            asked = agent.escalations.create(severity="high", reason=f"Which, {number}?", key=str(number), wait=False)
            start = threading.Barrier(PEOPLE)

            def answer(person: agentmemo.Connection, handle: str = asked.id, start: threading.Barrier = start) -> tuple:
                start.wait()
                began = time.perf_counter()
                try:
                    decided = person.inbox.answer(handle, "answer", comment="mine").answer
                    return decided.by, True, time.perf_counter() - began
                except InvalidTransition as error:
                    return error.details["by"], False, time.perf_counter() - began

            outcomes = list(pool.map(answer, people))
            winners = [by for by, accepted, _ in outcomes if accepted]
            worst = max(worst, len(winners))
            told = min(told, sum(not accepted and by in winners for by, accepted, _ in outcomes))
            seconds += [took for *_, took in outcomes]
    settings = f"{PEOPLE} people answer each of {QUESTIONS} questions at the same moment"
    p95 = sorted(seconds)[int(len(seconds) * 0.95)]
    return [
        _row(f"answers accepted of {PEOPLE} at once, {how}", "", worst, 1, settings),
        Row(subject=f"told who was first, {how}", unit="", ours=told, target=Target(PEOPLE - 1), settings=settings),
        Row(subject=f"until each knows, {how}, p95", unit="ms", ours=1e3 * p95, settings=settings),
    ]


# deadlines


def _timers(folder: Path) -> list[Row]:
    """Deadlines spread over some seconds, in whose midst the process that keeps them is away."""
    store = folder / "plane.db"
    with agentmemo.connect(store, agent="bench") as agent:
        begin = time.time() + 2 + TIMERS / 1_000
        deadlines = {}

        def ask(number: int) -> None:
            at = int((begin + SPREAD_SECONDS * number / TIMERS) * SECOND)
            asked = agent.escalations.create(
                severity="low", reason=f"{number}?", deadline=at, key=str(number), wait=False
            )
            deadlines[asked.id] = at / SECOND

        _each(ask, range(TIMERS))
        ready = time.time()
        time.sleep(max(0.0, begin + SPREAD_SECONDS / 2 - time.time()))
    gone = time.time()
    time.sleep(AWAY_SECONDS)
    back = time.time()
    with agentmemo.connect(store, agent="bench") as agent:
        time.sleep(max(0.0, begin + SPREAD_SECONDS - time.time()))
        while agent.status().escalations:
            time.sleep(0.05)
        fired = [
            (event.stream, event.at / SECOND) for event in agent.audit.events(type="escalation.default", limit=1_000)
        ]
    times = Counter(handle for handle, _ in fired)
    away = [at - back for handle, at in fired if gone - 1 <= deadlines[handle] < back]
    up = sorted(at - deadlines[handle] for handle, at in fired if not gone - 1 <= deadlines[handle] < back + 1)
    assert ready < begin, "asking took longer than was allowed for"
    wrong = sum(count != 1 for count in times.values()) + TIMERS - len(times)
    settings = f"{TIMERS:,} deadlines within {SPREAD_SECONDS:g} s; for {AWAY_SECONDS:g} s of these no process was there"
    return [
        _row("deadlines taken more than once, or never", "", wrong, 0, settings),
        _row("a deadline is taken late by, p99", "s", up[int(len(up) * 0.99)], 1, settings),
        _row("after a restart all overdue ones are taken within", "s", max(away, default=0.0), 5, settings),
    ]


# old questions


def close_many(store: Path) -> None:
    """So many ended questions, as copies of rows that are there: what asking them took is not what is measured."""
    with apsw.Connection(str(store)) as connection:
        names = [row[1] for row in connection.execute("PRAGMA table_info(escalation)")]
        changed = {
            "id": "number",
            "handle": "printf('esc_%016d', number)",
            "state": "'decided'",
            "collapse_key": "NULL",
            "due_at": "NULL",
            "climb_at": "NULL",
            "holder": "NULL",
            "decision": "'answer'",
            "created_at": "created_at - 1000000 * number",
            "ended_at": "created_at - 1000000 * number + 60000000",
        }
        columns = ", ".join(changed.get(name, name) for name in names)
        numbers = "SELECT 1 UNION ALL SELECT number + 1 FROM numbers WHERE number < ?"
        connection.execute(
            f"WITH RECURSIVE numbers (number) AS ({numbers})"  # noqa: S608 - names of columns
            f" INSERT INTO escalation ({', '.join(names)}) SELECT {columns} FROM numbers,"
            " (SELECT * FROM escalation ORDER BY id LIMIT 1)",
            (CLOSED,),
        )


def _row(subject: str, unit: str, number: float, bound: float, settings: str) -> Row:
    return Row(subject=subject, unit=unit, ours=float(number), target=Target(bound, at_most=True), settings=settings)


def _each(do: Callable[[int], object], numbers: Sequence[int]) -> None:
    with ThreadPoolExecutor(WRITERS) as pool:
        list(pool.map(do, numbers))


@contextmanager
def _plane(folder: Path) -> Iterator[tuple[agentmemo.Connection, agentmemo.Connection]]:
    store = folder / "plane.db"
    with agentmemo.connect(store, agent="bench") as agent, agentmemo.connect(store, person="ana") as ana:
        yield agent, ana


@contextmanager
def _allowed(name: str) -> Iterator[None]:
    before = os.environ.get(name)
    os.environ[name] = "true"
    yield
    if before is None:
        del os.environ[name]
