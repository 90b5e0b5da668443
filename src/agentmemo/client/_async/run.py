"""A run in the hands of the process that holds it: steps, waits, notes."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from contextvars import Token
from typing import Any, Self

import msgspec

from agentmemo.client._async.plane import AsyncPlane, Holding, ambient
from agentmemo.client._async.questions import AsyncQuestions
from agentmemo.client._async.step import AsyncStepContext, current
from agentmemo.client._async.stored_steps import AsyncStoredSteps
from agentmemo.client.flow import Suspended
from agentmemo.client.functions import describe, fingerprint
from agentmemo.client.step_call import (
    IN_DOUBT,
    EffectUnclear,
    Probe,
    StepCall,
    checked_timeout,
    leaves_doubt,
    retry_policy,
    summary_of,
)
from agentmemo.client.transport import at_once
from agentmemo.crashpoints import reach
from agentmemo.errors import Error, InvalidInput, InvalidTransition, LeaseLost, StepFailed, TimedOut
from agentmemo.model import runs as model
from agentmemo.model.values import decode_as, encode_and_decode_result
from agentmemo.model.wire import Request

RESUME_WAIT_SECONDS = 30.0
OPEN_IT = "Open it: `with agent.run(name, key=...) as run:`."
_UNSET = object()


class AsyncRun(AsyncQuestions):
    """Opened by `with agent.run(...)`. Finished steps come from the store; their functions do not run again.

    A normal exit completes the run. An exception gives it back for another attempt, until `max_attempts` is spent.
    """

    def __init__(
        self,
        plane: AsyncPlane,
        opening: model.StartRun | None,
        claimed: model.Claimed | None = None,
        *,
        version: str = "",
        inline: bool | None = None,
        watch_steps: bool = False,
    ) -> None:
        self._plane = plane
        self._opening = opening
        self._inline = claimed is None if inline is None else inline
        self._version = version
        self._watches_steps, self._may_be_blocked = watch_steps, False
        self._holding: Holding | None = None
        self._token: Token[Holding | None] | None = None
        self._occurrences: dict[str, int] = {}
        self._in_flight: dict[str | tuple[str, str], StepCall] = {}
        self._steps = AsyncStoredSteps(plane, "", 0)
        self._replaying = False
        self._finished = False
        self._record: model.Run | None = None
        self._outcome = ""
        if claimed is not None:
            self._accept(claimed)

    async def __aenter__(self) -> Self:
        if self._opening is not None:
            opening = msgspec.structs.replace(self._opening, worker=await self._plane.worker())
            claimed = await self._plane.call(opening)
            self._accept(claimed)
            if claimed.outcome == "waiting":
                if not self._inline:
                    raise Suspended
                await self._wait_inline(claimed.run.epoch)
        holding = self._holding or Holding(self._plane, self.id, self.record.epoch, live=False)
        holding.outer, holding.asks, holding.steps = ambient.get(), self.ask, self.step
        self._token = ambient.set(holding)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if self._token is not None:
            ambient.reset(self._token)
            self._token = None
        try:
            await self._leave(error)
        finally:
            if self._holding is not None:
                self._holding.live = False
                self._plane.let_go(self._holding.run, self._holding.epoch)

    @property
    def id(self) -> str:
        return self.record.id

    @property
    def record(self) -> model.Run:
        """The run as it was when it was opened or last changed here."""
        if self._record is None:
            raise InvalidInput("The run is not open.", next_call=OPEN_IT)
        return self._record

    @property
    def epoch(self) -> int:
        return self._hold().epoch

    @property
    def resumed(self) -> bool:
        """True when an earlier process or attempt has worked on this run."""
        return self._outcome != "created"

    @property
    def completed(self) -> bool:
        return self.record.state == model.COMPLETED

    @property
    def result(self) -> Any:
        """The result of a completed run, else None."""
        return self.record.result

    def step(
        self,
        name: str,
        function: Callable[..., Any] | None = None,
        *arguments: Any,
        key: str | None = None,
        effect: str = "none",
        retry: model.Retry | int | None = None,
        timeout_seconds: float | None = None,
        on_mismatch: str | None = None,
        in_doubt: str | Probe = "ask",
        returns: Any = _UNSET,
    ) -> Any:
        """Run a function once and keep its result; when it is kept already, return that without running it.

        The result is decoded into `returns` or the annotated type, first run and replay alike. `key` tells steps
        of one name apart (default: the occurrence); concurrent steps of one name need one. `effect`: none, read,
        write (announced before it runs; in doubt after a crash), irreversible (never retried by itself).
        `retry`: attempts or a Retry. `in_doubt`: "ask", "retry" (same idempotency key) or a probe that gets the
        key and returns the result, or None for "it did not happen". Without a function it is a decorator.
        """
        if key == "":
            raise InvalidInput("A step's key is not empty.", next_call="Leave it out to use the occurrence.")

        model.check_step_name(name)

        def described(target: Callable[..., Any], given: tuple[Any, ...]) -> StepCall:
            kind = describe(target).returns if returns is _UNSET else returns
            return StepCall(
                name=name,
                key=key if key is not None else self._next_occurrence(name),
                function=target,
                arguments=given,
                fingerprint=fingerprint(given, self._version),
                effect=model.check_choice(effect, model.EFFECTS, "effect"),
                retry=retry_policy(retry),
                timeout_seconds=checked_timeout(timeout_seconds),
                on_mismatch=on_mismatch and model.check_choice(on_mismatch, model.ON_MISMATCH, "on_mismatch"),
                in_doubt=in_doubt if callable(in_doubt) else model.check_choice(in_doubt, IN_DOUBT, "in_doubt"),
                returns=kind,
            )

        if function is not None:
            return self._perform(described(function, arguments), keyed=key is not None)

        def decorator(target: Callable[..., Any]) -> Callable[..., Awaitable[Any]]:
            async def stepped(*given: Any) -> Any:
                return await self._perform(described(target, given), keyed=key is not None)

            return stepped

        return decorator

    async def sleep(self, seconds: float) -> None:
        """Sleep durably, holding nothing: the process may die meanwhile, and the time counts from the first call."""
        await self._park("sleep", "timer", seconds=seconds)

    async def wait(self, signal: str, *, timeout_seconds: float | None = None) -> Any:
        """The value of the next signal of that name, waiting for it if it has not come. Raises TimedOut."""
        parked = await self._park(f"wait:{signal}", "signal", signal=signal, seconds=timeout_seconds)
        if parked.timed_out:
            raise TimedOut(
                f"The signal {signal!r} did not come within {timeout_seconds} s.",
                next_call="Catch TimedOut, or wait longer.",
            )
        return parked.value

    def child(self, name: str, key: str, *, inputs: Any = None, max_attempts: int = 3) -> AsyncRun:
        """A run that belongs to this one: cancelled with it. Its key is the caller's to choose."""
        return AsyncRun(
            self._plane,
            model.StartRun(
                name=name,
                key=key,
                inputs=inputs,
                max_attempts=max_attempts,
                worker="",
                lease_seconds=self._plane.lease_seconds,
                parent=self.id,
            ),
        )

    async def start_child(self, task: str, inputs: Any = None, *, key: str | None = None) -> str:
        """Start a registered task as a child, once, and return its handle; `join` waits for it."""
        name = f"start:{task}"
        child_key = key if key is not None else f"{self.id}/{task}/{self._occurrences.get(name, 0) + 1}"

        async def begin() -> str:
            answer = await self._plane.call(model.StartTask(name=task, inputs=inputs, key=child_key, parent=self.id))
            return str(answer.run.id)

        return str(await self.step(name, begin))

    async def join(self, child: str, *, timeout_seconds: float | None = None) -> Any:
        """Wait for a child, holding nothing, and return its result. Raises StepFailed when it did not complete."""
        parked = await self._park(f"join:{child}", "child", child=child, seconds=timeout_seconds)
        if parked.timed_out:
            raise TimedOut(
                f"The child {child} did not end within {timeout_seconds} s.",
                next_call=f"See agent.runs.explain('{child}'), or wait longer.",
            )
        if parked.value["state"] != model.COMPLETED:
            raise StepFailed(
                f"The child {child} is {parked.value['state']}: {parked.value['error']}.",
                next_call=f"See agent.runs.explain('{child}').",
                details=parked.value,
            )
        return parked.value["result"]

    async def progress(self, percent: float, text: str = "") -> None:
        """Show how far the run is, 0 to 100, while it works."""
        if not self._replaying:
            await self._call(model.SetProgress(run=self.id, percent=percent, text=text))

    async def decide(self, text: str, *, because: str = "") -> None:
        """Note a decision; it appears in the briefing of whoever continues."""
        await self._note("decision", text, because)

    async def finding(self, text: str) -> None:
        """Note something found out."""
        await self._note("finding", text, "")

    async def tried(self, text: str, *, why_failed: str) -> None:
        """Note an approach that failed, so that nobody repeats it."""
        await self._note("tried", text, why_failed)

    async def complete(self, result: Any = None) -> None:
        """Finish the run with a result. Again with a completed run it does nothing."""
        if self._replaying or self._finished:
            return
        self._record = await self._call(model.CompleteRun(run=self.id, result=result))
        self._finished = True

    def ended_with_handoff(self) -> None:
        """The handoff it worked on was completed, and the run with it, in one commit."""
        self._finished = True

    async def fail(self, reason: str) -> None:
        """Fail the run for good, without further attempts."""
        if self._replaying or self._finished:
            return
        self._record = await self._call(model.FailRun(run=self.id, reason=reason))
        self._finished = True

    async def _leave(self, error: BaseException | None) -> None:
        """What the end of the block means for the run."""
        if self._replaying or self._finished or isinstance(error, Suspended | LeaseLost):
            return
        release = model.ReleaseRun(run=self.id, error=summary_of(error) if isinstance(error, Exception) else None)
        try:
            if error is None:
                await self.complete()
            else:
                # Who is told to end does not wait for a plane that is away.
                with nullcontext() if isinstance(error, Exception) else at_once():
                    self._record = await self._call(release)
        except Error as failure:
            self._plane.heart().owe(release, self._hold().claim(), failure)
            # The user's exception is the news; failing to give the run back only delays the next attempt.
            if error is None:
                raise

    async def _perform(self, call: StepCall, *, keyed: bool) -> Any:
        """The life of one step: from the store if it is there, else run, retried and recorded."""
        self._check_open()
        # Of one name without a key, or of one name and key; this one where no other is there.
        place = call.pair if keyed else call.name
        if self._in_flight.setdefault(place, call) is not call:
            which = f"with the key {call.key!r}" if keyed else "without a key"
            raise InvalidInput(
                f"Two steps named {call.name!r} run at once {which}.",
                why="Each would do the work." if keyed else "Their occurrence would depend on who comes first.",
                next_call="Give each a key of its own: run.step(name, function, key=...).",
            )
        try:
            stored = await self._steps.look(call.pair, always=self._replaying)
            decided = await self._from_store(call, stored) if stored else None
            if decided is not None:
                await self._hear(call)
                return call.returned(decided[0])
            return await self._watched(call, stored)
        finally:
            del self._in_flight[place]

    async def _from_store(self, call: StepCall, stored: model.Step) -> tuple[Any] | None:
        """(result,) when the store decides, None when the function must run."""
        if stored.state == model.COMPLETED:
            return await self._completed(call, stored)
        if stored.state == model.FAILED:
            spent = stored.attempt >= call.retry.max_attempts
            if spent and stored.run_attempt == self.record.attempt:
                raise StepFailed(
                    f"Step {call.name}/{call.key} failed before: {stored.error}.",
                    why=f"Its {stored.attempt} attempts of this run attempt are spent.",
                    next_call="Handle StepFailed, or let it end this attempt; the next attempt runs the step again.",
                    details={"run": self.id, "step": call.name, "key": call.key, "error": stored.error},
                )
            # What cannot be undone is never done a second time by itself, not by the next attempt either.
            return await self._doubtful(call, stored) if stored.effect == "irreversible" else None
        if stored.effect not in model.ANNOUNCED_EFFECTS:
            return None
        return await self._doubtful(call, stored)

    async def _completed(self, call: StepCall, stored: model.Step) -> tuple[Any] | None:
        self._steps.made(call.pair)
        if stored.fingerprint in ("", call.fingerprint) or self._replaying:
            return (stored.result,)
        if stored.epoch == self.epoch and call.on_mismatch is None:
            raise InvalidInput(
                f"Step {call.name}/{call.key} was made in this run a moment ago, with other arguments.",
                why="Its result would be lost: steps of one name are told apart by their keys alone.",
                next_call="Give each its own key, or leave the key out; on_mismatch='rerun' replaces the result.",
            )
        usual = "rerun" if stored.effect not in model.ANNOUNCED_EFFECTS else "ask"
        policy = stored.decision or call.on_mismatch or usual
        if policy == "ask":
            await self._ask("mismatch", call, "Its inputs or its task's version are not those of the stored result.")
            again = await self._steps.find(call.pair)
            policy = again.decision if again and again.decision else "reuse"
        return (stored.result,) if policy == "reuse" else None

    async def _doubtful(self, call: StepCall, stored: model.Step) -> tuple[Any] | None:
        """It may or may not have happened: retry with the same key, probe, or ask a person."""
        policy: str | Probe = stored.decision or call.in_doubt
        if policy == "retry" and (stored.decision or call.effect != "irreversible"):
            return None
        if callable(policy):
            if call.timeout_seconds is not None:
                left = stored.started_at / 1e6 + call.timeout_seconds - self._plane.clock.now_us() / 1e6
                # Where the wall clock was set back since, the whole time is enough.
                await self._plane.flow.sleep(min(max(0.0, left), call.timeout_seconds))
            found = await self._plane.flow.run_function(policy, (f"{self.id}/{call.name}/{call.key}",), {}, None)
            if found is None:
                return None
            _, plain = encode_and_decode_result(found)
            await self._complete(call, plain, stored.attempt, None, stored.started_at)
            return (plain,)
        await self._ask("in_doubt", call, f"{call.effect} step {call.name}/{call.key} may or may not have happened.")
        again = await self._steps.find(call.pair)
        if again and again.state == model.COMPLETED:
            return (again.result,)
        return None

    async def _attempts(self, call: StepCall, stored: model.Step | None) -> Any:
        if self._replaying:
            raise InvalidTransition(
                f"Run {self.id} is completed and holds no step {call.name}/{call.key}.",
                why="A completed run only replays what it stored.",
                next_call=f"Open another key, or agent.runs.fork('{self.id}', from_step=...).",
            )
        same_attempt = stored is not None and stored.run_attempt == self.record.attempt
        attempt = stored.attempt + 1 if stored and same_attempt and stored.state != model.COMPLETED else 1
        while True:
            try:
                return await self._attempt(call, attempt)
            except (Suspended, LeaseLost):
                raise
            except EffectUnclear as unclear:
                # Left as started: whoever holds the run next finds it in doubt, and nobody repeats it silently.
                raise unclear.error from unclear.error.__cause__
            except Exception as error:
                kept = await self._fail(call, error, attempt)
                if kept is not None:
                    return call.returned(kept.result)
                retriable = call.effect != "irreversible" and not isinstance(error, InvalidInput)
                if attempt >= call.retry.max_attempts or not retriable:
                    raise
            await self._plane.flow.sleep(call.retry.delay_seconds(attempt))
            attempt += 1

    async def _attempt(self, call: StepCall, attempt: int) -> Any:
        holding = self._hold()
        self._plane.heart().at_step(self.id, holding.epoch, f"{call.name}/{call.key}")
        started_at = self._plane.clock.now_us()
        if call.effect in model.ANNOUNCED_EFFECTS:
            # From now on the store knows more of this step than this process: the same key again must ask it.
            self._steps.made(call.pair)
            await self._call(
                model.StartStep(
                    run=self.id,
                    name=call.name,
                    key=call.key,
                    effect=call.effect,
                    fingerprint=call.fingerprint,
                    attempt=attempt,
                )
            )
        context = AsyncStepContext(self._plane, self.id, holding.epoch, call, attempt)
        described = describe(call.function)
        keywords = {described.context: context} if described.context else {}
        reach("step.before_function")
        token = current.set(context)
        try:
            result = await self._plane.flow.run_function(call.function, call.arguments, keywords, call.timeout_seconds)
        except TimedOut as error:
            # Its thread was left behind: what it does outside may still come.
            if leaves_doubt(call, error):
                raise EffectUnclear(error) from error
            raise
        finally:
            current.reset(token)
        reach("step.after_function")
        try:
            content, plain = encode_and_decode_result(result)
            value = plain if call.returns is None else decode_as(content, call.returns)
            await self._complete(call, plain, attempt, context, started_at)
        except Exception as error:
            if leaves_doubt(call, error):
                raise EffectUnclear(error) from error
            raise
        return value

    async def _complete(
        self, call: StepCall, result: Any, attempt: int, context: AsyncStepContext | None, started_at: int
    ) -> None:
        step = await self._call(
            model.CompleteStep(
                run=self.id,
                name=call.name,
                key=call.key,
                result=result,
                effect=call.effect,
                fingerprint=call.fingerprint,
                attempt=attempt,
                started_at=started_at,
                calls=context.buffer.calls if context else [],
                tokens=context.tokens if context else 0,
                nanousd=context.nanousd if context else 0,
            )
        )
        self._steps.made(call.pair)
        if context is not None:
            context.buffer.committed(self._plane)
        if step.paused:
            await self._suspend("The budget is spent.")

    async def _fail(self, call: StepCall, error: Exception, attempt: int) -> model.Step | None:
        """Record a failed attempt. Returns the step when it had been completed, and only the answer was lost."""
        self._steps.made(call.pair)
        request = model.FailStep(
            run=self.id,
            name=call.name,
            key=call.key,
            error=summary_of(error),
            effect=call.effect,
            fingerprint=call.fingerprint,
            attempt=attempt,
        )
        try:
            await self._call(request)
        except InvalidTransition:
            return await self._steps.find(call.pair)
        return None

    async def _park(
        self,
        name: str,
        kind: str,
        *,
        seconds: float | None = None,
        signal: str | None = None,
        child: str | None = None,
    ) -> model.Parked:
        """Wait as a step of its own; on replay the wait that ended answers at once."""
        self._check_open()
        key = self._next_occurrence(name)
        if self._replaying:
            return await self._replayed_wait(name, key)
        while True:
            request = model.ParkRun(
                run=self.id, name=name, key=key, kind=kind, seconds=seconds, signal=signal, child=child
            )
            parked = await self._call(request)
            if parked.done:
                return parked
            await self._suspend("")

    async def _replayed_wait(self, name: str, key: str) -> model.Parked:
        step = await self._plane.call(model.FindStep(run=self.id, name=name, key=key))
        return model.Parked(done=True, timed_out=step.state == model.FAILED, value=step.result)

    async def _ask(self, question: str, call: StepCall, detail: str) -> None:
        await self._call(
            model.ParkRun(run=self.id, name=call.name, key=call.key, kind="person", question=question, detail=detail)
        )
        await self._suspend(detail)

    async def _suspend(self, question: str) -> None:
        """The run is parked. A registered task leaves; an inline one waits here and claims it again."""
        holding = self._hold()
        holding.live = False
        self._plane.let_go(self.id, holding.epoch)
        if not self._inline:
            raise Suspended
        if question:
            print(  # noqa: T201 - the person at this terminal may be the one who answers
                f"agentmemo: run {self.id} waits for a person: {question}\n"
                f"agentmemo: see `agentmemo runs explain {self.id}`, which names the decisions.",
                file=sys.stderr,
                flush=True,
            )
        await self._wait_inline(holding.epoch)

    async def _wait_inline(self, epoch: int) -> None:
        """Claim the run again once it may move: epoch + 1, or LeaseLost when another was faster."""
        worker = await self._plane.worker()
        while True:
            claimed = await self._plane.call(
                model.ResumeRun(run=self.id, epoch=epoch, worker=worker, wait_seconds=RESUME_WAIT_SECONDS)
            )
            if claimed.outcome != "waiting":
                break
            if self._plane.flow.stopping:
                raise LeaseLost(
                    f"The connection was closed while run {self.id} waited; it goes on waiting.",
                    next_call="Open the run again by its key.",
                )
        steps, holding = self._steps, self._holding
        self._accept(claimed)
        if holding is not None:
            # Nobody else held the run meanwhile (the epoch proves it), so nothing unmet was added. The ambient
            # holding stays the same object: writes made in the block go on under the new epoch.
            self._steps = steps
            holding.epoch, holding.live = claimed.run.epoch, True
            self._holding = holding

    def _accept(self, claimed: model.Claimed) -> None:
        self._record, self._outcome = claimed.run, claimed.outcome
        self._replaying = claimed.outcome == "replay"
        self._steps = AsyncStoredSteps(self._plane, claimed.run.id, claimed.stored_steps)
        self._may_be_blocked = self._may_be_blocked or claimed.stored_steps > 0
        if claimed.outcome not in ("replay", "waiting"):
            self._holding = Holding(self._plane, claimed.run.id, claimed.run.epoch)
            self._plane.heart().hold(claimed.run.id, claimed.run.epoch)

    async def _call(self, request: Request) -> Any:
        """An operation under this run's claim."""
        worker = await self._plane.worker()
        return await self._plane.call(request, claim=self._hold().claim(), as_worker=worker)

    async def _note(self, kind: str, text: str, because: str) -> None:
        """Once per run: on replay a note of the same place and words is there already."""
        self._check_open()
        if self._replaying:
            return
        key = self._next_occurrence(f"note:{kind}")
        await self._call(model.AddNote(run=self.id, kind=kind, text=text, because=because, key=key))

    def _next_occurrence(self, name: str) -> str:
        self._occurrences[name] = self._occurrences.get(name, 0) + 1
        return str(self._occurrences[name])

    def _hold(self) -> Holding:
        if self._holding is None:
            raise InvalidInput("The run is not open for writing.", next_call=OPEN_IT)
        return self._holding

    def _check_open(self) -> None:
        if self._finished:
            raise InvalidTransition(
                f"Run {self.id} is {self.record.state}; nothing can be added.", next_call="Open another run."
            )
        if self._record is None:
            self._hold()
