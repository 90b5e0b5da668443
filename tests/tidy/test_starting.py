"""What is never used is never loaded (decision 24): a process pays at its start for what it then does."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest

import agentmemo
from agentmemo import AsyncConnection, Connection
from agentmemo.api.lookup import operation_of
from agentmemo.api.operations import OPERATIONS

LOADED = "\nimport json, sys; print(json.dumps([name for name in sys.modules]))"
# A port where nobody listens: all is ready, and the first call is refused.
ASKING = """
import contextlib, agentmemo
with contextlib.suppress(agentmemo.Unavailable), agentmemo.connect("http://127.0.0.1:9", key="am_x") as agent:
    agent.state.get("github", "last")
"""
STORING = """
import agentmemo
with agentmemo.connect(":memory:") as agent:
    agent.state.set("github", "last", 1)
"""


def test_importing_the_package_loads_no_more_than_its_errors():
    loaded = loaded_by("import agentmemo")
    assert {name for name in loaded if name.startswith("agentmemo")} == {
        "agentmemo",
        "agentmemo.client",
        "agentmemo.client.current",
        "agentmemo.connect",
        "agentmemo.errors",
    }
    assert loaded.isdisjoint({"asyncio", "inspect", "msgspec", "pathlib"})


def test_every_public_name_is_there_and_loaded_from_where_the_type_checker_looks():
    tree = ast.parse(Path(agentmemo.__file__).read_text(encoding="utf-8"))
    checked = {
        alias.name: node.module
        for block in tree.body
        if isinstance(block, ast.If)
        for node in block.body
        for alias in node.names
    }
    assert checked == agentmemo._HOMES
    assert set(agentmemo.__all__) <= set(dir(agentmemo))
    assert all(getattr(agentmemo, name).__name__ == name for name in agentmemo.__all__)


def test_who_asks_a_server_loads_the_nouns_it_asks_about_and_no_engine():
    loaded = loaded_by(ASKING)
    nouns = {name for name in loaded if name.startswith("agentmemo.client._sync.")}
    assert nouns == {f"agentmemo.client._sync.{file}" for file in ("connection", "pages", "plane", "state")}
    assert not any(name.startswith(("agentmemo.engine", "agentmemo.store", "agentmemo.llm")) for name in loaded)
    assert loaded.isdisjoint({"asyncio", "apsw", "agentmemo.api.operations", "agentmemo.model.workflows"})


def test_a_synchronous_plane_loads_no_event_loop_and_no_models():
    loaded = loaded_by(STORING)
    assert loaded.isdisjoint({"asyncio", "agentmemo.embedded_async", "agentmemo.client._async", "agentmemo.llm.config"})


@pytest.mark.parametrize("connection", [Connection, AsyncConnection])
def test_every_part_of_a_connection_is_of_the_declared_kind(connection):
    for name, declared in connection.__annotations__.items():
        part = getattr(connection(SimpleNamespace(equipment=None), "ana"), name)
        assert declared == f"Part[{type(part).__name__}]"


def test_threads_that_come_first_together_share_the_part():
    connection = Connection(SimpleNamespace(equipment=None), "ana")
    with ThreadPoolExecutor(8) as pool:
        parts = list(pool.map(lambda _: connection.workflows, range(64)))
    assert len({id(part) for part in parts}) == 1


def test_each_request_finds_its_operation_by_its_noun():
    assert [operation_of(operation.request) for operation in OPERATIONS] == list(OPERATIONS)


def loaded_by(code):
    answer = subprocess.run([sys.executable, "-c", code + LOADED], capture_output=True, text=True, check=True)
    return set(json.loads(answer.stdout.splitlines()[-1]))
