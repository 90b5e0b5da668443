"""Behind a pooler in transaction mode: sessions are shared, so nothing may be left in one or expected of one.

The contract runs behind one as well (conftest.py, "postgres pooled").
"""

from __future__ import annotations

import threading

import pooler
import psycopg
import pytest
from stand import WAIT_SECONDS, until, versions

from agentmemo.store import postgres_hints

pooled = pytest.mark.skipif(pooler.PROGRAM is None, reason="no PgBouncer on this machine: apt-get install pgbouncer")
SETTINGS = ("statement_timeout", "idle_in_transaction_session_timeout", "plan_cache_mode", "transaction_isolation")


def test_every_connection_learns_of_a_pooler(stand):
    """Each was made before anybody knew, so each is told once by the server; no caller hears of it."""
    database = stand.plane(postgres_writers=2).engine.database
    both = threading.Barrier(2)
    answers, known = [], 0

    def first(tx):
        both.wait(WAIT_SECONDS)  # so that each writer has a connection of its own
        found = len(tx.all("workspace_all"))
        # As behind a pooler, where the next transaction finds another session.
        tx._wire.command(b"DEALLOCATE ALL")
        return found

    def look(tx):
        return len(tx.all("workspace_all"))

    def answered(result, error):
        answers.append(error or result)

    for work in (first, look):
        for lane in (1, 2):
            database.submit(work, answered, lane=lane)
        known += 2
        until(lambda so_many=known: len(answers) == so_many)
    assert answers == [0, 0, 0, 0]


def test_one_name_stands_for_one_statement(stand, postgres, postgres_url):
    """A pooler may hand us a session in which somebody else prepared something under our name."""
    databases = [stand.plane().engine.database for _ in range(2)]
    held = []

    def look(query, **parameters):
        def work(tx):
            tx.all(query, **parameters)
            held.append(dict(tx._wire._prepared))

        return work

    databases[0].read(look("workspace_all"), snapshot=False)
    databases[1].read(look("duty_get", name="x"), snapshot=False)
    names = [{name: query for query, name in prepared.items()} for prepared in held]
    shared = names[0].keys() & names[1].keys()
    assert all(names[0][name] == names[1][name] for name in shared)


@pooled
def test_no_session_keeps_anything(stand, pooler_in_front):
    agent = stand.agent(pooler_in_front.url("tests"))
    stop = agent._plane.transport.plane.engine.database.listen(lambda: None)
    for number in range(20):
        agent.state.set("counters", "counter", number)
    with agent.run("job", "1") as run:
        run.step("send", lambda: 1, effect="write")
    assert len(versions(agent)) == 20
    stop()
    found = pooler_in_front.sessions("tests", f"SELECT {', '.join(f'current_setting({name!r})' for name in SETTINGS)}")
    assert set(found) == {("0", "0", "auto", "read committed")}
    assert pooler_in_front.sessions("tests", "SELECT pg_listening_channels()") == []
    assert pooler_in_front.sessions("tests", "SELECT 1 FROM pg_locks WHERE locktype = 'advisory'") == []


@pooled
def test_processes_behind_a_pooler_do_not_run_each_others_statements(stand, pooler_in_front):
    """They prepare in different orders, on sessions that they share, until each has learned."""
    url = pooler_in_front.url("tests")
    agents = [stand.agent(url, name=f"agent-{number}") for number in range(4)]
    for number, agent in enumerate(agents):
        if number % 2:
            agent.runs.list()
        agent.state.set("counters", f"of-{number}", 0)

    def work(agent, number):
        for value in range(1, 30):
            agent.state.set("counters", f"of-{number}", value, if_version=value)
            agent.state.set("counters", "counter", [number, value])

    threads = [threading.Thread(target=work, args=(agent, number)) for number, agent in enumerate(agents)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    trusted = stand.trusted()
    for number in range(4):
        assert versions(trusted, f"of-{number}") == [(value + 1, value) for value in range(30)]
    assert len(versions(trusted)) == 4 * 29


@pooled
def test_commits_of_others_are_heard_without_notifications(stand, pooler_in_front, monkeypatch):
    """What comes back to a client there is at best its own: others are found by looking often."""
    monkeypatch.setattr(postgres_hints, "LOOK_SECONDS", 3600.0)  # how often those look who trust in notifications
    url = pooler_in_front.url("tests")
    one, two = (stand.plane(url).engine.database for _ in range(2))
    heard = threading.Event()
    stop = one.listen(heard.set)
    until(lambda: any(thread.name == "agentmemo-watch" for thread in threading.enumerate()))
    for number in range(5):
        heard.clear()
        stand.agent(url, name=f"other-{number}").state.set("counters", "counter", number)
        assert heard.wait(WAIT_SECONDS)
    stop()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"NOTIFY {postgres_hints.CHANNEL}", prepare=False)
    assert two.read(lambda tx: tx.one("turn_sum"))[0] > 0
