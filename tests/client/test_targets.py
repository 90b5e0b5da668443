"""What `connect` is given is a store or the address of a plane; what is meant for the one never becomes the other."""

from __future__ import annotations

import asyncio

import pytest

import agentmemo
from agentmemo.errors import InvalidInput

BARE = ["127.0.0.1:7707", "localhost:7707", "localhost:7707/", "[::1]:7707", "name.example:8000"]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AGENTMEMO_URL", raising=False)
    monkeypatch.setenv("AGENTMEMO_DATA", str(tmp_path / "data"))
    return tmp_path


def refused(*target, **options):
    with pytest.raises(InvalidInput) as here:
        agentmemo.connect(*target, **options)
    with pytest.raises(InvalidInput) as there:
        asyncio.run(agentmemo.connect_async(*target, **options))
    assert here.value.to_dict() == there.value.to_dict()
    return here.value


@pytest.mark.parametrize("target", BARE)
def test_an_address_without_its_scheme_makes_no_file(folder, monkeypatch, target):
    assert f"http://{target}" in refused(target).next_call
    assert f"http://{target}" in refused(target, key="am_x").next_call
    monkeypatch.setenv("AGENTMEMO_URL", target)
    assert f"http://{target}" in refused(key="am_x").next_call
    assert [*folder.iterdir()] == []


@pytest.mark.parametrize("target", [None, "plane.db", "sqlite:///plane.db", "postgresql://host/name"])
def test_a_store_takes_no_key(folder, target):
    assert "http://" in refused(target, key="am_x").next_call
    assert [*folder.iterdir()] == []


def test_what_the_environment_names_has_a_scheme(folder, monkeypatch):
    monkeypatch.setenv("AGENTMEMO_URL", "store/plane.db")
    assert "sqlite:///" in refused().next_call
    monkeypatch.setenv("AGENTMEMO_URL", "sqlite:///plane.db")
    with agentmemo.connect():
        assert (folder / "plane.db").exists()


@pytest.mark.parametrize("target", ["./127.0.0.1:7707", "sqlite:///127.0.0.1:7707"])
def test_a_file_may_have_such_a_name(folder, target):
    with agentmemo.connect(target):
        assert (folder / "127.0.0.1:7707").exists()
