"""What an error says to do next can be done, in the words of the door through which it comes."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

import pytest

import agentmemo
from agentmemo import Connection, RunHeld
from agentmemo.api.next_calls import in_http, worded
from agentmemo.cli.verbs import in_shell
from agentmemo.clock import SECOND, iso

SOURCES = Path(agentmemo.__file__).parent
CALL = re.compile(r"\bagent\.([a-z_.]+)\(")


def test_a_call_is_said_as_each_door_says_it():
    for python, http, shell in (
        ("agent.state.list('a/b')", "GET /v1/state/a%2Fb", "agentmemo state list a/b"),
        ("agent.state.list(namespace)", "GET /v1/state/{namespace}", "agentmemo state list NAMESPACE"),
        ("agent.state.entry('n', 'k\\'s', version=3)", "GET /v1/state/n/k%27s?version=3",
         """agentmemo state get n 'k'"'"'s' --version 3"""),
        ("agent.runs.cancel('run_1', reason)", 'POST /v1/runs/run_1/cancellation with {"reason": "..."}',
         "agentmemo runs cancel run_1 REASON"),
        ("agent.run(name, key)", 'POST /v1/runs with {"name": "...", "worker": "...", "key": "..."}',
         "agent.run(name, key)"),
        ("agent.unheard.of('x')", "agent.unheard.of('x')", "agent.unheard.of('x')"),
        ("agent.state.list('a' if)", "agent.state.list('a' if)", "agent.state.list('a' if)"),
    ):  # fmt: skip
        assert worded(f"See {python}, then.", in_http) == f"See {http}, then."
        assert worded(f"See {python}, then.", in_shell) == f"See {shell}, then."


def test_every_call_that_a_text_names_is_there():
    named = {
        (file.name, found[1])
        for folder in ("engine", "model", "client/_async")
        for file in (SOURCES / folder).rglob("*.py")
        for line in file.read_text(encoding="utf-8").splitlines()
        if not line.lstrip().startswith("#") and line.count('"') > 1
        for found in CALL.finditer(line)
    }
    assert len(named) > 50
    connection = Connection(SimpleNamespace(equipment=None), "ana")
    for file, call in named:
        part, _, method = call.partition(".")
        home = getattr(connection, part, None) if method else connection
        assert hasattr(home, method or part), f"{file}: agent.{call}"


def test_over_http_the_next_call_is_a_path(http):
    http.put("/v1/state/ns/k", {"value": 1})
    for answer, message, next_call in (
        (http.get("/v1/state/ns/none"), "no entry", "List what there is: GET /v1/state/ns."),
        (http.get("/v1/state/ns/k?version=9"), "version 9", "See its versions: GET /v1/history/ns/k."),
        (http.get("/v1/runs/run_x"), "no run", "List what there is: GET /v1/runs."),
        (http.get("/v1/escalations/esc_x"), "no escalation", "List what there is: GET /v1/escalations."),
        (http.get("/v1/events/evt_x"), "no event", "List what there is: GET /v1/events."),
        (http.call("DELETE", "/v1/state/ns/k?if_version=7"), "version 1, not 7",
         "Read GET /v1/state/ns/k, decide again, and send if_version=1."),
    ):  # fmt: skip
        assert message in answer.data["message"]
        assert answer.data["next_call"] == next_call
    assert answer.data["in_python"] == "Read agent.state.entry('ns', 'k'), decide again, and send if_version=1."


@pytest.mark.parametrize("body", [b'"\\ud800"', b'"\\udc00"'])
def test_half_a_surrogate_pair_is_named(http, body):
    answer = http.put("/v1/state/ns/k", b'{"value": "\\ud83d\\ude00", "origin": ' + body + b"}")
    assert "half of a surrogate pair at byte 37" in answer.data["message"]


def test_who_holds_a_run_over_http_is_believed_by_its_lease(http, plane):
    worker = http.call("POST", "/v1/workers", {"lease_seconds": 10}).data["id"]
    run = http.call("POST", "/v1/runs", {"name": "job", "key": "1", "worker": worker}).data["run"]["id"]
    with pytest.raises(RunHeld) as held, plane.connect("other").run("job", key="1"):
        pass
    assert held.value.message == f"Run {run} (job/1) is held by agent:ann."
    ends = iso(plane.clock.now_us() + 10 * SECOND)
    assert held.value.why.startswith(f"Its lease runs until {ends}, ")
    told = plane.connect("other").runs.explain(run)
    assert "It is held by agent:ann. If that dies, its lease ends and the run is taken over. Since " in told.text
    mine = plane.connect("mine")
    with mine.run("job", key="2"), pytest.raises(RunHeld) as held, plane.connect("other").run("job", key="2"):
        pass
    assert "its lease" not in held.value.why.lower()


def test_what_has_ended_is_not_said_to_be_somebody_elses(http):
    worker = http.call("POST", "/v1/workers").data["id"]
    run = http.call("POST", "/v1/runs", {"name": "job", "worker": worker}).data["run"]
    claim = {"AgentMemo-Claim": f"{run['id']}@{run['epoch']}"}
    ended = f"/v1/runs/{run['id']}/completion"
    assert http.call("POST", ended, {"result": 1}, headers=claim).status == 200
    again = http.call("POST", ended, {"result": 1}, headers=claim)
    assert (again.code, again.data["why"]) == (
        "lease_lost", "The run is completed at epoch 1; what has ended takes no more writes.",
    )  # fmt: skip
    assert again.data["next_call"] == f"See what came of it: GET /v1/runs/{run['id']}."
