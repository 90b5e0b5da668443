"""What each operation of guards needs to be possible, and the events it records."""

from __future__ import annotations

from agentmemo.model import escalations, guards, policies, precedents

SAFE = guards.Annotations(reversible=True)


def scenarios(of):
    """operation -> (its scenario, its events); `of` makes one of a request and what is prepared for it."""
    return {
        "guard.check": (of("guard.check", lambda _w, _f: guards.CheckGuard(tool="t", arguments=1)), ["guard.check"]),
        "guard.object": (
            of("guard.object", lambda _w, f: guards.ObjectToReview(revision=f), _review),
            ["guard.object"],
        ),
        "guard.promote": (
            of("guard.promote", lambda _w, f: precedents.PromotePrecedent(precedent=f), _precedent),
            ["policy.set"],
        ),
    }


def _precedent(world):
    """Three equal answers of a person to calls that a guard asked about."""
    for number in range(3):
        arguments = {"n": number}
        decision = world.call("guard.check", guards.CheckGuard(tool="t", arguments=arguments, annotations=SAFE))
        request = escalations.CreateEscalation(
            severity="high",
            reason="Go?",
            kind="approval",
            context="c",
            key=str(number),
            guard=decision.revision,
            action=escalations.Action(tool="t", arguments=arguments, reversible=True),
        )
        handle = world.call("escalation.create", request).id
        world.call("inbox.answer", escalations.AnswerEscalation(escalation=handle, decision="approve"))
    return world.call("guard.precedents", precedents.ListPrecedents()).items[0].id


def _review(world):
    """What a rule decided that is there no more."""
    world.call("guard.promote", precedents.PromotePrecedent(precedent=_precedent(world)))
    check = guards.CheckGuard(tool="t", arguments={"n": 1}, annotations=SAFE)
    found = []
    while not found:
        world.call("guard.check", check)
        found = world.call("guard.reviews", guards.ListReviews()).items
    world.call("policy.delete", policies.DeletePolicy(kind="rules", name="precedents"))
    return found[0].revision
