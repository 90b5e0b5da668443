"""Workflows as they are asked for and answered: versions of documents, their states, and what finds them."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta

from agentmemo.model.wire import Request, Response, one_of, unknown_word
from agentmemo.model.workflows import RETIRED, STATES, TRANSITIONS

PREFIX_MIN = 6


class Workflow(Response, kw_only=True):
    """One version of a workflow. `version` is the hash of its document, `number` counts from 1.

    `unproven`: no evidence has made it active. `untrusted`: somebody brought it in from elsewhere, and no person has
    moved it on yet. `document` is left out of lists; `warnings` too.
    """

    name: str
    version: str
    number: int
    state: str
    description: str
    designed_by: str
    author: str
    created_at: int
    state_changed_at: int
    versions: int
    unproven: bool
    untrusted: bool = False
    parent: str | None = None
    changes: str = ""
    document: dict[str, Any] | None = None
    warnings: list[str] = []


class Candidate(Response, kw_only=True):
    """A workflow that may be what is wanted, and how well its words fit; nothing is started by being found."""

    workflow: Workflow
    score: float


class WorkflowFormat(Response, kw_only=True):
    """The JSON Schema of a document."""

    schema: dict[str, Any]


class CreateWorkflow(Request, kw_only=True):
    """A new version as a draft. The same document again is the version there is.

    In the document `steps` and `edge_cases` may be plain text. `untrusted` marks what was brought in from elsewhere.
    """

    document: Any
    untrusted: bool = False


class GetWorkflow(Request, kw_only=True):
    """A version: its hash or six digits of it, its number, or the newest in a state.

    Without one it is the active version, else the newest draft, else the newest of all.
    """

    name: str
    version: str | None = None


class ListWorkflows(Request, kw_only=True):
    """By name, each as `get` finds it without a version; with `state` those that are in it."""

    state: Annotated[str, one_of(STATES)] | None = None
    cursor: str | None = None
    limit: int = 100


class SearchWorkflows(Request, kw_only=True):
    """By what somebody wants done, in their words; best first."""

    text: Annotated[str, Meta(max_length=4000)]
    limit: int = 5


class ListWorkflowVersions(Request, kw_only=True):
    """Newest first."""

    name: str
    cursor: str | None = None
    limit: int = 100


class DiffWorkflow(Request, kw_only=True):
    """From version `before` to version `after`, each as `get` takes it."""

    name: str
    before: str
    after: str


class MoveWorkflow(Request, kw_only=True):
    """Move a version to another state; to the right by evidence, to the left by a person."""

    name: str
    version: str
    to: str
    reason: str = ""


class GetWorkflowFormat(Request, kw_only=True):
    """Asks what a document must look like."""


def check_state(state: str) -> None:
    if state not in STATES:
        raise unknown_word("state", state, STATES)


def next_states(state: str) -> list[str]:
    """Where a version may go from a state."""
    return [to for (before, to) in TRANSITIONS if before == state]


def is_unproven(state: str) -> bool:
    """Only evidence makes a version active; what was retired is nobody's to start."""
    return state not in ("active", RETIRED)
