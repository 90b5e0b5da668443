"""Webhooks: who is told over HTTP, and what. Deciding is done here; sending is `notify`'s."""

from __future__ import annotations

from urllib.parse import urlsplit

import msgspec

from agentmemo import ids
from agentmemo.engine import audit
from agentmemo.engine.call import Call, not_found
from agentmemo.engine.state import check_limit
from agentmemo.errors import InvalidInput, PermissionDenied
from agentmemo.model import webhooks as model
from agentmemo.model.access import ACTOR
from agentmemo.model.pages import Page, make_cursor, read_cursor
from agentmemo.store.access import add_actor, find_actor
from agentmemo.store.database import Row, Transaction

NEWEST = "~"
# Before every event: a new webhook is told what waits already.
SEEN_NOTHING = 0


def create(tx: Transaction, call: Call, request: model.CreateWebhook) -> model.Webhook:
    """The secret is in this answer and nowhere else."""
    check_url(request.url)
    agent = request.agent or call.caller.name
    if not _is(call, agent) and not call.may("handoffs:admin"):
        raise PermissionDenied(
            f"{call.caller.actor} may not say where agent:{agent} is called.",
            why="Who is called learns of the work that is offered there.",
            next_call="Create it as that agent, or with a key that has handoffs:admin.",
        )
    if not ACTOR.match(agent):
        raise InvalidInput(f"{agent[:128]!r} is not an agent's name.", next_call="Name an agent.")
    actor = find_actor(tx, call.workspace, "agent", agent) or add_actor(tx, call.workspace, "agent", agent)
    handle = ids.mint("whk", tx.now)
    audit.record(tx, call, "webhook.create", {"kind": "webhook", "id": handle, "agent": agent}, reason=request.url)
    tx.write(
        "webhook_add",
        id=handle,
        workspace=call.workspace,
        actor=actor,
        url=request.url,
        label=request.label,
        position=SEEN_NOTHING,
        now=tx.now,
    )
    return model.Webhook(
        id=handle,
        url=request.url,
        agent=agent,
        label=request.label,
        created_at=tx.now,
        secret=model.secret_text(secret_of(call.engine.pepper(), handle)),
    )


def list_(tx: Transaction, call: Call, request: model.ListWebhooks) -> Page:
    limit = check_limit(request.limit)
    after = read_cursor(request.cursor, "webhook.list", None, "")
    found = tx.all("webhook_list", workspace=call.workspace, after=after, limit=limit + 1)
    cursor = make_cursor("webhook.list", None, found[limit - 1][0]) if len(found) > limit else None
    return Page(items=[_view(row) for row in found[:limit]], cursor=cursor)


def delete(tx: Transaction, call: Call, request: model.DeleteWebhook) -> model.Webhook:
    row = tx.one("webhook_get", workspace=call.workspace, id=request.id)
    if row is None:
        raise not_found("webhook", request.id)
    found = _view(row)
    if not _is(call, found.agent) and not call.may("handoffs:admin"):
        raise not_found("webhook", request.id)
    if found.ended_at is None:
        tx.write("webhook_end", id=request.id, now=tx.now)
        audit.record(tx, call, "webhook.delete", {"kind": "webhook", "id": request.id})
    return msgspec.structs.replace(found, ended_at=found.ended_at or tx.now)


def deliveries(tx: Transaction, call: Call, request: model.ListDeliveries) -> Page:
    limit = check_limit(request.limit)
    bound = [request.subject, request.webhook, request.state]
    before = read_cursor(request.cursor, "webhook.deliveries", bound, NEWEST)
    filters = {"webhook": request.webhook, "state": request.state, "before": before, "limit": limit + 1}
    if request.subject is None:
        found = tx.all("delivery_list", workspace=call.workspace, **filters)
    else:
        # What a message is about begins with its subject, so that each webhook's are found where they lie.
        subject = {"subject": request.subject, "end": request.subject + NEWEST}
        found = tx.all("delivery_of_subject", workspace=call.workspace, **subject, **filters)
    items = [model.Delivery(**dict(zip(model.Delivery.__struct_fields__, row, strict=True))) for row in found[:limit]]
    cursor = make_cursor("webhook.deliveries", bound, found[limit - 1][0]) if len(found) > limit else None
    return Page(items=items, cursor=cursor)


def _is(call: Call, agent: str) -> bool:
    return (call.caller.kind, call.caller.name) == ("agent", agent)


def secret_of(pepper: bytes, webhook: str) -> bytes:
    """Made anew each time from the plane's secret, so that the store holds none."""
    return ids.keyed_hash(pepper, f"webhook {webhook}".encode())


def person_secret_of(pepper: bytes, workspace: str, url: str) -> bytes:
    """The same for a webhook that stands in a person's contact."""
    return ids.keyed_hash(pepper, f"notification {workspace} {url}".encode())


def check_url(url: str) -> None:
    """Raises InvalidInput. Where the name leads is looked at when it is called."""
    try:
        parts = urlsplit(url)
        port = parts.port
        (parts.hostname or "").encode("idna")
        (parts.path + parts.query).encode("ascii")
    except ValueError:
        parts, port = urlsplit(""), -1
    if len(url) > model.URL_MAX or parts.scheme not in ("http", "https") or not parts.hostname or port == -1:
        raise InvalidInput(
            f"{url[:200]!r} is not the address of a webhook.", next_call="Use https://host/path, or http:// for a test."
        )
    if parts.username or parts.password or parts.fragment:
        raise InvalidInput(
            "A webhook's address holds no password and no fragment.",
            why="Addresses are shown in lists and in the trail.",
            next_call="Check the signature instead: webhook-signature, with the secret of the webhook.",
        )


def _view(row: Row) -> model.Webhook:
    handle, url, _, name, label, created_at, ended_at = row
    return model.Webhook(id=handle, url=url, agent=name, label=label, created_at=created_at, ended_at=ended_at)
