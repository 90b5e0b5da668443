"""Handoffs: work that one agent passes to another, what it consists of, and how it may change.

A handoff moves along TRANSITIONS; every pair that is not in the table is refused. An unfinished one has exactly one
`wake`, the thing that will move it next:

    time      it is not offered yet: `available_at` passes (a schedule, or a pause before the next attempt)
    claim     it is offered: a receiver claims it, or the next rung of its ladder is climbed
    lease     somebody holds it; when the holder's lease ends it is offered again
    run       the run that works on it waits for something, holding nothing
    verifier  its result is with the verifier, as a handoff of its own
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from agentmemo.errors import InvalidInput, InvalidTransition
from agentmemo.model.runs import Budget, Retry
from agentmemo.model.wire import Request, Response, one_of

PENDING, CLAIMED, SUBMITTED = "pending", "claimed", "submitted"
COMPLETED, DECLINED, FAILED = "completed", "declined", "failed"
DEAD, CANCELLED, EXPIRED = "dead", "cancelled", "expired"
UNFINISHED = (PENDING, CLAIMED, SUBMITTED)
STATES = (*UNFINISHED, COMPLETED, DECLINED, FAILED, DEAD, CANCELLED, EXPIRED)
ENDED = (COMPLETED, DECLINED, FAILED, DEAD, CANCELLED, EXPIRED)
# Ended without a result, with the work kept: it may be offered again.
KEPT = (DECLINED, FAILED, DEAD, EXPIRED)

TRANSITIONS: dict[tuple[str, str], str] = {
    (PENDING, "claim"): CLAIMED,
    (PENDING, "readdress"): PENDING,
    (PENDING, "pass"): PENDING,
    (PENDING, "decline"): DECLINED,
    (PENDING, "expire"): EXPIRED,
    (PENDING, "bury"): DEAD,
    (PENDING, "cancel"): CANCELLED,
    (CLAIMED, "park"): CLAIMED,
    (CLAIMED, "wake"): PENDING,
    (CLAIMED, "release"): PENDING,
    (CLAIMED, "readdress"): PENDING,
    (CLAIMED, "pass"): PENDING,
    (CLAIMED, "submit"): SUBMITTED,
    (CLAIMED, "complete"): COMPLETED,
    (CLAIMED, "decline"): DECLINED,
    (CLAIMED, "fail"): FAILED,
    (CLAIMED, "bury"): DEAD,
    (CLAIMED, "cancel"): CANCELLED,
    (SUBMITTED, "accept"): COMPLETED,
    (SUBMITTED, "reject"): PENDING,
    (SUBMITTED, "bury"): DEAD,
    (SUBMITTED, "cancel"): CANCELLED,
    (DEAD, "cancel"): CANCELLED,
    (DECLINED, "requeue"): PENDING,
    (FAILED, "requeue"): PENDING,
    (DEAD, "requeue"): PENDING,
    (EXPIRED, "requeue"): PENDING,
}

# The run that works on a handoff has this name, and the handoff's handle as its key; one that begins anew, because the
# one before was ended without a result, has the epoch behind it.
RUN_NAME = "handoff"
KINDS = ("agent", "capability", "queue")
NAME_MAX = 128
KEY_MAX = 512
CHECKS_MAX = 32
CHECK_CHARACTERS_MAX = 1000
LIST_MAX = 100
CLAIM_MAX = 100
PRIORITY_MAX = 1000
SHOWN_GOAL = 200
# The same receiver met so often on the way here is a circle, not progress: a -> b -> a -> b -> a is refused.
VISITS_MAX = 2


class Reference(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """An entry of state that belongs to the work, pinned to a version. `digest`: SHA-256 of its canonical JSON."""

    namespace: str
    key: str
    version: int | None = None
    digest: str | None = None


class Tried(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An approach that was tried and failed, so that nobody tries it again unknowing."""

    text: str
    why_failed: str


class Acceptance(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What a result must be before the work counts as completed.

    `schema` is a JSON Schema (2020-12), `checks` are CEL expressions over `result` and `context` that must be true,
    `verifier` is an agent that looks at the result after those.
    """

    schema: dict[str, Any] | None = None
    checks: list[str] = []
    verifier: str | None = None


class Rung(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What happens when nobody has claimed a handoff so long after it was offered: another receiver, or an escalation.

    Exactly one of the four is given.
    """

    after_seconds: float
    to_agent: str | None = None
    to_capability: str | None = None
    to_queue: str | None = None
    escalate: bool = False

    @property
    def to(self) -> str:
        """The receiver as `kind:name`; only of a rung that has one."""
        return address_of(self.to_agent, self.to_capability, self.to_queue)


class Package(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the receiver gets to know; fixed when the handoff is created."""

    goal: str = ""
    workflow: str | None = None
    workflow_version: str | None = None
    context: Any = None
    references: list[Reference] = []
    artifacts: list[Any] = []
    constraints: list[str] = []
    acceptance: Acceptance | None = None
    tried: list[Tried] = []
    unverified: list[str] = []
    retry: Retry | None = None


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One holder's turn that did not end in a result."""

    epoch: int
    holder: str
    started_at: int
    ended_at: int
    outcome: str  # released, lost, rejected, declined
    reason: str


class Handoff(Response, kw_only=True):
    """A handoff as its sender and its receiver see it. Exactly one `to_` is set; `wake` is None once it has ended.

    `rung` counts the rungs of `ladder` that were climbed since it was offered last, at `offered_at`.
    """

    id: str
    key: str | None
    state: str
    from_agent: str
    to_agent: str | None = None
    to_capability: str | None = None
    to_queue: str | None = None
    goal: str = ""
    workflow: str | None = None
    workflow_version: str | None = None
    context: Any = None
    references: list[Reference] = []
    artifacts: list[Any] = []
    constraints: list[str] = []
    acceptance: Acceptance | None = None
    tried: list[Tried] = []
    unverified: list[str] = []
    budget: Budget | None = None
    on_behalf_of: list[str] = []
    priority: int = 0
    epoch: int = 0
    attempt: int = 1
    max_attempts: int = 3
    attempts: list[Attempt] = []
    holder: str | None = None
    worker: str | None = None
    run: str | None = None
    wake: str | None = None
    percent: float | None = None
    progress: str = ""
    reason: str = ""
    result: Any = None
    known: bool = True  # False, told by create and get: nobody has called as this receiver; its ladder is climbed
    parent: str | None = None
    root: str | None = None
    hops: int = 0
    verifies: str | None = None
    ladder: list[Rung] = []
    rung: int = 0
    available_at: int = 0
    offered_at: int | None = None
    due_at: int | None = None
    complete_by: int | None = None
    claimed_at: int | None = None
    escalated_at: int | None = None
    notice_at: int | None = None
    received_at: int | None = None
    ended_at: int | None = None
    created_at: int = 0
    updated_at: int = 0

    @property
    def to(self) -> str:
        """The receiver as `agent:name`, `capability:name` or `queue:name`."""
        return address_of(self.to_agent, self.to_capability, self.to_queue)


class CreateHandoff(Request, kw_only=True):
    """Hand work over. Idempotent by `key`, and by `id`, a handle that the caller minted; with another package refused.

    Times are UTC microseconds. `pickup_by` is when somebody is told that nobody came (default: the plane's setting);
    `ladder` says what else happens before. `progress_seconds` bounds the silence of a holder, `complete_by` the whole.
    """

    id: str | None = None
    to_agent: str | None = None
    to_capability: str | None = None
    to_queue: str | None = None
    workflow: str | None = None
    workflow_version: str | None = None
    context: Any = None
    goal: str = ""
    references: list[Reference] = []
    artifacts: list[Any] = []
    constraints: list[str] = []
    acceptance: Acceptance | None = None
    tried: list[Tried] = []
    unverified: list[str] = []
    key: str | None = None
    priority: int = 0
    not_before: int | None = None
    pickup_by: int | None = None
    complete_by: int | None = None
    progress_seconds: float | None = None
    ladder: list[Rung] = []
    max_attempts: int = 3
    retry: Retry | None = None
    budget: Budget | None = None


class FindHandoff(Request, kw_only=True):
    key: str


class GetHandoff(Request, kw_only=True):
    handoff: str
    wait_seconds: float = 0.0
    after_updated: int | None = None


class ListHandoffs(Request, kw_only=True):
    """Newest first. `state` is one of the nine, `unfinished` or `escalated` (somebody should look); `to` an address.

    An address is `agent:name`, `capability:name` or `queue:name`; a name alone is an agent's. With `brief` what was
    given along is left out, but for the goal and the workflow, and so are results and earlier attempts: nothing is read
    for them.
    """

    state: Annotated[str, one_of((*STATES, "unfinished", "escalated"))] | None = None
    to: str | None = None
    sender: str | None = None
    root: str | None = None
    brief: bool = False
    cursor: str | None = None
    limit: int = 100


class ListPending(Request, kw_only=True):
    """What is offered to the caller: by its name, its announced capabilities and queues. In the order of claiming.

    With `after`, a revision of the trail, only what has happened to since; what is far behind gets all of it again.
    """

    after: int | None = None
    cursor: str | None = None
    limit: int = 100
    wait_seconds: float = 0.0


class ListNotices(Request, kw_only=True):
    """What the caller handed over and has to hear about: ended, escalated or late, and not received yet.

    `after` as for what is pending.
    """

    after: int | None = None
    cursor: str | None = None
    limit: int = 100
    wait_seconds: float = 0.0


class AnnounceReceiver(Request, kw_only=True):
    """The capabilities and queues the caller takes work from, in place of those it announced before."""

    capabilities: list[str] = []
    queues: list[str] = []


class Receiver(Response, kw_only=True):
    """Where the caller is offered work."""

    agent: str
    addresses: list[str]


class ClaimHandoffs(Request, kw_only=True):
    """Take up to `limit` of what is offered to the caller, or the one that is named. Long-polls without a name.

    A worker that heartbeats names itself; without one the claim lasts `lease_seconds` after the holder's last call.
    """

    handoff: str | None = None
    worker: str | None = None
    limit: int = 1
    lease_seconds: float | None = None
    wait_seconds: float = 0.0


class ClaimedHandoffs(Response, kw_only=True):
    handoffs: list[Handoff] = []


class RenewHandoff(Request, kw_only=True):
    handoff: str
    epoch: int


class SetHandoffProgress(Request, kw_only=True):
    """Show how far the work is; this starts the progress clock anew."""

    handoff: str
    epoch: int
    percent: float | None = None
    text: str = ""


class CompleteHandoff(Request, kw_only=True):
    """End with a result. Without `epoch` it is claimed in the same commit, if it is offered to the caller."""

    handoff: str
    result: Any = None
    epoch: int | None = None


class FailHandoff(Request, kw_only=True):
    """End for good, without further attempts."""

    handoff: str
    reason: str
    epoch: int


class ReleaseHandoff(Request, kw_only=True):
    """Give it back to be offered again. As a failed `attempted` it counts and waits for its pause, else neither."""

    handoff: str
    reason: str
    epoch: int
    attempted: bool = True


class DeclineHandoff(Request, kw_only=True):
    """Say no. Without `epoch`: before a claim.

    Other agents of the same capability or queue keep being asked; then the next receiver of its ladder is, else the
    sender is told.
    """

    handoff: str
    reason: str
    epoch: int | None = None


class CancelHandoff(Request, kw_only=True):
    handoff: str
    reason: str


class RequeueHandoff(Request, kw_only=True):
    """Offer again what ended without a result, to the same receiver or another, with its attempts counted anew.

    A `complete_by` that has passed is lifted, unless a new one is given.
    """

    handoff: str
    reason: str = ""
    complete_by: int | None = None
    to_agent: str | None = None
    to_capability: str | None = None
    to_queue: str | None = None


class ReceiveResult(Request, kw_only=True):
    """The sender's look at how it stands. What ended, is late or was escalated counts as received from now on."""

    handoff: str
    wait_seconds: float = 0.0


class ReadReference(Request, kw_only=True):
    """An entry that a handoff names, at its pinned version; for its holder and its sender, whatever else they may."""

    handoff: str
    namespace: str
    key: str


class ListLineage(Request, kw_only=True):
    """Everything that came of one first handoff, oldest first."""

    handoff: str
    cursor: str | None = None
    limit: int = 100


class SetHandoffLimit(Request, kw_only=True):
    """How many a receiver may hold at once, and how many it may claim `per_seconds`. None lifts a bound."""

    to: str
    concurrency: int | None = None
    rate: int | None = None
    per_seconds: float = 60.0


class HandoffLimit(Response, kw_only=True):
    to: str
    concurrency: int | None
    rate: int | None
    per_seconds: float
    held: int


class ListHandoffLimits(Request, kw_only=True):
    cursor: str | None = None
    limit: int = 100


def package_of(request: CreateHandoff) -> Package:
    """What of a request the receiver gets to know."""
    return Package(**{name: getattr(request, name) for name in Package.__struct_fields__})


def run_key(handoff: str, begun: int | str) -> str:
    """The key of a run that works on a handoff in place of one that was ended without a result."""
    return f"{handoff}/{begun}"


def handoff_of_run(name: str, key: str | None) -> str | None:
    """The handoff that a run of this name and key works on; None for other runs."""
    return key.partition("/")[0] if name == RUN_NAME and key else None


def next_state(state: str, act: str, handoff: str) -> str:
    """The state after `act`. Raises InvalidTransition where the table has no such arrow."""
    try:
        return TRANSITIONS[state, act]
    except KeyError:
        raise InvalidTransition(
            f"Handoff {handoff} is {state}; it cannot {act}.",
            why="Its state does not allow that.",
            next_call=f"See agent.handoff.get('{handoff}').",
            details={"handoff": handoff, "state": state, "act": act},
        ) from None


def rung_of(after_seconds: float, address: str) -> Rung:
    """A rung as its sender would give it; an empty address escalates."""
    kind, _, name = address.partition(":")
    if not address:
        return Rung(after_seconds=after_seconds, escalate=True)
    return Rung(
        after_seconds=after_seconds,
        to_agent=name if kind == "agent" else None,
        to_capability=name if kind == "capability" else None,
        to_queue=name if kind == "queue" else None,
    )


def address_of(to_agent: str | None, to_capability: str | None, to_queue: str | None) -> str:
    """`kind:name` of the one receiver that is given. Raises InvalidInput for none, several, or a bad name."""
    given = [(kind, name) for kind, name in zip(KINDS, (to_agent, to_capability, to_queue), strict=True) if name]
    if len(given) != 1:
        raise InvalidInput(
            "A handoff goes to exactly one of to_agent, to_capability and to_queue.",
            next_call='Name one, such as to_agent="reviewer".',
        )
    kind, name = given[0]
    return f"{kind}:{check_receiver(name)}"


def read_address(text: str) -> str:
    """`agent:name`, `capability:name` or `queue:name`; a name alone is an agent's. Raises InvalidInput."""
    kind, colon, name = text.partition(":")
    if not colon:
        kind, name = "agent", text
    if kind not in KINDS:
        raise InvalidInput(f"Unknown kind of receiver {kind!r}.", next_call="Use agent:, capability: or queue:.")
    return f"{kind}:{check_receiver(name)}"


def check_receiver(name: str) -> str:
    if not 1 <= len(name) <= NAME_MAX or not name.isprintable() or name != name.strip():
        raise InvalidInput(
            f"{name[:NAME_MAX]!r} is not a receiver's name.",
            next_call=f"Use 1 to {NAME_MAX} printable characters without blanks at the ends.",
        )
    return name


def due_at(  # noqa: PLR0913 - the clocks of a handoff, all of them
    state: str,
    *,
    offered: bool,
    available_at: int,
    rung_at: int | None,
    complete_by: int | None,
    late: bool,
    silent_at: int | None,
) -> int | None:
    """When time has something to do with it next: offer it, climb, expire, tell that it is late or silent."""
    if state == PENDING:
        clocks = [available_at if not offered else rung_at, complete_by]
    elif state in (CLAIMED, SUBMITTED):
        clocks = [None if late else complete_by, silent_at if state == CLAIMED else None]
    else:
        clocks = []
    return min((clock for clock in clocks if clock is not None), default=None)


def visits(path: list[str], address: str) -> int:
    """How often a receiver stands on the way from the first handoff to a new one."""
    return sum(step == address for step in path)
