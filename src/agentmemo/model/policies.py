"""Policies: what people ruled beforehand. Documents in versions that stay, which only people change.

route      who is told of a question, step by step
schedule   who is on call, and which hours are working hours
contact    how a person is reached; its name is the person's
silence    what nobody is told of, until when and why
inhibition what nobody is told of while something else is open
severity   the timers, the fallback and the votes of one severity; its name is the severity's
rules      which calls are asked about first
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, NamedTuple

from msgspec import Meta

from agentmemo.errors import InvalidInput
from agentmemo.model import guards, schedules
from agentmemo.model.access import ACTOR
from agentmemo.model.documents import Document, encode_example, misfit, moment, parse, zone_of
from agentmemo.model.escalations import SEVERITIES
from agentmemo.model.notifications import check_address
from agentmemo.model.schedules import Person, Schedule
from agentmemo.model.values import encode_sorted
from agentmemo.model.wire import Request, Response

ROUTE, SCHEDULE, CONTACT, SILENCE, SEVERITY, RULES = "route", "schedule", "contact", "silence", "severity", "rules"
INHIBITION = "inhibition"
DEFAULT_ROUTE = "default"
DEFAULT_SCHEDULE = "default"
DOCUMENT_BYTES_MAX = 256 * 1024
STEPS_MAX = 20
TARGETS_MAX = 50
SECONDS_MAX = 366 * 86_400.0
HOURS_MAX = 2000.0
_FAMILY_END = re.compile(r"[:/]")

SeverityName = Literal["critical", "high", "medium", "low"]
Target = Annotated[str, Meta(pattern=r"^(person|schedule):[\w.@:+-]{1,128}\Z")]
Seconds = Annotated[float, Meta(ge=0, le=SECONDS_MAX)]


Field = Literal["kind", "severity", "run", "asker", "collapse_key"]


class Step(Document):
    """Whom to tell, and how many seconds after the step before; 0 stands for the severity's `step_seconds`."""

    targets: Annotated[list[Target], Meta(min_length=1, max_length=TARGETS_MAX)]
    after_seconds: Seconds = 0.0


class Route(Document):
    """Steps one after the other, and all of them again as often as `repeats` says. The first one is told at once.

    Questions that are equal in the fields of `group_by` come to a person in one message: the first of them waits
    `group_wait_seconds` for others, later ones until `group_interval_seconds` after the last message.
    """

    steps: Annotated[list[Step], Meta(min_length=1, max_length=STEPS_MAX)]
    repeats: Annotated[int, Meta(ge=0, le=5)] = 0
    group_by: Annotated[list[Field], Meta(max_length=5)] = []
    group_wait_seconds: Seconds = 30.0
    group_interval_seconds: Seconds = 300.0


class Channel(Document):
    """One way to reach a person. With `severities` it is used for these only."""

    kind: Literal["email", "slack", "ntfy", "webhook", "apprise"]
    address: Annotated[str, Meta(min_length=1, max_length=2048)]
    severities: list[SeverityName] | None = None


class Contact(Document):
    """How a person is reached. `sensitivity` is the most that a message may carry; the rest is behind its link."""

    channels: Annotated[list[Channel], Meta(max_length=20)]
    zone: str = "UTC"
    sensitivity: Literal["public", "internal", "secret"] = "internal"


class Matcher(Document):
    """All that is given must match: `run` is the run's name, `asker` is `kind:name`, `collapse_key` a prefix."""

    kind: str | None = None
    severity: SeverityName | None = None
    run: str | None = None
    asker: str | None = None
    collapse_key: str | None = None


class Silence(Document):
    """Nobody is told of what matches, until a time. Of critical questions only when a second person confirmed it."""

    matcher: Matcher
    until: str
    reason: Annotated[str, Meta(min_length=1, max_length=1000)]
    second: Person | None = None


class Inhibition(Document):
    """While a question is open that matches `source`, nobody is told of those that match `target`.

    Both must be the same in the fields of `equal`. One that matches both sides is no source for others like it.
    """

    source: Matcher
    target: Matcher
    equal: Annotated[list[Field], Meta(max_length=5)] = []
    reason: Annotated[str, Meta(max_length=1000)] = ""


class Votes(Document):
    """How many different persons must agree, and whether one refusal ends it."""

    count: Annotated[int, Meta(ge=1, le=10)] = 1
    deny: Literal["any", "majority"] = "any"


class Severity(Document):
    """What differs from the plane's own timers for one severity. Working hours are those of the named schedule."""

    batch_seconds: Seconds | None = None
    step_seconds: Annotated[float, Meta(ge=1, le=SECONDS_MAX)] | None = None
    hold_seconds: Annotated[float, Meta(ge=1, le=SECONDS_MAX)] | None = None
    deadline_seconds: Annotated[float, Meta(ge=1, le=SECONDS_MAX)] | None = None
    deadline_working_hours: Annotated[float, Meta(gt=0, le=HOURS_MAX)] | None = None
    execute_seconds: Annotated[float, Meta(ge=1, le=SECONDS_MAX)] | None = None
    fallback: Literal["deny", "skip", "abort", "pause"] | None = None
    needs: Votes | None = None
    schedule: Person | None = None


class Rules(Document):
    """Rules of guards, in order. What one must be is `check_rule`'s to say."""

    rules: list[dict[str, Any]]


class Recipient(NamedTuple):
    """Where one person is told, and the most that may be said there."""

    person: str
    channel: str
    address: str
    sensitivity: str


class Group(NamedTuple):
    """What questions have in common that are told in one message, and how long one of them may wait for others."""

    key: str
    wait_us: int
    interval_us: int
    latest: int


class Subject(NamedTuple):
    """What silences, inhibitions and groups look at. The collapse key is the one that was given."""

    kind: str
    severity: str
    asker: str
    run: str | None = None
    collapse_key: str | None = None


KINDS: dict[str, type[Document]] = {
    ROUTE: Route, SCHEDULE: Schedule, CONTACT: Contact, SILENCE: Silence, SEVERITY: Severity, RULES: Rules,
    INHIBITION: Inhibition,
}  # fmt: skip
EXAMPLES: dict[str, Any] = {
    ROUTE: {
        "steps": [{"targets": ["schedule:oncall"]}, {"targets": ["person:ana"], "after_seconds": 900}], "repeats": 1,
    },
    SCHEDULE: schedules.EXAMPLE,
    CONTACT: {"channels": [{"kind": "email", "address": "ana@example.org"}], "zone": "Europe/Berlin"},
    SILENCE: {"matcher": {"run": "nightly"}, "until": "2026-12-24T18:00", "reason": "the store is being moved"},
    SEVERITY: {"deadline_seconds": 7200, "fallback": "deny", "needs": {"count": 2}},
    RULES: {"rules": [guards.EXAMPLE]},
    INHIBITION: {
        "source": {"kind": "failure", "collapse_key": "credential"}, "target": {"kind": "question"}, "equal": ["asker"],
    },
}  # fmt: skip


class Policy(Response, kw_only=True):
    """One version of a document. Where `live` is false, this version is the deletion and has no document.

    `digest` is the SHA-256 of the document's canonical JSON. Addresses of contacts are shown to persons only.
    `webhook_secrets`, by address, is filled where a contact is read by its own person, or with access:admin.
    """

    kind: str
    name: str
    version: int
    current: bool
    live: bool
    document: Any
    digest: str
    author: str
    comment: str
    at: int
    webhook_secrets: dict[str, str] = {}


class SetPolicy(Request, kw_only=True):
    """A new version of a document; with `if_version` only over that version, and 0 means that there is none."""

    kind: str
    name: str
    document: Any
    if_version: int | None = None
    comment: str = ""


class GetPolicy(Request, kw_only=True):
    """What is ruled now, or was by a version."""

    kind: str
    name: str
    version: int | None = None


class ListPolicies(Request, kw_only=True):
    """What is ruled now, by kind and name."""

    kind: str | None = None
    cursor: str | None = None
    limit: int = 100


class ListPolicyVersions(Request, kw_only=True):
    """Newest first, deletions included."""

    kind: str
    name: str
    cursor: str | None = None
    limit: int = 100


class DeletePolicy(Request, kw_only=True):
    """A last version that rules nothing; those before it stay."""

    kind: str
    name: str
    if_version: int | None = None
    comment: str = ""


def check_kind(kind: str) -> None:
    if kind not in KINDS:
        raise InvalidInput(f"Unknown kind of policy {kind[:64]!r}.", next_call=f"Use one of: {', '.join(KINDS)}.")


def check_name(kind: str, name: str) -> None:
    if not ACTOR.fullmatch(name):
        raise InvalidInput(
            f"Bad name of a policy {name[:64]!r}.", next_call="Use 1 to 128 letters, digits and . @ : + - _."
        )
    if kind == SEVERITY and name not in SEVERITIES:
        raise InvalidInput(f"{name!r} is not a severity.", next_call=f"Name it {', '.join(SEVERITIES)}.")


def document_of(kind: str, data: Any) -> Any:
    """A document of a kind from plain JSON. Raises InvalidInput with the path and the next valid call."""
    document = parse(KINDS[kind], data, kind, EXAMPLES[kind])
    if isinstance(document, Schedule):
        schedules.check(document)
    elif isinstance(document, Contact):
        _check_contact(document)
    elif isinstance(document, Silence):
        _check_silence(document)
    elif isinstance(document, Inhibition):
        _check_inhibition(document)
    elif isinstance(document, Severity):
        _check_severity(document)
    elif isinstance(document, Rules):
        for index, rule in enumerate(document.rules):
            check_rule(rule, f"$.rules[{index}]")
        guards.check_names(document.rules)
    return document


def check_rule(rule: dict[str, Any], path: str) -> None:
    """What a rule of a guard must be."""
    guards.rule_of(rule, path)


def schedules_of(document: Document) -> set[str]:
    """The schedules that a document names."""
    if isinstance(document, Severity):
        return {document.schedule} if document.schedule else set()
    return set(schedules_on(document)) if isinstance(document, Route) else set()


def schedules_on(route: Route | None) -> list[str]:
    """The schedules of a route, step by step."""
    targets = [target.partition(":") for step in route.steps for target in step.targets] if route else []
    return [name for kind, _, name in targets if kind == SCHEDULE]


def ends_at(silence: Silence) -> int:
    return moment(silence.until, zone_of("UTC"), "$.until")


def is_silenced(silence: Silence, subject: Subject, now_us: int) -> bool:
    """Whether nobody is to be told. What is critical needs a second person's word."""
    if now_us >= ends_at(silence) or (subject.severity == "critical" and silence.second is None):
        return False
    return matches(silence.matcher, subject)


def matches(matcher: Matcher, subject: Subject) -> bool:
    """Whether all that is named fits; of the collapse key its beginning."""
    exact = all(
        wanted is None or wanted == getattr(subject, field)
        for field, wanted in (
            ("kind", matcher.kind), ("severity", matcher.severity), ("run", matcher.run), ("asker", matcher.asker),
        )
    )  # fmt: skip
    return exact and (matcher.collapse_key is None or (subject.collapse_key or "").startswith(matcher.collapse_key))


def inhibits(inhibition: Inhibition, source: Subject, target: Subject) -> bool:
    """Whether nobody is to be told of one question while the other one is open."""
    if not (matches(inhibition.source, source) and matches(inhibition.target, target)):
        return False
    # Of several that fit both sides each would mute the others, and nobody would be told of any.
    if matches(inhibition.source, target) and matches(inhibition.target, source):
        return False
    return all(value_of(source, field) == value_of(target, field) is not None for field in inhibition.equal)


def value_of(subject: Subject, field: Field) -> str | None:
    """What a question has in a field; of a collapse key the part before its first `:` or `/`."""
    value: str | None = getattr(subject, field)
    return _FAMILY_END.split(value, maxsplit=1)[0] if value and field == "collapse_key" else value


def group_of(fields: list[Field], subject: Subject) -> str | None:
    """What those have in common that are told together; None where nothing is grouped, and for what is critical."""
    if not fields or subject.severity == SEVERITIES[0]:
        return None
    return encode_sorted({field: value_of(subject, field) for field in fields}).decode()


def _check_contact(contact: Contact) -> None:
    zone_of(contact.zone)
    for index, channel in enumerate(contact.channels):
        try:
            check_address(channel.kind, channel.address)
        except InvalidInput as error:
            what = f"it is no address for {channel.kind}"
            raise misfit(f"$.channels[{index}].address", what, error.next_call or "") from None


def _check_silence(silence: Silence) -> None:
    ends_at(silence)
    if silence.matcher == Matcher():
        raise misfit(
            "$.matcher",
            "it names nothing, so it would silence everything",
            f"Name at least one of {', '.join(Matcher.__struct_fields__)}, as in {encode_example(EXAMPLES[SILENCE])}.",
        )


def _check_inhibition(inhibition: Inhibition) -> None:
    for side in ("source", "target"):
        if getattr(inhibition, side) == Matcher():
            raise misfit(
                f"$.{side}",
                "it names nothing, so it would cover everything",
                f"Name at least one of {', '.join(Matcher.__struct_fields__)}, as in "
                f"{encode_example(EXAMPLES[INHIBITION])}.",
            )


def _check_severity(severity: Severity) -> None:
    if severity.deadline_working_hours is None:
        return
    if severity.deadline_seconds is not None:
        raise misfit("$.deadline_seconds", "there are two deadlines", "Leave one of them out.")
    if severity.schedule is None:
        raise misfit("$.schedule", "it does not say whose hours", "Name the schedule that has the working hours.")
