"""What is left out when calls, results and errors are compared, and what is not; and what a preview hides."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentmemo.model import likeness, redaction
from agentmemo.model.likeness import failure_fingerprint


def same(one, other):
    return likeness.outcome(one).digest == likeness.outcome(other).digest


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("at 2027-01-14T09:12:44Z", "at 2027-01-15T19:02:04.123+01:00"),
        ("41 passed in 1.23s", "41 passed in 12.05s"),
        ("took 35 ms", "took 1207 ms"),
        ("id 8f3a2b1c-12d3-4abc-9def-0123456789ab.", "id 00000000-ffff-4abc-9def-ab0123456789."),
        ("- button [ref=e12]", "- button [ref=e904]"),
        ({"request_id": "a", "rows": 1}, {"request_id": "b", "rows": 1}),
        ("x" * 2000 + " 09:12:44", "x" * 2000 + " 10:13:45"),
        ("- link [ref=e9]\n" * 200, "- link [ref=e904]\n" * 200),
        ("a line of text\n" * 200 + "took 9 ms", "a line of text\n" * 200 + "took 1234 ms"),
        ("took 9 ms\n" + "a line of text\n" * 200, "took 1234 ms\n" + "a line of text\n" * 200),
    ],
)
def test_equal_but_for_what_varies(one, other):
    assert same(one, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("3 failed", "2 failed"),
        ("90s left", "60s left"),
        ({"percent": 40}, {"percent": 41}),
        ("button save [ref=e1]", "button send [ref=e1]"),
        ("x" * 300 + "1" + "x" * 900, "x" * 300 + "2" + "x" * 900),
        ("x" * 900 + "1" + "x" * 900, "x" * 900 + "2" + "x" * 900),
        ({"data": {"request_id": "a"}}, {"data": {"request_id": "b"}}),
        (None, ""),
        ([1, 2], [2, 1]),
    ],
)
def test_what_says_something_is_not_left_out(one, other):
    assert not same(one, other)


def test_a_call_is_its_tool_and_its_arguments():
    digest = likeness.call_digest
    assert digest("a", {"x": 1, "y": 2}) == digest("a", {"y": 2, "x": 1})
    assert digest("a", {"trace_id": "1"}) == digest("a", {"trace_id": "2"})
    assert len({digest("a", {"x": 1}), digest("b", {"x": 1}), digest("a", {"x": 2}), digest("a", "x")}) == 4


def test_a_call_without_its_numbers_and_references():
    def loose(arguments, tool="a"):
        return likeness.features(tool, arguments).loose

    assert loose({"x": 1}) == loose({"x": 2})
    assert loose({"x": "e1"}) == loose({"x": "e2"})
    assert loose({"x": 1}) != loose({"x": 1}, "b")
    for one, other in (("f1.py", "f2.py"), (True, False), ([1], [2]), ("a", "b")):
        assert loose({"x": one}) != loose({"x": other})
        assert loose(one) != loose(other)


def test_of_many_fields_none_is_left_out():
    many = {f"field{n}": 0 for n in range(likeness.FIELDS_COMPARED)}
    assert likeness.features("a", many | {"z": 1}).loose != likeness.features("a", many | {"z": 2}).loose


def test_targets_are_what_a_text_is_about():
    def targets(text):
        return likeness.features("shell", {"command": text}).targets

    assert targets("please read the file a.py now") == targets("now read a.py, and quickly.")
    assert targets("please read the file a.py now") != targets("please read the file b.py now")
    assert likeness.features("t", "read a.py").targets != likeness.features("t", "read b.py").targets


def test_of_long_texts_the_ends_are_compared():
    words = [chr(97 + n // 26) + chr(97 + n % 26) for n in range(500)]
    sketch = likeness.features("t", {"text": " ".join(words)}).sketch
    assert len(sketch) == likeness.WORDS_COMPARED


def test_jaccard():
    one, other = frozenset(range(10)), frozenset(range(2, 12))
    assert likeness.jaccard(one, other) == pytest.approx(8 / 12)
    assert likeness.jaccard(one, one) == 1
    assert likeness.jaccard(frozenset(), frozenset()) == 0


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("FileNotFoundError: no file 'src/a.py'", "FileNotFoundError: no file 'docs/x/b.md'"),
        ("HTTP 503 for https://a.example/1 (request 8f3a)", "HTTP 503 for https://b.example/22 (request 77ab1)"),
        ("connection to 10.0.0.1:5432 refused", "connection to 10.0.0.2:5433 refused"),
        ("a.py line 12: requests.exceptions.ConnectTimeout", "b.py line 9: requests.exceptions.ConnectTimeout"),
        ("42", "42"),
    ],
)
def test_failures_of_one_kind(one, other):
    assert failure_fingerprint(one) == failure_fingerprint(other)
    assert len(failure_fingerprint(one)) == 12


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("connection refused", "connection reset"),
        ("x.ConnectTimeout", "x.ReadTimeout"),
        ("it failed: x.ConnectTimeout", "it failed: x.ReadTimeout"),
        ("42", "43"),
        ("", "x"),
    ],
)
def test_failures_of_other_kinds(one, other):
    assert failure_fingerprint(one) != failure_fingerprint(other)
    assert failure_fingerprint(one, "a") != failure_fingerprint(one, "b")


def test_fingerprints_stay_as_they_are():
    """They are compared across runs, and so across versions."""
    assert failure_fingerprint("FileNotFoundError: no file 'a.py'", "read") == "08b10a745b5d"


def test_a_full_context_is_no_rate_limit():
    assert likeness.is_overflow(b"This model's maximum context length is 200000 tokens")
    assert likeness.is_overflow(b"prompt is too long: 210000 tokens > 200000 maximum")
    assert not likeness.is_overflow(b"Rate limit reached: too many tokens per minute")
    assert not likeness.is_overflow(b"no such table")


def shown(arguments, outcome=""):
    return redaction.previews(arguments, outcome)


@pytest.mark.parametrize(
    "secret",
    [
        {"password": "hunter2"},
        {"api_key": "hunter2"},
        {"Authorization": "Basic hunter2"},
        {"text": "password=hunter2"},
        {"text": "my token: hunter2 is it"},
        {"text": "Bearer hunter2.and-more"},
        {"text": '{"client_secret":"hunter2"}'},
        {"command": "login --password hunter2"},
        {"url": "https://ann:hunter2@example.com/x"},
        {"text": "sk-hunter2hunter2"},
        {"text": "am_agent_hunter2_xyz"},
        {"text": "AKIAHUNTER2HUNTER2AB hunter2hunter2hunter2"},
        {"a": {"cookie": "hunter2"}},
        "secret = hunter2",
    ],
    ids=str,
)
def test_secrets_are_hidden(secret):
    first, second = shown(secret, str(secret))
    assert "hunter2" not in (first + second).lower()
    assert redaction.HIDDEN in first


@pytest.mark.parametrize(
    "text", ["src/agentmemo/model/stuck_signals.py", "a_name_that_is_really_quite_long", "12345678901234567890123"]
)
def test_what_is_no_secret_is_shown(text):
    assert shown({"x": text[:36]})[0] == f"x={text[:36]}"


@pytest.mark.parametrize("before", range(90))
def test_a_cut_leaves_no_part_of_a_secret(before):
    secret = "Zx9Qw8Er7Ty6Ui5Op4As3Df2Gh1Jk0"
    first, second = shown("a" * before + " " + secret, "b" * before + " " + secret)
    assert secret[:6] not in first
    assert secret[:6] not in second


@given(st.dictionaries(st.text(), st.text() | st.lists(st.text())) | st.text(), st.text())
def test_previews_are_short_lines_that_can_be_encoded(arguments, outcome):
    first, second = shown(arguments, outcome)
    assert len(first) <= redaction.ARGUMENTS_SHOWN * 2
    assert len(second) <= redaction.TEXT_SHOWN * 2
    assert "\n" not in first
    assert (first + second).encode() is not None
