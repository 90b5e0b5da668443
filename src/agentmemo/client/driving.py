"""What drives a workflow document beside the plane: tools that are functions here, and models that can be asked.

`connect` hands in whoever asks the models; without one, an execution can only be done by its caller.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import msgspec

from agentmemo.errors import InvalidInput, PermissionDenied, Unavailable
from agentmemo.model import executions as model
from agentmemo.model.prices import Usage
from agentmemo.model.runs import ANNOUNCED_EFFECTS, EFFECTS, check_choice
from agentmemo.model.workflows import LLM, WorkflowDocument, walk

CallTool = Callable[[str, Any], Any]
IDEMPOTENCY_KEY = "idempotency_key"


class Tool(NamedTuple):
    """A function that steps may call by name. `schema` is the JSON Schema of its arguments.

    One that is `keyed` takes the step's key beside them, so that doing it twice is doing it once.
    """

    name: str
    function: Callable[..., Any]
    effect: str
    description: str
    schema: dict[str, Any]
    keyed: bool = False


class ToolSource(Protocol):
    """Tools of other programs, found when a step calls one."""

    def find(self, name: str) -> Tool | None:
        """Blocks while its program is started. Raises Unavailable where that fails."""
        ...

    def names(self) -> list[str]:
        """Those that are known so far."""
        ...

    def close(self) -> None: ...


class Asking(NamedTuple):
    """A model call that is ready to be made, and the most that it can take: what is reserved for it.

    `model` is the configured name, `called` what the provider calls it, which prices are known by.
    """

    model: str
    called: str
    input_tokens: int
    max_output_tokens: int
    request: Any
    prompt_hash: str = ""


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What came of asking a model: an output, or why there is none; and what the provider counted, if it said so."""

    outcome: str = "output"
    output: Any = None
    reason: str = ""
    served_model: str | None = None
    billed: bool = True
    input_tokens: int | None = None
    cached_input_tokens: int | None = None
    cache_write_tokens: int | None = None
    output_tokens: int | None = None
    provider_nanousd: int | None = None
    request_id: str | None = None


class Equipment(Protocol):
    """What a connection finds on this machine, made when its workflows need it first; None where nothing is there."""

    def executor(self) -> StepExecutor | None: ...
    def tools(self) -> ToolSource | None: ...


class StepExecutor(Protocol):
    """Whoever asks models. `models` are the names that can be asked, `ladder` is for documents that have none."""

    models: list[str]
    ladder: list[str]

    def prepare(self, step: model.NextStep, tools: list[Tool]) -> Asking:
        """What would be asked, without asking. Raises InvalidInput for a model that is not configured."""
        ...

    def ask(self, asking: Asking, call_tool: CallTool) -> Told:
        """Ask, and let the model call tools on the way. Blocks; never raises for what the model or provider did."""
        ...

    def prepare_opinion(self, step: model.NextStep, check: dict[str, Any], output: Any) -> Asking:
        """The same for another model's opinion on an output: {passed, detail}."""
        ...

    def prepare_design(self, kind: str, model: str | None, given: dict[str, Any]) -> Asking:
        """The same for a designer, by default the top of the ladder: `kind` is the prompt, design or repair.

        What is `given` is data to it. `prompt_hash` of the answer says which prompt it was.
        """
        ...


def tool_of(function: Callable[..., Any], name: str | None, effect: str) -> Tool:
    """A function as a tool: its signature says which arguments it takes, its docstring what it does."""
    check_choice(effect, EFFECTS, "effect")
    properties, required, keyed = {}, [], False
    for parameter in inspect.signature(function).parameters.values():
        if parameter.name == IDEMPOTENCY_KEY:
            keyed = True
            continue
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
            raise InvalidInput(
                f"The tool {function.__name__} takes {parameter}.",
                why="A tool is called with named arguments.",
                next_call="Give it a signature of plain named parameters.",
            )
        properties[parameter.name] = _schema_of(function, parameter)
        if parameter.default is parameter.empty:
            required.append(parameter.name)
    schema = {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
    return Tool(name or function.__name__, function, effect, inspect.getdoc(function) or "", schema, keyed)


def arguments_for(tool: Tool, given: Any, idempotency_key: str | None) -> dict[str, Any]:
    """The keywords to call it with. Raises InvalidInput for what it does not take, naming what it does."""
    properties = tool.schema.get("properties", {})
    if given is not None and not isinstance(given, dict):
        raise InvalidInput(
            f"The tool {tool.name} takes named arguments.", next_call=f"Give it an object: {properties}."
        )
    arguments = dict(given or {})
    closed = tool.schema.get("additionalProperties") is False
    unknown = sorted(set(arguments) - set(properties)) if closed else []
    missing = sorted(set(tool.schema.get("required", ())) - set(arguments))
    if unknown or missing:
        raise InvalidInput(
            f"The tool {tool.name} "
            + " and ".join(
                [f"takes no {', '.join(unknown)}"] * bool(unknown) + [f"needs {', '.join(missing)}"] * bool(missing)
            )
            + ".",
            next_call=f"Its arguments: {', '.join(properties) or 'none'}.",
        )
    if tool.keyed:
        arguments[IDEMPOTENCY_KEY] = idempotency_key
    return arguments


def agreed(step: model.NextStep) -> Told:
    """The rung without a model: what all the nearest examples gave, where they are like enough; else abstained."""
    outputs = [example["output"] for example in step.examples]
    if not outputs:
        return Told(outcome=model.ABSTAINED, reason="there are no examples like it")
    if any(output != outputs[0] for output in outputs):
        return Told(outcome=model.ABSTAINED, reason="the nearest examples do not agree")
    likeness = sum(example["likeness"] for example in step.examples) / len(outputs)
    if likeness < step.likeness:
        reason = f"the nearest examples are not like it: {likeness:.2f}, where {step.likeness:.2f} is asked"
        return Told(outcome=model.ABSTAINED, reason=reason)
    return Told(output=outputs[0])


def usage_of(told: Told) -> Usage | None:
    """What the provider counted; None where it did not say."""
    if told.input_tokens is None or told.output_tokens is None:
        return None
    return Usage(
        input_tokens=told.input_tokens,
        output_tokens=told.output_tokens,
        cached_input_tokens=told.cached_input_tokens or 0,
        cache_write_tokens=told.cache_write_tokens or 0,
    )


def opinion_of(check: dict[str, Any], told: Told) -> model.ReportedCheck:
    """What another model thinks; one that could not say did not pass it."""
    said = told.output if isinstance(told.output, dict) else {}
    detail = str(said.get("detail", "")) or told.reason
    return model.ReportedCheck(check=check["id"], passed=said.get("passed") is True, detail=detail)


def calls_for_model(tools: list[Tool]) -> CallTool:
    """What a model may call while it does a step: what changes nothing. Anything else is a step of its own."""
    known = {tool.name: tool for tool in tools}

    def call(name: str, arguments: Any) -> Any:
        tool = known.get(name)
        if tool is None:
            raise unknown_tool(name, sorted(known))
        if tool.effect in ANNOUNCED_EFFECTS or inspect.iscoroutinefunction(tool.function):
            raise InvalidInput(
                f"The tool {name} cannot be called by a model in the middle of a step.",
                why="What has an effect is announced before it happens, which takes a step of its own.",
                next_call="Make it a step of kind tool; or a synchronous function of effect none or read.",
            )
        return tool.function(**arguments_for(tool, arguments, None))

    return call


def asks_models(document: WorkflowDocument) -> bool:
    """Whether any step of it needs a model."""
    return any(step.kind == LLM for step in walk(document.steps))


def no_models(workflow: str) -> Unavailable:
    """Executing without any model configured: both ways out."""
    return Unavailable(
        f"No model is configured to execute the workflow {workflow!r}.",
        why="Its steps are done by models, cheapest first; none is named in models.toml or AGENTMEMO_MODELS.",
        next_call="Configure a ladder in models.toml (see docs/models.md), or execute it yourself: "
        f"workflows.start({workflow!r}, inputs), then workflows.submit(...) for each `next_step`.",
        retry_safe=False,
    )


def check_effect(tool: Tool, allowed: str) -> None:
    """Raises InvalidInput where a tool does more than its step has announced."""
    if tool.effect in ANNOUNCED_EFFECTS and EFFECTS.index(tool.effect) > EFFECTS.index(allowed):
        raise InvalidInput(
            f"The tool {tool.name} has the effect {tool.effect!r}; the step says {allowed!r}.",
            why="What has an effect is announced before it happens, so that it is never silently repeated.",
            next_call=f"Write effect: {tool.effect} into the step; or, if the tool does less, say so where it is "
            "registered (effects of [tools.<name>] in models.toml for an MCP server's).",
            details={"tool": tool.name, "effect": tool.effect, "step": allowed},
        )


def no_tools_for(step: str, tool: str) -> PermissionDenied:
    """For a document from elsewhere that no person has looked at."""
    return PermissionDenied(
        f"The step {step} may not call {tool!r}.",
        why="Its workflow was brought in from elsewhere, and no person has moved it yet.",
        next_call="Have a person read it and move it on: agentmemo workflow promote <name> <version> --to shadow.",
        details={"step": step, "tool": tool},
    )


def unknown_tool(name: str, known: list[str]) -> InvalidInput:
    return InvalidInput(
        f"The step calls the tool {name!r}, which is not registered here.",
        why="Tools are functions of this process, or of the MCP servers in models.toml.",
        next_call=f"Register it with @agent.tool. Known: {', '.join(known) or 'none'}.",
        details={"tool": name, "known": known},
    )


def _schema_of(function: Callable[..., Any], parameter: inspect.Parameter) -> dict[str, Any]:
    try:
        hints = inspect.get_annotations(function, eval_str=True)
    except NameError:
        hints = {}
    kind = hints.get(parameter.name, Any)
    try:
        return msgspec.json.schema(kind) if kind is not Any else {}
    except TypeError:
        return {}
