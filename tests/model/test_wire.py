"""Cursors, requests and errors as they cross a wire."""

from __future__ import annotations

import base64
import pickle

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from agentmemo import errors
from agentmemo.api.operations import OPERATIONS
from agentmemo.errors import Error, InvalidInput
from agentmemo.model import state
from agentmemo.model.access import CreateKey, Grant
from agentmemo.model.escalations import CreateEscalation
from agentmemo.model.pages import make_cursor, read_cursor
from agentmemo.model.runs import Budget, StartRun
from agentmemo.model.wire import as_request, fitting

FILTERS = st.recursive(
    st.none() | st.integers(0, 99) | st.text(max_size=5), lambda x: st.lists(x, max_size=3), max_leaves=5
)


@given(
    st.text(max_size=10),
    FILTERS,
    st.integers(0, 2**62) | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=30),
)
def test_a_cursor_reads_back(operation, bound, position):
    cursor = make_cursor(operation, bound, position)
    start = "" if isinstance(position, str) else 0
    assert read_cursor(cursor, operation, bound, start) == position
    assert cursor.isascii()
    assert read_cursor(None, operation, bound, "start") == "start"


@given(FILTERS, FILTERS)
def test_a_cursor_is_bound_to_its_filter_and_operation(one, other):
    cursor = make_cursor("state.list", one, "k")
    with pytest.raises(InvalidInput, match="another query"):
        read_cursor(cursor, "state.history", one, "")
    assume(one != other)
    with pytest.raises(InvalidInput, match="another query"):
        read_cursor(cursor, "state.list", other, "")


@given(st.text(max_size=60))
def test_any_other_text_is_refused(text):
    with pytest.raises(InvalidInput):
        read_cursor(text, "state.list", None, "")


def test_a_cursor_of_another_version_is_refused():
    cursor = make_cursor("state.list", None, 1)
    body = msgspec.json.decode(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    body[0] = 2
    other = base64.urlsafe_b64encode(msgspec.json.encode(body)).decode().rstrip("=")
    with pytest.raises(InvalidInput):
        read_cursor(other, "state.list", None, 0)


@pytest.mark.parametrize(
    ("position", "start"),
    [(-1, 0), (True, 0), (1.5, 0), (2**70, 0), ("1", 0), (None, 0), (1, ""), ("a\0", ""), ([1], [0, 0]),
     ([1, "2"], [0, 0]), ([1, -2], [0, 0]), (7, [0, 0]), ({}, [0, 0])],
)  # fmt: skip
def test_a_cursor_with_another_kind_of_position_is_refused(position, start):
    cursor = make_cursor("state.list", None, position)
    with pytest.raises(InvalidInput, match="not one of ours"):
        read_cursor(cursor, "state.list", None, start)


def test_a_typo_is_refused_with_the_nearest_name():
    with pytest.raises(InvalidInput) as caught:
        as_request({"namespace": "n", "key": "k", "value": 1, "if_versoin": 3}, state.SetEntry)
    assert caught.value.next_call == "Did you mean `if_version`?"
    assert caught.value.details["field"] == "if_versoin"
    with pytest.raises(InvalidInput) as caught:
        as_request({"namespace": "n", "key": "k", "value": 1, "zzz": 3}, state.SetEntry)
    assert "Valid fields" in caught.value.next_call
    with pytest.raises(InvalidInput):
        as_request({"namespace": "n"}, state.SetEntry)
    with pytest.raises(InvalidInput):
        as_request([], state.SetEntry)


@pytest.mark.parametrize(
    ("data", "message", "next_call"),
    [
        ({"suggested_actions": [{"id": "a"}]}, "required field `label` - at `$.suggested_actions[0]`",
         "Send at `$.suggested_actions[0]` an object with: id, label; and, where wanted: effect, reversible, cost."),
        ({"suggested_actions": ["a"]}, "got `str` - at `$.suggested_actions[0]`",
         "Send at `$.suggested_actions[0]` an object with: id, label; and, where wanted: effect, reversible, cost."),
        ({"suggested_actions": [{"id": "a", "lable": "A"}]}, "Unknown field `lable` at `$.suggested_actions[0]`",
         "Did you mean `label`?"),
        ({"needs": {"count": "two"}}, "at `$.needs.count`", "Send int at `$.needs.count`."),
        ({"reason": None}, "at `$.reason`", "Send str at `$.reason`."),
    ],
)  # fmt: skip
def test_what_does_not_fit_inside_names_what_that_place_needs(data, message, next_call):
    with pytest.raises(InvalidInput) as caught:
        as_request({"severity": "high", "reason": "r"} | data, CreateEscalation)
    assert message in caught.value.message
    assert caught.value.next_call == next_call


VALUES = {
    "value", "inputs", "result", "context", "calls", "document", "values", "arguments", "expected", "edits",
    "designed_by",
}  # fmt: skip
WRONG = [object(), b"x", {1, 2}, 1j, (), lambda: None, "\ud800"]


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_requests_made_in_python_are_as_strict_as_on_a_wire(operation):
    fields = [f for f in msgspec.structs.fields(operation.request) if f.name not in VALUES]
    given_fields = {f.name: "x" if "str" in str(f.type) else 1 for f in fields if f.required}
    given_fields |= {f.name: [] for f in fields if f.required and "list" in str(f.type)}
    given_fields |= {f.name: True for f in fields if f.required and "bool" in str(f.type)}
    given_fields |= {
        name: None for name in ("value", "calls", "document", "edits") if name in operation.request.__struct_fields__
    }
    for field in fields:
        for wrong in (object(), 1j, {1: 2}):
            with pytest.raises(InvalidInput) as caught:
                fitting(operation.request(**(given_fields | {field.name: wrong})))
            assert caught.value.details == {"field": field.name}


def test_types_that_fit_are_left_alone():
    for good in (
        state.SetEntry(namespace="n", key="k", value=object(), ttl_seconds=5, if_version=None),
        StartRun(name="r", worker="w", budget=Budget(seconds=3)),
    ):
        assert fitting(good) == good
    for bad in (
        state.SetEntry(namespace="n", key="k", value=1, if_version=True),
        state.SetEntry(namespace="n", key="k", value=1, if_version=1.5),
        state.SetEntry(namespace="n", key="k", value=1, ttl_seconds="1"),
        StartRun(name="r", worker="w", budget=Budget(steps="many")),
        StartRun(name="r", worker="w", budget={"steps": "many"}),
    ):
        with pytest.raises(InvalidInput):
            fitting(bad)


def test_a_dict_may_stand_for_a_struct():
    assert fitting(StartRun(name="r", worker="w", budget={"seconds": 3})).budget == Budget(seconds=3)
    key = fitting(CreateKey(kind="agent", actor="a", grants=[{"permissions": ["runs:*"], "namespaces": ["*"]}]))
    assert key.grants == [Grant(permissions=("runs:*",), namespaces=("*",))]


@pytest.mark.parametrize("kind", errors.CLASSES, ids=lambda kind: kind.code)
def test_errors_come_back_from_the_wire_and_from_pickle(kind):
    made = kind("message", why="why", next_call="next", retry_safe=True, details={"a": [1]})
    for again in (
        errors.rebuild(msgspec.json.decode(msgspec.json.encode(made.to_dict()))),
        pickle.loads(pickle.dumps(made)),  # noqa: S301 - what processes send each other
    ):
        assert type(again) is kind
        assert again.to_dict() == made.to_dict()
        assert str(again) == str(made) == "message\nWhy: why\nNext: next"
    assert str(kind("only")) == "only"


def test_codes_are_stable_and_unique():
    assert len(errors.BY_CODE) == len(errors.CLASSES)
    assert sorted(errors.BY_CODE) == [
        "conflict", "handoff_held", "idempotency_mismatch", "invalid_input", "invalid_transition", "lease_lost",
        "limit_exceeded", "not_authenticated", "not_found", "permission_denied", "revision_gone", "run_held",
        "step_failed", "timed_out", "unavailable", "version_conflict",
    ]  # fmt: skip


def test_an_error_of_a_newer_plane_is_still_an_error():
    made = errors.rebuild({"code": "from_the_future", "message": "m", "details": None})
    assert type(made) is Error
    assert made.details == {}
    assert errors.rebuild({}).message == ""


def test_what_is_safe_to_retry_says_so():
    assert [kind.code for kind in errors.CLASSES if kind("m").retry_safe] == ["run_held", "unavailable"]


def test_a_timeout_is_a_timeout_for_python_too():
    assert issubclass(errors.TimedOut, TimeoutError)
