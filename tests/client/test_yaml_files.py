"""YAML without its surprises: what is written is read back exactly, and what is no JSON is refused."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentmemo.client.yaml_files import dumps, loads
from agentmemo.errors import InvalidInput, LimitExceeded

texts = st.text(st.characters(exclude_categories=["Cs"]))
leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts
values = st.recursive(leaves, lambda inner: st.lists(inner) | st.dictionaries(texts, inner), max_leaves=10)
SURPRISES = ["on", "No", "y", "1e5", "0x1", "012", "1_000", "12:30", "~", "", "null", "2026-01-01", ".inf", "=", "<<",
             "a: b", "- x", " lead", "a\n\nb ", "\x85", "\ufeff", "\r"]  # fmt: skip


def test_texts_are_texts():
    assert loads("on: no\nday: 2026-11-28\nat: 12:30\nnumber: 012\nhex: 0x1f\nempty:\nlist: [1, 2.5, true, ~]") == {
        "on": "no", "day": "2026-11-28", "at": "12:30", "number": "012", "hex": "0x1f", "empty": None,
        "list": [1, 2.5, True, None],
    }  # fmt: skip


@settings(max_examples=50, deadline=None)
@given(values)
def test_what_is_written_is_read_back(value):
    assert loads(dumps(value)) == value


@pytest.mark.parametrize("text", SURPRISES)
def test_so_is_what_would_be_taken_for_something_else(text):
    assert loads(dumps({"a": text, text: [text]})) == {"a": text, text: [text]}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\nb:\n  c: 1\n  c: 2", "'c' comes twice in .* line 4"),
        ("a: &x [1]\nb: *x", "anchors and aliases"),
        ("a: *x", "anchors and aliases"),
        ("a: !!python/object:os.system x", "tag"),
        ("a: !!int '3'", "tag"),
        ("[1]: 2", "a key is a text"),
        ("a: [", "YAML"),
        ("[" * 5000, "YAML"),
        (b"\xff\xfe\x00", "UTF-8"),
        ("a: 1\n---\nb: 2", "YAML"),
    ],
)
def test_what_is_no_json_is_refused(text, said):
    with pytest.raises(InvalidInput, match=said):
        loads(text)


def test_size_is_bounded():
    with pytest.raises(LimitExceeded):
        loads(" " * (4 * 1024 * 1024 + 1))
