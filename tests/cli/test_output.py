from __future__ import annotations

import io
import json
import os
import pwd
import sys

import pytest

from agentmemo.cli import output
from agentmemo.cli.main import options_last
from agentmemo.cli.values import read_grants, read_time
from agentmemo.clock import SECOND, SystemClock
from agentmemo.errors import InvalidInput, Unavailable
from agentmemo.model.access import Grant
from agentmemo.settings import os_user


def test_tables_fit_a_hundred_columns(cli):
    cli("state", "set", "n", "key " * 30, json.dumps("word " * 200))
    cli("state", "set", "n", "short", "1")
    for words in (("state", "list", "n"), ("events", "list"), ("state", "history", "n", "short")):
        lines = cli(*words).out.splitlines()
        assert len(lines) > 1
        assert max(map(len, lines)) <= 100
    # A key is folded, never cut.
    assert "".join(cli("state", "list", "n").out.split()).count("key") == 30


def test_handles_are_whole_in_tables(cli, agent):
    with agent.run("a name that is rather long, as names sometimes are", key="k" * 200) as run:
        pass
    assert run.id in cli("runs", "list").out


def test_no_colours_or_controls_reach_a_pipe(cli):
    hostile = "\x1b[31mred\x1b]0;title\x07 \x9b2J \u202egnp.exe [bold]markup[/bold]"
    cli("state", "set", "n", "k", "-", "--text", stdin=hostile.encode())
    for words in (("state", "get", "n", "k", "--text"), ("state", "list", "n"), ("events", "list")):
        said = cli(*words).out
        assert not set(said) & set("\x1b\x07\x9b\u202e")
    assert "\\x1b[31mred" in cli("state", "get", "n", "k", "--text").out
    assert "[bold]markup[/bold]" in cli("state", "get", "n", "k", "--text").out
    assert cli("state", "get", "n", "k", "--json").json["value"] == hostile


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(("no_color", "plain"), [("", False), ("1", True)])
def test_colours_are_for_terminals_that_want_them(monkeypatch, no_color, plain):
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("NO_COLOR", no_color)
    monkeypatch.setattr(sys, "stdout", Terminal())
    assert ("\x1b" not in output.render_table(("name",), [("value",)])) is plain


def test_output_that_cannot_be_encoded_is_escaped(monkeypatch):
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    output.prepare_streams()
    output.write(sys.stdout, "žluť \ud800")
    stream.flush()
    assert raw.getvalue() == "žluť \\ud800\n".encode()


def test_errors_are_three_lines_or_one_document(capsys):
    error = Unavailable("It is away.", why="Nobody knows.", next_call="Ask again.")
    output.report(error, json=False)
    assert capsys.readouterr().err == "agentmemo: It is away.\n  why:  Nobody knows.\n  next: Ask again.\n"
    output.report(error, json=True)
    assert json.loads(capsys.readouterr().err) == error.to_dict()


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "now"), (-5, "5 s ago"), (90, "in 1 min"), (-7200, "2 h ago"), (200_000, "in 2 d")]
)
def test_distances(seconds, text):
    assert output.distance(seconds * SECOND, 0) == text


def test_stamps_are_utc():
    assert output.stamp(1_750_000_000_000_000) == "2025-06-15 15:06:40Z"
    assert output.stamp(None) == output.stamp_ago(None) == ""


def test_leading_options_move_behind_the_command():
    assert options_last(["--json", "--url", "u", "state", "get", "--", "-k"]) == [
        "state", "get", "--json", "--url", "u", "--", "-k",
    ]  # fmt: skip
    assert options_last(["--data=x", "status"]) == ["status", "--data=x"]
    assert options_last(["state", "set", "n", "k", "--json"]) == ["state", "set", "n", "k", "--json"]


def test_times_and_grants_as_they_are_typed():
    assert read_time(None) is None
    assert read_time("2025-06-15T15:06:40") == read_time("2025-06-15T17:06:40+02:00") == 1_750_000_000_000_000
    now = SystemClock().now_us()
    assert abs(now - 7200 * SECOND - read_time("2h")) < 60 * SECOND
    with pytest.raises(InvalidInput):
        read_time("yesterday")
    assert read_grants(["state:read,runs:*@team/*,x"]) == [
        Grant(permissions=("state:read", "runs:*"), namespaces=("team/*", "x"))
    ]
    assert read_grants([]) is None
    with pytest.raises(InvalidInput):
        read_grants(["@team/*"])


@pytest.mark.parametrize(
    "words",
    [
        ["state", "get", "n"],
        ["state", "get", "n", "k", "--versoin", "1"],
        ["state", "get", "n", "k", "--version", "one"],
        ["state", "get", "n", "k", "extra"],
        ["nothing"],
        ["--url", "http://127.0.0.1:1", "--nonsense"],
    ],
)
def test_wrong_usage_ends_with_two(cli, words):
    result = cli(*words, "--json")
    assert result.status == 2
    assert result.problem["code"] == "invalid_input"
    assert "--help" in result.problem["next_call"]


@pytest.mark.parametrize("words", [[], ["state"], ["--json", "runs"]])
def test_a_noun_alone_shows_its_commands(cli, words):
    result = cli(*words)
    assert (result.status, result.err) == (0, "")
    assert "Usage: agentmemo" in result.out


@pytest.mark.parametrize("words", [["--help"], ["state", "--help"], ["runs", "resolve", "--help"], ["up", "-h"]])
def test_help_is_done_and_fits(cli, words):
    result = cli(*words, store=None)
    assert result.status == 0
    assert "Usage: agentmemo" in result.out
    assert max(map(len, result.out.splitlines())) <= 100


def test_version(cli):
    result = cli("--version", store=None)
    assert (result.status, result.out.startswith("agentmemo 0.")) == (0, True)


def test_who_calls_is_the_systems_user_where_no_variable_says_so(monkeypatch):
    for name in ("USER", "LOGNAME", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    user = pwd.getpwuid(os.getuid()).pw_name
    assert os_user() == user
    monkeypatch.setenv("USER", "ana")
    assert os_user() == "ana"
