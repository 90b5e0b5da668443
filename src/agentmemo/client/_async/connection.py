"""A connection: one actor's hold on a plane, and everything the actor can do with it."""

from __future__ import annotations

import datetime
import logging
from collections.abc import Callable, Iterable
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING, Any, Self, TypeVar

from agentmemo.client._async.plane import AsyncPlane
from agentmemo.client.flow import Suspended
from agentmemo.client.given import as_budget, microseconds
from agentmemo.client.parts import Part
from agentmemo.client.transport import at_once, is_away
from agentmemo.errors import InvalidInput, Unavailable
from agentmemo.model import runs as model
from agentmemo.model.system import Backup, BackupDone, Diagnose, Diagnosis, GetStatus, Status

if TYPE_CHECKING:
    from agentmemo.client._async.access import AsyncKeys
    from agentmemo.client._async.audit import AsyncAudit
    from agentmemo.client._async.buffer import AsyncTransaction
    from agentmemo.client._async.escalations import AsyncEscalations, AsyncInbox
    from agentmemo.client._async.guards import AsyncGuards
    from agentmemo.client._async.handoffs import AsyncHandoffs
    from agentmemo.client._async.ledger import AsyncLedger
    from agentmemo.client._async.policies import AsyncPolicies
    from agentmemo.client._async.reports import AsyncReports
    from agentmemo.client._async.run import AsyncRun
    from agentmemo.client._async.runs import AsyncRuns
    from agentmemo.client._async.state import AsyncState
    from agentmemo.client._async.webhooks import AsyncWebhooks
    from agentmemo.client._async.workflows import AsyncWorkflows
    from agentmemo.model.escalations import Action, Answer, Escalation, Needs, SuggestedAction
    from agentmemo.model.guards import Annotations, Guarded

F = TypeVar("F", bound=Callable[..., Any])
_log = logging.getLogger("agentmemo.client")
CLAIM_WAIT_SECONDS = 2.0
# How long a worker waits for a plane that is away before it looks again.
AWAY_SECONDS = 1.0


class Task:
    """Code registered under a name: what the plane may start, wake and take over."""

    def __init__(self, name: str, version: str, function: Callable[..., Any]) -> None:
        self.name = name
        self.version = version
        self.function = function


class AsyncConnection:
    """Made by `agentmemo.connect_async`. Close it, or use it in `async with`."""

    state: Part[AsyncState] = Part("state", "AsyncState")
    runs: Part[AsyncRuns] = Part("runs", "AsyncRuns")
    handoff: Part[AsyncHandoffs] = Part("handoffs", "AsyncHandoffs")
    escalations: Part[AsyncEscalations] = Part("escalations", "AsyncEscalations")
    guards: Part[AsyncGuards] = Part("guards", "AsyncGuards")
    inbox: Part[AsyncInbox] = Part("escalations", "AsyncInbox")
    audit: Part[AsyncAudit] = Part("audit", "AsyncAudit")
    keys: Part[AsyncKeys] = Part("access", "AsyncKeys")
    webhooks: Part[AsyncWebhooks] = Part("webhooks", "AsyncWebhooks")
    policies: Part[AsyncPolicies] = Part("policies", "AsyncPolicies")
    workflows: Part[AsyncWorkflows] = Part("workflows", "AsyncWorkflows")
    reports: Part[AsyncReports] = Part("reports", "AsyncReports")
    ledger: Part[AsyncLedger] = Part("ledger", "AsyncLedger")

    def __init__(self, plane: AsyncPlane, actor: str) -> None:
        self._plane = plane
        self._tasks: dict[str, Task] = {}
        self.actor = actor

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: object, error: object, trace: object) -> None:
        try:
            await self.close()
        except Exception as failure:
            if error is None:
                raise
            # What ended the block is the news.
            _log.warning("closing the connection failed: %s", failure)

    async def close(self) -> None:
        """Release what is held and end. What was acknowledged is durable without it."""
        try:
            if "workflows" in vars(self):  # else no tool was ever started
                await self.workflows.close_tools()
        finally:
            await self._plane.close()

    def run(
        self,
        name: str,
        key: str | None = None,
        *,
        inputs: Any = None,
        budget: model.Budget | dict[str, Any] | None = None,
        max_attempts: int = 3,
        watch_steps: bool = False,
    ) -> AsyncRun:
        """A run to open with `with`: created under its key, or continued where an earlier process left it.

        Raises RunHeld while another live worker holds it and IdempotencyMismatch when the key was opened with
        other inputs. A completed run replays its stored results. With `watch_steps` its steps are told to `observe`,
        so that one that is made again and again with the same result ends in a question to a person.
        """
        opening = model.StartRun(
            name=name,
            key=key,
            inputs=inputs,
            budget=as_budget(budget),
            max_attempts=max_attempts,
            worker="",
            lease_seconds=self._plane.lease_seconds,
        )
        from agentmemo.client._async.run import AsyncRun

        return AsyncRun(self._plane, opening, watch_steps=watch_steps)

    def transaction(self) -> AsyncTransaction:
        """A block whose operations are sent once: one commit or none, no reads inside."""
        from agentmemo.client._async.buffer import AsyncTransaction

        return AsyncTransaction(self._plane)

    async def escalate(
        self,
        *,
        severity: str,
        reason: str,
        context: Any = None,
        suggested_actions: Iterable[SuggestedAction | dict[str, Any] | str] = (),
        kind: str = "question",
        action: Action | dict[str, Any] | None = None,
        response_schema: dict[str, Any] | None = None,
        default: str | None = None,
        deadline: datetime.datetime | int | None = None,
        key: str | None = None,
        collapse_key: str | None = None,
        route: str = "default",
        needs: Needs | dict[str, Any] | None = None,
        sensitivity: str = "internal",
        supersedes: str | None = None,
        wait: bool = True,
    ) -> Answer | Escalation:
        """Ask a person, and block until the answer, whatever happens to this process meanwhile.

        In a run it is parked, holding nothing; after a kill, the same call in the resumed run returns the stored
        answer, and nothing before it runs again. Outside a run the same words (or `key`) find the same question.
        The answer is a value also when it says no: look at `.approved`, `.decision`, `.choice`, `.values`.
        `severity`: critical, high, medium, low; it rules who is told when, and what happens when nobody answers by
        `deadline`: `default`, the id of a suggested action that is reversible, or deny, skip, abort, pause.
        `action` (tool, arguments, revision) binds an approval to exactly that. `response_schema` is a flat object.
        Questions with one `collapse_key` are one while it is open. With `wait=False` returns the Escalation at once.
        Raises InvalidInput for what nobody could decide on; LeaseLost where another process took the run over.
        """
        return await self.escalations.create(
            severity=severity,
            reason=reason,
            context=context,
            suggested_actions=suggested_actions,
            kind=kind,
            action=action,
            response_schema=response_schema,
            default=default,
            deadline=deadline,
            key=key,
            collapse_key=collapse_key,
            route=route,
            needs=needs,
            sensitivity=sensitivity,
            supersedes=supersedes,
            wait=wait,
        )

    async def guard(
        self,
        tool: str,
        arguments: Any,
        *,
        annotations: Annotations | dict[str, Any] | None = None,
        revision: str = "",
        context: Any = None,
        reason: str = "",
    ) -> Guarded:
        """Whether a call may be made now: true, with the `arguments` to make it with, or false where a person said no.

        The people's rules decide; what they do not know, a person is asked, as durably as with `agent.escalate`, and
        the approval is used right before this returns. Make exactly the call that `arguments` say: a person may have
        edited them. `annotations` (read_only, reversible, cost_nanousd, namespace) are what the rules look at beside
        the arguments; what is not said is taken for the worse. `revision` is the target's, such as a commit.
        Raises PermissionDenied where a rule refuses; its `next_call` says how to ask a person all the same. In a step
        with the effect write or irreversible it raises InvalidInput: guard before the step.
        """
        return await self.guards.guard(tool, arguments, annotations, revision, context, reason)

    def guarded(
        self,
        tool: str | None = None,
        *,
        read_only: bool | None = None,
        reversible: bool | None = None,
        cost_nanousd: int | None = None,
        namespace: str | None = None,
        revision: str = "",
        context: Any = None,
        reason: str = "",
    ) -> Callable[[F], F]:
        """A function that is called only as `guard` lets it be: with the arguments that were approved.

        `tool` is the name that rules know it by, by default the function's. Raises PermissionDenied, with the person's
        comment, where it may not be called.
        """
        annotations = {
            "read_only": read_only,
            "reversible": reversible,
            "cost_nanousd": cost_nanousd,
            "namespace": namespace,
        }

        def wrap(function: F) -> F:
            return self.guards.wrapped(function, tool, annotations, revision, context, reason)  # type: ignore[return-value]

        return wrap

    def task(self, name: str, version: str = "1") -> Callable[[F], F]:
        """Register a function `(run, **inputs)` under a name, so that `work` may start, wake and take over its runs."""

        def register(function: F) -> F:
            self._tasks[name] = Task(name, version, function)
            return function

        return register

    def tool(self, name: str | None = None, *, effect: str = "none") -> Callable[[F], F]:
        """Register a function as a tool that workflow steps may call by its name, with named arguments.

        `effect` (none, read, write, irreversible) is what it does outside; a step that calls it says the same. One that
        takes `idempotency_key` is given it. Use it as `@agent.tool(effect="read")`.
        """

        def register(function: F) -> F:
            return self.workflows.register(function, name, effect)

        return register

    async def start(
        self,
        name: str,
        inputs: Any = None,
        *,
        key: str | None = None,
        at: datetime.datetime | int | None = None,
        cron: str | None = None,
        budget: model.Budget | dict[str, Any] | None = None,
        max_attempts: int = 3,
        priority: int = 0,
    ) -> model.Run | model.Schedule:
        """Start a task's run now or `at` a time (datetime or UTC microseconds); with `cron` (UTC), a schedule.

        Idempotent by key. Whoever works on this task anywhere claims it.
        """
        answer = await self._plane.call(
            model.StartTask(
                name=name,
                inputs=inputs,
                key=key,
                at=microseconds(at),
                cron=cron,
                budget=as_budget(budget),
                max_attempts=max_attempts,
                priority=priority,
            )
        )
        return answer.run or answer.schedule

    async def work(self, *, concurrency: int = 4, until_idle: bool = False, workflows: bool = False) -> None:
        """Claim and perform runs of the registered tasks until `stop` is called.

        With `workflows` also the executions that were left to the plane, with the models and tools of this connection.
        `until_idle` ends when none is ready. A task's error is stored with its run, which is tried again. While the
        plane cannot be reached, it waits; with `until_idle` it raises Unavailable.
        """
        tasks = sorted(self._tasks) + [model.EXECUTION] * workflows
        if not tasks:
            raise InvalidInput(
                "No task is registered on this connection.", next_call='Register one: @agent.task("name").'
            )
        await self._plane.worker()

        async def loop() -> None:
            while not self._plane.flow.stopping:
                try:
                    found = await self._work_once(tasks, 0.0 if until_idle else CLAIM_WAIT_SECONDS)
                except Unavailable as error:
                    # A claim whose answer was lost is given back by itself: the heartbeat does not name it.
                    if until_idle or not is_away(error):
                        raise
                    await self._plane.flow.sleep(AWAY_SECONDS)
                else:
                    if until_idle and not found:
                        return

        await self._plane.flow.parallel(loop, concurrency)

    def stop(self) -> None:
        """Let `work` end after what it is doing; may be called from a signal handler or another thread."""
        self._plane.flow.stop()

    def abandon(self) -> None:
        """Give back at once what `work` and runs hold, counting no attempt; for a process that must end before they do.

        May be called from another thread. What is still going on here is not accepted any more (LeaseLost).
        Raises Unavailable while the plane is away: then others take over when the lease ends.
        """
        self._plane.abandon()

    async def briefing(self, agent: str | None = None) -> model.Briefing:
        """What an agent needs to know when it starts: unfinished work, what failed, what waits, the next call."""
        return await self._plane.call(model.GetBriefing(agent=agent))

    async def status(self) -> Status:
        return await self._plane.call(GetStatus())

    async def diagnose(self) -> Diagnosis:
        """What `agentmemo doctor` prints."""
        return await self._plane.call(Diagnose())

    async def backup(self, path: str) -> BackupDone:
        """Copy the store, online and checked, to a new file on the plane's machine."""
        return await self._plane.call(Backup(path=path))

    async def _work_once(self, tasks: list[str], wait_seconds: float) -> bool:
        """Claim one run and carry it as far as it goes now. False when none was ready."""
        from agentmemo.client._async.run import AsyncRun

        worker = await self._plane.worker()
        with at_once() if wait_seconds else nullcontext():  # who looks again anyway ends as soon as told to
            answer = await self._plane.call(model.ClaimTask(worker=worker, tasks=tasks, wait_seconds=wait_seconds))
        if answer.claimed is None:
            return False
        if answer.claimed.run.task == model.EXECUTION:
            with suppress(Exception):  # the outcome is the execution's
                await self.workflows.drive(await self.workflows.resume(answer.claimed.run.id), wait=False)
            return True
        task = self._tasks[answer.claimed.run.task]
        run = AsyncRun(self._plane, None, answer.claimed, version=task.version)
        # The outcome is the run's: its error is stored, and the next attempt or the operator deals with it.
        with suppress(Suspended, Exception):
            async with run:
                inputs = answer.claimed.run.inputs
                keywords = inputs if isinstance(inputs, dict) else {} if inputs is None else {"inputs": inputs}
                result = await self._plane.flow.run_function(task.function, (run,), keywords, None)
                await run.complete(result)
        return True
