"""State, as rows of the table of operations."""

from __future__ import annotations

from agentmemo.api.operation import Operation, change, read
from agentmemo.model import state
from agentmemo.model.pages import Page

OPERATIONS: tuple[Operation, ...] = (
    change(
        "state.set", "PUT /state/{namespace}/{key}", "state:write", state.SetEntry, state.Entry,
        buffered=True, summary="Write a value under a key",
    ),
    read(
        "state.get", "/state/{namespace}/{key}", "state:read", state.GetEntry, state.Entry,
        quick=True, summary="Read an entry, also by version or as of a revision",
    ),
    change(
        "state.delete", "DELETE /state/{namespace}/{key}", "state:write", state.DeleteEntry, state.Entry,
        buffered=True, summary="Delete a key; its versions go on",
    ),
    read(
        "state.list", "/state/{namespace}", "state:read", state.ListEntries, Page,
        items=state.Entry, summary="List entries by key prefix",
    ),
    read(
        "state.namespaces", "/namespaces", "state:read", state.ListNamespaces, Page,
        items=state.NamespaceInfo, summary="List the namespaces you may read",
    ),
    read(
        "state.search", "/search", "state:read", state.SearchEntries, Page,
        items=state.Match, summary="Full-text search over keys and values",
    ),
    read(
        "state.history", "/history/{namespace}/{key}", "state:read", state.ListVersions, Page,
        items=state.Entry, summary="Versions of a key, newest first",
    ),
    read(
        "state.diff", "/diff/{namespace}", "state:read", state.DiffNamespace, Page,
        items=state.Difference, summary="What changed between two revisions",
    ),
    read(
        "state.watch", "/changes/{namespace}", "state:read", state.WatchNamespace, state.Changes,
        watch=True, summary="Changes after a revision, by long-poll or as server-sent events",
    ),
)  # fmt: skip
