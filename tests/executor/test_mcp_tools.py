"""Tools of real MCP servers, over standard streams and over HTTP on this machine."""

import importlib.util
import socket
import subprocess
import sys
import threading
from pathlib import Path

import msgspec
import pytest

import agentmemo
from agentmemo import InvalidInput, StepFailed, TimedOut, Unavailable
from agentmemo.client.driving import arguments_for, calls_for_model, check_effect
from agentmemo.executor.mcp_tools import McpTools
from agentmemo.llm.config import ToolServer
from agentmemo.testing.ports import ReservedPort

# Found and not imported, which takes a second of every process that collects tests.
pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("mcp") is None,
    reason="the MCP SDK is not installed on this machine: make test installs it",
)
PROGRAM = str(Path(__file__).with_name("mcp_server.py"))
SECONDS = 60


@pytest.fixture
def desk(tmp_path):
    """`desk(env=[...])`: the tools of a server that is started when one is needed."""
    made = []

    def make(environ=None, **settings):
        command = [sys.executable, PROGRAM, str(tmp_path)]
        server = ToolServer(**{"command": command, "timeout_seconds": SECONDS} | settings)
        # The interpreter finds the same packages as this one.
        given = {"PYTHONPATH": ":".join(filter(None, sys.path))} | (environ or {})
        server = msgspec.structs.replace(server, env=[*server.env, "PYTHONPATH"] if server.command else [])
        tools = McpTools({"desk": server}, given)
        made.append(tools)
        return tools

    yield make
    for tools in made:
        tools.close()


@pytest.fixture
def port():
    with ReservedPort() as reserved:
        yield reserved.number


@pytest.fixture
def over_http(tmp_path, port):
    """A server at an address of this machine, and how to start it again."""
    started = []

    def start():
        command = [sys.executable, PROGRAM, str(tmp_path), str(port)]
        started.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        for _ in range(SECONDS * 20):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return started[-1]
            threading.Event().wait(0.05)
        raise AssertionError("the server did not start")

    start()
    yield f"http://127.0.0.1:{port}/mcp", start
    for process in started:
        process.kill()
        process.wait()


def done(tmp_path):
    file = tmp_path / "done"
    return file.read_text().splitlines() if file.exists() else []


def test_tools_have_their_schema_their_effect_and_their_results(desk):
    tools = desk({"SECRET": "s3cret", "DESK_TOKEN": "named"}, env=["DESK_TOKEN"], effects={"erase": "write"})
    add = tools.find("desk.add")
    assert (add.effect, add.description, add.schema["required"]) == ("read", "Adds two numbers.", ["a"])
    assert add.function(**arguments_for(add, {"a": 2}, None)) == {"sum": 3}
    assert tools.find("desk.greet").function(name="Ana") == "Hello, Ana."
    with pytest.raises(StepFailed, match=r"desk\.fail"):
        tools.find("desk.fail").function()
    assert [tools.find(f"desk.{name}").effect for name in ("pay", "erase")] == ["write", "write"]
    assert tools.find("desk.nothing") is tools.find("other.add") is None
    assert "desk.greet" in tools.names()
    # It knows only what its entry names, and where it is at home.
    seen = set(tools.find("desk.environment").function().split())
    assert "DESK_TOKEN" in seen
    assert not {"SECRET", "AGENTMEMO_DATA"} & seen


def test_the_key_is_the_steps_and_no_argument(desk):
    pay = desk().find("desk.pay")
    assert list(pay.schema["properties"]) == pay.schema["required"] == ["amount"]
    assert arguments_for(pay, {"amount": 1}, "run:pay") == {"amount": 1, "idempotency_key": "run:pay"}


def test_a_server_that_dies_is_started_again_once_for_a_call(desk, tmp_path):
    tools = desk()
    assert tools.find("desk.stumble").function() == {"now": "it works"}
    with pytest.raises(Unavailable, match="always_dies"):
        tools.find("desk.always_dies").function()
    assert done(tmp_path) == ["died", "died"]
    assert tools.find("desk.add").function(a=1) == {"sum": 2}


def test_what_may_have_had_its_effect_is_not_sent_again(desk, tmp_path):
    tools = desk()
    pay = tools.find("desk.pay")
    with pytest.raises(Unavailable, match="went away") as lost:
        pay.function(amount=5, idempotency_key="k")
    assert not lost.value.retry_safe
    assert done(tmp_path) == ["paid 5 k"]
    # The server is dead and nothing has been sent yet: it is started again first.
    assert pay.function(amount=5, idempotency_key="k") == {"paid": "k"}


def test_a_tool_that_takes_too_long(desk):
    tools = desk()
    hang = tools.find("desk.hang")
    server = tools._servers["desk"]
    server.settings = msgspec.structs.replace(server.settings, timeout_seconds=0.3)
    with pytest.raises(TimedOut, match="timeout_seconds"):
        hang.function()


def test_over_http_with_a_server_that_is_started_again(desk, over_http, tmp_path):
    address, start = over_http
    tools = desk(command=None, url=address)
    assert tools.find("desk.add").function(a=2, b=5) == {"sum": 7}
    with pytest.raises(Unavailable, match=r"went away|cannot be used"):
        tools.find("desk.always_dies").function()
    start()
    assert tools.find("desk.greet").function(name="Ana") == "Hello, Ana."


@pytest.mark.parametrize("settings", [{"command": ["/no/such/program"]}, {"command": [sys.executable, "-c", ""]}])
def test_a_server_that_cannot_be_started(desk, settings):
    with pytest.raises(Unavailable, match="cannot be used") as error:
        desk(**settings).find("desk.add")
    assert "[tools.desk]" in error.value.why


def test_a_model_may_call_what_changes_nothing(desk):
    tools = desk()
    call = calls_for_model([tools.find("desk.add"), tools.find("desk.erase")])
    assert call("desk.add", {"a": 1}) == {"sum": 2}
    with pytest.raises(InvalidInput, match="in the middle of a step"):
        call("desk.erase", {})
    with pytest.raises(InvalidInput, match="irreversible"):
        check_effect(tools.find("desk.erase"), "write")


def test_a_workflow_calls_the_tools_of_the_configured_servers(tmp_path, monkeypatch):
    command = [sys.executable, PROGRAM, str(tmp_path)]
    monkeypatch.setenv("PYTHONPATH", ":".join(filter(None, sys.path)))
    monkeypatch.setenv("AGENTMEMO_MODELS", f'[tools.desk]\ncommand = {command}\nenv = ["PYTHONPATH"]')
    steps = [
        {"id": "sum", "kind": "tool", "tool": "desk.add", "input": {"a": "$inputs.a", "b": 2}},
        {
            "id": "pay",
            "kind": "tool",
            "tool": "desk.pay",
            "effect": "write",
            "input": {"amount": "$steps.sum.output.sum"},
        },
    ]
    (tmp_path / "paid").touch()  # this time it lives
    with agentmemo.connect(tmp_path / "store") as agent:
        agent.workflows.create(name="pay", designed_by="person:ana", steps=steps, output="$steps.pay.output.paid")
        done = agent.workflows.execute("pay", a=3)
        assert done.result == f"{done.id}:pay"
        agent.workflows.create(
            name="no", designed_by="person:ana", steps=[{"id": "x", "kind": "tool", "tool": "desk.no"}]
        )
        with pytest.raises(InvalidInput, match=r"desk\.no") as unknown:
            agent.workflows.execute("no")
        assert "desk.add" in unknown.value.details["known"]
    assert (tmp_path / "done").read_text() == f"paid 5 {done.id}:pay\n"
