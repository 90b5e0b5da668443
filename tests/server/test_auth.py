"""Who may come in."""

from __future__ import annotations

import msgspec
import pytest

from agentmemo.api.operations import BY_NAME, OPERATIONS
from agentmemo.model.access import EVERYTHING, Caller, Grant, ListKeys, RevokeKey, SetActorDisabled

ADMIN = Caller(kind="service", name="tests", grants=(EVERYTHING,), door="tests")


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Basic dXNlcjpwYXNz",
        "am_agent_x",
        "Bearer am_agent_x",
        "Bearer \u00e4",
        "bearer a b",
    ],
)
def test_without_a_valid_key_there_is_nothing(http, header):
    answer = http.get("/v1/state/ns/k", key=None, headers={} if header is None else {"authorization": header})
    assert (answer.status, answer.code) == (401, "not_authenticated")
    assert answer.headers["www-authenticate"] == 'Bearer realm="agentmemo"'
    assert answer.data["next_call"]


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_no_operation_is_open(http, operation):
    path = "/v1" + operation.path.replace("{", "x").replace("}", "")
    assert http.call(operation.method, path, {}, key=None).status == 401


def test_a_key_of_the_right_form_that_was_never_made(http):
    public = http.secret.split("_")[2]
    text = http.secret.replace(public, "0" * 8)
    assert http.get("/v1/whoami", key=text).status == 401
    assert http.get("/v1/whoami", key=http.secret[:-1] + ("0" if http.secret[-1] != "0" else "1")).status == 401


def test_who_is_who(http, key):
    person = key("person", "pat").secret
    assert http.get("/v1/whoami").data["actor"] == "ann"
    assert http.get("/v1/whoami", key=person).data["kind"] == "person"
    assert http.get("/v1/whoami", headers={"authorization": f"bEaReR  {person}"}).data["actor"] == "pat"


def test_an_expired_key_is_refused(http, key, plane):
    text = key(expires_in_days=1.0).secret
    assert http.get("/v1/whoami", key=text).status == 200
    plane.advance(86_401)
    answer = http.get("/v1/whoami", key=text)
    assert (answer.status, answer.data["detail"]) == (401, "The key has expired.")


def test_a_key_revoked_here_ends_at_once(http, key):
    admin, other = key("person", "pat").secret, key(actor="bob")
    assert http.get("/v1/whoami", key=other.secret).status == 200
    assert http.delete(f"/v1/keys/{other.id}", key=admin).data["revoked_at"]
    assert http.get("/v1/whoami", key=other.secret).status == 401


def test_a_key_revoked_by_another_process_ends_within_a_second(http, key, plane):
    other = key(actor="bob")
    assert http.get("/v1/whoami", key=other.secret).status == 200
    plane.engine.call(BY_NAME["key.revoke"], ADMIN, RevokeKey(id=other.id))
    plane.clock.advance(1.0)
    assert http.get("/v1/whoami", key=other.secret).status == 401


def test_a_disabled_actor_is_refused_and_may_come_back(http, key, plane):
    plane.engine.call(BY_NAME["actor.disable"], ADMIN, SetActorDisabled(name="ann"))
    answer = http.get("/v1/whoami")
    assert (answer.status, answer.code) == (403, "permission_denied")
    admin = key("person", "pat").secret
    assert http.put("/v1/actors/agent/ann/disabled", {"disabled": False}, key=admin).status == 200
    assert http.get("/v1/whoami").status == 200


def test_what_grants_do_not_cover_is_refused_and_recorded(http, key):
    reader = key(actor="rea", grants=[Grant(permissions=("state:read",), namespaces=("open/*",))]).secret
    http.put("/v1/state/open%2Fa/k", {"value": 1})
    http.put("/v1/state/secret/k", {"value": 1})
    assert http.get("/v1/state/open%2Fa/k", key=reader).status == 200
    assert http.get("/v1/state/secret/k", key=reader).code == "permission_denied"
    assert http.put("/v1/state/open%2Fa/k", {"value": 2}, key=reader).status == 403
    names = [item["name"] for item in http.get("/v1/namespaces", key=reader).data["items"]]
    assert names == ["open/a"]
    denied = http.get("/v1/events?outcome=denied").data["items"]
    assert {(event["actor"], event["operation"]) for event in denied} == {
        ("agent:rea", "state.get"), ("agent:rea", "state.set"),
    }  # fmt: skip


def test_an_agent_cannot_decide_for_a_person(http, key):
    agent = key(actor="bob", grants=[EVERYTHING]).secret
    answer = http.post("/v1/runs/run_0000000000000000/resolution", {"decision": "retry"}, key=agent)
    assert (answer.status, answer.code) == (403, "permission_denied")


def test_the_door_is_in_the_trail(http):
    http.put("/v1/state/ns/k", {"value": 1})
    event = http.get("/v1/events?type=state.set").data["items"][0]
    assert (event["door"], event["actor"]) == ("http", "agent:ann")


def test_a_secret_is_shown_once_and_never_kept(http, key, plane):
    admin = key("person", "pat").secret
    again = {"idempotency-key": "make-one"}
    body = {"kind": "agent", "actor": "new"}
    first = http.post("/v1/keys", body, key=admin, headers=again)
    second = http.post("/v1/keys", body, key=admin, headers=again)
    assert first.data["secret"].startswith("am_agent_")
    assert second.headers["idempotency-replayed"] == "true"
    assert second.data == first.data | {"secret": None}
    plane.engine.database.write(lambda _tx: None)
    stored = b"".join(path.read_bytes() for path in plane.path.parent.glob("agentmemo.db*") if path.is_file())
    assert first.data["secret"].encode() not in stored
    listed = plane.engine.call(BY_NAME["key.list"], ADMIN, ListKeys())
    assert first.data["secret"].encode() not in msgspec.json.encode(listed)
