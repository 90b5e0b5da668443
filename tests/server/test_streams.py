"""Long-polls and server-sent events: nothing is missed, nothing comes twice, and everything ends in order."""

from __future__ import annotations

import asyncio

import pytest
from served import SECONDS

from agentmemo.api.operations import BY_NAME
from agentmemo.engine import audit
from agentmemo.model.access import EVERYTHING, Caller, RevokeKey
from agentmemo.server import streams

ADMIN = Caller(kind="service", name="tests", grants=(EVERYTHING,), door="tests")
CHANGES = "/v1/changes/ns"


async def put(http, key, value):
    answer = await http.send("PUT", f"/v1/state/ns/{key}", {"value": value})
    assert answer.status == 200
    return answer.data["revision"]


async def told(http, revision):
    """Until whom it concerns was woken for everything up to there; a stream may have seen it before that."""
    hub = http.app.hub
    while audit.revision(hub._read_up_to.get("default", 0)) < revision or hub._telling:  # noqa: ASYNC110 - as `waiting`
        await asyncio.sleep(0)


async def delete(http, key):
    return await http.send("DELETE", f"/v1/state/ns/{key}")


def test_changes_come_in_order_as_they_happen(http):
    async def scenario():
        before = await put(http, "a", 0)
        async with http.stream(f"{CHANGES}?after={before}") as stream:
            first = await stream.block()
            sent = [await put(http, f"k{n}", n) for n in range(5)]
            await delete(http, "k0")
            events = [await stream.event() for _ in range(6)]
        assert (stream.status, stream.content_type) == (200, "text/event-stream; charset=utf-8")
        assert first == {"retry": "1000", "id": str(before)}
        assert [int(event["id"]) for event in events[:5]] == sent
        assert [event["event"] for event in events] == ["set"] * 5 + ["delete"]
        assert [event["data"]["entry"]["value"] for event in events[:5]] == list(range(5))

    http.runner.run(scenario())


def test_last_event_id_resumes_without_a_gap_or_a_repetition(http):
    async def scenario():
        start = await put(http, "a", 0)
        expected, got, last = [], [], str(start)
        for leg in range(6):
            expected += [await put(http, f"between{leg}-{n}", n) for n in range(leg)]
            async with http.stream(CHANGES, {"last-event-id": last}) as stream:
                expected.append(await put(http, f"during{leg}", leg))
                while len(got) < len(expected):
                    event = await stream.event()
                    got.append(int(event["id"]))
                    last = stream.last_id
        assert got == expected

    http.runner.run(scenario())


def test_an_id_never_runs_ahead_of_its_event(http):
    async def scenario():
        revision = await put(http, "a", 1)
        async with http.stream(f"{CHANGES}?after=0") as stream:
            assert await stream.block() == {"retry": "1000"}
            assert int((await stream.block())["id"]) == revision

    http.runner.run(scenario())


def test_many_changes_are_paged_through(http):
    async def scenario():
        sent = [await put(http, f"k{n}", n) for n in range(25)]
        async with http.stream(f"{CHANGES}?after=0&limit=4") as stream:
            assert [int((await stream.event())["id"]) for _ in sent] == sent

    http.runner.run(scenario())


def test_a_prefix_filters_and_heartbeats_move_the_id_along(http, monkeypatch):
    monkeypatch.setattr(streams, "HEARTBEAT_SECONDS", 0.01)

    async def scenario():
        await put(http, "a-1", 1)
        async with http.stream(f"{CHANGES}?prefix=a-") as stream:
            await stream.block()
            other = await put(http, "b-1", 1)
            while stream.last_id != str(other):
                assert "data" not in await stream.block()
        assert stream.comments > 0

    http.runner.run(scenario())


def test_the_trail_is_streamed(http):
    async def scenario():
        await put(http, "old", 1)
        async with http.stream("/v1/events?type=state.*") as stream:
            await stream.block()
            await http.send("POST", "/v1/workers", {})
            sent = [await put(http, f"k{n}", n) for n in range(3)]
            events = [await stream.event() for _ in sent]
        assert [event["data"]["revision"] for event in events] == sent == [int(event["id"]) for event in events]
        async with http.stream("/v1/events?type=state.*&limit=1", {"last-event-id": "0"}) as stream:
            resumed = [await stream.event() for _ in range(4)]
        assert resumed[1:] == events

    http.runner.run(scenario())


def test_a_run_is_streamed_to_its_end(http, plane):
    async def scenario():
        worker = (await http.send("POST", "/v1/workers", {})).data["id"]
        run = (await http.send("POST", "/v1/runs", {"name": "r", "worker": worker})).data["run"]
        claim = {"agentmemo-claim": f"{run['id']}@{run['epoch']}"}
        path = f"/v1/runs/{run['id']}"
        async with http.stream(path) as stream:
            assert (await stream.event())["data"]["state"] == "running"
            plane.clock.advance(1)
            await http.send("PUT", f"{path}/progress", {"percent": 50.0}, headers=claim)
            assert (await stream.event())["data"]["percent"] == 50
            plane.clock.advance(1)
            await http.send("POST", f"{path}/completion", {"result": {"ok": True}}, headers=claim)
            last = await stream.event()
            assert last["data"]["result"] == {"ok": True}
            assert await stream.event() is None
        async with http.stream(path, {"last-event-id": last["id"]}) as stream:
            assert await stream.event() is None

    http.runner.run(scenario())


def test_a_question_is_streamed_to_its_end(http, plane):
    async def scenario():
        body = {"severity": "high", "reason": "Go?", "wait": False}
        asked = (await http.send("POST", "/v1/escalations", body)).data
        ana = await asyncio.to_thread(plane.connect, person="ana")
        async with http.stream(f"/v1/escalations/{asked['id']}") as stream:
            first = await stream.event()
            assert (first["event"], first["data"]["state"]) == ("escalation", "open")
            plane.clock.advance(1)
            await asyncio.to_thread(ana.inbox.acknowledge, asked["id"])
            assert (await stream.event())["data"]["holder"] == "person:ana"
            plane.clock.advance(1)
            await asyncio.to_thread(ana.inbox.answer, asked["id"], "answer", comment="go")
            last = await stream.event()
            assert last["data"]["answer"]["comment"] == "go"
            assert await stream.event() is None

    http.runner.run(scenario())


def test_a_revoked_key_ends_its_stream(http, key, plane):
    async def scenario():
        other = key(actor="bob")
        await put(http, "a", 1)
        async with http.stream(f"{CHANGES}?after=0", key=other.secret) as stream:
            await stream.event()
            plane.engine.call(BY_NAME["key.revoke"], ADMIN, RevokeKey(id=other.id))
            plane.clock.advance(1)
            await put(http, "b", 2)
            last = await stream.event()
            assert (last["event"], last["data"]["code"]) == ("problem", "not_authenticated")
            assert await stream.event() is None

    http.runner.run(scenario())


def test_a_key_revoked_during_a_look_is_shown_nothing_of_it(http, key, plane, monkeypatch):
    async def scenario():
        other = key(actor="bob")
        await put(http, "a", 1)
        perform = streams.perform

        async def revoked_on_the_way(engine, operation, caller, request):
            if operation.name == "state.watch" and request.after:
                plane.engine.call(BY_NAME["key.revoke"], ADMIN, RevokeKey(id=other.id))
                plane.clock.advance(1)
                await put(http, "b", 2)
            return await perform(engine, operation, caller, request)

        monkeypatch.setattr(streams, "perform", revoked_on_the_way)
        async with http.stream(f"{CHANGES}?after=0", key=other.secret) as stream:
            assert (await stream.event())["event"] == "set"
            last = await stream.event()
            assert (last["event"], last["data"].get("code")) == ("problem", "not_authenticated")
            assert await stream.event() is None

    http.runner.run(scenario())


def test_a_fault_in_a_stream_shows_a_number(http, monkeypatch):
    perform = streams.perform

    async def fail_at_the_second_look(engine, operation, caller, request):
        if operation.name == "state.watch" and request.after:
            raise RuntimeError("the pepper is 1234")
        return await perform(engine, operation, caller, request)

    monkeypatch.setattr(streams, "perform", fail_at_the_second_look)

    async def scenario():
        await put(http, "a", 1)
        async with http.stream(f"{CHANGES}?after=0") as stream:
            assert (await stream.event())["event"] == "set"
            last = await stream.event()
            assert last["data"]["code"] == "internal"
            assert "pepper" not in str(last)

    http.runner.run(scenario())


@pytest.mark.parametrize(
    ("path", "headers", "status", "code"),
    [
        (CHANGES, {"last-event-id": "abc"}, 400, "invalid_input"),
        (CHANGES, {"last-event-id": "99"}, 410, "revision_gone"),
        ("/v1/events", {"last-event-id": "99"}, 410, "revision_gone"),
        ("/v1/pending-handoffs", {"last-event-id": "99"}, 410, "revision_gone"),
        (f"{CHANGES}?limit=0", {}, 400, "invalid_input"),
        ("/v1/events?newest_first=true", {}, 400, "invalid_input"),
        ("/v1/runs/run_0000000000000000", {}, 404, "not_found"),
    ],
)
def test_what_cannot_be_streamed_is_refused_with_a_status(http, path, headers, status, code):
    answer = http.get(path, headers=headers | {"accept": "text/event-stream"})
    assert (answer.status, answer.code) == (status, code)


def test_a_compacted_revision_is_gone(http, plane):
    http.put("/v1/state/ns/k", {"value": 1})
    plane.engine.database.write(lambda tx: tx.write("workspace_set_floor", id=1, floor=(1 << 40) | 5))
    for headers in ({}, {"accept": "text/event-stream"}):
        answer = http.get(f"{CHANGES}?after=1", headers=headers)
        assert (answer.status, answer.code, answer.data["details"]) == (410, "revision_gone", {"oldest": 5})


def test_who_waits_while_the_store_is_restored_behind_them_is_told(http, monkeypatch):
    last_position = audit.last_position

    async def scenario():
        async with http.stream(f"{CHANGES}?after={await put(http, 'a', 1)}") as stream:
            await stream.block()
            newest = await put(http, "b", 2)
            await stream.event()
            await told(http, newest)
            waiting = asyncio.create_task(http.send("GET", f"{CHANGES}?after={newest}&wait=60"))
            await http.waiting(2)
            monkeypatch.setattr(audit, "last_position", lambda tx, workspace: last_position(tx, workspace) - 1)
            http.app.hub._committed()
            answer = await asyncio.wait_for(waiting, SECONDS / 2)
            told_last = await stream.event()
        assert (answer.status, answer.code, answer.data["details"]) == (410, "revision_gone", {"newest": newest - 1})
        assert (told_last["event"], told_last["data"]["code"]) == ("problem", "revision_gone")

    http.runner.run(scenario())


def test_a_long_poll_answers_at_the_commit(http):
    async def scenario():
        before = await put(http, "a", 1)
        waiting = asyncio.create_task(http.send("GET", f"{CHANGES}?after={before}&wait=60"))
        await http.waiting(1)
        assert not waiting.done()
        revision = await put(http, "b", 2)
        answer = await asyncio.wait_for(waiting, SECONDS / 2)
        assert [change["revision"] for change in answer.data["changes"]] == [revision]

    http.runner.run(scenario())


def test_a_long_poll_ends_empty_when_its_time_is_over(http):
    revision = http.put("/v1/state/ns/a", {"value": 1}).data["revision"]
    answer = http.get(f"{CHANGES}?after={revision}&wait_seconds=0.01")
    assert (answer.status, answer.data["changes"]) == (200, [])


def test_a_long_poll_that_stood_in_line_tells_what_is_true_at_its_end(http, plane):
    async def scenario():
        task = (await http.send("POST", "/v1/handoffs", {"to_agent": "ben"})).data["id"]
        receipt, wait = f"/v1/handoffs/{task}/receipt", {"wait_seconds": 0.3}
        waiting = [asyncio.create_task(http.send("POST", receipt, wait)) for _ in range(2)]
        await http.waiting(1)
        ben = await asyncio.to_thread(plane.connect, "ben")
        await asyncio.to_thread(ben.handoff.claim, task)
        return [await each for each in waiting]

    assert [answer.data["state"] for answer in http.runner.run(scenario())] == ["claimed"] * 2


def test_a_claim_waits_for_work(http):
    async def scenario():
        worker = (await http.send("POST", "/v1/workers", {})).data["id"]
        body = {"worker": worker, "tasks": ["t"], "wait_seconds": 60}
        waiting = asyncio.create_task(http.send("POST", "/v1/claims", body))
        await http.waiting(1)
        run = (await http.send("POST", "/v1/tasks/t/runs", {"inputs": {"n": 1}})).data["run"]
        answer = await asyncio.wait_for(waiting, SECONDS / 2)
        assert answer.data["claimed"]["run"]["id"] == run["id"]

    http.runner.run(scenario())


def test_stopping_ends_what_waits(http):
    async def scenario():
        before = await put(http, "a", 1)
        waiting = asyncio.create_task(http.send("GET", f"{CHANGES}?after={before}&wait=60"))
        async with http.stream(CHANGES) as stream:
            await stream.block()
            await http.waiting(2)
            http.app.stop()
            assert await stream.event() is None
            assert (await asyncio.wait_for(waiting, SECONDS / 2)).data["changes"] == []
        assert (await http.send("GET", "/readyz")).status == 503
        assert (await http.send("GET", "/healthz")).status == 200

    http.runner.run(scenario())


def test_hanging_up_leaves_nothing_behind(http):
    async def scenario():
        async with http.stream(CHANGES) as stream:
            await stream.block()
            assert "agentmemo_streams 1" in (await http.send("GET", "/metrics")).body.decode()
        assert http.app.hub._waiting == 0
        assert "agentmemo_streams 0" in (await http.send("GET", "/metrics")).body.decode()

    http.runner.run(scenario())


@pytest.mark.parametrize("turns", range(6))
def test_who_hangs_up_just_as_something_happens_is_missed_too(http, turns):
    """Its place would be taken for ever: nobody is left who could hang up once more."""

    async def scenario():
        async with http.stream(CHANGES) as stream:
            await stream.block()
            (topic,) = http.app.hub._topics.values()
            while not topic._wake._waiters:  # noqa: ASYNC110 - as `waiting`
                await asyncio.sleep(0)
            stream.hang_up()
            for _ in range(turns):
                await asyncio.sleep(0)
            topic.tell()
        assert http.app.hub._waiting == 0

    http.runner.run(scenario())


def test_a_watcher_is_woken_by_its_own_namespace_alone(http):
    async def scenario():
        await http.send("PUT", "/v1/state/other/k", {"value": 0})
        first = await put(http, "a", 0)
        async with http.stream(f"{CHANGES}?after={first}") as stream, http.stream("/v1/changes/other") as other:
            await stream.block()
            await other.block()
            # The first commit is told to everybody: what came before it is not known.
            first = await put(http, "a", 1)
            assert (await stream.event())["data"]["entry"]["value"] == 1
            await told(http, first)
            topics = {place[1]: topic for place, topic in http.app.hub._topics.items()}
            known = topics["ns"].generation
            for number in range(5):
                sent = (await http.send("PUT", "/v1/state/other/k", {"value": number})).data["revision"]
            while int((await other.event())["id"]) < sent:
                pass
            await told(http, sent)
            assert topics["ns"].generation == known
            await put(http, "a", 2)
            assert (await stream.event())["data"]["entry"]["value"] == 2

    http.runner.run(scenario())
