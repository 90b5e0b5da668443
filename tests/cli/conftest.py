"""The command line, called in this process on a store of the test's own."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from forked import Forked, completed

import agentmemo
from agentmemo.cli.main import main
from agentmemo.engine.dispatch import Engine

COMMAND = [sys.executable, "-m", "agentmemo"]
TIMEOUT = 60


@dataclass(frozen=True)
class Result:
    status: int
    out: str
    err: str

    @property
    def json(self):
        """The one document on standard output."""
        return json.loads(self.out)

    @property
    def problem(self):
        """The one document on standard error."""
        assert self.out == ""
        return json.loads(self.err)


@pytest.fixture
def data(tmp_path):
    return tmp_path / "data"


@pytest.fixture
def cli(data, capsys, monkeypatch):
    """`cli("state", "get", ...)` as it would be typed, on the test's store; `stdin` is bytes."""

    def call(*words, stdin=None, store=data):
        if stdin is not None:
            monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        capsys.readouterr()
        status = main([*(("--data", str(store)) if store else ()), *map(str, words)])
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        return Result(status, said.out, said.err)

    return call


class Started(Forked):
    """A command that goes on. What it said on its standard error is in `stderr`."""

    def __init__(self, words, environment, folder, errors):
        with errors.open("wb") as written:
            super().__init__(words, environment, written, folder)
        self.stderr = errors.open("rb")

    def end(self):
        self.kill()
        self.wait()
        self.close()
        self.stderr.close()


@pytest.fixture
def environment(data):
    return os.environ | {"AGENTMEMO_DATA": str(data), "PYTHONUNBUFFERED": ""}


@pytest.fixture
def run(environment):
    """Run a command as a process of its own, to its end, on the test's store."""

    def call(*words, stdin=b"", env=None, cwd=None):
        return completed(["-m", "agentmemo", *words], environment | (env or {}), cwd, stdin=stdin, seconds=TIMEOUT)

    return call


@pytest.fixture
def run_anew(environment):
    """The same in an interpreter that has just been started: for what depends on how it begins and ends."""

    def call(*words, env=None, **options):
        given = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "timeout": TIMEOUT} | options
        return subprocess.run([*COMMAND, *map(str, words)], check=False, env=environment | (env or {}), **given)

    return call


@pytest.fixture
def started(environment, tmp_path):
    """Start a command that goes on; whatever still runs is killed at the end."""
    processes = []

    def call(*words, env=None, cwd=None):
        errors = tmp_path / f"errors-{len(processes)}"
        processes.append(Started(["-m", "agentmemo", *words], environment | (env or {}), cwd, errors))
        return processes[-1]

    yield call
    for process in processes:
        process.end()


@pytest.fixture
def plane(started, run):
    """A server on a free port; gives what it announced, and a command that asks it with a key."""
    process = started("up", "--port", "0", "--json")
    announced = json.loads(process.stdout.readline())

    def ask(*words, key=None):
        variable = {"AGENTMEMO_KEY": key} if key else {}
        words = words if key else (*words, "--key-file", announced["agent_key_file"])
        return run(*words, env={"AGENTMEMO_URL": announced["url"]} | variable)

    return process, announced, ask


@pytest.fixture
def made(data):
    """The test's store is there, and empty: who only reads makes none."""
    with agentmemo.connect(str(data)):
        yield


@pytest.fixture
def agent(data):
    """A program of agent `worker` on the same store."""
    with agentmemo.connect(str(data), agent="worker") as connection:
        yield connection


@pytest.fixture
def performed(monkeypatch):
    """The (operation, caller) pairs that reach the engine."""
    seen = []
    admit = Engine.admit

    def record(self, operation, caller, request):
        seen.append((operation, caller, request))
        return admit(self, operation, caller, request)

    monkeypatch.setattr(Engine, "admit", record)
    return seen


@pytest.fixture
def sources():
    return Path(agentmemo.__file__).parent
