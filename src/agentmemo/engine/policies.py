"""Policies: setting and reading them, and what the engine itself asks of them: whom to tell, by when, and whom not."""

from __future__ import annotations

import hashlib
from typing import Any, NamedTuple

import msgspec

from agentmemo.clock import SECOND, iso
from agentmemo.engine import audit, inhibition
from agentmemo.engine.call import Call, not_found
from agentmemo.engine.state import check_limit
from agentmemo.engine.webhooks import person_secret_of
from agentmemo.errors import Conflict, InvalidInput, LimitExceeded, PermissionDenied, VersionConflict
from agentmemo.model import policies as model
from agentmemo.model import schedules
from agentmemo.model.documents import misfit
from agentmemo.model.kinds import described
from agentmemo.model.pages import Page, make_cursor, read_cursor
from agentmemo.model.values import decode, encode_result, encode_sorted
from agentmemo.model.webhooks import secret_text
from agentmemo.store import policies as rows
from agentmemo.store.database import Transaction

NOTHING = "null"
HIDDEN = "(shown to persons only)"
HOUR_SECONDS = 3600.0


class Ruled(NamedTuple):
    """A document in force, and which version of it."""

    name: str
    version: int
    document: Any


def set_(tx: Transaction, call: Call, request: model.SetPolicy) -> model.Policy:
    model.check_kind(request.kind)
    model.check_name(request.kind, request.name)
    _check_contact(call, request)
    content = _canonical(request.document)
    document = model.document_of(request.kind, decode(content))
    before = rows.current(tx, call.workspace, request.kind, request.name)
    _check_version(before, request)
    for name in sorted(model.schedules_of(document)):
        if current(tx, call.workspace, model.SCHEDULE, name) is None:
            raise InvalidInput(
                f"There is no schedule {name!r}.",
                why="Whoever should be told by it would never be.",
                next_call=f"Set it first: agentmemo policy set schedule {name} FILE.",
            )
    if isinstance(document, model.Silence):
        _check_silence(tx, call, before, document)
    return _append(tx, call, request, before, content)


def get(tx: Transaction, call: Call, request: model.GetPolicy) -> model.Policy:
    model.check_kind(request.kind)
    if request.version is None:
        row = rows.current(tx, call.workspace, request.kind, request.name)
        row = row if row and row.live else None
    else:
        row = rows.version(tx, call.workspace, request.kind, request.name, request.version)
    if row is None:
        raise not_found("policy", f"{request.kind}/{request.name}")
    made = _view(tx, call, row)
    return msgspec.structs.replace(made, webhook_secrets=_webhook_secrets(call, row)) if row.live else made


def list_(tx: Transaction, call: Call, request: model.ListPolicies) -> Page:
    limit = check_limit(request.limit)
    if request.kind is not None:
        model.check_kind(request.kind)
    kind, name = read_cursor(request.cursor, "policy.list", request.kind, ["", ""])
    found = rows.page(tx, call.workspace, request.kind, (kind, name), limit + 1)
    last = found[limit - 1] if len(found) > limit else None
    cursor = make_cursor("policy.list", request.kind, [last.kind, last.name]) if last else None
    return Page(items=[_view(tx, call, row) for row in found[:limit]], cursor=cursor)


def versions(tx: Transaction, call: Call, request: model.ListPolicyVersions) -> Page:
    limit = check_limit(request.limit)
    model.check_kind(request.kind)
    bound = [request.kind, request.name]
    before = read_cursor(request.cursor, "policy.versions", bound, rows.NEWEST)
    found = rows.versions(tx, call.workspace, request.kind, request.name, before=before, limit=limit + 1)
    cursor = make_cursor("policy.versions", bound, found[limit - 1].version) if len(found) > limit else None
    return Page(items=[_view(tx, call, row) for row in found[:limit]], cursor=cursor)


def delete(tx: Transaction, call: Call, request: model.DeletePolicy) -> model.Policy:
    model.check_kind(request.kind)
    _check_contact(call, request)
    before = rows.current(tx, call.workspace, request.kind, request.name)
    _check_version(before, request)
    if before is None or not before.live:
        raise not_found("policy", f"{request.kind}/{request.name}")
    if request.kind == model.SCHEDULE and (users := _users_of(tx, call.workspace, request.name)):
        raise Conflict(
            f"The schedule {request.name!r} is named by {', '.join(users)}.",
            why="Whoever should be told by it would never be.",
            next_call="Set those without it first.",
            details={"named_by": users},
        )
    return _append(tx, call, request, before, None)


# What the engine asks.


def current(tx: Transaction, workspace: int, kind: str, name: str) -> Ruled | None:
    """The document in force, as its struct."""
    row = rows.current(tx, workspace, kind, name)
    return _ruled(row) if row and row.live else None


def version_of(tx: Transaction, workspace: int, kind: str, name: str, version: int) -> Ruled | None:
    """The document as it was by a version."""
    row = rows.version(tx, workspace, kind, name, version)
    return _ruled(row) if row and row.live else None


def revise(tx: Transaction, call: Call, kind: str, name: str, document: Any, comment: str) -> model.Policy:
    """The next version of a document that the plane made, over whatever there is."""
    content = _canonical(document)
    model.document_of(kind, decode(content))
    request = model.SetPolicy(kind=kind, name=name, document=document, comment=comment)
    return _append(tx, call, request, rows.current(tx, call.workspace, kind, name), content)


def all_of(tx: Transaction, workspace: int, kind: str) -> list[Ruled]:
    """Every document of a kind in force, by name."""
    return [_ruled(row) for row in rows.live(tx, workspace, kind)]


def route_of(tx: Transaction, workspace: int, name: str | None) -> model.Route | None:
    """The named route, or `default` where none is named or the named one is gone; None where there is neither."""
    names = [name, model.DEFAULT_ROUTE] if name else [model.DEFAULT_ROUTE]
    for each in names:
        if found := current(tx, workspace, model.ROUTE, each):
            route: model.Route = found.document
            return route
    return None


def recipients(
    tx: Transaction, call: Call, route: str | None, step: int, now: int, *, severity: str | None = None
) -> list[model.Recipient]:
    """Who is told at a step of a route, counted from 0 on and on through its repeats.

    Without any route it is every contact. Persons without a contact have only their inbox. A channel that is kept for
    some severities is left out for others.
    """
    contacts = {ruled.name: ruled.document for ruled in all_of(tx, call.workspace, model.CONTACT)}
    found = route_of(tx, call.workspace, route)
    people = _people(tx, call.workspace, found.steps[step % len(found.steps)], now) if found else list(contacts)
    return _channels_of(contacts, people, severity)


def reach(tx: Transaction, call: Call, person: str, severity: str) -> list[model.Recipient]:
    """Where one person is told, whatever the routes say."""
    found = current(tx, call.workspace, model.CONTACT, person)
    return _channels_of({person: found.document}, [person], severity) if found else []


def _channels_of(contacts: dict[str, model.Contact], people: list[str], severity: str | None) -> list[model.Recipient]:
    told = [
        model.Recipient(person, channel.kind, channel.address, contacts[person].sensitivity)
        for person in people
        if person in contacts
        for channel in contacts[person].channels
        if severity is None or channel.severities is None or severity in channel.severities
    ]
    return list(dict.fromkeys(told))


def silenced(tx: Transaction, call: Call, subject: model.Subject, now: int) -> str | None:
    """The silence that covers a question, as `name@version`; None where somebody is to be told."""
    for ruled in all_of(tx, call.workspace, model.SILENCE):
        if model.is_silenced(ruled.document, subject, now):
            return f"{ruled.name}@{ruled.version}"
    return None


def group_of(tx: Transaction, workspace: int, route: str, subject: model.Subject, latest: int) -> model.Group | None:
    """With which others a question is told, by its route; not later than at a time in any case."""
    found = route_of(tx, workspace, route)
    key = model.group_of(found.group_by, subject) if found else None
    if found is None or key is None:
        return None
    wait, interval = found.group_wait_seconds, found.group_interval_seconds
    return model.Group(key, round(wait * SECOND), round(interval * SECOND), latest)


def deadline_of(tx: Transaction, workspace: int, severity: model.Severity, start: int) -> int | None:
    """When the fallback is taken by a severity's policy, in working hours where it says so; None where it says none."""
    if severity.deadline_working_hours is None:
        return None if severity.deadline_seconds is None else start + round(severity.deadline_seconds * SECOND)
    return later(tx, workspace, start, severity.deadline_working_hours * HOUR_SECONDS, severity.schedule)


def later(tx: Transaction, workspace: int, start: int, seconds: float, schedule: str | None) -> int:
    """So many seconds after the start; of working time where a schedule is named, and still says which hours are."""
    found = current(tx, workspace, model.SCHEDULE, schedule) if schedule else None
    return schedules.working_deadline(found.document if found else schedules.Schedule(zone="UTC"), start, seconds)


def working_schedule(
    tx: Transaction, workspace: int, severity: model.Severity, route: model.Route | None
) -> str | None:
    """Whose working hours count: of the schedule that the severity names, else of the first on the route that has any.

    Where neither says so it is `default`, else the first by name that has working hours; None where there is none.
    """
    having = {ruled.name for ruled in all_of(tx, workspace, model.SCHEDULE) if ruled.document.working_hours is not None}
    named = [severity.schedule, *model.schedules_on(route), model.DEFAULT_SCHEDULE, *sorted(having)]
    return next((name for name in named if name in having), None)


def _people(tx: Transaction, workspace: int, step: model.Step, now: int) -> list[str]:
    """Those whom a step names, and whoever is on call by the schedules that it names; each once."""
    people = []
    for target in step.targets:
        kind, _, name = target.partition(":")
        if kind == "person":
            people.append(name)
        elif (found := current(tx, workspace, model.SCHEDULE, name)) and (
            person := schedules.on_call(found.document, now)
        ):
            people.append(person)
    return list(dict.fromkeys(people))


def _append(
    tx: Transaction,
    call: Call,
    request: model.SetPolicy | model.DeletePolicy,
    before: rows.PolicyRow | None,
    content: bytes | None,
) -> model.Policy:
    """The next version with its event; without content it is the one that deletes."""
    kind, name = request.kind, request.name
    audit.record(
        tx,
        call,
        "policy.delete" if content is None else "policy.set",
        {"kind": "policy", "id": f"{kind}/{name}"},
        from_version=before.version if before else 0,
        to_version=before.version + 1 if before else 1,
        contents={} if content is None else {"document": content},
        reason=request.comment,
    )
    row = rows.append(
        tx,
        call.workspace,
        before,
        kind=kind,
        name=name,
        live=content is not None,
        document=NOTHING if content is None else content.decode(),
        author=call.actor,
        comment=request.comment,
    )
    if kind == model.INHIBITION:
        inhibition.free(tx, call, f"the rule {name!r} was changed")
    return _view(tx, call, row)


def _canonical(document: Any) -> bytes:
    content = encode_sorted(decode(encode_result(document)))
    if len(content) > model.DOCUMENT_BYTES_MAX:
        raise LimitExceeded(
            f"The document has {len(content)} bytes; {model.DOCUMENT_BYTES_MAX} is the most.",
            next_call="Leave out what is past, or split it over several names.",
            details={"bytes": len(content), "limit": model.DOCUMENT_BYTES_MAX},
        )
    return content


def _check_contact(call: Call, request: model.SetPolicy | model.DeletePolicy) -> None:
    """Where a person is reached is also who answers in their name: from a link, or by a button."""
    if request.kind == model.CONTACT and call.caller.name != request.name and not call.may("access:admin"):
        raise PermissionDenied(
            f"{call.caller.actor} may not change the contact of person:{request.name}.",
            why="Whoever gets a person's messages can answer in that person's name.",
            next_call="Have them change it themselves, or somebody with access:admin.",
        )


def _check_version(before: rows.PolicyRow | None, request: model.SetPolicy | model.DeletePolicy) -> None:
    found = before.version if before and before.live else 0
    if request.if_version is not None and request.if_version != found:
        what = f"{request.kind}/{request.name}"
        raise VersionConflict(
            f"{what} has version {found}, not {request.if_version}." if found else f"{what} is absent.",
            why=_why_other(before, request.if_version),
            next_call=f"Read agent.policies.get({request.kind!r}, {request.name!r}), decide again, and set with "
            f"if_version={found}.",
            details={"expected": request.if_version, "current": found},
        )


def _why_other(before: rows.PolicyRow | None, expected: int) -> str:
    if expected == 0:
        return "if_version=0 means that it must be absent."
    if before is None or expected > before.version:
        return "It has never come to that version."
    return "Somebody wrote it meanwhile."


def _check_silence(tx: Transaction, call: Call, before: rows.PolicyRow | None, silence: model.Silence) -> None:
    """A silence ends in the future, and its second person is another than the one who wrote it, and says so alone."""
    if model.ends_at(silence) <= tx.now:
        raise misfit("$.until", "it is in the past", f"Name a time after {iso(tx.now)}.")
    if silence.second is None:
        return
    first = _ruled(before).document if before and before.live else None
    confirms = first is not None and first.second is None and msgspec.structs.replace(silence, second=None) == first
    if not confirms or silence.second != call.caller.name or before is None or before.author == call.actor:
        raise misfit(
            "$.second",
            "it confirms nothing",
            "Set the silence without `second`; then another person sets the same document with their own name there.",
        )


def _users_of(tx: Transaction, workspace: int, schedule: str) -> list[str]:
    return [
        f"{kind}/{ruled.name}"
        for kind in (model.ROUTE, model.SEVERITY)
        for ruled in all_of(tx, workspace, kind)
        if schedule in model.schedules_of(ruled.document)
    ]


def _ruled(row: rows.PolicyRow) -> Ruled:
    # Checked when it was set; only its form is made anew.
    return Ruled(row.name, row.version, msgspec.json.decode(row.document, type=described(model.KINDS[row.kind])))


def _view(tx: Transaction, call: Call, row: rows.PolicyRow) -> model.Policy:
    return model.Policy(
        kind=row.kind,
        name=row.name,
        version=row.version,
        current=bool(row.current),
        live=bool(row.live),
        document=_shown(call, row),
        digest=hashlib.sha256(row.document.encode()).hexdigest(),
        author=call.engine.names.actor_name(tx, call.workspace, row.author),
        comment=row.comment,
        at=row.at,
    )


def _webhook_secrets(call: Call, row: rows.PolicyRow) -> dict[str, str]:
    """With what a person's webhooks check what they are sent."""
    own = call.caller.kind == "person" and (call.caller.name == row.name or call.may("access:admin"))
    if row.kind != model.CONTACT or not own:
        return {}
    contact: model.Contact = _ruled(row).document
    return {
        channel.address: secret_text(person_secret_of(call.engine.pepper(), call.caller.workspace, channel.address))
        for channel in contact.channels
        if channel.kind == "webhook"
    }


def _shown(call: Call, row: rows.PolicyRow) -> Any:
    """The document. Addresses are a person's own, and may hold a secret: agents see only which channels there are."""
    document = decode(row.document.encode())
    if row.kind == model.CONTACT and row.live and call.caller.kind != "person":
        document["channels"] = [channel | {"address": HIDDEN} for channel in document["channels"]]
    return document
