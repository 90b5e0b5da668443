"""The command line as real processes: statuses, pipes, signals, and a server to talk to."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys

import pytest

from agentmemo.testing.ports import ReservedPort

COMMAND = [sys.executable, "-m", "agentmemo"]
TIMEOUT = 60


def read_until(process, text):
    said = b""
    for line in process.stdout:
        said += line
        if text in line:
            return said
    raise AssertionError(said + process.stderr.read())


def test_statuses_and_documents_of_a_real_process(run, run_anew):
    written = run_anew("state", "set", "n", "k", "-", input=b'{"a": 1}')
    assert (written.returncode, written.stderr) == (0, b"")
    assert json.loads(run("state", "get", "n", "k", "--json").stdout)["value"] == {"a": 1}
    missing = run_anew("state", "get", "n", "other", "--json")
    assert (missing.returncode, missing.stdout) == (3, b"")
    assert json.loads(missing.stderr)["code"] == "not_found"
    assert run("state", "set", "n", "k", "hello").returncode == 2
    assert run("nonsense").returncode == 2


def test_the_version_needs_none_of_the_heavy_libraries():
    code = (
        "import sys; from agentmemo.cli.main import main; main(['--version']); "
        "sys.exit(any(name in sys.modules for name in ('cyclopts', 'rich', 'starlette', 'uvicorn')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=TIMEOUT, check=False)
    assert (done.returncode, done.stdout[:10]) == (0, b"agentmemo ")


def test_any_locale_gives_utf8(run, run_anew):
    run("state", "set", "n", "k", "-", "--text", stdin="žluť".encode())
    locale = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = run_anew("state", "get", "n", "k", "--text", env=locale)
    assert done.stdout.decode() == "žluť\n"


def test_a_reader_that_leaves_is_no_error(run, environment):
    run("state", "set", "n", "k", "-", "--text", stdin=b"long text " * 100_000)
    command = [*COMMAND, "state", "get", "n", "k", "--text"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as process:
        assert process.stdout.read(4) == b"long"
        process.stdout.close()
        assert process.wait(TIMEOUT) == 141
        assert process.stderr.read() == b""


def test_output_that_cannot_be_written_is_unavailable(run, run_anew):
    run("state", "set", "n", "k", "1")
    with open("/dev/full", "wb") as full:  # noqa: PTH123 - a device
        done = run_anew("state", "get", "n", "k", stdout=full)
    assert done.returncode == 6
    # What happened and the next step; no traceback.
    assert done.stderr.count(b"\n") == 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_the_demo_goes_on_where_it_was_stopped(run, started, number):
    first = started("demo", "--seconds", "7.5")
    read_until(first, b"2 of 5")
    first.send_signal(number)
    assert first.wait(TIMEOUT) == (130 if number == signal.SIGINT else -signal.SIGKILL)
    steps = json.loads(run("demo", "--seconds", "0", "--json").stdout)["steps"]
    stored = [step for step in steps if step["from_store"]]
    assert len(steps) == 5
    assert {step["process"] for step in stored} == {first.pid}
    assert [step["step"] for step in stored[:2]] == ["read", "plan"]
    # Another start has nothing to do, and a new run starts at the beginning.
    assert all(step["from_store"] for step in json.loads(run("demo", "--json").stdout)["steps"])
    again = json.loads(run("demo", "--again", "--seconds", "0", "--json").stdout)
    assert not any(step["from_store"] for step in again["steps"])
    assert json.loads(run("events", "verify", "--json").stdout)["intact"]


def test_a_demo_that_is_held_names_its_holder(run, started):
    first = started("demo", "--seconds", "600")
    read_until(first, b"Stop it")
    held = run("demo", "--json")
    assert (held.returncode, json.loads(held.stderr)["code"]) == (4, "run_held")
    assert str(first.pid) in json.loads(held.stderr)["message"]


def test_interrupting_a_watch_is_quiet(run, started):
    revision = json.loads(run("state", "set", "n", "k", "1", "--json").stdout)["revision"]
    process = started("state", "watch", "n", "--after", revision - 1, "--json")
    assert json.loads(process.stdout.readline())["entry"]["value"] == 1
    process.send_signal(signal.SIGINT)
    assert process.wait(TIMEOUT) == 130
    assert process.stderr.read() == b"Stopped.\n"


def test_a_server_answers_the_command_line_and_ends_cleanly(plane, run):
    process, announced, ask = plane
    assert ask("state", "set", "team/a", "k", '{"n": 1}').returncode == 0
    assert json.loads(ask("state", "get", "team/a", "k", "--json").stdout)["value"] == {"n": 1}
    assert ask("state", "get", "team/a", "missing").returncode == 3
    assert json.loads(ask("status", "--json").stdout)["entries"] == 1
    assert json.loads(ask("keys", "whoami", "--json").stdout)["kind"] == "agent"
    assert ask("keys", "list").returncode == 5
    assert json.loads(ask("keys", "whoami", "--json", key=announced["person_key"]).stdout)["kind"] == "person"
    # The same store, opened directly, beside the server.
    assert json.loads(run("state", "get", "team/a", "k", "--json").stdout)["value"] == {"n": 1}
    process.send_signal(signal.SIGTERM)
    assert process.wait(TIMEOUT) == 0
    assert ask("status", "--json").returncode == 6
    assert json.loads(run("events", "verify", "--json").stdout)["intact"]


def test_over_http_the_key_says_who_decides(plane):
    _, announced, ask = plane
    person = announced["person_key"]
    run = json.loads(ask("runs", "start", "job", "--json").stdout)["id"]
    for key, status in ((None, 5), (person, 4)):  # it asks nothing, which only the person is told
        assert ask("runs", "resolve", run, "continue", key=key).returncode == status
    assert ask("status", "--agent", "somebody-else").returncode == 2
    assert ask("status", "--workspace", "another").returncode == 2
    assert ask("status", key="am_agent_wrong").returncode == 5


def test_following_over_http(plane, started):
    _, announced, ask = plane
    process = started(
        "events", "follow", "--after", "0", "--type", "state.set", "--json",
        "--url", announced["url"], "--key-file", announced["agent_key_file"],
    )  # fmt: skip
    ask("state", "set", "n", "k", "1")
    assert json.loads(process.stdout.readline())["subject"]["key"] == "k"
    process.send_signal(signal.SIGINT)
    assert process.wait(TIMEOUT) == 130


def test_a_later_start_shows_paths_and_no_keys(plane, started):
    process, announced, _ = plane
    process.send_signal(signal.SIGINT)
    assert process.wait(TIMEOUT) == 0
    assert announced["agent_key"].startswith("am_agent_")
    again = started("up", "--port", "0")
    said = read_until(again, b"Ctrl-C").decode()
    assert announced["agent_key_file"] in said
    assert "am_" not in said
    again.send_signal(signal.SIGTERM)
    assert again.wait(TIMEOUT) == 0


def test_a_store_under_a_server_is_not_restored(plane, run, tmp_path):
    process, _, _ = plane
    assert run("backup", tmp_path / "copy.db").returncode == 0
    assert run("restore", tmp_path / "copy.db", "--force").returncode == 4
    process.send_signal(signal.SIGTERM)
    process.wait(TIMEOUT)
    assert run("restore", tmp_path / "copy.db", "--force").returncode == 0


def test_what_a_server_refuses_to_do(run):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert run("up", "--port", port).returncode == 6
    exposed = run("up", "--host", "0.0.0.0", "--port", "0", "--json")  # noqa: S104 - it must be refused
    assert (exposed.returncode, json.loads(exposed.stderr)["code"]) == (2, "invalid_input")


def test_an_unreachable_plane_is_unavailable(run):
    key = run("keys", "create", "agent", "bob").stdout.decode().strip()
    with ReservedPort() as port:
        done = run("status", "--url", f"http://127.0.0.1:{port.number}", "--json", env={"AGENTMEMO_KEY": key})
    assert (done.returncode, json.loads(done.stderr)["code"]) == (6, "unavailable")
    assert json.loads(done.stderr)["next_call"]
