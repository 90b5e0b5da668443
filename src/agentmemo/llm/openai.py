"""Chat completions as OpenAI has them, and as llama.cpp, vLLM, Ollama, OpenRouter and most others took them over."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from decimal import ROUND_CEILING, Decimal
from typing import Any

import msgspec

from agentmemo import ids
from agentmemo.llm import model_settings as configured
from agentmemo.llm import protocol, sse
from agentmemo.llm.answer_form import AnswerForm, form_of
from agentmemo.llm.exchange import Exchange, Sending
from agentmemo.llm.model_settings import ModelSettings
from agentmemo.llm.protocol import FinishReason, Message, ModelReply, ModelRequest, Tool, ToolCall
from agentmemo.llm.refusals import Broken, one_line
from agentmemo.model.kinds import described
from agentmemo.model.prices import NANOUSD, Usage, is_consistent
from agentmemo.model.values import NOT_JSON

FINISHED: dict[str, FinishReason] = {
    "stop": "stop", "length": "length", "tool_calls": "tools", "function_call": "tools", "content_filter": "refusal",
}  # fmt: skip
END = b"[DONE]"


class OpenAiClient:
    def __init__(self, settings: ModelSettings, exchange: Exchange, environ: Mapping[str, str]) -> None:
        self._settings = settings
        self._exchange = exchange
        self._environ = environ

    def complete(self, request: ModelRequest) -> ModelReply:
        protocol.check(request)
        settings = self._settings
        model = request.model or settings.model
        form = form_of(request)
        labelled = bool(request.choices) and settings.constrain == "grammar"
        body = self._body(request, model, form)
        sending = self._sending(model, body, request)
        gather = _gather_stream if settings.stream else _gather
        answer, request_id = self._exchange.post(sending, gather)
        said = answer.choices[0].message
        text = _text(said.content) or ""
        return ModelReply(
            text=text if form is None or labelled or settings.constrain == "none" else form.text_of(text),
            model_requested=model,
            model_served=answer.model,
            finish_reason="refusal" if said.refusal else FINISHED.get(answer.choices[0].finish_reason or "", "other"),
            usage=_usage(answer.usage),
            tool_calls=tuple(map(_tool_call, said.tool_calls or ())),
            provider_nanousd=_cost(answer.usage),
            request_id=request_id or answer.id or "",
        )

    def _sending(self, model: str, body: dict[str, Any], request: ModelRequest) -> Sending:
        key = configured.key(self._settings, self._environ)
        headers = {"content-type": "application/json"}
        if key:
            headers["authorization"] = f"Bearer {key}"
        if request.idempotency_key:
            headers["idempotency-key"] = request.idempotency_key
        return Sending(
            what=model,
            url=f"{configured.address(self._settings)}/chat/completions",
            headers=headers,
            body=msgspec.json.encode(body),
            seconds=request.timeout_seconds or self._settings.timeout_seconds,
            key=key,
        )

    def _body(self, request: ModelRequest, model: str, form: AnswerForm | None) -> dict[str, Any]:
        settings = self._settings
        # OpenAI's own reasoning models refuse the older name, most other servers know no newer one.
        limit = "max_completion_tokens" if configured.seller(settings) == configured.OPENAI else "max_tokens"
        body: dict[str, Any] = {
            **settings.options,
            "model": model,
            "messages": list(map(_message, request.messages)),
            limit: configured.bound(settings, request.max_output_tokens),
        }
        if request.temperature is not None:
            body["temperature"] = request.temperature
        if request.tools:
            body["tools"] = list(map(_tool, request.tools))
        if settings.stream:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        if request.choices and settings.constrain == "grammar":
            body["grammar"] = "root ::= " + " | ".join(
                json.dumps(label, ensure_ascii=False) for label in request.choices
            )
        elif form is not None and settings.constrain != "none":
            schema = {"name": "answer", "schema": form.schema, "strict": form.is_label}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        return body


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: str | dict[str, Any] | None = None


class _Call(msgspec.Struct):
    index: int | None = None
    id: str | None = None
    function: _Function = msgspec.field(default_factory=_Function)


class _Said(msgspec.Struct):
    content: str | list[dict[str, Any]] | None = None
    refusal: str | None = None
    tool_calls: list[_Call] | None = None


class _Choice(msgspec.Struct):
    message: _Said = msgspec.field(default_factory=_Said)
    delta: _Said = msgspec.field(default_factory=_Said)
    finish_reason: str | None = None


class _Answer(msgspec.Struct):
    """What of an answer, or of a piece of one, is looked at."""

    id: str | None = None
    model: str | None = None
    choices: list[_Choice] = []
    usage: msgspec.Raw = msgspec.Raw(b"null")
    error: Any = None


class _Details(msgspec.Struct):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None


class _Usage(msgspec.Struct):
    """The tokens as they are counted there. DeepSeek has a field of its own for cached ones."""

    prompt_tokens: int
    completion_tokens: int
    prompt_tokens_details: _Details | None = None
    prompt_cache_hit_tokens: int | None = None


class _Cost(msgspec.Struct):
    cost: Decimal


def _gather(pieces: Iterable[bytes]) -> _Answer:
    answer = _decode(b"".join(pieces))
    if not answer.choices:
        raise Broken("it holds no choice")
    return answer


def _gather_stream(pieces: Iterable[bytes]) -> _Answer:
    """The pieces, put together as the answer at once would be. Raises Broken where its end is missing."""
    whole = _Choice(message=_Said(tool_calls=[]))
    answer = _Answer(choices=[whole])
    texts: list[str] = []
    calls: dict[int, _Call] = {}
    for event in _until_end(sse.events(pieces)):
        piece = _decode(event)
        answer.id, answer.model = answer.id or piece.id, answer.model or piece.model
        if bytes(piece.usage) != b"null":
            answer.usage = piece.usage
        for choice in piece.choices[:1]:
            whole.finish_reason = choice.finish_reason or whole.finish_reason
            texts.append(_text(choice.delta.content) or "")
            whole.message.refusal = (whole.message.refusal or "") + (choice.delta.refusal or "") or None
            for call in choice.delta.tool_calls or ():
                _join(calls, call)
    if whole.finish_reason is None:
        raise Broken("its end is missing")
    whole.message.content = "".join(texts)
    whole.message.tool_calls = list(calls.values())
    return answer


def _until_end(events: Iterable[bytes]) -> Iterator[bytes]:
    for event in events:
        if event.strip() == END:
            return
        yield event


def _join(calls: dict[int, _Call], piece: _Call) -> None:
    """A call comes in pieces: its name with the first, its arguments letter by letter."""
    begins = bool(piece.id or piece.function.name)
    # Where pieces are not numbered, one that names nothing goes on with the last.
    place = piece.index if piece.index is not None else len(calls) if begins else max(0, len(calls) - 1)
    known = calls.setdefault(place, _Call(function=_Function(arguments="")))
    known.id = known.id or piece.id
    known.function.name = known.function.name or piece.function.name
    if isinstance(piece.function.arguments, dict):
        known.function.arguments = piece.function.arguments
    elif isinstance(known.function.arguments, str):
        known.function.arguments += piece.function.arguments or ""


def _decode(data: bytes) -> _Answer:
    try:
        answer = msgspec.json.decode(data, type=described(_Answer))
    except NOT_JSON as error:
        raise Broken(f"it is not what chat completions answer ({error})") from None
    if answer.error:
        told = answer.error.get("message", answer.error) if isinstance(answer.error, dict) else answer.error
        raise Broken(f"it broke off with {one_line(told)}")
    return answer


def _usage(raw: msgspec.Raw) -> Usage | None:
    try:
        told = msgspec.json.decode(raw, type=described(_Usage))
    except NOT_JSON:
        return None
    details = told.prompt_tokens_details or _Details()
    usage = Usage(
        input_tokens=told.prompt_tokens,
        output_tokens=told.completion_tokens,
        cached_input_tokens=details.cached_tokens or told.prompt_cache_hit_tokens or 0,
        cache_write_tokens=details.cache_write_tokens or 0,
    )
    return usage if is_consistent(usage) else None


def _cost(raw: msgspec.Raw) -> int | None:
    """What the provider says that it charges, rounded up."""
    try:
        told = msgspec.json.decode(raw, type=described(_Cost)).cost
        return int((told * NANOUSD).to_integral_value(ROUND_CEILING)) if told >= 0 else None
    except (*NOT_JSON, ArithmeticError, ValueError):
        return None


def _tool_call(call: _Call) -> ToolCall:
    name, arguments = call.function.name or "", call.function.arguments or "{}"
    given = call.id or ids.random_bytes(8).hex()  # some servers name none, and an answer must name its call
    if isinstance(arguments, dict):
        return ToolCall(id=given, name=name, arguments=arguments)
    try:
        return ToolCall(id=given, name=name, arguments=msgspec.json.decode(arguments, type=dict[str, Any]))
    except NOT_JSON:
        return ToolCall(id=given, name=name, unreadable=arguments)


def _text(content: str | list[dict[str, Any]] | None) -> str | None:
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content if part.get("type") == "text")
    return content


def _message(message: Message) -> dict[str, Any]:
    sent: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        sent["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": _written(call)}}
            for call in message.tool_calls
        ]
    if message.role == "tool":
        sent["tool_call_id"] = message.tool_call_id
    return sent


def _written(call: ToolCall) -> str:
    return call.unreadable or msgspec.json.encode(call.arguments).decode()


def _tool(tool: Tool) -> dict[str, Any]:
    function = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
    return {"type": "function", "function": function}
