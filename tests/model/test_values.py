"""Values are kept exactly, or refused with the path; leaves are RFC 8785."""

from __future__ import annotations

import base64
import datetime
import enum
import hashlib
import hmac
import json
import math
import sys
from dataclasses import dataclass
from decimal import Decimal

import msgspec
import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from agentmemo.errors import InvalidInput, LimitExceeded
from agentmemo.model import audit, values

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def same(a, b):
    """Equal in every respect JSON knows: True is not 1, 1.0 is not 1, -0.0 is not 0.0."""
    if type(a) is not type(b):
        return False
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, float):
        return a == b and math.copysign(1, a) == math.copysign(1, b)
    return a == b


@given(PLAIN)
def test_json_values_are_kept_exactly(value):
    content = values.encode(value)
    assert same(values.decode(content), value)
    assert same(json.loads(content), value)
    assert values.encode_result(value) == content


EXACT = [
    0, -0.0, 0.0, 1, 1.0, 2**53, 2**53 + 1, 2**63, 2**64, -(2**63) - 1, 10**300, 1e308, 5e-324, 1e22, 0.1, True, "",
    "\x00", "\u2028", "\U0001f600", "é", "e\u0301", [], {}, {"": None}, [[[]]], {"a": {"a": {}}}, "\ufeff",
]  # fmt: skip


@pytest.mark.parametrize("value", EXACT, ids=repr)
def test_edges_are_kept_exactly(value):
    assert same(values.decode(values.encode(value)), value)


def test_a_tuple_is_an_array():
    assert values.encode((1, (2, "x"))) == values.encode([1, [2, "x"]])


class Colour(enum.Enum):
    RED = "red"


class Shape(msgspec.Struct):
    n: int


@dataclass
class Point:
    x: int


REFUSED = {
    "nan": (math.nan, "$"), "inf": ([math.inf], "$[0]"), "minus inf": ({"a": -math.inf}, "$.a"),
    "lone surrogate": ("\ud800", "$"), "surrogate inside": ({"a": ["x\udfffy"]}, "$.a[0]"),
    "surrogate key": ({"\ud800": 1}, "$"), "int key": ({"a": {1: 2}}, "$.a"), "none key": ({None: 1}, "$"),
    "tuple key": ({(1, 2): 3}, "$"), "bool key": ({True: 1}, "$"), "bytes key": ({b"k": 1}, "$"),
    "bytes": ([b"x"], "$[0]"),
    "bytearray": (bytearray(b"x"), "$"), "memoryview": (memoryview(b"x"), "$"), "set": ({"a": {1}}, "$.a"),
    "frozenset": (frozenset(), "$"), "object": (object(), "$"), "complex": (1j, "$"), "decimal": (Decimal(1), "$"),
    "datetime": (datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC), "$"), "enum": (Colour.RED, "$"),
    "struct": ([Shape(1)], "$[0]"), "dataclass": ({"p": Point(1)}, "$.p"), "function": (len, "$"), "type": (int, "$"),
    "generator": ((n for n in range(2)), "$"), "range": (range(3), "$"), "ellipsis": (..., "$"),
}  # fmt: skip


@pytest.mark.parametrize(("value", "path"), REFUSED.values(), ids=REFUSED)
def test_what_json_cannot_say_is_refused_with_its_path(value, path):
    with pytest.raises(InvalidInput) as caught:
        values.encode(value)
    assert caught.value.details["path"] == path
    assert caught.value.next_call
    assert not caught.value.retry_safe


def test_an_integer_too_long_to_write_is_refused():
    huge = 10 ** (sys.get_int_max_str_digits() + 1)
    for value in (huge, -huge, {"a": [huge]}):
        with pytest.raises(LimitExceeded):
            values.encode(value)
    assert values.decode(values.encode(10**4000)) == 10**4000


def nested(depth):
    value = 1
    for _ in range(depth):
        value = [value]
    return value


def test_depth_is_bounded():
    assert values.decode(values.encode(nested(values.DEPTH_MAX))) == nested(values.DEPTH_MAX)
    for depth in (values.DEPTH_MAX + 1, 5000, 100_000):
        with pytest.raises(LimitExceeded):
            values.encode(nested(depth))
    circle = []
    circle.append(circle)
    with pytest.raises(LimitExceeded):
        values.encode(circle)


def test_breadth_is_not_depth():
    wide = [[] for _ in range(1000)]
    assert values.decode(values.encode(wide)) == wide
    text = "[{" * 1000
    assert values.decode(values.encode(text)) == text


def test_results_may_hold_what_is_read_back_into_a_type():
    assert values.decode(values.encode_result(Shape(1))) == {"n": 1}
    assert values.decode_as(values.encode_result([Point(1)]), list[Point]) == [Point(1)]
    moment = datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC)
    assert values.decode_as(values.encode_result({"at": moment}), dict[str, datetime.datetime]) == {"at": moment}
    for bad, path in (([object()], "$[0]"), ({"a": math.nan}, "$.a"), ({"a": "\ud800"}, "$.a")):
        with pytest.raises(InvalidInput) as caught:
            values.encode_result(bad)
        assert caught.value.details["path"] == path


def test_a_misfit_names_the_type():
    with pytest.raises(InvalidInput, match="Point"):
        values.decode_as(b'{"y": 1}', Point)
    assert values.decode_as(b'{"y": 1}', None) == {"y": 1}


SAFE = st.integers(-(2**53) + 1, 2**53 - 1)
WORDS = st.text(max_size=20)
LEAVES = st.builds(
    audit.Leaf,
    actor=st.builds(lambda kind, name: {"kind": kind, "name": name}, WORDS, WORDS),
    at=SAFE,
    behalf=st.lists(WORDS, max_size=2).map(tuple),
    causes=st.lists(WORDS, max_size=2).map(tuple),
    commitments=st.dictionaries(st.sampled_from(["because", "inputs", "reason", "value"]), WORDS).map(
        lambda found: dict(sorted(found.items()))
    ),
    count=st.none() | SAFE,
    door=WORDS,
    epoch=st.none() | SAFE,
    from_version=st.none() | SAFE,
    id=WORDS,
    operation=WORDS,
    outcome=WORDS,
    previous=WORDS,
    request=st.none() | WORDS,
    run=st.none() | WORDS,
    sequence=SAFE,
    step=st.none() | WORDS,
    stream=WORDS,
    subject=st.dictionaries(st.sampled_from(["actor", "id", "kind", "namespace", "worker"]), WORDS).map(
        lambda found: dict(sorted(found.items()))
    ),
    to_version=st.none() | SAFE,
    v=st.just(1),
    workspace=WORDS,
)


@given(LEAVES)
def test_a_leaf_is_rfc_8785(leaf):
    content = audit.encode_leaf(leaf)
    assert content == rfc8785.dumps(json.loads(content))
    assert audit.decode_leaf(content) == leaf
    assert audit.leaf_hash(content) == hashlib.sha256(b"\x00" + content).hexdigest()


def test_a_leaf_is_bounded():
    leaf = audit.Leaf(
        actor={"kind": "agent", "name": "a"}, at=1, door="d", id="e", operation="o", outcome="ok", previous="",
        sequence=1, stream="s", subject={"key": "k" * audit.LEAF_BYTES_MAX}, v=1, workspace="w",
    )  # fmt: skip
    with pytest.raises(LimitExceeded):
        audit.encode_leaf(leaf)


@given(WORDS, st.binary(max_size=50), st.binary(min_size=32, max_size=32))
def test_a_commitment_is_a_keyed_hash_separated_by_field(field, content, salt):
    made = audit.commit(field, content, salt)
    expected = hmac.digest(salt, field.encode() + b"\x00" + content, "sha256")
    assert base64.urlsafe_b64decode(made + "=") == expected
    assert made != audit.commit(field + "x", content, salt)


class Text(str):
    """A text of a class of its own, as libraries for models have them."""

    __slots__ = ()


def test_a_text_of_a_class_of_its_own_is_a_text():
    for encode in (values.encode, values.encode_result):
        assert encode({"said": Text("ä")}) == values.encode({"said": "ä"})
