"""A real server with a real model, small as it is: what it says is its own, what is promised of it is ours."""

from __future__ import annotations

import json

import local_model as served
import pytest

from agentmemo import errors
from agentmemo.clock import SystemClock
from agentmemo.llm.protocol import input_tokens_at_most
from agentmemo.model.model_names import fits

QUESTION = "What is the capital of France? Answer with one word."
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 6}},
    "required": ["city"],
    "additionalProperties": False,
}


@pytest.fixture
def model(local_model, client_of):
    def make(*lines, path="/v1"):
        named = f'model = "{served.NAME}"'
        return client_of("openai", named, *lines, address=local_model + path, given=SystemClock())

    return make


def test_a_question_is_answered_and_counted(model, ask):
    request = ask(QUESTION, max_output_tokens=12, temperature=0.0)
    reply = model().complete(request)
    assert "Paris" in reply.text
    assert reply.finish_reason == "stop"
    assert fits(reply.model_requested, reply.model_served)
    assert 0 < reply.usage.output_tokens <= 12
    assert 0 < reply.usage.input_tokens <= input_tokens_at_most(request)
    assert reply.provider_nanousd is None
    assert reply.request_id


def test_a_stream_is_the_same_answer_with_the_same_count(model, ask):
    request = ask(QUESTION, max_output_tokens=12, temperature=0.0)
    whole, streamed = model().complete(request), model("stream = true").complete(request)
    assert (streamed.text, streamed.finish_reason) == (whole.text, whole.finish_reason)
    assert streamed.usage.input_tokens == whole.usage.input_tokens
    assert streamed.usage.output_tokens == whole.usage.output_tokens


def test_what_was_read_from_the_cache_is_part_of_the_input(model, ask):
    request = ask("Count to three. " * 4, max_output_tokens=2, temperature=0.0)
    usage = [model().complete(request).usage for _ in range(2)][-1]
    assert 0 < usage.cached_input_tokens <= usage.input_tokens


@pytest.mark.parametrize("line", ['constrain = "json_schema"', 'constrain = "grammar"', "stream = true"])
def test_only_one_of_the_choices_is_said(model, ask, line):
    labels = ('say "no"', "blue", "übergrün")
    request = ask("Pick a colour.", choices=labels, max_output_tokens=64, temperature=0.0)
    assert model(line).complete(request).text in labels


def test_an_answer_is_of_its_schema(model, ask):
    reply = model().complete(ask(QUESTION, output_schema=SCHEMA, max_output_tokens=40, temperature=0.0))
    assert json.loads(reply.text)["city"]


def test_an_answer_that_is_cut_says_so(model, ask):
    reply = model().complete(ask("Write a long story.", max_output_tokens=3))
    assert (reply.finish_reason, reply.usage.output_tokens) == ("length", 3)


def test_too_little_time(model, ask):
    with pytest.raises(errors.TimedOut) as late:
        model().complete(ask("Write a long story about the sea.", max_output_tokens=2000, timeout_seconds=0.2))
    assert late.value.details["may_be_billed"]
    assert late.value.retry_safe


@pytest.mark.parametrize("line", ["", "stream = true"])
def test_a_wrong_path(model, ask, line):
    with pytest.raises(errors.NotFound, match="404"):
        model(line, path="/elsewhere").complete(ask())


def test_a_request_that_the_server_refuses(model, ask):
    with pytest.raises(errors.InvalidInput, match="400"):
        model().complete(ask("x " * 20_000))
