"""What one caller may cost: values in a body, and requests in a second."""

from __future__ import annotations

import asyncio
import threading

import msgspec
import pytest
from served import SECONDS

from agentmemo.server import bodies, decoding
from agentmemo.server.bodies import SMALL_BYTES, VALUE_BYTES, count_values
from agentmemo.settings import Settings
from agentmemo.testing import ManualPlane

PATH = "/v1/state/ns/k"
VALUES = 40_000


def served_with(tmp_path, **settings):
    return ManualPlane(tmp_path / "agentmemo.db", settings=Settings(**settings))


class TestValues:
    @pytest.fixture
    def plane(self, tmp_path):
        made = served_with(tmp_path, request_values_max=VALUES, bodies_bytes_max=2 * VALUES * VALUE_BYTES)
        yield made
        made.close()

    @pytest.mark.parametrize("unit", ["0", "{}", "[]", '""', '"k":0', '{"a":[0]}'])
    def test_more_values_than_may_be_are_refused(self, http, unit):
        inside = ",".join([unit] * (VALUES + 1))
        whole = f"{{{inside}}}" if ":" in unit and not unit.startswith("{") else f"[{inside}]"
        answer = http.put(PATH, f'{{"value":{whole}}}'.encode())
        assert (answer.status, answer.code, answer.data["details"]) == (413, "limit_exceeded", {"limit": VALUES})
        assert answer.data["next_call"]

    @pytest.mark.parametrize("text", [",[{" * VALUES, '\\",' * VALUES * 2, "\\\\" * VALUES * 2])
    def test_what_stands_in_a_text_is_no_value(self, http, text):
        body = f'{{"value":"{text}"}}'.encode()
        assert http.put(PATH, body).status == 200
        assert http.get(PATH).data["value"] == msgspec.json.decode(body)["value"]

    def test_bytes_that_are_no_json_are_given_up_soon(self, http):
        assert http.put(PATH, b'""' * SMALL_BYTES + b"," * VALUES * 2).code == "invalid_input"

    def test_what_values_will_take_is_counted_as_held(self, http, app):
        """Two of the largest have room at a time, and a third is to come back."""
        with app.room.body() as one, app.room.body() as other:
            one.take(VALUES * VALUE_BYTES)
            other.take(VALUES * VALUE_BYTES // 2)
            body = b'{"value":[' + b",".join([b"0"] * (VALUES - 1)) + b"]}"
            answer = http.put(PATH, body)
            assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        assert http.put(PATH, body).status == 200
        assert app.room.body_bytes == 0


def test_others_are_answered_while_a_large_body_is_decoded(http, monkeypatch):
    entered, answered = threading.Event(), threading.Event()
    decode = decoding.decode_request

    def slowly(*given):
        if len(given[-1]) > SMALL_BYTES:
            entered.set()
            assert answered.wait(SECONDS)
        return decode(*given)

    monkeypatch.setattr(decoding, "decode_request", slowly)

    async def scenario():
        large = asyncio.ensure_future(http.send("PUT", PATH, b'{"value":"' + b"x" * SMALL_BYTES + b'"}'))
        assert await asyncio.to_thread(entered.wait, SECONDS)
        probe = await http.send("PUT", "/v1/state/ns/probe", b'{"value":1}')
        assert (probe.status, large.done()) == (200, False)
        answered.set()
        assert (await large).status == 200

    http.runner.run(scenario())


@pytest.mark.parametrize("value", [[], [[]], {}, {"a": 1}, [1, 2], "a,b", {"a": [{"b": ","}], "c": [[], {}]}, 1])
def test_values_are_items_and_members(value):
    def items(value):
        inner = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else None
        return 0 if inner is None else max(1, len(inner)) + sum(map(items, inner))

    body = msgspec.json.encode(value)
    assert bodies._marks_outside_texts(body, 100) == items(value)
    assert count_values(body, 100) >= items(value)


class TestPace:
    @pytest.fixture
    def plane(self, tmp_path):
        made = served_with(tmp_path, requests_per_second=2.0)
        yield made
        made.close()

    def test_a_key_that_is_too_fast_is_told_when_to_come_back(self, http, plane, key):
        for _ in range(2):
            assert http.get("/v1/whoami").status == 200
        answer = http.put(PATH, {"value": 1})
        assert (answer.status, answer.code, answer.headers["retry-after"]) == (429, "unavailable", "1")
        assert (answer.data["retry_safe"], answer.data["details"]) == (True, {"retry_after_seconds": 0.5})
        other = key("agent", "ben").secret
        assert http.get("/v1/whoami", key=other).status == 200
        plane.advance(0.5)
        assert http.put(PATH, {"value": 1}).data["version"] == 1
        assert http.get("/v1/whoami").status == 429
        assert 'operation="access.whoami",code="unavailable"} 1' in http.get("/metrics").body.decode()

    def test_who_holds_work_may_always_say_so(self, http):
        worker = http.post("/v1/workers", {}).data["id"]
        for _ in range(5):
            assert http.post(f"/v1/workers/{worker}/heartbeat", {}).status == 200


def test_there_is_no_pace_where_none_is_set(http):
    for _ in range(50):
        assert http.get("/v1/whoami").status == 200
