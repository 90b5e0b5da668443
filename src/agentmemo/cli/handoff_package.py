"""What `agentmemo handoff create` is given: to whom, what, by when, and how far it may go."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import unquote

import msgspec
from cyclopts import Parameter

from agentmemo.cli.options import Nanousd, Seconds, Steps, Tokens, budget_of, flag
from agentmemo.cli.values import read_time, read_value
from agentmemo.client._sync.connection import Connection
from agentmemo.client.given import as_struct
from agentmemo.errors import InvalidInput
from agentmemo.model.handoffs import Acceptance, Handoff, Reference, Tried
from agentmemo.model.runs import Budget, Retry

_REFERENCE = re.compile(r"(?P<namespace>.+)/(?P<key>[^/]+?)(?:@(?P<version>[0-9]{1,18}))?\Z", re.DOTALL)
AHEAD = "A UTC time, or 15m, 2h, 7d from now."


def _json(help: str) -> Parameter:  # noqa: A002 - cyclopts' word
    return Parameter(
        allow_leading_hyphen=True, show_default=False, help=f"{help}. JSON; - reads standard input, @FILE a file."
    )


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Receiver:
    """Exactly one of them."""

    to_agent: Annotated[str | None, Parameter(help="The agent that is to do it.")] = None
    to_capability: Annotated[str | None, Parameter(help="Any agent that announced this capability.")] = None
    to_queue: Annotated[str | None, Parameter(help="Any agent that takes work from this queue.")] = None


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Package:
    """What the receiver gets to know."""

    goal: Annotated[str, flag("What is to be done, in a sentence.")] = ""
    context: Annotated[str, _json("What the receiver needs to know")] = "null"
    workflow: Annotated[str | None, Parameter(help="The workflow to follow.")] = None
    workflow_version: Annotated[str | None, Parameter(help="Its version.")] = None
    reference: Annotated[
        Sequence[str],
        flag("NAMESPACE/KEY[@VERSION] of an entry that belongs to it (%2F and %40 in a key); may be repeated."),
    ] = ()
    artifact: Annotated[Sequence[str], _json("Something made or to be used, such as a link; may be repeated")] = ()
    constraint: Annotated[Sequence[str], flag("What must be kept to; may be repeated.")] = ()
    tried: Annotated[Sequence[str], flag("An approach that failed; may be repeated, each with a --why-failed.")] = ()
    why_failed: Annotated[Sequence[str], flag("Why the approach of the --tried before it failed.")] = ()
    unverified: Annotated[Sequence[str], flag("What is believed and not checked; may be repeated.")] = ()
    schema: Annotated[str | None, _json("A JSON Schema that the result must fit")] = None
    check: Annotated[
        Sequence[str],
        flag("A CEL expression over `result` and `context` that must be true; may be repeated."),
    ] = ()
    verifier: Annotated[str | None, Parameter(help="The agent that looks at the result before it counts.")] = None

    @property
    def references(self) -> list[Reference]:
        return [read_reference(each) for each in self.reference]

    @property
    def acceptance(self) -> Acceptance | None:
        schema = None if self.schema is None else read_value(self.schema)
        if schema is None and not self.check and self.verifier is None:
            return None
        if schema is not None and not isinstance(schema, dict):
            raise InvalidInput(
                "--schema is not a JSON object.",
                next_call="""Give a JSON Schema, such as '{"type": "object", "required": ["findings"]}'.""",
            )
        return Acceptance(schema=schema, checks=[*self.check], verifier=self.verifier)

    @property
    def attempts(self) -> list[Tried]:
        """What was tried, each with its reason. Raises InvalidInput for one without the other."""
        if len(self.tried) != len(self.why_failed):
            raise InvalidInput(
                f"{len(self.tried)} times --tried and {len(self.why_failed)} times --why-failed.",
                why="An approach is only spared if the receiver knows why it failed.",
                next_call='Give both, in turn: --tried "..." --why-failed "...".',
            )
        return [Tried(text=text, why_failed=why) for text, why in zip(self.tried, self.why_failed, strict=True)]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Course:
    """When it is offered, who hears when nobody comes, and how far it may go."""

    not_before: Annotated[str | None, Parameter(help=f"It is not offered earlier. {AHEAD}")] = None
    pickup_by: Annotated[str | None, Parameter(help=f"Unclaimed until then, you and the people are told. {AHEAD}")] = (
        None
    )
    complete_by: Annotated[
        str | None, Parameter(help=f"Unclaimed by then it expires; claimed, it is late. {AHEAD}")
    ] = None
    progress_seconds: Annotated[
        float | None, Parameter(help="After so long without progress by its holder, somebody is told.")
    ] = None
    ladder: Annotated[
        str, _json('Who is asked when nobody comes: [{"after_seconds": 60, "to_agent": "other"}, ...]')
    ] = "[]"
    priority: Annotated[int, Parameter(help="Higher is claimed first.")] = 0
    max_attempts: Annotated[int, Parameter(help="Attempts before it is kept as dead.")] = 3
    retry: Annotated[str | None, _json('The pauses between attempts: {"first_delay_seconds": 5, "factor": 2}')] = None
    steps: Steps = None
    seconds: Seconds = None
    tokens: Tokens = None
    nanousd: Nanousd = None

    @property
    def times(self) -> tuple[int | None, int | None, int | None]:
        """not_before, pickup_by, complete_by in UTC microseconds."""
        given = (self.not_before, self.pickup_by, self.complete_by)
        first, second, third = (read_time(each, ahead=True) for each in given)
        return first, second, third

    @property
    def rungs(self) -> list[Any]:
        found = read_value(self.ladder)
        if not isinstance(found, list):
            raise InvalidInput(
                "--ladder is not a JSON array.",
                next_call="""Give the rungs: '[{"after_seconds": 60, "to_agent": "other"}]'.""",
            )
        return found

    @property
    def pauses(self) -> Retry | None:
        found = None if self.retry is None else read_value(self.retry)
        if found is None:
            return None
        fields = Retry.__struct_fields__
        if not isinstance(found, dict) or not found.keys() <= {*fields}:
            raise InvalidInput(
                f"--retry is a JSON object with {', '.join(fields)}.",
                next_call="""Give such as '{"first_delay_seconds": 5, "factor": 2, "max_delay_seconds": 300}'.""",
            )
        return as_struct(Retry, found)

    @property
    def budget(self) -> Budget | None:
        return budget_of(self.steps, self.seconds, self.tokens, self.nanousd)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Under:
    """The claim that the work belongs to, both or neither."""

    under: Annotated[
        str | None, Parameter(help="A handoff you hold: this is part of it, with its lineage, budget and on-behalf-of.")
    ] = None
    epoch: Annotated[int | None, Parameter(help="With --under: the epoch that its claim was answered with.")] = None

    def claimed(self, plane: Connection) -> Handoff | None:
        """The handoff as this claim holds it. Raises InvalidInput for one without the other."""
        if (self.under is None) != (self.epoch is None):
            raise InvalidInput(
                "--under and --epoch go together.",
                why="The epoch proves the claim.",
                next_call="agentmemo handoff create --under HANDOFF --epoch N --to-agent NAME",
            )
        if self.under is None or self.epoch is None:
            return None
        return msgspec.structs.replace(plane.handoff.get(self.under), epoch=self.epoch)


def read_reference(text: str) -> Reference:
    """`namespace/key`, `namespace/key@version`; the key is what stands behind the last slash. Raises InvalidInput."""
    match = _REFERENCE.match(text)
    if match is None:
        raise InvalidInput(
            f"{text!r} is not a reference.",
            next_call="Use NAMESPACE/KEY or NAMESPACE/KEY@VERSION, such as team/a/plan@3.",
        )
    version = match["version"]
    return Reference(
        namespace=unquote(match["namespace"]),
        key=unquote(match["key"]),
        version=None if version is None else int(version),
    )
