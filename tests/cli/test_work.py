"""`agentmemo work`: real processes that are told to stop, or killed, in the middle of a handler."""

from __future__ import annotations

import json
import os
import signal
import sys

import pytest

TIMEOUT = 60
HANDLERS = '''
import asyncio
import os
import sys
import threading


def quick(handoff):
    return {"process": os.getpid()}


def gated(handoff):
    """Goes on when somebody opens the gate: a pipe, so that nothing has to be polled."""
    with open(handoff.context) as gate:
        gate.read()
    return {"process": os.getpid()}


async def waiting(handoff):
    return await asyncio.to_thread(gated, handoff)


async def blocking(handoff):
    """What an async handler must not do; it must not keep its process from ending either."""
    return gated(handoff)


def stepwise(handoff, run):
    first = run.step("first", os.getpid)
    return [first, gated(handoff)["process"]]


def failing(handoff):
    raise ValueError("there is no such file")


def leaving(handoff):
    sys.exit(3)


class Callable:
    async def __call__(self, handoff):
        return threading.current_thread() is threading.main_thread()


called = Callable()
number = 5


def nothing():
    pass


def three(handoff, run, more):
    pass
'''


@pytest.fixture
def here(tmp_path):
    """The directory that holds the handlers."""
    (tmp_path / "handlers.py").write_text(HANDLERS, encoding="utf-8")
    return tmp_path


@pytest.fixture
def gate(here):
    os.mkfifo(here / "gate")
    return here / "gate"


@pytest.fixture
def work(started, here):
    """Start a worker of the agent `taker`; it is there when this returns."""

    def call(handler, *words):
        process = started("work", "--handler", f"handlers:{handler}", "--agent", "taker", "--json", *words, cwd=here)
        told(process, "working")
        return process

    return call


@pytest.fixture
def inside(cli, here, monkeypatch):
    """Work in this process, until nothing is offered."""
    monkeypatch.chdir(here)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "handlers", raising=False)

    def call(handler, *words):
        return cli("work", "--handler", handler, "--agent", "taker", "--until-idle", *words)

    yield call
    sys.modules.pop("handlers", None)


def told(process, event):
    """The next line of that kind."""
    for line in process.stdout:
        found = json.loads(line)
        if found["event"] == event:
            return found
    raise AssertionError(process.stderr.read())


def ended(agent, handoff):
    return agent.handoff.get(handoff.id, wait_seconds=TIMEOUT)


@pytest.mark.parametrize("handler", ["gated", "waiting", "blocking"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_finishes_what_is_in_hand_and_claims_nothing_new(work, agent, gate, handler, number):
    first = agent.handoff.create(to_agent="taker", context=str(gate))
    process = work(handler)
    assert told(process, "taken")["handoff"] == first.id
    process.send_signal(number)
    assert told(process, "stopping")["in_hand"] == [first.id]
    second = agent.handoff.create(to_agent="taker", context=str(gate))
    gate.write_text("")
    assert process.wait(TIMEOUT) == 0
    found = agent.handoff.get(first.id)
    assert (found.state, found.result) == ("completed", {"process": process.pid})
    found = agent.handoff.get(second.id)
    assert (found.state, found.attempt, found.epoch) == ("pending", 1, 0)
    assert process.stderr.read() == b""


def test_what_comes_to_an_idle_hand_while_stopping_is_given_back(work, agent, gate):
    first = agent.handoff.create(to_agent="taker", context=str(gate))
    process = work("gated", "--concurrency", "2")
    told(process, "taken")
    process.send_signal(signal.SIGTERM)
    told(process, "stopping")
    second = agent.handoff.create(to_agent="taker", context=str(gate))
    gate.write_text("")
    assert process.wait(TIMEOUT) == 0
    assert agent.handoff.get(first.id).state == "completed"
    # The second hand may have been waiting for it already: then it came back, and that was no attempt.
    found = agent.handoff.get(second.id)
    assert (found.state, found.attempt) == ("pending", 1)
    assert b"taken" not in process.stdout.read()


def test_an_idle_worker_ends_at_a_signal(work, agent):
    process = work("quick")
    handoff = agent.handoff.create(to_agent="taker")
    assert ended(agent, handoff).result == {"process": process.pid}
    told(process, "returned")
    process.send_signal(signal.SIGTERM)
    assert process.wait(TIMEOUT) == 0


@pytest.mark.parametrize("handler", ["gated", "waiting", "blocking"])
def test_past_the_grace_it_is_given_back_and_another_completes_it(work, agent, gate, handler):
    handoff = agent.handoff.create(to_agent="taker", context=str(gate))
    process = work(handler, "--grace-seconds", "0.1")
    told(process, "taken")
    process.send_signal(signal.SIGTERM)
    assert told(process, "gave back")["in_hand"] == [handoff.id]
    assert process.wait(TIMEOUT) == 1
    found = agent.handoff.get(handoff.id)
    assert (found.state, found.attempt, [each.outcome for each in found.attempts]) == ("pending", 1, ["released"])
    other = work("quick")
    found = ended(agent, handoff)
    assert (found.result, found.attempt, found.epoch) == ({"process": other.pid}, 1, 2)


def test_a_second_signal_gives_it_back_at_once(work, agent, gate):
    handoff = agent.handoff.create(to_agent="taker", context=str(gate))
    process = work("gated", "--grace-seconds", "3600")
    told(process, "taken")
    process.send_signal(signal.SIGINT)
    told(process, "stopping")
    process.send_signal(signal.SIGINT)
    told(process, "gave back")
    assert process.wait(TIMEOUT) == 1
    assert agent.handoff.get(handoff.id).state == "pending"


def test_killed_in_the_middle_another_takes_over(work, agent, gate):
    handoff = agent.handoff.create(to_agent="taker", context=str(gate))
    process = work("gated")
    told(process, "taken")
    other = work("quick")
    process.kill()
    assert process.wait(TIMEOUT) == -signal.SIGKILL
    found = ended(agent, handoff)
    assert (found.result, found.attempt, found.epoch) == ({"process": other.pid}, 2, 2)
    assert [each.outcome for each in found.attempts] == ["lost"]


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_the_steps_of_a_run_are_kept_for_whoever_goes_on(work, agent, gate, end):
    handoff = agent.handoff.create(to_agent="taker", context=str(gate))
    process = work("stepwise", "--grace-seconds", "0")
    told(process, "taken")
    run = None
    while run is None or run.steps < 1:
        run = (
            agent.runs.find("handoff", handoff.id) if run is None else agent.runs.get(run.id, after=run, wait_seconds=9)
        )
    process.send_signal(end)
    process.wait(TIMEOUT)
    other = work("stepwise")
    told(other, "taken")
    gate.write_text("")
    assert ended(agent, handoff).result == [process.pid, other.pid]


def test_over_http_it_works_as_the_agent_of_its_key(plane, started, here, agent):
    _, announced, ask = plane
    name = json.loads(ask("keys", "whoami", "--json").stdout)["actor"]
    handoffs = [agent.handoff.create(to_agent=name) for _ in range(3)]
    for handler in ("quick", "called"):
        process = started(
            "work", "--handler", f"handlers:{handler}", "--url", announced["url"], "--key-file",
            announced["agent_key_file"], "--concurrency", "2", "--json", cwd=here,
        )  # fmt: skip
        told(process, "working")
        for handoff in handoffs:
            assert ended(agent, handoff).state == "completed"
        process.send_signal(signal.SIGTERM)
        assert process.wait(TIMEOUT) == 0
        handoffs = [agent.handoff.create(to_agent=name) for _ in range(3)]
    refused = started(
        "work", "--handler", "handlers:called", "--url", announced["url"], "--key-file", announced["agent_key_file"],
        "--agent", "somebody-else", cwd=here,
    )  # fmt: skip
    assert refused.wait(TIMEOUT) == 2


def test_until_idle_performs_what_is_there(inside, agent):
    handoffs = [agent.handoff.create(to_agent="taker", goal="count") for _ in range(5)]
    result = inside("handlers:quick", "--concurrency", "2")
    assert (result.status, result.err) == (0, "")
    assert "Working as taker" in result.out
    assert result.out.count("taken, attempt 1  count") == 5
    assert {agent.handoff.get(each.id).result["process"] for each in handoffs} == {os.getpid()}
    assert inside("handlers:quick").out.count("taken") == 0


def test_a_callable_object_may_be_async(inside, agent):
    handoff = agent.handoff.create(to_agent="taker")
    assert inside("handlers:called").status == 0
    assert agent.handoff.get(handoff.id).result is False


def test_announced_receivers_are_served(inside, agent):
    handoffs = [agent.handoff.create(to_capability="code"), agent.handoff.create(to_queue="nightly")]
    other = agent.handoff.create(to_queue="weekly")
    assert inside("handlers:quick", "--capability", "code", "--queue", "nightly").status == 0
    assert {agent.handoff.get(each.id).state for each in handoffs} == {"completed"}
    assert agent.handoff.get(other.id).state == "pending"


@pytest.mark.parametrize(
    ("handler", "said"), [("failing", "ValueError: there is no such file"), ("leaving", "SystemExit: 3")]
)
def test_what_a_handler_raises_is_kept_and_its_process_works_on(inside, agent, handler, said):
    handoff = agent.handoff.create(to_agent="taker")
    result = inside(f"handlers:{handler}", "--json")
    assert (result.status, result.err) == (0, "")
    events = [json.loads(line) for line in result.out.splitlines()]
    assert [event["event"] for event in events] == ["working", "taken", "raised"]
    assert said in events[-1]["error"]
    found = agent.handoff.get(handoff.id)
    assert (found.attempt, found.state) == (2, "pending")
    assert said in found.reason


def test_people_see_the_traceback_of_what_a_handler_raises(run, agent, here):
    agent.handoff.create(to_agent="taker")
    done = run("work", "--handler", "handlers:failing", "--agent", "taker", "--until-idle", cwd=here)
    assert done.returncode == 0
    assert b"raised ValueError: there is no such file (handlers.py:" in done.stdout
    shown = done.stderr.decode()
    assert "in failing" in shown
    assert "cli/work.py" not in shown


@pytest.mark.parametrize(
    ("handler", "said"),
    [
        ("handlers", "does not name a function in a module"),
        (":quick", "does not name a function in a module"),
        ("no_such_module:handle", "No module named 'no_such_module'"),
        ("broken:handle", "SyntaxError"),
        ("leaves:handle", "SystemExit: 1"),
        ("handlers:quik", "has no 'quik'"),
        ("handlers:number", "cannot be called"),
        ("handlers:nothing", "is no handler: too many positional arguments"),
        ("handlers:three", "is no handler: missing a required argument: 'more'"),
    ],
)
def test_a_handler_that_cannot_be_one_is_refused_before_anything_is_claimed(inside, here, agent, handler, said):
    (here / "broken.py").write_text("def handle(:", encoding="utf-8")
    (here / "leaves.py").write_text("import sys\nsys.exit(1)", encoding="utf-8")
    handoff = agent.handoff.create(to_agent="taker")
    result = inside(handler, "--json")
    assert (result.status, result.problem["code"]) == (2, "invalid_input")
    assert said in result.problem["message"]
    assert result.problem["next_call"]
    assert agent.handoff.get(handoff.id).epoch == 0


def test_the_nearest_function_is_named(inside):
    assert inside("handlers:quik", "--json").problem["next_call"] == "agentmemo work --handler handlers:quick"


def test_workflows_that_were_left_to_the_plane_are_executed(cli, here, agent, monkeypatch):
    monkeypatch.chdir(here)
    (here / "tools.py").write_text("def put(one, two, three):\n    return [one, two, three]\n", encoding="utf-8")
    given = dict.fromkeys(("one", "two", "three"), 1)
    step = {"id": "put", "kind": "tool", "tool": "put", "effect": "read", "input": given}
    agent.workflows.create(name="one", designed_by="person:ana", steps=[step])
    left = agent.workflows.start("one", driver="plane")
    said = cli("work", "--workflows", "--tool", "tools:put:read", "--agent", "taker", "--until-idle")
    assert (said.status, said.err) == (0, "")
    found = agent.workflows.execution(left.id)
    assert (found.state, found.result) == ("completed", [1, 1, 1])


@pytest.mark.parametrize("words", [(), ("--workflows", "--handler", "m:f"), ("--handler", "m:f", "--tool", "m:f")])
def test_a_worker_does_one_of_two_things(cli, words):
    assert "or executes workflows" in cli("work", *words, "--json").problem["message"]


@pytest.mark.parametrize("words", [("--concurrency", "0"), ("--grace-seconds", "-1"), ("--grace-seconds", "nan")])
def test_what_makes_no_sense_is_refused(inside, words):
    assert inside("handlers:quick", *words, "--json").problem["code"] == "invalid_input"
