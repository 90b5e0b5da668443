"""Anthropic's messages: what is sent, and what is made of answers as it has given them."""

from __future__ import annotations

import json

import pytest

from agentmemo import errors
from agentmemo.llm.anthropic import ANSWER
from agentmemo.llm.protocol import Message, ModelRequest, Tool, ToolCall
from agentmemo.model.prices import Usage

USAGE = {
    "input_tokens": 21, "cache_creation_input_tokens": 188, "cache_read_input_tokens": 1000, "output_tokens": 11,
    "service_tier": "standard",
}  # fmt: skip
COUNTED = Usage(input_tokens=1209, output_tokens=11, cached_input_tokens=1000, cache_write_tokens=188)
WEATHER = Tool(name="weather", description="The weather of a place.", parameters={"type": "object"})


def answer(*content, stop_reason="end_turn"):
    blocks = list(content) or [{"type": "text", "text": "Hi"}]
    return {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "small-1-20251001", "content": blocks,
        "stop_reason": stop_reason, "stop_sequence": None, "usage": USAGE,
    }  # fmt: skip


def using(name, arguments, call="toolu_1"):
    return {"type": "tool_use", "id": call, "name": name, "input": arguments}


def stream(*blocks, usage=True, stop=True):
    """The events of an answer; a block is (its start, its deltas)."""
    begin = {"id": "msg_1", "model": "small-1-20251001", "content": [], "usage": USAGE | {"output_tokens": 1}}
    yield {"type": "message_start", "message": begin}
    yield {"type": "ping"}
    for index, (start, deltas) in enumerate(blocks):
        yield {"type": "content_block_start", "index": index, "content_block": start}
        yield from ({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas)
        yield {"type": "content_block_stop", "index": index}
    if usage:
        yield {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 11}}
    if stop:
        yield {"type": "message_stop"}


TEXT = ({"type": "text", "text": ""}, [{"type": "text_delta", "text": "H"}, {"type": "text_delta", "text": "i"}])
CALL = (
    using("weather", {}),
    [{"type": "input_json_delta", "partial_json": part} for part in ("", '{"place"', ': "Rome"}')],
)


def test_input_includes_what_was_cached(provider, client_of, ask):
    provider.answer(answer(), request_id="req_5")
    reply = client_of("anthropic").complete(ask(temperature=0.5))
    assert (reply.text, reply.usage, reply.finish_reason) == ("Hi", COUNTED, "stop")
    assert (reply.model_served, reply.request_id) == ("small-1-20251001", "req_5")
    path, headers, body = provider.got[0]
    assert (path, headers["anthropic-version"]) == ("/v1/messages", "2023-06-01")
    assert body == {
        "model": "small-1", "max_tokens": 4096, "temperature": 0.5,
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Hello"}]}],
    }  # fmt: skip


def test_tools_go_both_ways(provider, client_of):
    provider.answer(answer({"type": "text", "text": "Let me see."}, using("weather", {"place": "Rome"}),
                           stop_reason="tool_use"))  # fmt: skip
    calls = tuple(ToolCall(id=f"t{n}", name="weather", arguments={"n": n}) for n in (1, 2))
    messages = (
        Message(role="system", content="Be brief."),
        Message(role="user", content="?"),
        Message(role="assistant", tool_calls=calls),
        Message(role="tool", content="rain", tool_call_id="t1"),
        Message(role="tool", content="sun", tool_call_id="t2"),
    )
    reply = client_of("anthropic").complete(ModelRequest(messages=messages, tools=(WEATHER,)))
    assert reply.tool_calls == (ToolCall(id="toolu_1", name="weather", arguments={"place": "Rome"}),)
    assert (reply.text, reply.finish_reason) == ("Let me see.", "tools")
    sent = provider.bodies[0]
    assert sent["system"] == "Be brief."
    assert [turn["role"] for turn in sent["messages"]] == ["user", "assistant", "user"]
    assert [block["tool_use_id"] for block in sent["messages"][2]["content"]] == ["t1", "t2"]
    assert sent["tools"] == [
        {"name": "weather", "description": WEATHER.description, "input_schema": {"type": "object"}}
    ]


@pytest.mark.parametrize(
    ("options", "arguments", "text"),
    [
        ({"choices": ("red", "blue")}, {"answer": "blue"}, "blue"),
        ({"output_schema": {"type": "object"}}, {"a": [1.5]}, '{"a":[1.5]}'),
        ({"output_schema": {"type": "array"}}, {"answer": [1]}, "[1]"),
    ],
)
def test_a_form_is_a_tool_that_must_be_called(provider, client_of, ask, options, arguments, text):
    provider.answer(answer(using(ANSWER, arguments), stop_reason="tool_use"))
    reply = client_of("anthropic").complete(ask(**options))
    assert (reply.text, reply.tool_calls, reply.finish_reason) == (text, (), "stop")
    assert provider.bodies[0]["tool_choice"] == {"type": "tool", "name": ANSWER}


def test_a_form_beside_tools_leaves_them_usable(provider, client_of, ask):
    provider.answer(answer(using("weather", {}), stop_reason="tool_use"))
    reply = client_of("anthropic").complete(ask(tools=(WEATHER,), choices=("red", "blue")))
    assert (reply.finish_reason, reply.tool_calls[0].name) == ("tools", "weather")
    assert provider.bodies[0]["tool_choice"] == {"type": "any"}


def test_a_stream_is_put_together(provider, client_of, ask):
    provider.answer(list(stream(TEXT, CALL)))
    reply = client_of("anthropic", "stream = true").complete(ask())
    assert (reply.text, reply.usage, reply.finish_reason) == ("Hi", COUNTED, "tools")
    assert reply.tool_calls == (ToolCall(id="toolu_1", name="weather", arguments={"place": "Rome"}),)


def test_a_stream_without_its_last_count_is_unknown(provider, client_of, ask):
    provider.answer(list(stream(TEXT, usage=False)))
    assert client_of("anthropic", "stream = true").complete(ask()).usage is None


def test_arguments_that_were_cut(provider, client_of, ask):
    start, deltas = CALL
    provider.answer(list(stream((start, deltas[:2]))))
    (call,) = client_of("anthropic", "stream = true").complete(ask()).tool_calls
    assert (call.arguments, call.unreadable) == ({}, '{"place"')


@pytest.mark.parametrize("ending", [[], [{"type": "error", "error": {"type": "overloaded_error", "message": "busy"}}]])
def test_a_stream_that_breaks_off_is_lost_and_may_cost(provider, client_of, ask, ending):
    provider.answer([*stream(TEXT, stop=False), *ending])
    with pytest.raises(errors.Unavailable, match="lost") as lost:
        client_of("anthropic", "stream = true").complete(ask())
    assert lost.value.details == {"may_be_billed": True}


def test_an_answer_that_is_none(provider, client_of, ask):
    provider.answer(json.dumps([1]).encode())
    with pytest.raises(errors.Unavailable, match="lost"):
        client_of("anthropic").complete(ask())
