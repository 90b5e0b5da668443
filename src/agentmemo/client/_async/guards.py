"""Guarding calls: allowed by a rule, refused by one, or asked of a person with exactly the call that will be made."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

from agentmemo.client._async.escalations import AsyncEscalations
from agentmemo.client._async.pages import AsyncPage
from agentmemo.client._async.plane import AsyncPlane
from agentmemo.client._async.step import AsyncStepContext, current
from agentmemo.client.given import as_struct, bound, fitting, named_parameters
from agentmemo.errors import PermissionDenied
from agentmemo.model import guards as model
from agentmemo.model import precedents as precedent_model
from agentmemo.model.escalation_rules import action_digest
from agentmemo.model.escalations import Action, Answer
from agentmemo.model.policies import Policy
from agentmemo.model.runs import NAME_MAX

# An approval that was used up or too old when it came is asked for again, so often.
QUESTIONS_MAX = 3
DIGEST_SHOWN = 16


class Asked(NamedTuple):
    """A call that shall be made."""

    tool: str
    arguments: Any
    annotations: model.Annotations
    revision: str
    context: Any
    reason: str


class AsyncGuards:
    """What people ruled on calls, and what they have answered before."""

    def __init__(self, plane: AsyncPlane) -> None:
        self._plane = plane
        self._escalations = AsyncEscalations(plane)

    async def check(
        self,
        tool: str,
        arguments: Any = None,
        *,
        annotations: model.Annotations | dict[str, Any] | None = None,
        revision: str = "",
        run: str | None = None,
        name: str | None = None,
        key: str | None = None,
    ) -> model.GuardDecision:
        """Only what the rules say: allow, deny or ask. `agent.guard` also asks, and redeems the approval."""
        return await self._plane.call(
            model.CheckGuard(
                tool=model.check_tool(tool),
                arguments=arguments,
                annotations=as_struct(model.Annotations, annotations or {}),
                revision=revision,
                run=run,
                name=name,
                key=key,
            )
        )

    async def guard(
        self,
        tool: str,
        arguments: Any,
        annotations: model.Annotations | dict[str, Any] | None,
        revision: str,
        context: Any,
        reason: str,
    ) -> model.Guarded:
        """What `agent.guard` does; see there."""
        said = as_struct(model.Annotations, annotations or {})
        return await self._guard(Asked(tool, arguments, said, revision, context, reason))

    async def _guard(self, asked: Asked) -> model.Guarded:
        digest = action_digest(model.check_tool(asked.tool), asked.arguments, asked.revision)
        step, holding = self._step(), self._plane.holding()
        if step is not None:
            step.check_may_ask()
        if step is not None or holding is None or holding.steps is None:
            found = await self._settle(asked, digest)
        else:

            async def settle() -> model.Guarded:
                return await self._settle(asked, digest)

            key = f"{digest[:DIGEST_SHOWN]}/{_number(holding.calls, digest)}"
            found = await holding.steps(f"guard:{asked.tool}"[:NAME_MAX], settle, key=key, returns=model.Guarded)
        if found.verdict == model.DENY:
            raise _refusal(asked, found, digest)
        return found

    async def precedents(self, *, tool: str | None = None, limit: int = 100) -> AsyncPage[precedent_model.Precedent]:
        """What people have answered alike at least three times, and never otherwise."""
        return await self._plane.page(precedent_model.ListPrecedents(tool=tool, limit=limit))

    async def promote(
        self,
        precedent: str,
        *,
        scope: str = precedent_model.VALUES,
        days: float = precedent_model.DAYS,
        uses_max: int = precedent_model.USES,
        name: str | None = None,
        comment: str = "",
    ) -> Policy:
        """Make a precedent a rule that stands for `days` and `uses_max` uses. Only a person can.

        With the scope `values` it is for arguments that were answered, with `pattern` also for others that differ only
        in numbers and ids inside texts. The first answer that says otherwise suspends it.
        """
        return await self._plane.call(
            precedent_model.PromotePrecedent(
                precedent=precedent, scope=scope, days=days, uses_max=uses_max, name=name, comment=comment
            )
        )

    async def reviews(self, *, cursor: str | None = None, limit: int = 100) -> AsyncPage[model.GuardReview]:
        """One in twenty calls that rules made of precedents decided, newest first, for a person to look at."""
        return await self._plane.page(model.ListReviews(cursor=cursor, limit=limit))

    async def object(self, revision: int, *, comment: str = "") -> model.GuardReview:
        """A person's call: you would have decided otherwise than the rule did; it is suspended."""
        return await self._plane.call(model.ObjectToReview(revision=revision, comment=comment))

    def wrapped(
        self,
        function: Callable[..., Any],
        tool: str | None,
        annotations: dict[str, Any],
        revision: str,
        context: Any,
        reason: str,
    ) -> Callable[..., Any]:
        """What `agent.guarded` makes of a function."""
        said = as_struct(model.Annotations, annotations)
        signature = named_parameters(function)
        name = tool or function.__name__

        async def call(*args: Any, **kwargs: Any) -> Any:
            given = bound(signature, args, kwargs)
            found = await self._guard(Asked(name, given, said, revision, context, reason))
            if not found.approved:
                raise _rejection(name, found)
            arguments = fitting(signature, found.arguments, name) if _is_edited(found) else given
            return await self._plane.flow.run_function(function, (), arguments, None)

        functools.update_wrapper(call, function)
        # Whoever looks at it meets this function, which may be async where the wrapped one is not.
        del call.__wrapped__  # type: ignore[attr-defined]
        call.__signature__ = signature  # type: ignore[attr-defined]
        return call

    async def _settle(self, asked: Asked, digest: str) -> model.Guarded:
        """Decide, ask where the rules say so, and use the approval."""
        decision = await self._decide(asked, digest)
        if decision.verdict == model.DENY:
            return _outcome(decision, asked)
        if decision.verdict == model.ALLOW:
            if decision.escalation is not None:
                await self._redeem(decision.escalation, asked, asked.arguments)
            return _outcome(decision, asked, approved=True)
        for left in reversed(range(QUESTIONS_MAX)):
            answer = await self._ask(decision, asked)
            if not answer.approved:
                break
            arguments = answer.values if answer.decision == "edit" else asked.arguments
            try:
                await self._redeem(answer.escalation, asked, arguments)
            except PermissionDenied as error:
                if not left or "spent" not in error.details:
                    raise
            else:
                return _outcome(decision, asked, approved=True, arguments=arguments, answer=answer)
        return _outcome(decision, asked, answer=answer)

    async def _decide(self, asked: Asked, digest: str) -> model.GuardDecision:
        """In a run the decision has a place, where it stays the same whatever happens to this process."""
        step = self._step()
        if step is None:
            return await self.check(asked.tool, asked.arguments, annotations=asked.annotations, revision=asked.revision)
        key = f"{step.key}/{digest[:DIGEST_SHOWN]}/{_number(step.calls, digest)}"
        return await self.check(
            asked.tool,
            asked.arguments,
            annotations=asked.annotations,
            revision=asked.revision,
            run=step.run,
            name=step.name,
            key=key,
        )

    def _step(self) -> AsyncStepContext | None:
        """The step that runs here, where it is of a run of this connection."""
        step, holding = current.get(), self._plane.holding()
        return step if step is not None and holding is not None and holding.run == step.run else None

    async def _ask(self, decision: model.GuardDecision, asked: Asked) -> Answer:
        answer = await self._escalations.create(
            severity=decision.severity,
            reason=asked.reason or decision.reason or f"May {asked.tool} be called like this?",
            context=asked.context or {"tool": asked.tool, "said": msgspec.to_builtins(asked.annotations)},
            kind="approval",
            action=Action(
                tool=asked.tool,
                arguments=asked.arguments,
                revision=asked.revision,
                reversible=asked.annotations.reversible,
            ),
            route=decision.route,
            needs=decision.needs,
            guard=decision.revision,
        )
        assert isinstance(answer, Answer)  # noqa: S101 - it was waited for
        return answer

    async def _redeem(self, escalation: str, asked: Asked, arguments: Any) -> None:
        await self._escalations.redeem(escalation, asked.tool, arguments, revision=asked.revision)


def _number(calls: dict[str, int], digest: str) -> int:
    calls[digest] = calls.get(digest, 0) + 1
    return calls[digest]


def _outcome(
    decision: model.GuardDecision,
    asked: Asked,
    *,
    approved: bool = False,
    arguments: Any = None,
    answer: Answer | None = None,
) -> model.Guarded:
    return model.Guarded(
        approved=approved,
        verdict=decision.verdict,
        arguments=arguments if answer is not None else asked.arguments,
        answer=answer,
        rule=decision.rule,
        reason=decision.reason,
    )


def _is_edited(found: model.Guarded) -> bool:
    return found.answer is not None and found.answer.decision == "edit"


def _refusal(asked: Asked, found: model.Guarded, digest: str) -> PermissionDenied:
    return PermissionDenied(
        f"{asked.tool} may not be called like this.",
        why=found.reason or f"The rule {found.rule} says so.",
        next_call="Ask a person: agent.escalate(kind='approval', action={'tool': ..., 'arguments': ...}, context=...); "
        "with an approval, agent.escalations.redeem(...) before the call.",
        details={"tool": asked.tool, "rule": found.rule, "digest": digest},
    )


def _rejection(name: str, found: model.Guarded) -> PermissionDenied:
    answer = found.answer or Answer(decision="reject")
    return PermissionDenied(
        f"{name} was not approved: {answer.comment or answer.decision}",
        why=f"{answer.by or 'Nobody'} answered {answer.decision}.",
        next_call="Go on without it, or ask again with what is missing in context.",
        details={"tool": name, "escalation": answer.escalation, "decision": answer.decision, "by": answer.by},
    )
