"""What may be asked, by when it is answered, what an answer must be, and when enough have agreed. Pure functions.

The times are those of on-call practice: step delays and holds as PagerDuty, GoAlert and incident.io document theirs; a
second person at half of the time is what OWASP APTS asks for (HO-003).
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from agentmemo.clock import SECOND
from agentmemo.errors import InvalidInput
from agentmemo.model import escalations as model
from agentmemo.model.policies import Severity
from agentmemo.model.state import check_name
from agentmemo.model.values import encode, encode_sorted

MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0
YEAR = round(366 * DAY) * SECOND
WARNINGS = (50, 80)
OCCURRENCES_TOLD = (10, 100, 1000)
# Bits of `extended`: the hold was prolonged by doing something; the deadline was moved; the hold puts it off; the
# severity was raised because nobody took it.
HOLD_EXTENDED, DEADLINE_EXTENDED, SNOOZED, RAISED = 1, 2, 4, 8
OF_HOLD = HOLD_EXTENDED | SNOOZED
FIELDS_MAX = 30
# Under these the plane asks about failures that it noticed, and on behalf of runs.
RESERVED_KEYS = ("failure:", model.RUN_KEY)
_BOUNDS = ("minLength", "maxLength", "minimum", "maximum")
_KINDS: dict[str, tuple[type, ...]] = {"string": (str,), "integer": (int,), "number": (int, float), "boolean": (bool,)}


class Policy(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The timers of one severity, in seconds; stamped on the row, so that a later change does not alter live items."""

    batch_seconds: float
    climb_seconds: float
    hold_seconds: float
    deadline_seconds: float
    fallback: str = "deny"
    repeats: int = 1
    execute_seconds: float = 15 * MINUTE
    count: int = 1
    deny: str = "any"
    route: str = "default"
    # Where it is named, `climb_seconds` are counted in its working hours.
    schedule: str | None = None


POLICIES: dict[str, Policy] = {
    "critical": Policy(
        batch_seconds=0, climb_seconds=5 * MINUTE, hold_seconds=15 * MINUTE, deadline_seconds=30 * MINUTE,
        fallback="pause",
    ),
    "high": Policy(batch_seconds=0, climb_seconds=15 * MINUTE, hold_seconds=HOUR, deadline_seconds=4 * HOUR),
    "medium": Policy(
        batch_seconds=60, climb_seconds=HOUR, hold_seconds=4 * HOUR, deadline_seconds=24 * HOUR
    ),
    "low": Policy(
        batch_seconds=900, climb_seconds=DAY, hold_seconds=DAY, deadline_seconds=7 * DAY, fallback="skip", repeats=0
    ),
}  # fmt: skip


# Their own times are counted in working hours where the workspace has any: nobody is to be asked out of bed for them.
IN_WORKING_HOURS = frozenset({"medium"})


def check_question(request: model.CreateEscalation) -> None:
    """Refuse what a person could not decide on. Raises InvalidInput naming what is missing."""
    _choice(request.severity, model.SEVERITIES, "severity")
    _choice(request.kind, model.KINDS, "kind")
    _choice(request.sensitivity, model.SENSITIVITIES, "sensitivity")
    if not request.reason.strip() or len(request.reason) > model.REASON_MAX:
        raise InvalidInput(
            f"A reason has 1 to {model.REASON_MAX} characters, not {len(request.reason)}.",
            why="It is the sentence a person reads first: why a person, and why now.",
            next_call="Say it shortly; details belong into context.",
        )
    _check_actions(request.suggested_actions)
    if request.kind == "approval":
        _check_approval(request)
    if request.action is not None and not request.action.tool:
        raise InvalidInput("An action names its tool.", next_call="Send action={'tool': ..., 'arguments': ...}.")
    _check_needs(request.needs)
    if request.collapse_key is not None:
        _check_collapse_key(request.collapse_key)
    check_form(request.response_schema)
    _check_default(request)


def _check_actions(actions: list[model.SuggestedAction]) -> None:
    ids = [action.id for action in actions]
    if len(actions) > model.ACTIONS_MAX or len(set(ids)) != len(ids) or not all(ids):
        raise InvalidInput(
            f"Up to {model.ACTIONS_MAX} suggested actions, each with an id of its own.",
            next_call="Offer the few ways out that a person can choose from.",
        )
    for action in actions:
        if not 1 <= len(action.label) <= model.LABEL_MAX or len(action.id) > model.LABEL_MAX:
            raise InvalidInput(
                f"The label of {action.id[:40]!r} has 1 to {model.LABEL_MAX} characters.",
                next_call="Shorten it; what it does belongs into effect.",
            )
        if action.id in model.FALLBACKS:
            raise InvalidInput(f"{action.id!r} is a word of its own here.", next_call="Use another id.")


def _check_approval(request: model.CreateEscalation) -> None:
    if request.context in (None, "", {}, []):
        raise InvalidInput(
            "An approval needs context.",
            why="Nobody can approve what they are not shown.",
            next_call="Send context={...}: what it is for, what it touches, how to undo it.",
        )


def _check_needs(needs: model.Needs | None) -> None:
    if needs is None:
        return
    _choice(needs.deny, ("any", "majority"), "deny")
    if not 1 <= needs.count <= model.APPROVERS_MAX:
        raise InvalidInput(f"needs.count is 1 to {model.APPROVERS_MAX}.", next_call="Ask for fewer persons.")


def _check_default(request: model.CreateEscalation) -> None:
    default = request.default
    if default is None or default in model.FALLBACKS:
        return
    chosen = next((action for action in request.suggested_actions if action.id == default), None)
    if chosen is None:
        raise InvalidInput(
            f"Unknown default {default!r}.",
            next_call="Use deny, skip, abort, pause, or the id of a suggested action.",
        )
    if chosen.reversible is not True or (request.action is not None and request.action.reversible is not True):
        raise InvalidInput(
            f"{default!r} cannot happen by default: it is not declared reversible.",
            why="Nothing that cannot be undone is ever done because nobody answered.",
            next_call="Declare reversible=True where that is so, or use deny, skip, abort or pause.",
        )


def _check_collapse_key(key: str) -> None:
    check_name(key, "collapse_key", model.KEY_MAX)
    if key.startswith(RESERVED_KEYS):
        raise InvalidInput(
            f"collapse_key begins with {key.partition(':')[0]}:, which is the plane's own.",
            why="What the plane itself asks would be one with it.",
            next_call="Choose another beginning.",
        )


def is_irreversible(request: model.CreateEscalation) -> bool:
    """Whether what is asked about may not be undone; what is not declared counts as such where it is an action."""
    if request.action is not None:
        return request.action.reversible is not True
    return any(action.reversible is False for action in request.suggested_actions)


def action_digest(tool: str, arguments: Any, revision: str) -> str:
    """SHA-256 of the action's canonical JSON: whatever differs in it but spaces and the order of keys changes it."""
    encode(arguments)
    return hashlib.sha256(encode_sorted({"arguments": arguments, "revision": revision, "tool": tool})).hexdigest()


def question_digest(request: model.CreateEscalation, question: model.Question) -> str:
    """Tells one question from another: what the person is shown, and what it is about."""
    told = {"kind": request.kind, "severity": request.severity, "reason": request.reason, "route": request.route}
    return _sha(told | {"question": msgspec.to_builtins(question), "default": request.default})


def implicit_key(request: model.CreateEscalation, question: model.Question, asker: str) -> str:
    """The replay key of a question outside a run: the same words again are the same question, until it is applied."""
    said = {"asker": asker, "kind": request.kind, "reason": request.reason, "context": question.context}
    about = {"action": msgspec.to_builtins(question.action), "supersedes": request.supersedes}
    return "said:" + _sha(said | about)


def collapse_key(request: model.CreateEscalation, question: model.Question, asker: str) -> str:
    """What makes two questions one while it is open; an action only for one principal, and if it is the same.

    Whoever says who must agree shares it only with those who say the same: joining lowers nobody's bar.
    """
    needs = {"needs": msgspec.to_builtins(question.needs), "for": question.on_behalf_of}
    if request.action is not None:
        digest = action_digest(request.action.tool, request.action.arguments, request.action.revision)
        return "action:" + _sha({"asker": asker, "digest": digest, "given": request.collapse_key} | needs)
    if request.collapse_key is not None:
        return f"given:{request.collapse_key}" + ("" if question.needs == model.Needs() else f":{_sha(needs)}")
    return "same:" + question_digest(request, question)


def choice_key(ballot: model.Vote) -> str:
    """What two votes must have in common to count together."""
    return _sha({"decision": ballot.decision, "choice": ballot.choice, "values": ballot.values, "scope": ballot.scope})


def check_answer(request: model.AnswerEscalation, question: model.Question) -> None:
    """Refuse an answer that does not fit the question. Raises InvalidInput with what would."""
    _choice(request.decision, model.DECISIONS, "decision")
    _choice(request.scope, model.SCOPES, "scope")
    if request.decision in model.NEGATIVE and not request.comment.strip():
        raise InvalidInput(
            f"To {request.decision} needs a comment.",
            why="Whoever asked goes on from the reason.",
            next_call="Say why in comment.",
        )
    ids = [action.id for action in question.suggested_actions]
    if (request.decision == "choose") != (request.choice is not None):
        raise InvalidInput("choice belongs to the decision 'choose', and to no other.", next_call="Send both or none.")
    if request.choice is not None and request.choice not in ids:
        raise InvalidInput(f"Unknown choice {request.choice!r}.", next_call=f"Use one of: {', '.join(ids)}.")
    if request.decision == "edit" and question.action is None:
        raise InvalidInput("There is no action to edit.", next_call="Approve, reject, answer or choose.")
    if request.decision == "answer" and request.values is None and not request.comment.strip():
        raise InvalidInput("An answer says something.", next_call="Send values, or the answer in comment.")
    if request.decision == "answer" and request.values is not None and question.response_schema is not None:
        _check_values(request.values, question.response_schema)
    if request.values is not None and len(encode(request.values)) > model.VALUES_BYTES_MAX:
        raise InvalidInput(
            f"values has more than {model.VALUES_BYTES_MAX} bytes.", next_call="Store it in state and name the key."
        )


def needs_of(question: model.Question, policy: Policy) -> model.Needs:
    """Who must agree: what the asker wants, and at least what people ruled for the severity."""
    needs = question.needs
    if policy.count <= needs.count:
        ruled = policy.count > 1 and policy.deny == "any"
        return msgspec.structs.replace(needs, deny="any") if ruled else needs
    return msgspec.structs.replace(needs, count=policy.count, deny=policy.deny)


def is_excluded(person: str, needs: model.Needs, on_behalf_of: list[str]) -> bool:
    """Whether this person (`person:ada`) may not answer: named by the question, or the owner of what asked."""
    excluded = {*needs.exclude, *(on_behalf_of if "owner" in needs.exclude else ())}
    return person in excluded or person.partition(":")[2] in excluded


def tally(votes: list[model.Vote], needs: model.Needs) -> model.Vote | None:
    """The vote that decides, or None while more are needed.

    A refusal decides at once, or with `majority` when so many refused that the others cannot be enough.
    """
    refusals = [vote for vote in votes if vote.decision in model.NEGATIVE]
    if refusals and (needs.deny == "any" or len(refusals) * 2 > needs.count):
        return refusals[0]
    groups: dict[str, list[model.Vote]] = {}
    for vote in votes:
        if vote.decision not in model.NEGATIVE:
            groups.setdefault(choice_key(vote), []).append(vote)
    return next((group[-1] for group in groups.values() if len(group) >= needs.count), None)


def fallback_answer(default: str, escalation: str, at: int) -> model.Answer:
    """What the asker gets when nobody answered. It is never recorded as a person's word."""
    words = {"deny": "reject", "skip": "skip", "abort": "abort"}
    chosen = default not in words
    return model.Answer(
        decision="choose" if chosen else words[default],
        choice=default if chosen else None,
        comment="Nobody answered in time.",
        by="service:agentmemo",
        at=at,
        via="deadline",
        defaulted=True,
        escalation=escalation,
    )


def ruled_policy(policy: Policy, ruled: Severity) -> Policy:
    """The plane's timers with what people ruled otherwise."""
    given = {
        "batch_seconds": ruled.batch_seconds,
        "climb_seconds": ruled.step_seconds,
        "hold_seconds": ruled.hold_seconds,
        "deadline_seconds": ruled.deadline_seconds,
        "execute_seconds": ruled.execute_seconds,
        "fallback": ruled.fallback,
        "count": ruled.needs.count if ruled.needs else None,
        "deny": ruled.needs.deny if ruled.needs else None,
    }
    return msgspec.structs.replace(policy, **{name: value for name, value in given.items() if value is not None})


def warning_at(created_at: int, deadline: int, percent: int) -> int:
    return created_at + (deadline - created_at) * percent // 100


def check_deadline(deadline: int, now: int) -> None:
    if not now < deadline <= now + YEAR:
        raise InvalidInput(
            "The deadline is not within the next year.",
            next_call="Send a time to come, in UTC microseconds, or leave it out for the severity's own.",
        )


def check_form(schema: dict[str, Any] | None) -> None:
    """A response schema is one that every surface can show as a form, as MCP has it. Raises InvalidInput."""
    if schema is None:
        return
    fields, required = schema.get("properties"), schema.get("required", [])
    known = (
        schema.get("type") == "object"
        and isinstance(fields, dict)
        and 0 < len(fields) <= FIELDS_MAX
        and all(_is_field(field) for field in fields.values())
        and isinstance(required, list)
        and all(isinstance(name, str) and name in fields for name in required)
    )
    if not known:
        raise InvalidInput(
            "response_schema is not a flat form.",
            why="The same form is shown on a page, in a terminal, in messages and to clients over MCP.",
            next_call="Send {'type': 'object', 'properties': {NAME: {'type': 'string'}}} with fields of the types "
            f"{', '.join(_KINDS)}.",
        )


def _is_field(field: Any) -> bool:
    """Whether it is one of a form, with bounds that an answer can be held against."""
    if not isinstance(field, dict) or not isinstance(field.get("type"), str) or field["type"] not in _KINDS:
        return False
    bounds = [field[name] for name in _BOUNDS if name in field]
    numbers = all(isinstance(bound, int | float) and not isinstance(bound, bool) for bound in bounds)
    return numbers and isinstance(field.get("enum", []), list)


def _check_values(values: Any, schema: dict[str, Any]) -> None:
    """Raises InvalidInput for the first field that does not fit."""
    if not isinstance(values, dict):
        raise InvalidInput("values is an object.", next_call=f"Send the fields {', '.join(schema['properties'])}.")
    missing = [name for name in schema.get("required", []) if name not in values]
    strange = [name for name in values if name not in schema["properties"]]
    if missing or strange:
        raise InvalidInput(
            f"values lacks {', '.join(missing)}." if missing else f"values has no field {', '.join(strange)}.",
            next_call=f"Send the fields {', '.join(schema['properties'])}.",
        )
    for name, value in values.items():
        problem = _misfit(value, schema["properties"][name])
        if problem:
            raise InvalidInput(f"values.{name} is {problem}.", next_call="Correct that field.")


def _misfit(value: Any, field: dict[str, Any]) -> str | None:
    kinds = _KINDS[field["type"]]
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        return f"no {field['type']}"
    if "enum" in field and value not in field["enum"]:
        return f"none of {', '.join(map(str, field['enum']))}"
    size = len(value) if isinstance(value, str) else value
    low, high = ("minLength", "maxLength") if isinstance(value, str) else ("minimum", "maximum")
    if low in field and size < field[low]:
        return f"below {low} {field[low]}"
    return f"above {high} {field[high]}" if high in field and size > field[high] else None


def _choice(value: str, choices: tuple[str, ...], what: str) -> None:
    if value not in choices:
        raise InvalidInput(f"Unknown {what} {value!r}.", next_call=f"Use one of: {', '.join(choices)}.")


def _sha(value: Any) -> str:
    return hashlib.sha256(encode_sorted(value)).hexdigest()
