from __future__ import annotations

import threading

import pytest

import agentmemo
from agentmemo.cli.output import Output
from agentmemo.model.runs import Budget


@pytest.fixture
def finished(agent):
    with agent.run("review", key="pr-1", inputs={"pr": 1}) as run:
        run.step("fetch", lambda: {"files": 3})
        run.finding("three files")
        run.decide("read them all", because="they are short")
        run.step("judge", lambda: "fine")
        run.complete("approved")
    return run.id


@pytest.fixture
def asking(agent, data):
    """A run of another thread that passed its budget and waits for a person; `join` gives what became of it."""
    outcome = []

    def work():
        with (
            agentmemo.connect(str(data), agent="worker") as mine,
            mine.run("long", key="1", budget=Budget(steps=1)) as run,
        ):
            outcome.extend(run.step("step", lambda number: number, number, key=str(number)) for number in range(3))

    thread = threading.Thread(target=work)
    thread.start()
    run = None
    while run is None or run.wake != "person":
        run = agent.runs.find("long", "1") if run is None else agent.runs.get(run.id, after=run, wait_seconds=10)

    def join():
        thread.join(30)
        return outcome

    yield run.id, join
    thread.join(30)


def test_list_and_show(cli, finished):
    listed = cli("runs", "list", "--json").json
    assert [(run["id"], run["state"]) for run in listed["items"]] == [(finished, "completed")]
    assert "review/pr-1" in cli("runs", "list", "--state", "completed", "--by", "worker").out
    assert cli("runs", "list", "--state", "unfinished").err == "No runs.\n"
    shown = cli("runs", "show", finished).out
    for text in ("review/pr-1", "completed", "approved", '"pr": 1', "agent:worker"):
        assert text in shown
    assert cli("runs", "find", "review", "pr-1", "--json").json["id"] == finished
    assert cli("runs", "find", "review", "pr-2").status == 3


def test_a_unique_prefix_is_enough(cli, finished):
    for prefix in (finished[:14], finished[4:14]):
        assert cli("runs", "show", prefix, "--json").json["id"] == finished
        assert cli("runs", "explain", prefix, "--json").json["run"] == finished
    assert cli("runs", "show", finished[:8]).status == 3
    assert cli("events", "list", "--run", finished[:14], "--json").json["items"][0]["run"] == finished


def test_steps_and_notes(cli, finished):
    steps = cli("runs", "steps", finished, "--json").json["items"]
    assert [(step["name"], step["result"]) for step in steps] == [("fetch", {"files": 3}), ("judge", "fine")]
    assert "fetch/1" in cli("runs", "steps", finished).out
    said = cli("runs", "notes", finished).out
    assert "read them all" in said
    assert "because they are short" in said
    assert "three files" not in cli("runs", "notes", finished, "--kind", "decision").out


def test_a_note_reaches_the_next_briefing(cli, agent):
    with pytest.raises(ValueError, match="stop"), agent.run("review", key="1") as run:
        raise ValueError("stop")
    assert cli("runs", "note", run.id, "tried", "asking nicely", "--because", "it never helps").status == 0
    assert "asking nicely" in cli("briefing", "worker").out
    assert cli("runs", "note", run.id, "opinion", "x").status == 2


def test_signal_wakes_a_waiting_run(cli, agent, data):
    got = []

    def work():
        with agentmemo.connect(str(data), agent="worker") as mine, mine.run("waits", key="1") as run:
            got.append(run.wait("go"))

    thread = threading.Thread(target=work)
    thread.start()
    run = None
    while run is None or run.wake != "signal":
        run = agent.runs.find("waits", "1") if run is None else agent.runs.get(run.id, after=run, wait_seconds=10)
    explained = cli("runs", "explain", run.id).out
    assert "signal 'go'" in explained
    assert cli("runs", "signal", run.id, "go", '{"yes": true}').status == 0
    thread.join(30)
    assert got == [{"yes": True}]
    assert cli("runs", "signal", run.id, "go", "yes").status == 2
    assert cli("runs", "signal", run.id, "go").status == 4  # it is finished


def test_cancel_ends_a_run_and_a_second_time_conflicts(cli, agent):
    run = agent.start("job", {"n": 1}, key="1")
    assert cli("runs", "cancel", run.id, "not needed", "--json").json["state"] == "cancelled"
    result = cli("runs", "cancel", run.id, "again", "--json")
    assert (result.status, result.problem["code"]) == (4, "invalid_transition")


def test_fork_keeps_the_steps_before(cli, finished):
    made = cli("runs", "fork", finished, "--from-step", "judge", "--run-key", "pr-1b", "--json").json
    assert (made["steps"], made["key"], made["forked_from"]) == (1, "pr-1b", finished)
    assert cli("runs", "fork", finished, "--from-step", "missing").status == 3


def test_a_person_resolves_and_the_run_goes_on(cli, asking, performed, monkeypatch):
    run, join = asking
    monkeypatch.setenv("USER", "ada")
    assert cli("runs", "resolve", run, "continue", "--steps", "9", "--comment", "go on").status == 0
    assert join() == [0, 1, 2]
    callers = [caller for operation, caller, _ in performed if operation.name == "run.resolve"]
    assert [(caller.kind, caller.name, caller.door) for caller in callers] == [("person", "ada", "cli")]
    event = cli("events", "list", "--type", "run.resolve", "--json").json["items"][0]
    assert (event["actor"], event["reason"]) == ("person:ada", "go on")


def test_an_agent_may_not_resolve(cli, asking, monkeypatch):
    run, join = asking
    monkeypatch.setenv("AGENTMEMO_AGENT", "worker")
    assert cli("runs", "resolve", run, "continue", "--steps", "9").status == 5
    monkeypatch.delenv("AGENTMEMO_AGENT")
    result = cli("runs", "resolve", run, "continue", "--steps", "9", "--agent", "worker", "--json")
    assert (result.status, result.problem["code"]) == (5, "permission_denied")
    assert cli("runs", "resolve", run, "retry", "--person", "ada").status == 2  # does not fit the question
    assert cli("runs", "resolve", run, "continue", "--steps", "9", "--person", "ada").status == 0
    assert join() == [0, 1, 2]


def test_watch_ends_with_the_run(cli, agent, finished):
    assert cli("runs", "watch", finished, "--json").json["state"] == "completed"
    with agent.run("fails", key="1") as run:
        run.fail("no reason")
    result = cli("runs", "watch", run.id)
    assert (result.status, "failed" in result.out) == (1, True)


def test_watch_shows_each_change(cli, agent, monkeypatch):
    states = []
    run = agent.start("job", key="1")

    def cancel_when_seen(_output, found):
        states.append(found.state)
        if len(states) == 1:
            agent.runs.cancel(run.id, "enough")

    monkeypatch.setattr(Output, "line", cancel_when_seen)
    assert cli("runs", "watch", run.id, "--json").status == 1
    assert states == ["pending", "cancelled"]


def test_start_and_schedules(cli):
    run = cli("runs", "start", "nightly", '{"n": 1}', "--run-key", "a", "--steps", "5", "--json").json
    assert (run["state"], run["inputs"], run["budget"]) == ("pending", {"n": 1}, {"steps": 5})
    assert cli("runs", "start", "nightly", '{"n": 1}', "--run-key", "a", "--json").json["id"] == run["id"]
    assert cli("runs", "start", "nightly", '{"n": 2}', "--run-key", "a").status == 4
    assert cli("runs", "start", "nightly", "--steps", "-1").status == 2
    later = cli("runs", "start", "nightly", "--at", "2100-01-01T00:00", "--json")
    assert later.status == 0
    made = cli("runs", "start", "nightly", "--cron", "0 3 * * *", "--json").json
    assert [each["id"] for each in cli("runs", "schedules", "--json").json["items"]] == [made["id"]]
    assert "0 3 * * *" in cli("runs", "schedules").out
    assert cli("runs", "unschedule", made["id"]).status == 0
    assert cli("runs", "schedules").err == "No schedules.\n"
