"""Guards: what people ruled on a call, recorded with the rule's version, and tied to what is then asked."""

from __future__ import annotations

import msgspec

from agentmemo import ids
from agentmemo.engine import audit, policies, precedents
from agentmemo.engine.call import Call, not_found
from agentmemo.engine.claims import held
from agentmemo.engine.rules import standing
from agentmemo.engine.state import check_limit
from agentmemo.errors import InvalidInput, NotFound, PermissionDenied
from agentmemo.model import guards as model
from agentmemo.model import policies as policy_model
from agentmemo.model.escalation_rules import action_digest
from agentmemo.model.escalations import Action, CreateEscalation, Needs
from agentmemo.model.kinds import described
from agentmemo.model.pages import Page, make_cursor, read_cursor
from agentmemo.model.precedents import is_reviewed, pattern_digest
from agentmemo.model.runs import NAME_MAX, RUN_KEY_MAX
from agentmemo.model.state import check_name
from agentmemo.model.values import decode, encode_sorted
from agentmemo.store import guards as rows
from agentmemo.store.database import Transaction

DETAIL = "guard"
REVIEW_BYTES_MAX = 64 * 1024
NEWEST = 2**53


def check(tx: Transaction, call: Call, request: model.CheckGuard) -> model.GuardDecision:
    """Decide on a call and record it; at the same place of a run the first decision on an agent's call stands.

    Another agent that goes on with the run is decided on for itself: rules may tell them apart.
    """
    model.check_call(request)
    digest = action_digest(request.tool, request.arguments, request.revision)
    key = _place(request)
    met = rows.of_key(tx, call.workspace, key) if key else None
    if met is not None and met.digest == digest and met.actor == call.actor:
        return _view(tx, call, met)
    if met is not None and met.digest != digest:
        raise InvalidInput(
            f"Another call was guarded at {request.name}/{request.key} of {request.run}.",
            why="A place in a run stands for one call.",
            next_call="Send another key.",
        )
    if request.run is not None:
        held(tx, call, request.run)
    return _view(tx, call, _decide(tx, call, request, digest, None if met else key))


def _decide(tx: Transaction, call: Call, request: model.CheckGuard, digest: str, key: str | None) -> rows.GuardedRow:
    subject = model.Subject(request.tool, request.arguments, call.caller.name, request.annotations)
    verdict = model.decide(standing(tx, call), subject, tx.now)
    by = verdict.by
    approval = _approved_in_run(tx, call, request, digest) if verdict.verdict == model.ASK else None
    outcome = model.ALLOW if approval else verdict.verdict
    content = encode_sorted({"arguments": request.arguments, "revision": request.revision, "tool": request.tool})
    position = audit.record(
        tx,
        call,
        "guard.check",
        {"kind": "guard", "tool": request.tool, "verdict": outcome}
        | ({"rule": verdict.rule} if verdict.rule else {})
        | ({"escalation": approval} if approval else {}),
        contents={"action": content},
    )
    reversible = int(request.annotations.reversible is True)
    row = rows.GuardedRow(
        id=position,
        actor=call.actor,
        tool=request.tool,
        verdict=outcome,
        rule=by.id if by else None,
        version=by.version if by else None,
        digest=digest,
        reversible=reversible,
        escalation=approval,
        at=tx.now,
    )
    review = _count(tx, call, verdict, digest, content)
    pattern = pattern_digest(request.tool, request.arguments)
    columns = row._asdict()
    del columns["at"]
    tx.write("guarded_add", workspace=call.workspace, pattern=pattern, key=key, review=review, now=tx.now, **columns)
    return row


def _count(tx: Transaction, call: Call, verdict: model.Verdict, digest: str, content: bytes) -> str | None:
    """Count a use of the rule that decided; what of it a person shall look at afterwards, if anything."""
    by = verdict.by
    if by is None or by.rule.verdict != verdict.verdict or not model.is_counted(by.rule):
        return None
    tx.write("rule_used", workspace=call.workspace, rule=by.id)
    reviewed = by.rule.origin == model.PRECEDENT and is_reviewed(digest, by.used + 1)
    return content.decode() if reviewed and len(content) <= REVIEW_BYTES_MAX else None


def bind(call: Call, request: CreateEscalation) -> CreateEscalation:
    """A question about a guarded call: asked as the rule says, with what people said of such calls before.

    Whoever asks cannot say this in the plane's place. Raises PermissionDenied for another call than was decided on.
    """
    if request.guard is None:
        if DETAIL in (request.detail or {}):
            raise InvalidInput(
                f"detail.{DETAIL} is the plane's to fill in.", next_call="Send `guard`, or leave it out."
            )
        return request
    number, action = request.guard, request.action

    def look(tx: Transaction) -> CreateEscalation:
        row = _existing(tx, call, number)
        digest = action_digest(action.tool, action.arguments, action.revision) if action else ""
        if action is None or row.actor != call.actor or row.digest != digest:
            raise PermissionDenied(
                f"The decision {number} was on another call.",
                why="What is asked is exactly what the rules were asked about.",
                next_call="Check the call as it is now: agent.guards.check(tool, arguments).",
            )
        decision = _view(tx, call, row)
        said = {"rule": decision.rule, "precedents": precedents.similar(tx, call, row)}
        return msgspec.structs.replace(
            request,
            kind="approval",
            severity=decision.severity,
            route=decision.route,
            needs=decision.needs,
            action=_declared(action, row),
            detail=(request.detail or {}) | {DETAIL: said},
        )

    return call.engine.database.read(look)


def asked(tx: Transaction, call: Call, number: int, escalation: str) -> None:
    """Which question came of a decision."""
    tx.write("guarded_set_escalation", id=_position(call, number), escalation=escalation)


def reviews(tx: Transaction, call: Call, request: model.ListReviews) -> Page:
    limit = check_limit(request.limit)
    before = read_cursor(request.cursor, "guard.reviews", None, NEWEST)
    found = rows.reviews(tx, call.workspace, before, limit + 1)
    cursor = make_cursor("guard.reviews", None, found[limit - 1].id) if len(found) > limit else None
    return Page(items=[_review_view(tx, call, row) for row in found[:limit]], cursor=cursor)


def object_(tx: Transaction, call: Call, request: model.ObjectToReview) -> model.GuardReview:
    """A person would have decided otherwise: the rule rests until people look at it. Again it does nothing."""
    row = rows.review(tx, _position(call, request.revision))
    if row is None:
        raise not_found("review", str(request.revision))
    if row.objected_at is not None:
        return _review_view(tx, call, row)
    tx.write("guarded_object", id=row.id, person=call.actor, now=tx.now)
    subject = {"kind": "rule", "id": row.rule, "decision": str(request.revision)}
    audit.record(tx, call, "guard.object", subject, reason=request.comment)
    precedents.objected(tx, call, row.rule, f"{call.caller.actor} objected to what it decided")
    return _review_view(tx, call, row._replace(objector=call.actor, objected_at=tx.now))


def _review_view(tx: Transaction, call: Call, row: rows.ReviewRow) -> model.GuardReview:
    names = call.engine.names
    return model.GuardReview(
        revision=audit.revision(row.id),
        tool=row.tool,
        arguments=decode(row.review.encode())["arguments"],
        verdict=row.verdict,
        rule=f"{row.rule}@{row.version}",
        agent=names.actor_name(tx, call.workspace, row.actor),
        at=row.at,
        objected_by=names.actor_name(tx, call.workspace, row.objector) if row.objector is not None else None,
        objected_at=row.objected_at,
    )


def _place(request: model.CheckGuard) -> str | None:
    if request.run is None:
        return None
    if not ids.is_handle(request.run, "run"):
        raise InvalidInput("A run is named by its handle.", next_call="Send the handle, such as run_01j9x2k7m3q8w4ez.")
    check_name(request.name or "", "name", NAME_MAX)
    check_name(request.key or "", "key", 2 * RUN_KEY_MAX)
    return f"{request.run}/{request.name}/{request.key}"


def _approved_in_run(tx: Transaction, call: Call, request: model.CheckGuard, digest: str) -> str | None:
    """A person approved exactly this for the whole run."""
    if request.run is None:
        return None
    row = tx.one(
        "guarded_approved",
        workspace=call.workspace,
        tool=request.tool,
        actor=call.actor,
        digest=digest,
        run=request.run,
        now=tx.now,
    )
    return str(row[0]) if row and decode(row[1].encode()).get("scope") == "run" else None


def _existing(tx: Transaction, call: Call, number: int) -> rows.GuardedRow:
    row = rows.get(tx, _position(call, number))
    if row is None:
        raise NotFound(
            f"There is no decision {number} on a call, or you may not see it.",
            why="What is missing and what is forbidden look the same.",
            next_call="Check the call: agent.guards.check(tool, arguments).",
        )
    return row


def _position(call: Call, number: int) -> int:
    low, high = audit.position_range(call.workspace)
    return low + number if 0 < number <= high - low else 0


def _declared(action: Action, row: rows.GuardedRow) -> Action:
    """Whether it can be undone is as it was when the rules were asked."""
    return msgspec.structs.replace(action, reversible=True if row.reversible else None)


def _view(tx: Transaction, call: Call, row: rows.GuardedRow) -> model.GuardDecision:
    rule = _rule_then(tx, call, row)
    needs = rule.needs if rule and rule.needs else None
    usual = "medium" if row.reversible else "high"
    return model.GuardDecision(
        revision=audit.revision(row.id),
        verdict=row.verdict,
        tool=row.tool,
        digest=row.digest,
        rule=f"{row.rule}@{row.version}" if row.rule else None,
        reason=rule.reason if rule else "",
        severity=(rule.severity if rule else None) or usual,
        route=(rule.route if rule else None) or policy_model.DEFAULT_ROUTE,
        needs=Needs(count=needs.count, exclude=needs.exclude, deny=needs.deny) if needs else Needs(),
        escalation=row.escalation if row.verdict == model.ALLOW else None,
    )


def _rule_then(tx: Transaction, call: Call, row: rows.GuardedRow) -> model.Rule | None:
    """The rule as it was in the version that decided."""
    if row.rule is None or row.version is None:
        return None
    policy, _, name = row.rule.rpartition("/")
    then = policies.version_of(tx, call.workspace, policy_model.RULES, policy, row.version)
    found = [rule for rule in then.document.rules if rule["name"] == name] if then else []
    return msgspec.convert(found[0], described(model.Rule)) if found else None
