"""ETags, preconditions and idempotency keys."""

from __future__ import annotations

import pytest

K = "/v1/state/ns/k"


def test_the_version_is_the_etag(http):
    assert http.put(K, {"value": 1}).headers["etag"] == '"1"'
    assert http.put(K, {"value": 2}).headers["etag"] == '"2"'
    assert http.get(K).headers["etag"] == '"2"'
    assert http.get(f"{K}?version=1").headers["etag"] == '"1"'


@pytest.mark.parametrize("tag", ['"1"', 'W/"1"', '"7", "1"', "*"])
def test_what_is_known_is_not_sent_again(http, tag):
    http.put(K, {"value": 1})
    answer = http.get(K, headers={"if-none-match": tag})
    assert (answer.status, answer.body, answer.headers["etag"]) == (304, b"", '"1"')
    assert "content-length" not in answer.headers
    http.put(K, {"value": 2})
    assert http.get(K, headers={"if-none-match": '"1"'}).data["value"] == 2


def test_if_match_is_if_version(http):
    http.put(K, {"value": 1})
    assert http.put(K, {"value": 2}, headers={"if-match": '"1"'}).status == 200
    late = http.put(K, {"value": 3}, headers={"if-match": '"1"'})
    assert (late.status, late.code) == (412, "version_conflict")
    assert late.data["details"] == {"expected": 1, "current": 2}
    assert http.put(K, {"value": 3, "if_version": 1}).status == 409
    assert http.delete(K, headers={"if-match": '"1"'}).status == 412
    assert http.delete(K, headers={"if-match": '"2"'}).status == 200


def test_if_none_match_star_is_must_be_absent(http):
    absent = {"if-none-match": "*"}
    assert http.put(K, {"value": 1}, headers=absent).data["version"] == 1
    assert http.put(K, {"value": 2}, headers=absent).status == 412
    http.delete(K)
    assert http.put(K, {"value": 3}, headers=absent).data["version"] == 3


@pytest.mark.parametrize(
    "headers",
    [
        {"if-match": "*"}, {"if-match": "1"}, {"if-match": '"a"'}, {"if-match": '"1", "2"'},
        {"if-none-match": '"1"'}, {"if-match": '"1"', "if-none-match": "*"},
    ],
)  # fmt: skip
def test_conditions_that_cannot_be_kept_are_refused(http, headers):
    assert http.put(K, {"value": 1}, headers=headers).code == "invalid_input"
    assert http.get(K).status == 404


def test_two_preconditions_must_agree(http):
    http.put(K, {"value": 1})
    assert http.put(K, {"value": 2, "if_version": 1}, headers={"if-match": '"1"'}).status == 200
    assert http.put(K, {"value": 2, "if_version": 1}, headers={"if-match": '"2"'}).code == "invalid_input"


def test_the_same_request_is_done_once(http):
    again = {"idempotency-key": "one"}
    first = http.put(K, {"value": 1}, headers=again)
    second = http.put(K, {"value": 1}, headers=again)
    assert (second.body, second.headers["etag"]) == (first.body, '"1"')
    assert "idempotency-replayed" not in first.headers
    assert second.headers["idempotency-replayed"] == "true"
    assert len(http.get("/v1/events?type=state.set").data["items"]) == 1


def test_the_same_key_for_something_else_is_refused(http):
    again = {"idempotency-key": "one"}
    http.put(K, {"value": 1}, headers=again)
    for answer in (http.put(K, {"value": 2}, headers=again), http.delete(K, headers=again)):
        assert (answer.status, answer.code) == (409, "idempotency_mismatch")
    assert http.get(K).data["value"] == 1


def test_a_large_value_is_replayed_too(http):
    again = {"idempotency-key": "large"}
    first = http.put(K, {"value": "x" * 10_000}, headers=again)
    second = http.put(K, {"value": "x" * 10_000}, headers=again)
    assert second.body == first.body
    assert second.headers["idempotency-replayed"] == "true"


def test_keys_are_each_callers_own(http, key):
    again = {"idempotency-key": "one"}
    http.put(K, {"value": 1}, headers=again)
    answer = http.put(K, {"value": 1}, headers=again, key=key(actor="bob").secret)
    assert answer.data["version"] == 2


def test_a_key_is_forgotten_after_a_day(http, plane, key):
    secret = key(expires_in_days=None).secret
    again = {"idempotency-key": "one"}
    http.put(K, {"value": 1}, headers=again, key=secret)
    plane.advance(25 * 3600)
    answer = http.put(K, {"value": 1}, headers=again, key=secret)
    assert answer.data["version"] == 2


def test_a_refusal_is_not_kept(http):
    again = {"idempotency-key": "one"}
    assert http.put(K, {"value": 1, "if_version": 1}, headers=again).status == 409
    http.put(K, {"value": 0})
    assert http.put(K, {"value": 1, "if_version": 1}, headers=again).status == 200


@pytest.mark.parametrize("text", ["", " ", "x" * 129, "a\tb", "\u00e4"])
def test_odd_idempotency_keys_are_refused(http, text):
    assert http.put(K, {"value": 1}, headers={"idempotency-key": text}).code == "invalid_input"


@pytest.mark.parametrize("text", ["", "run_x", "run_x@", "run_x@-1", "@3", "run_x@3;", "run_x@3;step="])
def test_odd_claims_are_refused(http, text):
    assert http.put(K, {"value": 1}, headers={"agentmemo-claim": text}).code == "invalid_input"


def test_a_claim_fences_and_marks_what_is_written(http):
    worker = http.post("/v1/workers", {}).data["id"]
    run = http.post("/v1/runs", {"name": "r", "key": "1", "worker": worker}).data["run"]
    good = {"agentmemo-claim": f"{run['id']}@{run['epoch']};step=load/1%20a", "agentmemo-worker": worker}
    assert http.put(K, {"value": 1}, headers=good).data["run"] == run["id"]
    event = http.get(f"/v1/events?run={run['id']}&type=state.set").data["items"][0]
    assert (event["epoch"], event["step"]) == (run["epoch"], "load/1 a")
    stale = {"agentmemo-claim": f"{run['id']}@{run['epoch'] + 1}"}
    answer = http.put(K, {"value": 2}, headers=stale)
    assert (answer.status, answer.code) == (409, "lease_lost")
