"""Messages as Anthropic has them. A form of the answer is asked for as a tool that must be called."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from agentmemo.llm import model_settings as configured
from agentmemo.llm import protocol, sse
from agentmemo.llm.answer_form import AnswerForm, form_of
from agentmemo.llm.exchange import Exchange, Sending
from agentmemo.llm.model_settings import ModelSettings
from agentmemo.llm.protocol import FinishReason, Message, ModelReply, ModelRequest, Tool, ToolCall
from agentmemo.llm.refusals import Broken, one_line
from agentmemo.model.kinds import described
from agentmemo.model.prices import Usage, is_consistent
from agentmemo.model.values import NOT_JSON

VERSION = "2023-06-01"
FINISHED: dict[str, FinishReason] = {
    "end_turn": "stop", "stop_sequence": "stop", "max_tokens": "length", "model_context_window_exceeded": "length",
    "tool_use": "tools", "refusal": "refusal",
}  # fmt: skip
# The tool whose arguments are the answer.
ANSWER = "final_answer"


class AnthropicClient:
    def __init__(self, settings: ModelSettings, exchange: Exchange, environ: Mapping[str, str]) -> None:
        self._settings = settings
        self._exchange = exchange
        self._environ = environ

    def complete(self, request: ModelRequest) -> ModelReply:
        protocol.check(request)
        model = request.model or self._settings.model
        form = None if self._settings.constrain == "none" else form_of(request)
        gather = _gather_stream if self._settings.stream else _gather
        sending = self._sending(model, self._body(request, model, form), request)
        answer, request_id = self._exchange.post(sending, gather)
        text, calls = _text_and_calls(answer.content, form)
        finish_reason = FINISHED.get(answer.stop_reason or "", "other")
        return ModelReply(
            text=text,
            model_requested=model,
            model_served=answer.model,
            finish_reason="stop" if finish_reason == "tools" and not calls else finish_reason,
            usage=_usage(answer.usage),
            tool_calls=calls,
            request_id=request_id or answer.id or "",
        )

    def _sending(self, model: str, body: dict[str, Any], request: ModelRequest) -> Sending:
        key = configured.key(self._settings, self._environ)
        headers = {"content-type": "application/json", "anthropic-version": VERSION}
        if key:
            headers["x-api-key"] = key
        if request.idempotency_key:
            headers["idempotency-key"] = request.idempotency_key
        return Sending(
            what=model,
            url=f"{configured.address(self._settings)}/messages",
            headers=headers,
            body=msgspec.json.encode(body),
            seconds=request.timeout_seconds or self._settings.timeout_seconds,
            key=key,
        )

    def _body(self, request: ModelRequest, model: str, form: AnswerForm | None) -> dict[str, Any]:
        body: dict[str, Any] = {
            **self._settings.options,
            "model": model,
            "messages": _turns(request.messages),
            "max_tokens": configured.bound(self._settings, request.max_output_tokens),
        }
        if system := "\n\n".join(message.content for message in request.messages if message.role == "system"):
            body["system"] = system
        if request.temperature is not None:
            body["temperature"] = request.temperature
        if self._settings.stream:
            body["stream"] = True
        tools = list(map(_tool, request.tools))
        if form is not None:
            tools.append({"name": ANSWER, "description": "Give the final answer.", "input_schema": form.schema})
            # Beside other tools the model may use those first; it must end with the answer all the same.
            body["tool_choice"] = {"type": "any"} if request.tools else {"type": "tool", "name": ANSWER}
        if tools:
            body["tools"] = tools
        return body


class _Block(msgspec.Struct):
    type: str = ""
    text: str = ""
    id: str = ""
    name: str = ""
    input: Any = None
    unreadable: str = ""


class _Answer(msgspec.Struct):
    """What of an answer is looked at."""

    id: str | None = None
    model: str | None = None
    content: list[_Block] = []
    stop_reason: str | None = None
    usage: dict[str, Any] | None = None


class _Delta(msgspec.Struct):
    text: str = ""
    partial_json: str = ""
    stop_reason: str | None = None


class _Event(msgspec.Struct):
    type: str
    index: int = 0
    message: _Answer = msgspec.field(default_factory=_Answer)
    content_block: _Block = msgspec.field(default_factory=_Block)
    delta: _Delta = msgspec.field(default_factory=_Delta)
    usage: dict[str, Any] | None = None
    error: Any = None


class _Usage(msgspec.Struct):
    input_tokens: int
    output_tokens: int
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None


def _gather(pieces: Iterable[bytes]) -> _Answer:
    try:
        answer = msgspec.json.decode(b"".join(pieces), type=described(_Answer))
    except NOT_JSON as error:
        raise Broken(f"it is not what the messages API answers ({error})") from None
    if answer.stop_reason is None:
        raise Broken("its end is missing")
    return answer


def _gather_stream(pieces: Iterable[bytes]) -> _Answer:
    """The pieces, put together as the answer at once would be. Raises Broken where its end is missing."""
    answer = _Answer()
    written: dict[int, list[str]] = {}
    blocks: dict[int, _Block] = {}
    begun: dict[str, Any] = {}
    for data in sse.events(pieces):
        event = _event(data)
        if event.type == "message_start":
            answer.id, answer.model = event.message.id, event.message.model
            begun = event.message.usage or {}
        elif event.type == "content_block_start":
            blocks[event.index] = event.content_block
        elif event.type == "content_block_delta":
            written.setdefault(event.index, []).append(event.delta.text + event.delta.partial_json)
        elif event.type == "message_delta":
            answer.stop_reason = event.delta.stop_reason or answer.stop_reason
            # What the beginning says of the output is a first guess: only with the end it is known.
            if event.usage is not None:
                answer.usage = begun | {name: count for name, count in event.usage.items() if count is not None}
        elif event.type == "message_stop":
            answer.content = [_finished(block, "".join(written.get(index, ()))) for index, block in blocks.items()]
            return answer
    raise Broken("its end is missing")


def _event(data: bytes) -> _Event:
    try:
        event = msgspec.json.decode(data, type=described(_Event))
    except NOT_JSON as error:
        raise Broken(f"it is not what the messages API streams ({error})") from None
    if event.type == "error":
        told = event.error.get("message", "") if isinstance(event.error, dict) else event.error
        raise Broken(f"it broke off with {one_line(told)}")
    return event


def _finished(block: _Block, written: str) -> _Block:
    if block.type != "tool_use":
        return msgspec.structs.replace(block, text=block.text + written)
    try:
        return msgspec.structs.replace(block, input=msgspec.json.decode(written or "{}", type=dict[str, Any]))
    except NOT_JSON:
        return msgspec.structs.replace(block, input=None, unreadable=written)


def _text_and_calls(content: list[_Block], form: AnswerForm | None) -> tuple[str, tuple[ToolCall, ...]]:
    """What was said, or the arguments of the tool that stands for the answer; and the calls of other tools."""
    text = "".join(block.text for block in content if block.type == "text")
    calls = []
    for block in content:
        if block.type == "tool_use" and form is not None and block.name == ANSWER:
            text = form.text_of(block.unreadable or msgspec.json.encode(block.input).decode())
        elif block.type == "tool_use":
            arguments = block.input if isinstance(block.input, dict) else {}
            calls.append(ToolCall(id=block.id, name=block.name, arguments=arguments, unreadable=block.unreadable))
    return text, tuple(calls)


def _usage(told: dict[str, Any] | None) -> Usage | None:
    """There the input is what was neither read from a cache nor written to one; here it is all of it."""
    try:
        counted = msgspec.convert(told, described(_Usage))
    except NOT_JSON:
        return None
    cached = counted.cache_read_input_tokens or 0
    written = counted.cache_creation_input_tokens or 0
    usage = Usage(
        input_tokens=counted.input_tokens + cached + written,
        output_tokens=counted.output_tokens,
        cached_input_tokens=cached,
        cache_write_tokens=written,
    )
    return usage if is_consistent(usage) else None


def _turns(messages: Iterable[Message]) -> list[dict[str, Any]]:
    """Turns of the two roles it knows. Results of tools that were called together belong into one turn of the user."""
    turns: list[dict[str, Any]] = []
    for message in messages:
        if message.role == "system":
            continue
        role = "assistant" if message.role == "assistant" else "user"
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"] += _blocks(message)
        else:
            turns.append({"role": role, "content": _blocks(message)})
    return turns


def _blocks(message: Message) -> list[dict[str, Any]]:
    if message.role == "tool":
        return [{"type": "tool_result", "tool_use_id": message.tool_call_id, "content": message.content}]
    # It refuses a block of text that is empty.
    said: list[dict[str, Any]] = [{"type": "text", "text": message.content}] if message.content else []
    return said + [
        {"type": "tool_use", "id": call.id, "name": call.name, "input": call.arguments} for call in message.tool_calls
    ]


def _tool(tool: Tool) -> dict[str, Any]:
    return {"name": tool.name, "description": tool.description, "input_schema": tool.parameters}
