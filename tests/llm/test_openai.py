"""Chat completions: what is sent, and what is made of answers as providers have given them."""

from __future__ import annotations

import json

import pytest

from agentmemo import errors
from agentmemo.llm.protocol import Message, ModelRequest, Tool, ToolCall
from agentmemo.model.prices import Usage

USAGE = {
    "prompt_tokens": 1200,
    "completion_tokens": 34,
    "total_tokens": 1234,
    "prompt_tokens_details": {"cached_tokens": 1024},
}
WEATHER = Tool(
    name="weather",
    description="The weather of a place.",
    parameters={"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]},
)


def answer(content="Hi", finish_reason="stop", **fields):
    message = {"role": "assistant", "content": content, **fields.pop("message", {})}
    return {
        "id": "chatcmpl-7", "object": "chat.completion", "model": "small-1-2026-10-01",
        "choices": [{"index": 0, "message": message, "finish_reason": finish_reason}], "usage": USAGE, **fields,
    }  # fmt: skip


def piece(delta=None, finish_reason=None, **fields):
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish_reason}]
    return {"id": "chatcmpl-7", "object": "chat.completion.chunk", "model": "small-1", "choices": choices, **fields}


def calling(index, **function):
    return piece({"tool_calls": [{"index": index, "function": function}]})


def test_usage_says_what_was_cached_and_who_answered(provider, client_of, ask):
    provider.answer(answer(), x_request_id="req-9")
    reply = client_of("openai").complete(ask(idempotency_key="step-1"))
    assert reply.usage == Usage(input_tokens=1200, output_tokens=34, cached_input_tokens=1024)
    assert (reply.model_requested, reply.model_served, reply.request_id) == ("small-1", "small-1-2026-10-01", "req-9")
    path, headers, body = provider.got[0]
    assert (path, headers["idempotency-key"]) == ("/v1/chat/completions", "step-1")
    assert body == {"model": "small-1", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 4096}


@pytest.mark.parametrize(
    ("told", "usage"),
    [
        ({"prompt_tokens": 9, "completion_tokens": 1, "prompt_cache_hit_tokens": 4}, (9, 1, 4)),
        ({"prompt_tokens": 9, "completion_tokens": 0, "prompt_tokens_details": None}, (9, 0, 0)),
        ({"prompt_tokens": 9}, None),
        ({"prompt_tokens": 9, "completion_tokens": None}, None),
        ({"prompt_tokens": 3, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 4}}, None),
        (None, None),
    ],
)
def test_a_usage_that_is_not_whole_is_unknown(provider, client_of, ask, told, usage):
    provider.answer(answer(usage=told))
    got = client_of("openai").complete(ask()).usage
    assert (got and (got.input_tokens, got.output_tokens, got.cached_input_tokens)) == usage


@pytest.mark.parametrize(
    ("cost", "nanousd"),
    [("0.00012345", 123_450), ("0.0000000001", 1), ("1e-3", 1_000_000), ("-1", None), ('"x"', None)],
)
def test_what_the_provider_charges_is_exact(provider, client_of, ask, cost, nanousd):
    body = json.dumps(answer(usage=USAGE | {"cost": 0})).replace('"cost": 0', f'"cost": {cost}')
    provider.answer(body.encode())
    assert client_of("openai").complete(ask()).provider_nanousd == nanousd


def test_tools_go_both_ways(provider, client_of):
    call = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"place": "Rome"}'}}
    broken = {"id": "call_2", "type": "function", "function": {"name": "weather", "arguments": '{"place": '}}
    provider.answer(answer(None, "tool_calls", message={"tool_calls": [call, broken]}))
    made = (
        Message(role="user", content="?"),
        Message(role="assistant", tool_calls=(ToolCall(id="call_0", name="weather", arguments={"place": "Oslo"}),)),
        Message(role="tool", content="rain", tool_call_id="call_0"),
    )
    reply = client_of("openai").complete(ModelRequest(messages=made, tools=(WEATHER,)))
    assert reply.finish_reason == "tools"
    assert reply.tool_calls == (
        ToolCall(id="call_1", name="weather", arguments={"place": "Rome"}),
        ToolCall(id="call_2", name="weather", unreadable='{"place": '),
    )
    sent = provider.bodies[0]
    assert sent["tools"][0]["function"]["parameters"] == WEATHER.parameters
    assert json.loads(sent["messages"][1]["tool_calls"][0]["function"]["arguments"]) == {"place": "Oslo"}
    assert sent["messages"][2] == {"role": "tool", "content": "rain", "tool_call_id": "call_0"}


def test_a_stream_is_put_together(provider, client_of, ask):
    provider.answer(
        [
            piece({"role": "assistant", "content": None}),
            piece({"content": "Gr\u2028"}),
            piece({"content": "üße"}),
            piece({"tool_calls": [{"index": 0, "id": "a", "function": {"name": "one", "arguments": ""}}]}),
            calling(0, arguments='{"x"'),
            piece({"tool_calls": [{"index": 1, "id": "b", "function": {"name": "two", "arguments": "{}"}}]}),
            calling(0, arguments=": 1}"),
            piece({}, "tool_calls"),
            piece(usage=USAGE),
            "[DONE]",
        ]
    )
    reply = client_of("openai", "stream = true").complete(ask())
    assert reply.text == "Gr\u2028üße"
    calls = (ToolCall(id="a", name="one", arguments={"x": 1}), ToolCall(id="b", name="two"))
    assert reply.tool_calls == calls
    assert reply.usage == Usage(input_tokens=1200, output_tokens=34, cached_input_tokens=1024)
    assert provider.bodies[0]["stream_options"] == {"include_usage": True}


def test_pieces_of_calls_without_numbers(provider, client_of, ask):
    provider.answer(
        [
            piece({"tool_calls": [{"id": "a", "function": {"name": "one", "arguments": '{"x"'}}]}),
            piece({"tool_calls": [{"function": {"arguments": ": 1}"}}]}),
            piece({"tool_calls": [{"id": "b", "function": {"name": "two", "arguments": "{}"}}]}, "tool_calls"),
        ]
    )
    calls = client_of("openai", "stream = true").complete(ask()).tool_calls
    assert calls == (ToolCall(id="a", name="one", arguments={"x": 1}), ToolCall(id="b", name="two"))


def test_a_stream_without_usage_is_unknown_and_not_zero(provider, client_of, ask):
    provider.answer([piece({"content": "Hi"}), piece({}, "stop"), "[DONE]"])
    reply = client_of("openai", "stream = true").complete(ask())
    assert (reply.text, reply.usage) == ("Hi", None)


@pytest.mark.parametrize("ending", [[], [{"error": {"message": "overloaded"}}], ["{broken"]])
def test_a_stream_that_breaks_off_is_lost_and_may_cost(provider, client_of, ask, ending):
    provider.answer([piece({"content": "Hi"}), *ending])
    with pytest.raises(errors.Unavailable, match="lost") as lost:
        client_of("openai", "stream = true").complete(ask())
    assert lost.value.details == {"may_be_billed": True}
    assert len(provider.got) == 1


@pytest.mark.parametrize(
    ("schema", "said", "text"),
    [
        ({"type": "object"}, '{"a": 1}', '{"a": 1}'),
        ({"type": "integer"}, '{"answer": 7}', "7"),
        ({"type": "integer"}, "seven", "seven"),
    ],
)
def test_schemas_are_sent_as_objects_and_taken_out_again(provider, client_of, ask, schema, said, text):
    provider.answer(answer(said))
    assert client_of("openai").complete(ask(output_schema=schema)).text == text
    assert provider.bodies[0]["response_format"]["json_schema"]["schema"]["type"] == "object"


def test_without_constraints_the_text_is_as_it_came(provider, client_of, ask):
    provider.answer(answer("red"))
    assert client_of("openai", 'constrain = "none"').complete(ask(choices=("red", "blue"))).text == "red"
    assert "response_format" not in provider.bodies[0]


def test_a_refusal_is_no_answer(provider, client_of, ask):
    provider.answer(answer(None, message={"refusal": "I will not."}))
    assert client_of("openai").complete(ask()).finish_reason == "refusal"


def test_options_are_added_and_the_bound_holds(provider, client_of, ask):
    provider.answer(answer())
    client = client_of("openai", "max_output_tokens = 50", "options = {reasoning_effort = 'low'}")
    client.complete(ask(max_output_tokens=500))
    assert (provider.bodies[0]["max_tokens"], provider.bodies[0]["reasoning_effort"]) == (50, "low")


@pytest.mark.parametrize("body", [b"<html>", {"choices": []}, [1]])
def test_an_answer_that_is_none(provider, client_of, ask, body):
    provider.answer(json.dumps(body).encode() if isinstance(body, list) else body)
    with pytest.raises(errors.Unavailable, match="lost"):
        client_of("openai").complete(ask())
