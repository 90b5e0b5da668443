"""Keys and actors, as rows of the table of operations."""

from __future__ import annotations

from agentmemo.api.operation import Operation, change, read
from agentmemo.model import access
from agentmemo.model.pages import Page

OPERATIONS: tuple[Operation, ...] = (
    read("access.whoami", "/whoami", None, access.Identify, access.Identity, summary="Who this credential is"),
    change("key.create", "POST /keys", "access:admin", access.CreateKey, access.Key,
            summary="Create a key, shown once"),
    read("key.list", "/keys", "access:read", access.ListKeys, Page, items=access.Key, summary="Keys, without secrets"),
    change("key.revoke", "DELETE /keys/{id}", "access:admin", access.RevokeKey, access.Key, summary="End a key now"),
    change("key.rotate", "POST /keys/{id}/rotation", "access:admin", access.RotateKey, access.Key,
            summary="A successor key; the old one ends after the overlap"),
    read("actor.list", "/actors", "access:read", access.ListActors, Page, items=access.Actor, summary="Actors"),
    change("actor.disable", "PUT /actors/{kind}/{name}/disabled", "access:admin", access.SetActorDisabled,
            access.Actor, summary="Kill switch: refuse every call of an actor, or allow them again"),
)  # fmt: skip
