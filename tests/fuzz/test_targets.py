"""What comes from outside is understood or refused: no other exception, no matter what the bytes are."""

from __future__ import annotations

import hypothesis
import pytest
import targets
from hypothesis import strategies as st

EXAMPLES = 60
PARTS = [
    b"",
    b'"',
    b"{",
    b"}",
    b"[",
    b"]",
    b":",
    b",",
    b"\n",
    b"\0",
    b"\xff",
    b"-1",
    b"1e400",
    b"null",
    b"true",
    b"%",
    b"$",
]


@st.composite
def near(draw, seeds):
    """A seed with some pieces left out, repeated or replaced."""
    data = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        end = draw(st.integers(start, min(len(data), start + 12)))
        piece = draw(st.sampled_from([*PARTS, data[start:end] * 3]) | st.binary(max_size=6))
        data = data[:start] + piece + data[end:]
    return data


@pytest.mark.parametrize("name", sorted(targets.TARGETS))
def test_anything_is_understood_or_refused(name):
    target = targets.TARGETS[name]

    @hypothesis.given(near(targets.SEEDS[target]) | st.binary(max_size=80))
    @hypothesis.settings(max_examples=EXAMPLES, database=None, suppress_health_check=list(hypothesis.HealthCheck))
    def check(data):
        targets.run(target, data)

    check()


@pytest.mark.parametrize("name", sorted(targets.TARGETS))
def test_depth_and_length_without_measure(name):
    for data in targets.EXTREME:
        targets.run(targets.TARGETS[name], data)
