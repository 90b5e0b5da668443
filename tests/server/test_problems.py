"""Every error has one status, one document, and comes back as itself."""

from __future__ import annotations

import logging

import pytest

from agentmemo import errors
from agentmemo.api.openapi import CODES
from agentmemo.errors import CLASSES, Error, rebuild
from agentmemo.server.problems import STATUS

EXPECTED = {
    "invalid_input": 400, "not_authenticated": 401, "permission_denied": 403, "not_found": 404, "conflict": 409,
    "version_conflict": 409, "invalid_transition": 409, "run_held": 409, "handoff_held": 409,
    "lease_lost": 409,
    "idempotency_mismatch": 409, "revision_gone": 410, "step_failed": 422, "timed_out": 504, "limit_exceeded": 413,
    "unavailable": 503,
}  # fmt: skip


def test_the_map_is_whole():
    assert set(STATUS) == {cls.code for cls in CLASSES} | {"error", "internal"} == set(CODES)
    assert {code: STATUS[code] for code in EXPECTED} == EXPECTED
    assert set(EXPECTED) == {cls.code for cls in CLASSES}


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.code)
def test_an_error_crosses_whole(http, plane, monkeypatch, kind):
    raised = kind("What.", why="Why.", next_call="Next.", retry_safe=True, details={"a": [1, None]})

    def refuse(*_args, **_options):
        raise raised

    monkeypatch.setattr(plane.engine, "call", refuse)
    answer = http.get("/v1/state/ns/k")
    assert (answer.status, answer.code) == (EXPECTED[kind.code], kind.code)
    assert answer.data["type"] == f"urn:agentmemo:error:{kind.code}"
    assert answer.data["detail"] == "What."
    rebuilt = rebuild(answer.data)
    assert type(rebuilt) is kind
    assert rebuilt.to_dict() == raised.to_dict()
    assert ("www-authenticate" in answer.headers) == (kind is errors.NotAuthenticated)
    assert ("retry-after" in answer.headers) == (kind is errors.Unavailable)


def test_the_unexpected_shows_a_number_and_no_secret(http, plane, monkeypatch, caplog):
    def fail(*_args, **_options):
        raise RuntimeError("the pepper is 1234")

    monkeypatch.setattr(plane.engine, "call", fail)
    with caplog.at_level(logging.ERROR, logger="agentmemo.server"):
        answer = http.get("/v1/state/ns/k")
    assert (answer.status, answer.code) == (500, "internal")
    assert b"pepper" not in answer.body
    request = answer.data["details"]["request"]
    assert request.startswith("req_")
    assert answer.data["instance"] == request
    assert request in caplog.text
    assert "the pepper is 1234" in caplog.text
    assert type(rebuild(answer.data)) is Error


def test_details_that_are_no_json_do_not_hide_the_error(http, plane, monkeypatch):
    def refuse(*_args, **_options):
        raise errors.Conflict("It says \ud800.", details={"what": object()})

    monkeypatch.setattr(plane.engine, "call", refuse)
    answer = http.get("/v1/state/ns/k")
    assert (answer.status, answer.code, answer.data["detail"]) == (409, "conflict", "It says ?.")
