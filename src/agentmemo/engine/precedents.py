"""Precedents: past answers beside the question, the rules people make of them, and the answer that suspends one."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import msgspec

from agentmemo.clock import SECOND, iso
from agentmemo.engine import audit, policies
from agentmemo.engine.call import Call, not_found
from agentmemo.engine.escalation_views import policy_of, question_of
from agentmemo.engine.rules import standing
from agentmemo.engine.state import check_limit
from agentmemo.errors import Conflict, InvalidInput
from agentmemo.model import escalation_rules, guards
from agentmemo.model import escalations as escalation_model
from agentmemo.model import policies as policy_model
from agentmemo.model import precedents as model
from agentmemo.model.access import Caller
from agentmemo.model.guards import matches
from agentmemo.model.pages import Page
from agentmemo.model.runs import check_choice
from agentmemo.store import access as access_rows
from agentmemo.store import escalations as escalation_rows
from agentmemo.store import guards as rows
from agentmemo.store import runs as run_rows
from agentmemo.store.database import Transaction

DAY = 86_400 * SECOND
PERSON = "person:"
VERDICTS = {"approve": guards.ALLOW, "reject": guards.DENY, "abort": guards.DENY}
_NO_SLUG = re.compile(r"[^\w.-]+")
_answer_decoder = msgspec.json.Decoder(escalation_model.Answer)


def similar(tx: Transaction, call: Call, row: rows.GuardedRow) -> list[dict[str, Any]]:
    """The newest answers to calls of the same tool, by the same agent or under the same rule."""
    found = tx.all(
        "guarded_similar",
        workspace=call.workspace,
        tool=row.tool,
        actor=row.actor,
        rule=row.rule,
        limit=model.SHOWN,
    )
    return [_past(tx, call, handle, _answer_decoder.decode(answer), run) for _, handle, answer, run in found]


def _past(tx: Transaction, call: Call, handle: str, answer: escalation_model.Answer, run: str | None) -> dict[str, Any]:
    ended = run_rows.get(tx, call.workspace, run) if run else None
    return {
        "escalation": handle,
        "decision": answer.decision,
        "comment": answer.comment,
        "by": answer.by,
        "at": answer.at,
        "run": run,
        "run_state": ended.state if ended else None,
    }


def list_(tx: Transaction, call: Call, request: model.ListPrecedents) -> Page:
    """Those with the newest answers first."""
    limit = check_limit(request.limit)
    found = _concordant(tx, call)
    named = [members for members in found.values() if model.is_named(members[0].tool, request.tool)]
    return Page(items=[_view(tx, call, members) for members in named[:limit]])


def promote(tx: Transaction, call: Call, request: model.PromotePrecedent) -> policy_model.Policy:
    """The rule stands from now on, in place of what was made of the precedent before.

    It is refused where another rule would keep it from ever deciding.
    """
    check_choice(request.scope, model.SCOPES, "scope")
    if not 0 < request.days <= model.DAYS_MAX or request.uses_max < 1:
        raise InvalidInput(
            f"A rule made of precedents holds up to {model.DAYS_MAX:.0f} days, for 1 use or more.",
            next_call="Send such days and uses_max, or leave them out.",
        )
    members = _concordant(tx, call).get(request.precedent)
    if members is None:
        raise not_found("precedent", request.precedent)
    _check_alone(tx, call, members)
    rule = _rule_of(tx, call, request, members)
    subject = _subject(tx, call, members[0])
    kept = [each for each in _document(tx, call) if not _is_made_of(each, subject)]
    made = policies.revise(
        tx, call, policy_model.RULES, model.DOCUMENT, {"rules": [*kept, rule]}, request.comment or "a precedent"
    )
    tx.write("rule_unused", workspace=call.workspace, rule=f"{model.DOCUMENT}/{rule['name']}")
    _check_reached(tx, call, rule["name"], subject)
    return made


def contradicted(
    tx: Transaction,
    call: Call,
    row: escalation_rows.EscalationRow,
    question: escalation_model.Question,
    decision: str,
) -> None:
    """A person's answer suspends every rule made of precedents that would have said something else."""
    action = question.action
    if row.kind != "approval" or action is None:
        return
    document = _document(tx, call)
    said = guards.Annotations(reversible=action.reversible)
    asker = call.engine.names.actor_name(tx, call.workspace, row.asker).partition(":")[2]
    subject = guards.Subject(action.tool, action.arguments, asker, said)
    broken = [
        each["name"]
        for each in document
        if (rule := guards.rule_of(each)).origin == guards.PRECEDENT
        and not rule.suspended
        and matches(rule, subject) is not False
        and rule.verdict != VERDICTS.get(decision, guards.ASK)
    ]
    if broken:
        _suspend(tx, call, document, broken, f"{row.handle} was decided otherwise", {"escalation": row.handle})


def objected(tx: Transaction, call: Call, rule: str, reason: str) -> None:
    """A person looked at what a rule had decided, and would have said something else."""
    policy, _, name = rule.rpartition("/")
    document = _document(tx, call)
    standing = [each for each in document if each["name"] == name and not each.get("suspended")]
    if policy == model.DOCUMENT and standing:
        _suspend(tx, call, document, [name], reason, {})


def _suspend(
    tx: Transaction,
    call: Call,
    document: list[dict[str, Any]],
    broken: Sequence[str],
    reason: str,
    about: dict[str, str],
) -> None:
    """In the plane's own name: a person said something else, not that the rules change."""
    own = _own_call(tx, call)
    changed = [each | {"suspended": True} if each["name"] in broken else each for each in document]
    for name in broken:
        subject = {"kind": "rule", "id": f"{model.DOCUMENT}/{name}"} | about
        audit.record(tx, own, "guard.suspend", subject, reason=reason)
    policies.revise(tx, own, policy_model.RULES, model.DOCUMENT, {"rules": changed}, reason)


def _own_call(tx: Transaction, call: Call) -> Call:
    caller = Caller(kind="service", name="agentmemo", workspace=call.caller.workspace, door="upkeep")
    known = (call.workspace, caller.kind, caller.name)
    actor = access_rows.find_actor(tx, *known) or access_rows.add_actor(tx, *known)
    return Call(call.engine, caller, call.workspace, actor)


def _document(tx: Transaction, call: Call) -> list[dict[str, Any]]:
    ruled = policies.current(tx, call.workspace, policy_model.RULES, model.DOCUMENT)
    return list(ruled.document.rules) if ruled else []


def _concordant(tx: Transaction, call: Call) -> dict[str, list[rows.AnsweredRow]]:
    """By id, the answers of people to such calls, where enough are equal and none is another."""
    groups: dict[str, dict[int, rows.AnsweredRow]] = defaultdict(dict)
    for row in rows.answered(tx, call.workspace, model.ANSWERS_MAX):
        groups[_id(row)].setdefault(row.id, row)
    return {name: list(group.values()) for name, group in groups.items() if _is_concordant(list(group.values()))}


def _is_concordant(group: Sequence[rows.AnsweredRow]) -> bool:
    if len(group) < model.CONCORDANT:
        return False
    answers = [_answer_decoder.decode(row.answer) for row in group]
    verdicts = {VERDICTS.get(answer.decision) for answer in answers}
    return len(verdicts) == 1 and None not in verdicts and all(answer.by.startswith(PERSON) for answer in answers)


def _id(row: rows.AnsweredRow) -> str:
    return row.pattern[:16]


def _view(tx: Transaction, call: Call, members: Sequence[rows.AnsweredRow]) -> model.Precedent:
    answers = [_answer_decoder.decode(row.answer) for row in members]
    names = call.engine.names
    subject = _subject(tx, call, members[0])
    ruled = [each for each in _document(tx, call) if _is_made_of(each, subject)]
    return model.Precedent(
        id=_id(members[0]),
        tool=members[0].tool,
        arguments=model.pattern_of(subject.arguments),
        decision=answers[0].decision,
        count=len(members),
        agents=sorted({names.actor_name(tx, call.workspace, row.asker) for row in members}),
        persons=sorted({answer.by for answer in answers}),
        comments=[answer.comment for answer in answers if answer.comment][: model.SHOWN],
        escalations=[row.handle for row in members[: model.SHOWN]],
        last_at=answers[0].at,
        rule=f"{model.DOCUMENT}/{ruled[0]['name']}" if ruled else None,
    )


def _is_made_of(data: dict[str, Any], subject: guards.Subject) -> bool:
    """Whether a rule was made of the precedent that such a call is of."""
    rule = guards.rule_of(data)
    return rule.origin == guards.PRECEDENT and matches(rule, subject) is True


def _rule_of(
    tx: Transaction, call: Call, request: model.PromotePrecedent, members: Sequence[rows.AnsweredRow]
) -> dict[str, Any]:
    subjects = [_subject(tx, call, row) for row in members]
    agents = {subject.agent for subject in subjects}
    slug = _NO_SLUG.sub("-", members[0].tool)[:40]
    decision = _answer_decoder.decode(members[0].answer).decision
    rule = {
        "name": request.name or f"{slug}-{request.precedent[:8]}",
        "verdict": VERDICTS[decision],
        "tool": _exactly(members[0].tool),
        "arguments": model.matchers_of([subject.arguments for subject in subjects], request.scope),
        "only": True,
        "reversible": True,
        "reason": f"{len(members)} answers of people were: {decision}",
        "expires_at": iso(tx.now + round(request.days * DAY)),
        "uses_max": request.uses_max,
        "origin": guards.PRECEDENT,
    }
    return rule | ({"agent": _exactly(agents.pop())} if len(agents) == 1 else {})


def _subject(tx: Transaction, call: Call, row: rows.AnsweredRow) -> guards.Subject:
    """The call as it was asked about."""
    found = escalation_rows.get(tx, call.workspace, row.handle)
    action = question_of(tx, found).action if found else None
    agent = call.engine.names.actor_name(tx, call.workspace, row.asker).partition(":")[2]
    return guards.Subject(row.tool, action.arguments if action else None, agent, guards.Annotations(reversible=True))


def _exactly(name: str) -> str:
    """A glob that stands for one name."""
    return re.sub(r"([*?\[])", r"[\1]", name)


def _check_alone(tx: Transaction, call: Call, members: Sequence[rows.AnsweredRow]) -> None:
    """What several must agree to is never decided by a rule that one of them made."""
    for member in members:
        found = escalation_rows.get(tx, call.workspace, member.handle)
        if found and escalation_rules.needs_of(question_of(tx, found), policy_of(found)).count > 1:
            raise Conflict(
                f"More than one person had to agree to {member.handle}.",
                why="A rule that one person makes does not stand for several.",
                next_call="Write a rule by hand where all of them agree to it.",
                details={"escalation": member.handle},
            )


def _check_reached(tx: Transaction, call: Call, name: str, subject: guards.Subject) -> None:
    first = next(each.id for each in standing(tx, call) if each.is_in_force(tx.now) and matches(each.rule, subject))
    if first != f"{model.DOCUMENT}/{name}":
        raise Conflict(
            f"The rule would never decide: {first} comes before it.",
            why="Rules made of precedents come after those that people wrote.",
            next_call="Change that one first, or leave this to be asked.",
            details={"rule": first},
        )
