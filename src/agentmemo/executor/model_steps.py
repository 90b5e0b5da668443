"""Steps that models do: asked within what was reserved, with their calls of tools, and read back as an output."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from agentmemo.client.driving import Asking, CallTool, Told, Tool
from agentmemo.errors import Error, TimedOut
from agentmemo.executor import designers, prompts
from agentmemo.llm.config import Models
from agentmemo.llm.protocol import Message, ModelReply, ModelRequest, ToolCall, input_tokens_at_most
from agentmemo.llm.protocol import Tool as ModelTool
from agentmemo.model.executions import ABSTAINED, ERROR, TIMED_OUT, NextStep
from agentmemo.model.prices import Usage
from agentmemo.model.values import NOT_JSON, encode
from agentmemo.model.workflows import LLM

# A model that calls tools is asked again with what they gave; so often at most.
ROUNDS_MAX = 6
TOOL_RESULT_BYTES = 8000
REASON_LENGTH = 500
OUTPUT_TOKENS = 2048
# A whole document is longer than a step's output, and takes a large model its time.
DESIGN_TOKENS = 8192
DESIGN_SECONDS = 600.0
OUTPUT, ABSTAIN = "output", "abstain"
# How an answer is read: as a text, one of some labels, JSON, or JSON beside which a model may abstain.
TEXT, LABELS, JSON, WRAPPED = "text", "labels", "json", "wrapped"
_WAYS_OUT = {TEXT: prompts.ABSTAIN_TEXT, LABELS: prompts.ABSTAIN_LABEL, WRAPPED: prompts.ABSTAIN_FORM}
# What providers let a tool be called, and how long.
_UNNAMEABLE = re.compile(r"[^a-zA-Z0-9_-]")
NAME_LENGTH = 64
_OPINION = {
    "type": "object",
    "properties": {"passed": {"type": "boolean"}, "detail": {"type": "string"}},
    "required": ["passed", "detail"],
    "additionalProperties": False,
}


class Prepared(NamedTuple):
    """What will be asked, and how the answer is to be read. `names`: what the model calls a tool, and its name."""

    request: ModelRequest
    form: str
    names: Mapping[str, str] = {}


class ModelSteps:
    """Asks the configured models. Safe to use from several threads."""

    def __init__(self, models: Models) -> None:
        self._models = models
        self.ladder = list(models.ladder)
        self.models = list(models.names)

    def prepare(self, step: NextStep, tools: list[Tool]) -> Asking:
        """What would be asked, and the most that it can take. Raises NotFound for a model that is not configured."""
        name = step.model or ""
        settings = self._models.settings(name)
        form = _form(step)
        output_tokens = step.max_output_tokens or settings.max_output_tokens or OUTPUT_TOKENS
        names = _names(tools)
        request = ModelRequest(
            messages=prompts.messages(step, _WAYS_OUT[form], wrap=OUTPUT if form == WRAPPED else ""),
            tools=tuple(
                ModelTool(name=said, description=tool.description, parameters=tool.schema)
                for said, tool in zip(names, tools, strict=True)
            ),
            output_schema=_schema(step, form),
            choices=_choices(step, form),
            max_output_tokens=output_tokens,
            timeout_seconds=step.timeout_seconds,
        )
        rounds = ROUNDS_MAX if tools else 1
        first = input_tokens_at_most(request)
        grown = (rounds - 1) * (output_tokens * prompts.BYTES_PER_TOKEN + TOOL_RESULT_BYTES)
        tokens = rounds * (first + grown), rounds * output_tokens
        return Asking(name, settings.model, *tokens, Prepared(request, form, names))

    def ask(self, asking: Asking, call_tool: CallTool) -> Told:
        """Ask until it answers without calling a tool. What goes wrong is told, never raised."""
        prepared: Prepared = asking.request
        request, spent = prepared.request, _Spent()
        for _ in range(ROUNDS_MAX if request.tools else 1):
            if spent.input_at_most + input_tokens_at_most(request) > asking.input_tokens:
                return spent.told(outcome=ERROR, reason="its calls of tools grew beyond what was reserved for the step")
            try:
                reply = self._models.client(asking.model).complete(request)
            except Error as error:
                if error.details.get("may_be_billed"):
                    spent.lose()
                return spent.told(outcome=TIMED_OUT if isinstance(error, TimedOut) else ERROR, reason=error.message)
            spent.add(reply, request)
            if not reply.tool_calls:
                return _read(spent, reply, prepared.form)
            answered = tuple(_answer(call, prepared.names, call_tool) for call in reply.tool_calls)
            said = Message(role="assistant", content=reply.text, tool_calls=reply.tool_calls)
            request = msgspec.structs.replace(request, messages=(*request.messages, said, *answered))
        return spent.told(outcome=ERROR, reason=f"it went on calling tools after {ROUNDS_MAX} rounds")

    def prepare_opinion(self, step: NextStep, check: dict[str, Any], output: Any) -> Asking:
        """Another model, asked whether something holds of an output: the one the check names, else the ladder's top."""
        name = check.get("model") or (self.ladder or self.models)[-1]
        settings = self._models.settings(name)
        told = "\n\n".join(
            [
                f"Does this hold of the output below? {check.get('instruction') or check.get('message', '')}",
                prompts.fenced("Step", step.instruction),
                prompts.fenced("Output", msgspec.json.encode(output).decode()),
                "Answer whether it holds (`passed`) and why (`detail`).",
            ]
        )
        output_tokens = settings.max_output_tokens or OUTPUT_TOKENS
        request = ModelRequest(
            messages=(Message(role="user", content=told),), output_schema=_OPINION, max_output_tokens=output_tokens
        )
        return Asking(name, settings.model, input_tokens_at_most(request), output_tokens, Prepared(request, JSON))

    def prepare_design(self, kind: str, model: str | None, given: dict[str, Any]) -> Asking:
        """A designer, asked for a document or for edits of one: JSON in a text, which whoever asked reads."""
        name = model or (self.ladder or self.models)[-1]
        prompt = designers.prompt(kind)
        step = NextStep(
            step=kind,
            kind=LLM,
            attempt=1,
            instruction=prompt,
            input=given,
            model=name,
            max_output_tokens=self._models.settings(name).max_output_tokens or DESIGN_TOKENS,
            timeout_seconds=DESIGN_SECONDS,
        )
        return self.prepare(step, [])._replace(prompt_hash=designers.hash_of(prompt))

    def close(self) -> None:
        self._models.close()


class _Spent:
    """What the calls of one attempt took together; unknown where any of them was."""

    def __init__(self) -> None:
        self.calls = 0
        self.input_at_most = 0
        self._usage: Usage | None = Usage(input_tokens=0, output_tokens=0)
        self._nanousd: int | None = 0
        self._served: str | None = None
        self._request_id: str | None = None

    def add(self, reply: ModelReply, request: ModelRequest) -> None:
        self.calls += 1
        self.input_at_most += input_tokens_at_most(request)
        self._served, self._request_id = reply.model_served, reply.request_id or None
        known, usage = self._usage, reply.usage
        self._usage = None if known is None or usage is None else Usage(
            input_tokens=known.input_tokens + usage.input_tokens,
            output_tokens=known.output_tokens + usage.output_tokens,
            cached_input_tokens=known.cached_input_tokens + usage.cached_input_tokens,
            cache_write_tokens=known.cache_write_tokens + usage.cache_write_tokens,
        )  # fmt: skip
        billed = reply.provider_nanousd
        self._nanousd = None if self._nanousd is None or billed is None else self._nanousd + billed

    def lose(self) -> None:
        """A call was made, and nobody knows what it took."""
        self.calls += 1
        self._usage = self._nanousd = None

    def told(self, *, outcome: str = "output", output: Any = None, reason: str = "") -> Told:
        usage = self._usage
        return Told(
            outcome=outcome,
            output=output,
            reason=reason,
            served_model=self._served,
            billed=self.calls > 0,
            input_tokens=usage.input_tokens if usage else None,
            cached_input_tokens=usage.cached_input_tokens if usage else None,
            cache_write_tokens=usage.cache_write_tokens if usage else None,
            output_tokens=usage.output_tokens if usage else None,
            provider_nanousd=self._nanousd if self.calls else None,
            request_id=self._request_id,
        )


def _form(step: NextStep) -> str:
    schema = step.output_schema
    if schema is None:
        return TEXT
    labels = schema.get("enum")
    return LABELS if labels and all(isinstance(label, str) and label for label in labels) else WRAPPED


def _choices(step: NextStep, form: str) -> tuple[str, ...]:
    """The labels, and that none of them can be chosen."""
    if form != LABELS or step.output_schema is None:
        return ()
    return tuple(dict.fromkeys([*step.output_schema["enum"], prompts.ABSTAIN]))


def _schema(step: NextStep, form: str) -> dict[str, Any] | None:
    """What the answer is held to. A label is chosen; beside anything else a model may say that it cannot."""
    if form != WRAPPED or step.output_schema is None:
        return None
    # References inside a schema count from its root, so what they point at stays there.
    shared: dict[str, Any] = {
        name: step.output_schema[name] for name in ("$defs", "definitions") if name in step.output_schema
    }
    output = {name: value for name, value in step.output_schema.items() if name not in shared}
    return {
        "type": "object",
        "properties": {OUTPUT: output, ABSTAIN: {"type": "string"}},
        "additionalProperties": False,
        **shared,
    }


def _names(tools: list[Tool]) -> dict[str, str]:
    """What the model calls each tool: providers allow fewer characters than we do. No two are called the same."""
    names: dict[str, str] = {}
    for tool in tools:
        said = plain = _UNNAMEABLE.sub("_", tool.name)[:NAME_LENGTH]
        while said in names:
            said = f"{plain[: NAME_LENGTH - 3]}_{len(names):02}"
        names[said] = tool.name
    return names


def _read(spent: _Spent, reply: ModelReply, form: str) -> Told:
    """The output in an answer; what is not readable as one is an output that its checks refuse."""
    if reply.finish_reason == "length":
        return spent.told(outcome=ERROR, reason="the answer was cut off at its largest length")
    text = reply.text.strip()
    if reply.finish_reason == "refusal":
        return spent.told(outcome=ABSTAINED, reason=f"the model refused: {text}"[:REASON_LENGTH])
    if form in (TEXT, LABELS) and text.startswith(prompts.ABSTAIN):
        return spent.told(outcome=ABSTAINED, reason=text.removeprefix(prompts.ABSTAIN).strip())
    value = text if form in (TEXT, LABELS) else _json(text)
    if form == WRAPPED and isinstance(value, dict):
        if OUTPUT not in value and ABSTAIN in value:
            return spent.told(outcome=ABSTAINED, reason=str(value[ABSTAIN]))
        value = value.get(OUTPUT, value)
    return spent.told(output=value)


def _json(text: str) -> Any:
    """What a text says as JSON; one that is none stays a text, which the checks then refuse."""
    try:
        return msgspec.json.decode(text)
    except NOT_JSON:
        return text


def _answer(call: ToolCall, names: Mapping[str, str], call_tool: CallTool) -> Message:
    """What a tool gave, or why it gave nothing, for the model to go on with."""
    if call.unreadable:
        content = f"The arguments are no JSON object: {call.unreadable[:200]}"
    else:
        try:
            content = encode(call_tool(names.get(call.name, call.name), call.arguments)).decode()
        except Exception as error:  # noqa: BLE001 - whatever a tool raises, the model is told
            content = f"{type(error).__name__}: {error}"
    shown = content.encode(errors="replace")[:TOOL_RESULT_BYTES].decode(errors="ignore")
    return Message(role="tool", content=prompts.fenced("Result", shown), tool_call_id=call.id)
