"""The nearest of many texts, and how much they account for."""

import pytest

from agentmemo.client.driving import agreed
from agentmemo.model.executions import NextStep
from agentmemo.model.nearest import Nearest

TEXTS = ["pay my water bill", "pay the power bill", "play some jazz", "play the next song", ""]


def test_the_nearest_come_first_and_share_a_word():
    index = Nearest(TEXTS)
    assert [near.place for near in index.top("play jazz", 5)] == [2, 3]
    assert index.top("nothing of it", 5) == index.top("", 5) == []
    assert Nearest([]).top("pay", 5) == []


def test_likeness_is_the_share_of_the_words_that_is_accounted_for():
    index = Nearest(TEXTS)
    same, strange = index.top("pay my water bill", 1)[0], index.top("pay the quarterly dividend", 1)[0]
    assert strange.likeness < 0.5
    assert 0.8 < same.likeness <= 1.0


@pytest.mark.parametrize(
    ("examples", "output", "why"),
    [
        ([("a", 0.9), ("a", 0.5)], "a", ""),
        ([("a", 0.9), ("b", 0.9)], None, "do not agree"),
        ([("a", 0.5), ("a", 0.3)], None, "not like it: 0.40, where 0.45"),
        ([], None, "no examples"),
    ],
)
def test_without_a_model_like_examples_that_agree_answer(examples, output, why):
    cases = [{"input": "x", "output": said, "likeness": likeness} for said, likeness in examples]
    told = agreed(NextStep(step="s", kind="llm", attempt=1, examples=cases, likeness=0.45))
    assert (told.output, told.outcome) == (output, "output" if output else "abstained")
    assert why in told.reason
