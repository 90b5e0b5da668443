"""One operation on its way through the engine: who calls, with which rights, resolved to integers."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

from agentmemo.clock import Clock
from agentmemo.engine.judge import Judge
from agentmemo.engine.names import Names
from agentmemo.engine.presence import Presence
from agentmemo.engine.prices import Prices
from agentmemo.engine.tallies import Tallies
from agentmemo.errors import InvalidInput, NotFound
from agentmemo.model.access import Caller, Claim, allowed_patterns, allows
from agentmemo.model.handoffs import Package
from agentmemo.settings import Settings
from agentmemo.store.blobs import Packed
from agentmemo.store.database import Database, Transaction


class Renewal(NamedTuple):
    """When a worker's lease was last written, on the boot clock, and how long it is."""

    written_at: int
    lease_us: int


class EngineContext(Protocol):
    """What a handler may ask of the engine it runs in; `dispatch.Engine` is the one that exists."""

    database: Database
    clock: Clock
    settings: Settings
    names: Names
    presence: Presence
    judge: Judge
    tallies: Tallies
    prices: Prices
    incarnation: str
    renewals: dict[tuple[int, str], Renewal]
    unattended: dict[int, frozenset[str]]
    unnamed: dict[str, dict[tuple[str, int], int]]
    carried: dict[str, tuple[int, Package | None]]
    receiving: dict[int, list[str]]
    met: set[tuple[int, str]]

    def authorize(self, caller: Caller, operation: Any, request: Any) -> None: ...
    def perform(self, tx: Transaction, call: Call, prepared: Any) -> Any: ...
    def pepper(self) -> bytes: ...
    def peppers(self) -> list[bytes]: ...
    def stream_of(self, workspace: int) -> str: ...
    def retire_workers_of(self, tx: Transaction, call: Call, kind: str, name: str) -> None: ...


class Call:
    """What every handler gets beside the transaction and the request. `events` counts what it recorded.

    `replayed` is True where the answer was stored by an earlier request with the same request id. `renewed` holds
    leases written by the transaction, believed only once it has committed. `drafts` holds, by handle, what handoffs
    that this call creates ask of a result; `problems`, by handoff, what is wrong with a result, and `verifications`
    what its verifier is to get. `decisions` holds, by execution, how it goes on. All are known before the transaction.
    """

    __slots__ = (
        "actor",
        "caller",
        "decisions",
        "drafts",
        "engine",
        "events",
        "problems",
        "renewed",
        "replayed",
        "verifications",
        "workspace",
    )

    def __init__(self, engine: EngineContext, caller: Caller, workspace: int, actor: int) -> None:
        self.engine = engine
        self.caller = caller
        self.workspace = workspace
        self.actor = actor
        self.events = 0
        self.replayed = False
        self.renewed: list[tuple[str, Renewal]] = []
        self.decisions: dict[str, Any] = {}
        self.drafts: dict[str, Package] = {}
        self.problems: dict[str, list[str]] = {}
        self.verifications: dict[str, Packed] = {}

    def namespace(self, tx: Transaction, name: str) -> int | None:
        """The interned namespace, or None where nothing was ever written."""
        return self.engine.names.namespace(tx, self.workspace, name)

    def may(self, permission: str, namespace: str | None = None) -> bool:
        return allows(self.caller.grants, permission, namespace)

    def readable(self) -> list[str] | None:
        """Namespace patterns for queries over several namespaces; None stands for all."""
        return allowed_patterns(self.caller.grants, "state:read")

    def claim_on(self, run: str) -> Claim:
        """The caller's claim on a run. Raises InvalidInput when the call carries none for it."""
        claim = self.caller.claim
        if claim is None or claim.run != run:
            raise InvalidInput(
                f"This call needs the claim on run {run}.",
                why="Writes of a run are accepted from its holder only; the claim carries the epoch.",
                next_call="Open the run first, agent.run(name, key), and send its claim with the call.",
            )
        return claim


# What lists each noun.
_LISTS = {
    "actor": "agent.keys.actors()",
    "case": "agent.workflows.cases(name)",
    "escalation": "agent.escalations.list()",
    "event": "agent.audit.events()",
    "execution": "agent.workflows.executions()",
    "handoff": "agent.handoff.list()",
    "key": "agent.keys.list()",
    "namespace": "agent.state.namespaces()",
    "policy": "agent.policies.list()",
    "precedent": "agent.guards.precedents()",
    "review": "agent.guards.reviews()",
    "run": "agent.runs.list()",
    "schedule": "agent.runs.schedules()",
    "trial": "agent.workflows.trials(name)",
    "usage": "agent.ledger.list()",
    "webhook": "agent.webhooks.list()",
    "workflow": "agent.workflows.list()",
}


def not_found(what: str, name: str, listed: str = "") -> NotFound:
    """Missing and forbidden look the same. `listed` is the call that lists what there is, where the noun has none."""
    return NotFound(
        f"There is no {what} {name!r}, or you may not see it.",
        why="What is missing and what is forbidden look the same.",
        next_call=f"List what there is: {listed or _LISTS[what]}.",
    )
