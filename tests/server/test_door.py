"""What arrives at the door: routes, bodies, queries, limits."""

from __future__ import annotations

import json

import msgspec
import pytest

from agentmemo.api.operations import OPERATIONS
from agentmemo.server.routes import Routes
from agentmemo.settings import Settings
from agentmemo.testing import ManualPlane

ODD_KEYS = ["a/b/c", "..", ".", "a b+c", "ä€😀", "%2F", "?x=1&y#z", "k\u00a0", "'\";--", "a\\b", "~!$&'()*+,;=:@"]


def test_every_operation_has_its_route():
    routes = Routes()
    for operation in OPERATIONS:
        path = "/v1" + operation.path.replace("{", "x").replace("}", "")
        route, _ = routes.find(operation.method, path.encode())
        assert route.operation is operation


@pytest.mark.parametrize("name", ODD_KEYS)
def test_a_key_may_hold_anything_that_can_be_encoded(http, name):
    path = "/v1/state/ns/" + "".join(f"%{byte:02x}" for byte in name.encode())
    assert http.put(path, {"value": name}).data["key"] == name
    assert http.get(path).data["value"] == name
    assert [entry["key"] for entry in http.get("/v1/state/ns").data["items"]] == [name]


@pytest.mark.parametrize(
    "text", ["1" * 30, "-" + "9" * 25, "1.5", "1.0", "0", "true", "null", '"\\u0000"', "[[]]", "1e300"]
)
def test_values_cross_exactly(http, text):
    http.put("/v1/state/ns/k", b'{"value":' + text.encode() + b"}")
    found = http.get("/v1/state/ns/k").body
    sent, came = json.loads(text), json.loads(found)["value"]
    assert came == sent
    assert type(came) is type(sent)


@pytest.mark.parametrize(
    ("method", "path", "status", "allow"),
    [
        ("GET", "/v1", 404, None),
        ("GET", "/v1/", 404, None),
        ("GET", "/v1/nothing/here", 404, None),
        ("GET", "/v1/state/a/b/c", 404, None),
        ("PATCH", "/v1/state/ns/k", 405, "DELETE, GET, PUT, HEAD"),
        ("TRACE", "/v1/state/ns/k", 405, "DELETE, GET, PUT, HEAD"),
        ("POST", "/v1/whoami", 405, "GET, HEAD"),
        ("GET", "/v1/ledger/reservations", 405, "POST"),
        ("POST", "/healthz", 405, "GET, HEAD"),
        ("DELETE", "/v1/openapi.json", 405, "GET, HEAD"),
    ],
)
def test_wrong_places_say_where_to_go(http, method, path, status, allow):
    answer = http.call(method, path)
    assert answer.status == status
    assert answer.code == ("not_found" if status == 404 else "invalid_input")
    assert answer.data["next_call"]
    assert answer.headers.get("allow") == allow


BAD_BODIES = {
    "not json": b"value=1",
    "cut": b'{"value": ',
    "trailing": b'{"value": 1} 2',
    "NaN": b'{"value": NaN}',
    "infinity": b'{"value": -Infinity}',
    "too large a number": b'{"value": 1e999}',
    "lone surrogate": b'{"value": "\\ud800 x"}',
    "lone surrogate in a key": b'{"value": {"\\udc00 x": 1}}',
    "latin-1": b'{"value": "\xe4"}',
    "NUL": b'{"value": "\x00"}',
    "BOM": b"\xef\xbb\xbf{}",
    "an array": b"[1]",
    "null": b"null",
    "a number": b"3",
    "missing field": b"{}",
    "unknown field": b'{"value": 1, "if_versoin": 2}',
    "wrong type": b'{"value": 1, "if_version": "2"}',
    "boolean for a number": b'{"value": 1, "if_version": true}',
    "float for an integer": b'{"value": 1, "if_version": 1.5}',
    "integer out of range": b'{"value": 1, "if_version": 9007199254740992}',
    "another namespace than the path's": b'{"value": 1, "namespace": "other"}',
    "null for a text": b'{"value": 1, "origin": null}',
}


@pytest.mark.parametrize("body", BAD_BODIES.values(), ids=BAD_BODIES)
def test_bad_bodies_are_refused_with_a_next_call(http, body):
    answer = http.put("/v1/state/ns/k", body)
    assert (answer.status, answer.code) == (400, "invalid_input")
    assert answer.data["next_call"]
    assert http.get("/v1/state/ns/k").status == 404


def test_an_unknown_field_names_the_nearest(http):
    answer = http.put("/v1/state/ns/k", {"value": 1, "if_versoin": 2})
    assert answer.data["next_call"] == "Did you mean `if_version`?"


@pytest.mark.parametrize(
    "query",
    [
        "limit=ten", "limit=1.5", "limit=1&limit=2", "limit=99999999999999999999", "limit=0", "limit=", "limt=5",
        "prefix=%ff", "cursor=nonsense",
    ],
)  # fmt: skip
def test_bad_queries_are_refused(http, query):
    answer = http.get(f"/v1/state/ns?{query}")
    assert (answer.status, answer.code) == (400, "invalid_input")


def test_a_value_cannot_stand_in_the_query(http):
    assert http.put("/v1/state/ns/k?value=1").code == "invalid_input"


@pytest.mark.parametrize("seconds", ["nan", "inf", "-inf", "soon"])
def test_waiting_times_are_finite(http, seconds):
    assert http.get(f"/v1/changes/ns?wait={seconds}").code == "invalid_input"


def test_a_query_has_no_null(http):
    """What may be null is left out; a word that stands for nothing would be understood otherwise by others."""
    for path in ("/v1/changes/ns?after=null", "/v1/state/ns/k?version=null", "/v1/ledger-totals?until=Null"):
        assert http.get(path).code == "invalid_input"


def test_texts_in_a_query_stay_texts(http):
    for key in ("null", "true", "1", "a b", "a+b"):
        http.put(f"/v1/state/ns/{key.replace(' ', '%20')}", {"value": 1})
    for prefix, found in [("null", "null"), ("true", "true"), ("1", "1"), ("a+b", "a b"), ("a%2Bb", "a+b")]:
        assert [item["key"] for item in http.get(f"/v1/state/ns?prefix={prefix}").data["items"]] == [found]


def test_a_path_that_is_not_utf8_is_refused(http):
    assert http.get("/v1/state/ns/%ff%fe").code == "invalid_input"


@pytest.mark.parametrize("name", ["", "%00", "a%0Ab", "k" * 1025])
def test_impossible_keys_are_refused(http, name):
    assert http.put(f"/v1/state/ns/{name}", {"value": 1}).code == "invalid_input"
    assert http.get(f"/v1/state/ns/{name}").code in {"not_found", "invalid_input"}


@pytest.mark.parametrize("depth", [202, 5_000, 500_000])
def test_deep_json_is_a_limit_and_no_crash(http, depth):
    answer = http.put("/v1/state/ns/k", b'{"value":' + b"[" * depth + b"]" * depth + b"}")
    assert (answer.status, answer.code) == (413, "limit_exceeded")


class TestLargeBodies:
    @pytest.fixture
    def plane(self, tmp_path):
        made = ManualPlane(
            tmp_path / "agentmemo.db", settings=Settings(request_bytes_max=50_000, value_bytes_max=20_000)
        )
        yield made
        made.close()

    def test_announced_too_large_is_not_read(self, http):
        answer = http.put("/v1/state/ns/k", b"x" * 50_001)
        assert (answer.status, answer.code, http.unread) == (413, "limit_exceeded", 1)
        assert answer.headers["connection"] == "close"

    def test_unannounced_too_large_is_read_no_further(self, http):
        answer = http.put("/v1/state/ns/k", chunks=[b"x" * 30_000] * 10)
        assert (answer.status, answer.code, http.unread) == (413, "limit_exceeded", 8)

    def test_a_body_in_chunks_is_one_body(self, http):
        content = msgspec.json.encode({"value": "x" * 9_000})
        answer = http.put("/v1/state/ns/k", chunks=[content[:10], content[10:5_000], content[5_000:], b""])
        assert answer.data["size_bytes"] == 9_002
        assert http.get("/v1/state/ns/k").data["value"] == "x" * 9_000

    def test_the_value_has_its_own_limit(self, http):
        answer = http.put("/v1/state/ns/k", {"value": "x" * 20_000})
        assert (answer.status, answer.code) == (413, "limit_exceeded")


def test_head_is_get(http):
    http.put("/v1/state/ns/k", {"value": 1})
    assert http.call("HEAD", "/v1/state/ns/k").headers["etag"] == '"1"'


def test_security_headers(http):
    for answer in (http.get("/v1/whoami"), http.get("/v1/nothing"), http.get("/healthz")):
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_bodies_travel_in_delete_too(http):
    http.put("/v1/state/ns/k", {"value": 1})
    assert http.call("DELETE", "/v1/state/ns/k", {"if_version": 2}).status == 409
    assert http.delete("/v1/state/ns/k?if_version=1").data["deleted"] is True
