"""Guards: rules that say which calls may be made, which may not, and which a person is asked about first.

The first rule that matches decides, in the order in which people wrote them; what no rule knows is asked. What a rule
cannot tell never allows, and never slips past a refusal.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
from msgspec import UNSET, Meta, UnsetType

from agentmemo.errors import Error, InvalidInput
from agentmemo.model.documents import Document, misfit, moment, parse, zone_of
from agentmemo.model.escalations import Answer, Needs
from agentmemo.model.values import encode, encode_sorted
from agentmemo.model.wire import Request, Response

ALLOW, DENY, ASK = "allow", "deny", "ask"
HAND, PRECEDENT = "hand", "precedent"
TOOL_MAX = 128
COST_MAX = 2**53 - 1
MATCHERS_MAX = 100
POINTER = re.compile(r"(/([^~/]|~[01])*)+\Z")
EXAMPLE = {"name": "refunds", "verdict": "allow", "tool": "refund", "arguments": {"/amount": {"less": 100}}}
_MISSING = object()
# A UUID, what has the form of a digest, a number: they differ in every call, and mean the same.
_VARIES = re.compile(
    r"\b[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b|\b(?=[a-fA-F]{0,64}[0-9])[0-9a-fA-F]{7,64}\b|[0-9]+"
)

Name = Annotated[str, Meta(pattern=r"^[\w.-]{1,64}\Z")]
Pattern = Annotated[str, Meta(min_length=1, max_length=256)]
Count = Annotated[int, Meta(ge=0, le=COST_MAX)]


class Matcher(Document):
    """What one argument must be; all that is given must hold, and nothing given means only that it is there.

    `equals` and `in` compare exactly: 1, 1.0, true and "1" are four things. `glob` and `like` are for texts; in `like`,
    `#` stands for a number or an id. `less`, `greater`, `at_most` and `at_least` are for numbers.
    """

    equals: Any | UnsetType = UNSET
    choices: list[Any] | UnsetType = msgspec.field(default=UNSET, name="in")
    glob: Pattern | None = None
    like: str | None = None
    less: int | float | None = None
    greater: int | float | None = None
    at_most: int | float | None = None
    at_least: int | float | None = None


class Agreement(Document):
    """Who must agree when the rule asks."""

    count: Annotated[int, Meta(ge=1, le=10)] = 1
    exclude: list[Annotated[str, Meta(max_length=140)]] = []
    deny: Literal["any", "majority"] = "any"


class Rule(Document):
    """One rule. What it names of a call must all match; `arguments` is by JSON Pointer, `only` allows no others.

    `cost_nanousd` is the most that the call may cost. What the caller did not say counts as not reversible and not
    read-only, and as unknown otherwise. `severity`, `route` and `needs` are for asking. After `expires_at`, or once it
    has decided `uses_max` times, it is as if it were not there.
    """

    name: Name
    verdict: Literal["allow", "deny", "ask"]
    tool: Pattern = "*"
    arguments: Annotated[dict[str, Matcher], Meta(max_length=MATCHERS_MAX)] = {}
    only: bool = False
    namespace: Pattern | None = None
    cost_nanousd: Count | None = None
    reversible: bool | None = None
    read_only: bool | None = None
    agent: Pattern | None = None
    reason: Annotated[str, Meta(max_length=500)] = ""
    route: Annotated[str, Meta(max_length=128)] | None = None
    severity: Literal["critical", "high", "medium", "low"] | None = None
    needs: Agreement | None = None
    expires_at: str | None = None
    uses_max: Annotated[int, Meta(ge=1, le=10**9)] | None = None
    origin: Literal["hand", "precedent"] = "hand"
    suspended: bool = False


class Annotations(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What the caller says of a call. What it leaves open is taken for the worse."""

    read_only: bool | None = None
    reversible: bool | None = None
    cost_nanousd: int | None = None
    namespace: str | None = None


class Subject(NamedTuple):
    """What rules look at."""

    tool: str
    arguments: Any
    agent: str
    annotations: Annotations = Annotations()


class Standing(NamedTuple):
    """A rule of a document in force, and how often it has decided."""

    policy: str
    version: int
    rule: Rule
    used: int = 0

    @property
    def id(self) -> str:
        """What it keeps through the versions of its document."""
        return f"{self.policy}/{self.rule.name}"

    def is_in_force(self, now: int) -> bool:
        rule = self.rule
        end = None if rule.expires_at is None else moment(rule.expires_at, zone_of("UTC"), "$.expires_at")
        spent = rule.uses_max is not None and self.used >= rule.uses_max
        return not rule.suspended and not spent and (end is None or now < end)


class Verdict(NamedTuple):
    """What is to happen, and by which rule; without one, nobody has ruled on such calls."""

    verdict: str
    by: Standing | None = None

    @property
    def rule(self) -> str | None:
        """`document/rule@version`."""
        return f"{self.by.id}@{self.by.version}" if self.by else None


class CheckGuard(Request, kw_only=True):
    """May this call be made? In a run, `run`, `name` and `key` say at which place; there the answer stays the same."""

    tool: str
    arguments: Any = None
    annotations: Annotations = Annotations()
    revision: str = ""
    run: str | None = None
    name: str | None = None
    key: str | None = None


class GuardDecision(Response, kw_only=True):
    """What the rules say of a call: allow, deny or ask. `revision` is its event's, and names the decision.

    `rule` is `document/rule@version`. To ask, escalate with the severity, route and needs given, the action whose
    `digest` this is, and this decision as `guard`. Where it is allowed because a person approved the same for the whole
    run, `escalation` is that approval, to be redeemed.
    """

    revision: int
    verdict: str
    tool: str
    digest: str
    rule: str | None = None
    reason: str = ""
    severity: str = "medium"
    route: str = "default"
    needs: Needs = Needs()
    escalation: str | None = None


class Guarded(Response, kw_only=True):
    """What came of `agent.guard`: true where the call may be made, with exactly these `arguments`.

    They may be other ones than asked for, where a person edited them. `answer` is there where a person was asked.
    """

    approved: bool
    verdict: str
    arguments: Any = None
    answer: Answer | None = None
    rule: str | None = None
    reason: str = ""

    def __bool__(self) -> bool:
        return self.approved


class ListReviews(Request, kw_only=True):
    """What rules made of precedents have decided, newest first: one in twenty, for a person to look at afterwards."""

    cursor: str | None = None
    limit: int = 100


class GuardReview(Response, kw_only=True):
    revision: int
    tool: str
    arguments: Any
    verdict: str
    rule: str
    agent: str
    at: int
    objected_by: str | None = None
    objected_at: int | None = None


class ObjectToReview(Request, kw_only=True):
    """A person would have decided otherwise: the rule rests from now on."""

    revision: int
    comment: str = ""


def rule_of(data: Any, path: str = "$") -> Rule:
    """A rule from plain JSON. Raises InvalidInput with the path and the next valid call."""
    rule = parse(Rule, data, "rule", EXAMPLE, path)
    for pointer in rule.arguments:
        if not POINTER.match(pointer):
            raise misfit(
                f"{path}.arguments",
                f"{pointer[:64]!r} is no JSON Pointer",
                "Use /name, or /list/0/name for deeper ones.",
            )
    if rule.expires_at is not None:
        moment(rule.expires_at, zone_of("UTC"), f"{path}.expires_at")
    if rule.origin == PRECEDENT and (rule.reversible is not True or rule.expires_at is None):
        raise misfit(
            path,
            "a rule made of precedents is for reversible calls, and expires",
            "Keep reversible and expires_at, or make it a rule of your own: origin hand.",
        )
    return rule


def check_names(rules: Sequence[dict[str, Any]]) -> None:
    """Each decision names its rule, so no two rules of a document have one name."""
    met: set[str] = set()
    for index, rule in enumerate(rules):
        if rule["name"] in met:
            raise misfit(f"$.rules[{index}].name", f"there are two rules {rule['name']!r}", "Rename one of them.")
        met.add(rule["name"])


def is_counted(rule: Rule) -> bool:
    """Whether its uses are counted."""
    return rule.uses_max is not None or rule.origin == PRECEDENT


def decide(rules: Sequence[Standing], subject: Subject, now: int) -> Verdict:
    """The first rule in force that matches decides. Malformed calls, and those no rule knows, are asked."""
    if not _is_well_formed(subject.arguments):
        return Verdict(ASK)
    for standing in rules:
        if not standing.is_in_force(now):
            continue
        found = matches(standing.rule, subject)
        if found:
            return Verdict(standing.rule.verdict, standing)
        if found is None and standing.rule.verdict != ALLOW:
            return Verdict(ASK, standing)
    return Verdict(ASK)


def matches(rule: Rule, subject: Subject) -> bool | None:
    """Whether a rule is about a call; None where that cannot be told from what is known of it."""
    said = subject.annotations
    if not fnmatchcase(subject.tool, rule.tool):
        return False
    if rule.agent is not None and not fnmatchcase(subject.agent, rule.agent):
        return False
    if rule.reversible is not None and rule.reversible != (said.reversible is True):
        return False
    if rule.read_only is not None and rule.read_only != (said.read_only is True):
        return False
    found = [_matches_namespace(rule, said), _matches_cost(rule, said), *_matches_arguments(rule, subject.arguments)]
    return False if False in found else None if None in found else True


def leaves(value: Any, pointer: str = "") -> Iterator[tuple[str, Any]]:
    """(JSON Pointer, value) of everything that is no object or array, or an empty one."""
    items: Iterator[tuple[Any, Any]] | None = None
    if isinstance(value, dict) and value:
        items = iter(value.items())
    elif isinstance(value, list | tuple) and value:
        items = iter(enumerate(value))
    if items is None:
        yield pointer, value
        return
    for key, item in items:
        yield from leaves(item, f"{pointer}/{str(key).replace('~', '~0').replace('/', '~1')}")


def likeness(text: str) -> str:
    """The text with `#` for each number and id in it."""
    return _VARIES.sub("#", text)


def is_same(one: Any, other: Any) -> bool:
    """Equal as JSON, of the same type throughout."""
    return encode_sorted(one) == encode_sorted(other)


def _is_well_formed(arguments: Any) -> bool:
    if arguments is not None and not isinstance(arguments, dict):
        return False
    try:
        encode(arguments)
    except Error:
        return False
    return True


def _matches_namespace(rule: Rule, said: Annotations) -> bool | None:
    if rule.namespace is None:
        return True
    return None if said.namespace is None else fnmatchcase(said.namespace, rule.namespace)


def _matches_cost(rule: Rule, said: Annotations) -> bool | None:
    if rule.cost_nanousd is None:
        return True
    return None if said.cost_nanousd is None else said.cost_nanousd <= rule.cost_nanousd


def _matches_arguments(rule: Rule, arguments: Any) -> Iterator[bool | None]:
    for pointer, matcher in rule.arguments.items():
        value = _at(arguments, pointer)
        yield False if value is _MISSING else _meets(matcher, value)
    if rule.only and arguments:
        yield all(pointer in rule.arguments for pointer, _ in leaves(arguments))


def _at(value: Any, pointer: str) -> Any:
    """What stands at a JSON Pointer (RFC 6901)."""
    for part in pointer.split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        if isinstance(value, dict):
            value = value.get(key, _MISSING)
        elif isinstance(value, list | tuple) and key.isdecimal() and str(int(key)) == key and int(key) < len(value):
            value = value[int(key)]
        else:
            return _MISSING
    return value


def _meets(matcher: Matcher, value: Any) -> bool | None:
    found: list[bool | None] = []
    if matcher.equals is not UNSET:
        found.append(is_same(value, matcher.equals))
    if not isinstance(matcher.choices, UnsetType):
        found.append(any(is_same(value, choice) for choice in matcher.choices))
    if matcher.glob is not None:
        found.append(fnmatchcase(value, matcher.glob) if isinstance(value, str) else None)
    if matcher.like is not None:
        found.append(likeness(value) == matcher.like if isinstance(value, str) else None)
    for bound, holds in (
        (matcher.less, operator.lt),
        (matcher.greater, operator.gt),
        (matcher.at_most, operator.le),
        (matcher.at_least, operator.ge),
    ):
        if bound is not None:
            found.append(holds(value, bound) if _is_number(value) else None)
    return False if False in found else None if None in found else True


def _is_number(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and not isinstance(value, bool)


def check_call(request: CheckGuard) -> None:
    """Refuse what no rule could be asked about. Raises InvalidInput."""
    check_tool(request.tool)
    cost = request.annotations.cost_nanousd
    if cost is not None and not 0 <= cost <= COST_MAX:
        raise InvalidInput("cost_nanousd is out of range.", next_call="Send what it costs at most, 0 or more.")


def check_tool(tool: str) -> str:
    if not 1 <= len(tool) <= TOOL_MAX or not tool.isprintable():
        raise InvalidInput(
            f"A tool's name has 1 to {TOOL_MAX} printable characters.", next_call="Send the name that rules know it by."
        )
    return tool
