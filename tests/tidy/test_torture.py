"""The long forms start what they say: they run for half an hour, and seldom, so nobody would notice."""

from __future__ import annotations

import importlib.util
import subprocess
from pathlib import Path

import pytest

TESTS = Path(__file__).parent.parent


@pytest.fixture
def torture(monkeypatch):
    """The program, and what it would have started."""
    description = importlib.util.spec_from_file_location("torture", TESTS / "torture.py")
    module = importlib.util.module_from_spec(description)
    description.loader.exec_module(module)
    started = []

    def run(command, env, check):
        started.append((command, env))
        return subprocess.CompletedProcess(command, len(started) == 2)

    monkeypatch.setattr(module.subprocess, "run", run)
    module.started = started
    return module


def test_each_form_names_what_exists(torture):
    for program, option in torture.PROGRAMS.values():
        assert option in (TESTS / program).read_text(encoding="utf-8")
    for name, arguments in torture.TESTS.items():
        read = "".join(path.read_text(encoding="utf-8") for path in TESTS.rglob("*.py"))
        assert f"AGENTMEMO_TORTURE_{name}" in read
        assert any((TESTS / argument).exists() for argument in arguments)


def test_sizes_and_the_seed_are_handed_on(torture):
    assert torture.main(["KILLS=3", "POWER=", "MACHINES=5", "SEED=7", "--", "-v"]) == 1, "the second failed"
    (kills, _), (machines, environment) = torture.started
    assert kills[2:] == ["--kills", "3", "--seed", "7", "-v"]
    assert machines[-1] == "-v"
    assert (environment["AGENTMEMO_TORTURE_MACHINES"], environment["AGENTMEMO_CRASH_SEED"]) == ("5", "7")


def test_nothing_said_is_ten_minutes_of_chaos(torture):
    assert torture.main(["KILLS=", "SEED="]) == 0
    assert torture.started[0][1]["AGENTMEMO_TORTURE_SECONDS"] == "600"


def test_what_is_unknown_is_refused(torture, capsys):
    assert torture.main(["PAIN=3"]) == 2
    assert "KILLS" in capsys.readouterr().err
