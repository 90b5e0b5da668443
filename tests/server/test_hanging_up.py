"""Who hangs up claims nothing: a run that waits for its answer is free when its process is gone."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import msgspec
from served import SECONDS

import agentmemo
from agentmemo.server import app as app_module
from agentmemo.server import streams

ASKING = """
import sys
import agentmemo

agent = agentmemo.connect(sys.argv[1], key=sys.argv[2])
with agent.run("deploy", "1") as run:
    print("asking", flush=True)
    agent.escalate(severity="high", reason="Go?")
"""


async def parked(http, key):
    """A run that waits for a signal, and the path of it."""
    worker = (await http.send("POST", "/v1/workers", {})).data["id"]
    body = {"name": "r", "key": key, "worker": worker}
    run = (await http.send("POST", "/v1/runs", body)).data["run"]
    claim = {"agentmemo-claim": f"{run['id']}@{run['epoch']}"}
    wait = {"name": "go", "key": "1", "kind": "signal", "signal": "go"}
    await http.send("POST", f"/v1/runs/{run['id']}/waits", wait, headers=claim)
    return f"/v1/runs/{run['id']}", {"epoch": run["epoch"], "worker": worker, "wait_seconds": 60}


def resume(http, path, body):
    """The request as a task, and how its caller hangs up."""
    gone, inbox = asyncio.Event(), [{"type": "http.request", "body": msgspec.json.encode(body)}]

    async def receive():
        if inbox:
            return inbox.pop()
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(_message):
        """Nobody is there."""

    scope = http.scope("POST", f"{path}/resumption") | {"client": ("127.0.0.1", 1)}
    return asyncio.create_task(http.app(scope, receive, send)), gone


def test_who_hung_up_claims_nothing(http):
    async def scenario():
        path, body = await parked(http, "1")
        task, gone = resume(http, path, body)
        await http.waiting(1)
        gone.set()
        await asyncio.wait_for(task, SECONDS / 2)
        assert http.app.hub._waiting == 0
        await http.send("POST", f"{path}/signals", {"name": "go"})
        assert (await http.send("GET", path)).data["state"] == "pending"

    http.runner.run(scenario())


def test_what_was_claimed_while_the_caller_hung_up_is_free_at_once(http, monkeypatch):
    async def scenario():
        path, body = await parked(http, "1")
        task, gone = resume(http, path, body)
        await http.waiting(1)
        plain = streams.perform

        async def perform(engine, operation, caller, request, **options):
            answer = await plain(engine, operation, caller, request, **options)
            if operation.name == app_module.RESUME and answer.outcome != "waiting":
                gone.set()
                await asyncio.sleep(0)
                await asyncio.sleep(0)
            return answer

        monkeypatch.setattr(streams, "perform", perform)
        await http.send("POST", f"{path}/signals", {"name": "go"})
        await asyncio.wait_for(task, SECONDS / 2)
        found = (await http.send("GET", path)).data
        assert (found["state"], found["epoch"]) == ("pending", body["epoch"] + 1)

    http.runner.run(scenario())


def test_the_run_of_a_killed_client_is_free_when_its_answer_comes(start):
    server = start()
    with (
        agentmemo.connect(server.url, key=server.key) as agent,
        agentmemo.connect(server.url, key=server.started["person_key"]) as ana,
    ):
        process = subprocess.Popen(
            [sys.executable, "-c", ASKING, server.url, server.key], stdout=subprocess.PIPE, text=True
        )
        try:
            assert process.stdout.readline() == "asking\n"
            run = agent.runs.find("deploy", "1")
            while run.state != "waiting":
                run = agent.runs.get(run.id, after=run, wait_seconds=10)
            (asked,) = ana.inbox.list()
        finally:
            process.kill()
            process.communicate()
        ana.inbox.answer(asked.id, "answer", comment="go")
        assert agent.runs.get(run.id).state == "pending"
        with agent.run("deploy", "1") as taken:
            assert agent.escalate(severity="high", reason="Go?").comment == "go"
            # The dead process did not come in between.
            assert agent.runs.get(taken.id).epoch == run.epoch + 1
