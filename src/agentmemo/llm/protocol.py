"""One call of a model: what is asked, what comes back, and the one method every provider has."""

from __future__ import annotations

from typing import Any, Literal, Protocol

from msgspec import Struct
from msgspec.json import encode

from agentmemo.errors import InvalidInput
from agentmemo.model.prices import Usage

# What providers add of their own around each message, and once where there are tools or a schema.
MESSAGE_TOKENS = 32
TOOLING_TOKENS = 2000

Role = Literal["system", "user", "assistant", "tool"]
FinishReason = Literal["stop", "length", "tools", "refusal", "other"]


class ToolCall(Struct, frozen=True, kw_only=True):
    """A call that the model wants made. `unreadable` is what it wrote for arguments where that is no JSON object."""

    id: str
    name: str
    arguments: dict[str, Any] = {}
    unreadable: str = ""


class Message(Struct, frozen=True, kw_only=True):
    """One turn. An assistant's may hold calls of tools; a tool's answers the call `tool_call_id`."""

    role: Role
    content: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str = ""


class Tool(Struct, frozen=True, kw_only=True):
    """What the model may call; `parameters` is a JSON Schema of an object."""

    name: str
    description: str
    parameters: dict[str, Any]


class ModelRequest(Struct, frozen=True, kw_only=True):
    """One call. Without `model` it is the configured one, without `max_output_tokens` or time what is configured.

    With `output_schema` the text of the answer is JSON of it, with `choices` it is one of these labels, where the
    server can be held to that; whoever asked checks all the same. `timeout_seconds` bounds the call with its retries.
    """

    messages: tuple[Message, ...]
    model: str = ""
    tools: tuple[Tool, ...] = ()
    output_schema: dict[str, Any] | None = None
    choices: tuple[str, ...] = ()
    max_output_tokens: int | None = None
    temperature: float | None = None
    timeout_seconds: float | None = None
    idempotency_key: str = ""


class ModelReply(Struct, frozen=True, kw_only=True):
    """What came back. `usage` and `provider_nanousd` are None where the provider did not say: unknown, never zero."""

    text: str
    model_requested: str
    model_served: str | None
    finish_reason: FinishReason
    usage: Usage | None
    tool_calls: tuple[ToolCall, ...] = ()
    provider_nanousd: int | None = None
    request_id: str = ""


class ModelClient(Protocol):
    """A provider. Safe to use from several threads; a call blocks until the answer is complete."""

    def complete(self, request: ModelRequest) -> ModelReply:
        """Raises one of `agentmemo.errors`; where `details["may_be_billed"]` is true the provider may charge for it."""
        ...


def check(request: ModelRequest) -> None:
    """Raises InvalidInput for what no provider could answer."""
    if not request.messages:
        raise InvalidInput("The request has no messages.", next_call="Send at least one message of the role user.")
    if request.choices and request.output_schema is not None:
        raise InvalidInput("The request has both choices and a schema.", next_call="Leave one of them out.")
    if len(set(request.choices)) != len(request.choices):
        raise InvalidInput("Two of the choices are the same.", next_call="Name each choice once.")
    if request.max_output_tokens is not None and request.max_output_tokens < 1:
        raise InvalidInput("max_output_tokens must be at least 1.", next_call="Leave it out, or send 1 or more.")
    if not (request.idempotency_key.isascii() and request.idempotency_key.isprintable()):
        raise InvalidInput("idempotency_key cannot be sent in a header.", next_call="Use printable ASCII.")
    try:
        encode((request.messages, request.tools, request.output_schema, request.choices))
    except (UnicodeEncodeError, TypeError) as error:
        raise InvalidInput(
            f"The request cannot be said in JSON: {error}.", next_call="Replace lone surrogates and what is no JSON."
        ) from None
    if request.timeout_seconds is not None and not request.timeout_seconds > 0:
        raise InvalidInput("timeout_seconds must be more than 0.", next_call="Leave it out, or send seconds.")


def input_tokens_at_most(request: ModelRequest) -> int:
    """A bound for reservations: no tokenizer makes more tokens of a text than it has bytes."""
    texts = [text for message in request.messages for text in (message.content, *_said(message))]
    tooling = [encode(request.tools)] if request.tools else []
    if request.output_schema is not None or request.choices:
        tooling.append(encode((request.output_schema, request.choices)))
    total = sum(len(text.encode()) for text in texts) + sum(map(len, tooling))
    return total + MESSAGE_TOKENS * len(request.messages) + (TOOLING_TOKENS if tooling else 0)


def _said(message: Message) -> list[str]:
    return [call.name + encode(call.arguments).decode() + call.unreadable for call in message.tool_calls]
