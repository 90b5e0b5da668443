"""The ledger, as it is printed."""

from __future__ import annotations

import json

import pytest


def test_calls_are_written_down_and_added_up(cli):
    usage = ("--input-tokens", 2000, "--output-tokens", 100, "--cached-input-tokens", 1000)
    made = cli("ledger", "record", "--model", "claude-haiku-4-5", *usage, "--workflow", "w", "--agent", "bot")
    handle, words = made.out.split("  ", 1)
    assert words == "settled, $0.0016.\n"
    span = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "home-grown", "gen_ai.usage.input_tokens": 7}
    assert cli("ledger", "record", "--otel", json.dumps(span), "--agent", "bot").out.endswith("settled, no price.\n")
    shown = cli("ledger", "get", handle).out
    for part in ("$0.0016, source local", "2000, of them 1000 cached", "$1.00 in, $5.00 out a million"):
        assert part in shown
    assert [row["model"] for row in cli("ledger", "list", "--json").json["items"]] == ["home-grown", "claude-haiku-4-5"]
    assert len(cli("ledger", "list", "--workflow", "w", "--json").json["items"]) == 1
    totals = cli("ledger", "totals").out.splitlines()
    assert [line.split()[0] for line in totals[1:]] == ["claude-haiku-4-5", "home-grown", "all"]
    assert totals[-1].split() == ["all", "2", "$0.0016", "$0.00", "1", "2007", "1000", "0", "100"]
    assert cli("ledger", "totals", "agent", "--json").json["groups"][0]["name"] == "agent:bot"
    assert cli("ledger", "totals", "colour").status == 2


@pytest.mark.usefixtures("made")
def test_only_a_person_sets_a_cap(cli):
    assert cli("ledger", "caps", "--json").json["items"] == []
    assert cli("ledger", "cap", "workspace", 5, "--agent", "bot").status == 5
    set_ = cli("ledger", "cap", "agent:bot", 2_000_000_000, "--per", "day", "--person", "ana")
    assert set_.out == "agent:bot  $2.00 per day, $2.00 left.\n"
    assert cli("ledger", "caps").out.splitlines()[1].split()[:3] == ["agent:bot", "day", "$2.00"]
    lifted = cli("ledger", "cap", "agent:bot", "none", "--per", "day", "--person", "ana")
    assert lifted.out == "agent:bot  has no cap per day any more.\n"
    assert cli("ledger", "cap", "workspace", "much").status == 2


@pytest.mark.usefixtures("made")
def test_what_a_workflow_saves(cli):
    assert cli("report", "savings", "w").status == 2
    cli(
        "ledger",
        "record",
        "--model",
        "claude-haiku-4-5",
        "--input-tokens",
        1000,
        "--output-tokens",
        10,
        "--workflow",
        "w",
    )
    shown = cli("report", "savings", "w", "--smart-model", "claude-opus-4-5", "--design-nanousd", 5)
    assert shown.out.startswith("1 runs cost $0.001050005 in all instead of $0.00525 by claude-opus-4-5:")
    found = cli("report", "savings", "w", "--smart-model", "claude-opus-4-5", "--json").json
    assert (found["headline"], found["list_price"]["smart_nanousd"]) == ("list", 5_250_000)
