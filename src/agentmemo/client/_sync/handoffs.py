# Generated from client/_async by scripts/generate_sync.py; edit there.
"""Handoffs: passing work to other agents, and taking it."""

from __future__ import annotations

import datetime
import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from typing import Any

from agentmemo.client._sync.buffer import held_epoch
from agentmemo.client._sync.pages import Page
from agentmemo.client._sync.plane import Holding, Plane, ambient
from agentmemo.client._sync.run import Run
from agentmemo.client.flow import Suspended
from agentmemo.client.given import as_budget, as_retry, as_struct, microseconds, takes_run
from agentmemo.client.step_call import summary_of
from agentmemo.client.transport import at_once, is_away
from agentmemo.clock import monotonic
from agentmemo.errors import Error, LeaseLost, NotFound, Unavailable
from agentmemo.model import handoffs as model
from agentmemo.model.access import Claim
from agentmemo.model.runs import FINISHED, Budget, GetRun, Retry, StartRun
from agentmemo.model.state import Entry

CLAIM_WAIT_SECONDS = 2.0
AWAY_SECONDS = 1.0
WAIT_SECONDS = 30.0
RUN_ATTEMPTS = 1000  # the handoff counts its attempts; its run only goes on
STOPPING = "its worker stops"

Ending = model.CompleteHandoff | model.FailHandoff | model.ReleaseHandoff | model.DeclineHandoff
_log = logging.getLogger("agentmemo.work")


class Handoffs:
    """The handoffs of an agent, sent and received. Handles may be shortened to a unique prefix where one only reads."""

    def __init__(self, plane: Plane) -> None:
        self._plane = plane

    def create(
        self,
        *,
        to_agent: str | None = None,
        to_capability: str | None = None,
        to_queue: str | None = None,
        workflow: str | None = None,
        workflow_version: str | None = None,
        context: Any = None,
        goal: str = "",
        references: Iterable[model.Reference | dict[str, Any] | tuple[str, str]] = (),
        artifacts: Iterable[Any] = (),
        constraints: Iterable[str] = (),
        acceptance: model.Acceptance | dict[str, Any] | None = None,
        tried: Iterable[model.Tried | dict[str, Any] | tuple[str, str]] = (),
        unverified: Iterable[str] = (),
        key: str | None = None,
        priority: int = 0,
        not_before: datetime.datetime | int | None = None,
        pickup_by: datetime.datetime | int | None = None,
        complete_by: datetime.datetime | int | None = None,
        progress_seconds: float | None = None,
        ladder: Iterable[model.Rung | dict[str, Any]] = (),
        max_attempts: int = 3,
        retry: Retry | dict[str, Any] | None = None,
        budget: Budget | dict[str, Any] | None = None,
        under: model.Handoff | None = None,
    ) -> model.Handoff:
        """Hand work over to exactly one receiver. It is durable when this returns. Idempotent by `key`.

        `context` is any JSON value; `references` name entries of state, pinned to their version now or to a given
        one, which the receiver may read under its claim. `acceptance` says what a result must be. Nobody having come
        until `pickup_by`, the sender and the people are told; the rungs of `ladder` come before. Times are datetimes
        or UTC microseconds. Raises IdempotencyMismatch for a key that stands for something else. A handoff that went
        in a circle or through too many hands is returned as `dead`, with the reason. `retry` gives the pauses between
        attempts, `max_attempts` how many there are.

        `under` is a handoff that this agent has claimed: the new one is part of that work, with its lineage, budget
        and on-behalf-of. Inside the handler of `work` and under its run that goes without saying.
        """
        claim = Claim(run=under.id, epoch=under.epoch) if under is not None else None
        return self._plane.call(
            model.CreateHandoff(
                to_agent=to_agent,
                to_capability=to_capability,
                to_queue=to_queue,
                workflow=workflow,
                workflow_version=workflow_version,
                context=context,
                goal=goal,
                references=[as_struct(model.Reference, each) for each in references],
                artifacts=[*artifacts],
                constraints=[*constraints],
                acceptance=as_struct(model.Acceptance, acceptance) if acceptance is not None else None,
                tried=[as_struct(model.Tried, each) for each in tried],
                unverified=[*unverified],
                key=key,
                priority=priority,
                not_before=microseconds(not_before),
                pickup_by=microseconds(pickup_by),
                complete_by=microseconds(complete_by),
                progress_seconds=progress_seconds,
                ladder=[as_struct(model.Rung, each) for each in ladder],
                max_attempts=max_attempts,
                retry=as_retry(retry),
                budget=as_budget(budget),
            ),
            claim=claim,
        )

    def get(self, id: str, *, after: model.Handoff | None = None, wait_seconds: float = 0.0) -> model.Handoff:
        """A handoff; with `wait_seconds`, once it has ended, or has changed since `after`. Raises NotFound."""
        return self._plane.call(
            model.GetHandoff(handoff=id, wait_seconds=wait_seconds, after_updated=after.updated_at if after else None)
        )

    def find(self, key: str) -> model.Handoff | None:
        """The handoff that was created with this key, or None."""
        try:
            return self._plane.call(model.FindHandoff(key=key))
        except NotFound:
            return None

    def list(
        self,
        *,
        state: str | None = None,
        to: str | None = None,
        sender: str | None = None,
        root: str | None = None,
        brief: bool = False,
        cursor: str | None = None,
        limit: int = 100,
    ) -> Page[model.Handoff]:
        """Handoffs, newest first. `state` is one of the nine, `unfinished` or `escalated` (somebody should look).

        `to` is an agent, `capability:name` or `queue:name`; `root` the first handoff of a lineage. `brief` leaves out
        packages (but for goal and workflow), results and earlier attempts, which is much cheaper for long lists.
        """
        return self._plane.page(
            model.ListHandoffs(state=state, to=to, sender=sender, root=root, brief=brief, cursor=cursor, limit=limit)
        )

    def list_pending(self, *, cursor: str | None = None, limit: int = 100) -> Page[model.Handoff]:
        """What is offered to this agent, in the order in which it would be claimed. Listing changes nothing."""
        return self._plane.page(model.ListPending(cursor=cursor, limit=limit))

    def wait(self, *, timeout_seconds: float) -> model.Handoff | None:
        """The first handoff that is offered to this agent, as soon as there is one, and not claimed yet; else None."""
        end = monotonic() + timeout_seconds
        while True:
            wait_seconds = min(max(end - monotonic(), 0.0), WAIT_SECONDS)
            page = self._plane.page(model.ListPending(limit=1, wait_seconds=wait_seconds))
            if page.items:
                return page.items[0]
            if monotonic() >= end:
                return None

    def notices(self, *, cursor: str | None = None, limit: int = 100) -> Page[model.Handoff]:
        """What this agent handed over and has not heard of yet: ended, late, or claimed by nobody. Oldest first."""
        return self._plane.page(model.ListNotices(cursor=cursor, limit=limit))

    def result(self, id: str, *, wait_seconds: float = 0.0) -> model.Handoff:
        """How it stands; for the sender, what ended, is late or was escalated counts as received from now on."""
        return self._plane.call(model.ReceiveResult(handoff=id, wait_seconds=wait_seconds))

    def lineage(self, id: str) -> Page[model.Handoff]:
        """Everything that came of the same first handoff, oldest first."""
        return self._plane.page(model.ListLineage(handoff=id))

    def reference(self, id: str, namespace: str, key: str) -> Entry:
        """An entry that a handoff names, at its pinned version; for its holder and its sender."""
        return self._plane.call(model.ReadReference(handoff=id, namespace=namespace, key=key))

    def announce(self, *, capabilities: Iterable[str] = (), queues: Iterable[str] = ()) -> model.Receiver:
        """Say which capabilities and queues this agent takes work from, in place of those announced before."""
        return self._plane.call(model.AnnounceReceiver(capabilities=[*capabilities], queues=[*queues]))

    def claim(
        self,
        id: str | None = None,
        *,
        wait_seconds: float = 0.0,
        heartbeat: bool = True,
        lease_seconds: float | None = None,
    ) -> model.Handoff | None:
        """The next handoff that is offered to this agent, or the named one, held from now on. None: none is offered.

        This connection renews the lease. Without `heartbeat`, or with `lease_seconds`, the claim outlives this process
        instead: it lasts so long after its holder's last call (default: the plane's setting), and whoever has its
        epoch goes on with it. Raises HandoffHeld, naming the holder, when another has the named one.
        """
        found = self.claim_many(1, id=id, wait_seconds=wait_seconds, heartbeat=heartbeat, lease_seconds=lease_seconds)
        return found[0] if found else None

    def claim_many(
        self,
        limit: int,
        *,
        id: str | None = None,
        wait_seconds: float = 0.0,
        heartbeat: bool = True,
        lease_seconds: float | None = None,
    ) -> Sequence[model.Handoff]:
        """Up to `limit` of what is offered, in one commit; as `claim`."""
        attended = heartbeat and lease_seconds is None
        answer = self._plane.call(
            model.ClaimHandoffs(
                handoff=id,
                worker=self._plane.worker() if attended else None,
                limit=limit,
                lease_seconds=lease_seconds,
                wait_seconds=wait_seconds,
            )
        )
        for handoff in answer.handoffs:
            self._plane.handoffs[handoff.id] = handoff.epoch
            if attended:
                self._plane.heart().hold(handoff.id, handoff.epoch)
        return answer.handoffs

    def renew(self, id: str, *, epoch: int | None = None) -> model.Handoff:
        """Renew the lease of a claim made elsewhere; one made by this connection is renewed by it."""
        return self._plane.call(model.RenewHandoff(handoff=id, epoch=self._epoch(id, epoch)))

    def progress(
        self, id: str, percent: float | None = None, text: str = "", *, epoch: int | None = None
    ) -> model.Handoff:
        """Show how far the work is."""
        return self._plane.call(
            model.SetHandoffProgress(handoff=id, percent=percent, text=text, epoch=self._epoch(id, epoch))
        )

    def complete(self, id: str, result: Any = None, *, epoch: int | None = None) -> model.Handoff:
        """End with a result, which is checked first. Idempotent.

        Without a claim it is claimed in the same commit. Raises InvalidInput for a result that is not accepted
        (the claim goes on), HandoffHeld when another holds it, LeaseLost when the claim is not valid any more.
        """
        known = self._plane.handoffs.get(id) if epoch is None else epoch
        return self._end(model.CompleteHandoff(handoff=id, result=result, epoch=known))

    def fail(self, id: str, reason: str, *, epoch: int | None = None) -> model.Handoff:
        """End for good, without further attempts; the sender is told."""
        return self._end(model.FailHandoff(handoff=id, reason=reason, epoch=self._epoch(id, epoch)))

    def release(self, id: str, reason: str, *, attempted: bool = True, epoch: int | None = None) -> model.Handoff:
        """Give it back to be offered again; as `attempted` it counts as a failed attempt and pauses before the next."""
        return self._end(
            model.ReleaseHandoff(handoff=id, reason=reason, attempted=attempted, epoch=self._epoch(id, epoch))
        )

    def decline(self, id: str, reason: str, *, epoch: int | None = None) -> model.Handoff:
        """Say no, claimed or not.

        Other agents of the same capability or queue keep being asked; then the next receiver of its ladder is, else
        the sender is told.
        """
        known = self._plane.handoffs.get(id) if epoch is None else epoch
        return self._end(model.DeclineHandoff(handoff=id, reason=reason, epoch=known))

    def cancel(self, id: str, reason: str) -> model.Handoff:
        """Call work back. Whoever holds it gets LeaseLost with the reason at the next call."""
        return self._plane.call(model.CancelHandoff(handoff=id, reason=reason))

    def requeue(
        self,
        id: str,
        *,
        reason: str = "",
        to_agent: str | None = None,
        to_capability: str | None = None,
        to_queue: str | None = None,
        complete_by: datetime.datetime | int | None = None,
    ) -> model.Handoff:
        """Offer again what ended without a result (declined, failed, dead, expired), with its attempts counted anew.

        A deadline that has passed is lifted, unless a new one is given. For those it is done for, people and
        administrators.
        """
        return self._plane.call(
            model.RequeueHandoff(
                handoff=id,
                reason=reason,
                to_agent=to_agent,
                to_capability=to_capability,
                to_queue=to_queue,
                complete_by=microseconds(complete_by),
            )
        )

    def limit(
        self, to: str, *, concurrency: int | None = None, rate: int | None = None, per_seconds: float = 60.0
    ) -> model.HandoffLimit:
        """Bound how many a receiver holds at once and claims `per_seconds`; None lifts a bound."""
        return self._plane.call(
            model.SetHandoffLimit(to=to, concurrency=concurrency, rate=rate, per_seconds=per_seconds)
        )

    def limits(self) -> Page[model.HandoffLimit]:
        return self._plane.page(model.ListHandoffLimits())

    def work(
        self,
        handler: Callable[..., Any],
        *,
        concurrency: int = 1,
        capabilities: Iterable[str] = (),
        queues: Iterable[str] = (),
        until_idle: bool = False,
    ) -> None:
        """Claim what is offered and perform it with `handler(handoff)` or `handler(handoff, run)`, until `stop`.

        What the handler returns is the result. With a `run`, its steps are kept: whoever takes over after a crash goes
        on behind the last one, and where the run waits the handoff waits too, holding nothing. An exception gives the
        handoff back for another attempt. While the plane is away it waits; `until_idle` ends when nothing is offered.
        """
        with_run = takes_run(handler)
        capabilities, queues = [*capabilities], [*queues]
        if capabilities or queues:
            self.announce(capabilities=capabilities, queues=queues)
        self._plane.worker()

        def loop() -> None:
            while not self._plane.flow.stopping:
                try:
                    with nullcontext() if until_idle else at_once():  # who looks again anyway ends as soon as told to
                        found = self.claim(wait_seconds=0.0 if until_idle else CLAIM_WAIT_SECONDS)
                except Unavailable as error:
                    # A claim whose answer was lost is given back by itself: the heartbeat does not name it.
                    if until_idle or not is_away(error):
                        raise
                    self._plane.flow.sleep(AWAY_SECONDS)
                    continue
                if found is not None:
                    self._perform(found, handler, with_run=with_run)
                elif until_idle:
                    return

        self._plane.flow.parallel(loop, concurrency)

    def _perform(self, handoff: model.Handoff, handler: Callable[..., Any], *, with_run: bool) -> None:
        """The outcome is the handoff's: an error is kept with it, and the next attempt or its sender deals with it."""
        if self._plane.flow.stopping:
            # It came while this worker was told to stop: another has it at once.
            self._give_back(handoff, STOPPING, attempted=False)
            self._plane.let_go(handoff.id, handoff.epoch)
            return
        holding = Holding(self._plane, handoff.id, handoff.epoch)
        holding.outer = ambient.get()
        token = ambient.set(holding)
        try:
            if with_run:
                self._perform_as_run(handoff, handler)
            else:
                result = self._plane.flow.run_function(handler, (handoff,), {}, None)
                self._complete_held(handoff, result)
        except (Suspended, LeaseLost):
            pass  # it waits with its run, or it is somebody else's by now
        except Exception as error:  # noqa: BLE001 - whatever a handler raises is the story of this attempt
            _log.warning("handoff %s failed in attempt %d: %s", handoff.id, handoff.attempt, summary_of(error))
            self._give_back(handoff, summary_of(error))
        except BaseException:
            # Cancelled or interrupted, which says nothing of the work: another has it at once.
            self._give_back(handoff, STOPPING, attempted=False)
            raise
        finally:
            holding.live = False
            ambient.reset(token)
            self._plane.let_go(handoff.id, handoff.epoch)

    def _perform_as_run(self, handoff: model.Handoff, handler: Callable[..., Any]) -> None:
        opening = StartRun(
            name=model.RUN_NAME,
            key=self._run_key(handoff),
            max_attempts=RUN_ATTEMPTS,
            budget=handoff.budget,
            worker="",
            lease_seconds=self._plane.lease_seconds,
        )
        with Run(self._plane, opening, inline=False) as run:
            result = self._plane.flow.run_function(handler, (handoff, run), {}, None)
            self._complete_held(handoff, result)
            run.ended_with_handoff()

    def _run_key(self, handoff: model.Handoff) -> str:
        """The key of the run that goes on; a new one where the run before was ended without a result."""
        began = self._plane.call(GetRun(run=handoff.run)) if handoff.run else None
        if began is None:
            return handoff.id
        ended = began.state in FINISHED or began.key is None
        return model.run_key(handoff.id, handoff.epoch) if ended else str(began.key)

    def _complete_held(self, handoff: model.Handoff, result: Any) -> None:
        """Unless the handler has ended it in its own way."""
        if self._plane.handoffs.get(handoff.id) == handoff.epoch:
            self.complete(handoff.id, result, epoch=handoff.epoch)

    def _give_back(self, handoff: model.Handoff, reason: str, *, attempted: bool = True) -> None:
        """Where the plane is away, the heartbeat stops naming the claim, and it comes back by itself."""
        try:
            self.release(handoff.id, reason, attempted=attempted, epoch=handoff.epoch)
        except Error:
            return

    def _end(self, request: Ending) -> model.Handoff:
        """What ends a claim, which it does as well where the claim turns out to be lost."""
        try:
            answer: model.Handoff = self._plane.call(request)
        except LeaseLost:
            self._forget(request)
            raise
        self._forget(request)
        return answer

    def _forget(self, request: Ending) -> None:
        if request.epoch is not None:
            self._plane.let_go(request.handoff, request.epoch)

    def _epoch(self, id: str, epoch: int | None) -> int:
        return held_epoch(self._plane.handoffs, id, epoch)
