"""`agentmemo handoff`: work that one agent passes to another, and its way to a result."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, TypeVar

from cyclopts import Parameter

from agentmemo.cli import exits
from agentmemo.cli.handoff_package import AHEAD, Course, Package, Receiver, Under
from agentmemo.cli.options import EVERYWHERE, Common, Cursor, Json, Limit, flag, group_of_commands
from agentmemo.cli.output import brief as shortened
from agentmemo.cli.output import pretty, stamp, stamp_ago
from agentmemo.cli.values import read_time, read_value
from agentmemo.clock import SystemClock, monotonic
from agentmemo.errors import InvalidInput, NotFound
from agentmemo.model.handoffs import CLAIMED, COMPLETED, ENDED, PENDING, Acceptance, Handoff, HandoffLimit, Reference

app = group_of_commands("handoff", "Work handed from agent to agent: create, claim, complete, look.")

Id = Annotated[str, Parameter(help="Handle of a handoff; its first characters are enough.")]
Why = Annotated[str, Parameter(help="Why, for the other side and the trail.")]
Epoch = Annotated[int, Parameter(help="The epoch that the claim was answered with.")]
Wait = Annotated[float, flag("Wait so long for it.")]
CALL_SECONDS = 60.0
T = TypeVar("T")
NOBODY, NOTHING, USUAL, NO_CLAIM = Receiver(), Package(), Course(), Under()


@app.command
def create(
    *,
    receiver: Receiver = NOBODY,
    package: Package = NOTHING,
    course: Course = USUAL,
    under: Under = NO_CLAIM,
    handoff_key: Annotated[str | None, Parameter(help="Names this work: a second create changes nothing.")] = None,
    common: Common = EVERYWHERE,
) -> None:
    """Hand work over to an agent, a capability or a queue. It is durable when this returns."""
    context = read_value(package.context)
    artifacts = [read_value(each) for each in package.artifact]
    not_before, pickup_by, complete_by = course.times
    with common.connect() as plane:
        made = plane.handoff.create(
            to_agent=receiver.to_agent,
            to_capability=receiver.to_capability,
            to_queue=receiver.to_queue,
            workflow=package.workflow,
            workflow_version=package.workflow_version,
            context=context,
            goal=package.goal,
            references=package.references,
            artifacts=artifacts,
            constraints=package.constraint,
            acceptance=package.acceptance,
            tried=package.attempts,
            unverified=package.unverified,
            key=handoff_key,
            priority=course.priority,
            not_before=not_before,
            pickup_by=pickup_by,
            complete_by=complete_by,
            progress_seconds=course.progress_seconds,
            ladder=course.rungs,
            max_attempts=course.max_attempts,
            retry=course.pauses,
            budget=course.budget,
            under=under.claimed(plane),
        )
    _changed(common, made, f"Handed over; {_where(made)}.")
    if not made.known:
        common.out.remark(f"Nobody has called as {made.to} so far; it waits, and you are told when nobody comes.")


@app.command(name="list")
def list_(
    *,
    state: Annotated[
        str | None,
        Parameter(
            help="pending, claimed, submitted, completed, declined, failed, dead, cancelled, expired; or unfinished, "
            "or escalated."
        ),
    ] = None,
    to: Annotated[str | None, Parameter(help="Only to this agent, or capability:NAME, queue:NAME.")] = None,
    sender: Annotated[str | None, Parameter(help="Only from this agent.")] = None,
    root: Annotated[str | None, Parameter(help="Only what came of this first handoff.")] = None,
    brief: Annotated[bool, flag("With --json: without packages, results and earlier attempts.")] = False,
    limit: Limit = 100,
    cursor: Cursor = None,
    common: Common = EVERYWHERE,
) -> None:
    """List handoffs, newest first."""
    with common.connect() as plane:
        page = plane.handoff.list(
            state=state, to=to, sender=sender, root=root, brief=brief or not common.json, limit=limit, cursor=cursor
        )
    if common.json:
        common.out.page(page.items, page.cursor)
        return
    rows = [
        (each.id, each.state, each.to, stamp(each.updated_at), each.wake or "", _subject(each)) for each in page.items
    ]
    common.out.table(("handoff", "state", "to", "since", "moves by", "what…"), rows, empty="No handoffs.")
    common.out.more(page.cursor)


@app.command
def find(key: str, /, *, common: Common = EVERYWHERE) -> None:
    """Show the handoff that was created with a key."""
    with common.connect() as plane:
        found = plane.handoff.find(key)
    if found is None:
        raise NotFound(f"There is no handoff with the key {key!r}.", next_call="agentmemo handoff list")
    _show(common, found)


@app.command
def pending(*, limit: Limit = 100, cursor: Cursor = None, common: Common = EVERYWHERE) -> None:
    """List what is offered to you, in the order in which it would be claimed. Looking changes nothing."""
    with common.connect() as plane:
        page = plane.handoff.list_pending(limit=limit, cursor=cursor)
    if common.json:
        common.out.page(page.items, page.cursor)
        return
    rows = [
        (each.id, str(each.priority), each.to, each.from_agent, f"{each.attempt} of {each.max_attempts}", _title(each))
        for each in page.items
    ]
    columns = ("handoff", "priority", "to", "from", "attempt", "what…")
    common.out.table(columns, rows, empty="Nothing is offered to you.")
    common.out.more(page.cursor)


@app.command
def show(handoff: Id, /, *, wait_seconds: Wait = 0.0, common: Common = EVERYWHERE) -> None:
    """Show a handoff: where it is, what belongs to it and what came of it; --wait-seconds waits for its end."""
    with common.connect() as plane:
        found = _awaited(
            lambda seconds: plane.handoff.get(handoff, wait_seconds=seconds),
            lambda found: found.state in ENDED,
            wait_seconds,
        )
    _show(common, found)


@app.command
def wait(
    *,
    timeout_seconds: Annotated[float, Parameter(help="Give up after this; the exit status is then 3.")] = 60.0,
    common: Common = EVERYWHERE,
) -> None:
    """Wait until something is offered to you, and show it. It is not claimed yet."""
    with common.connect(begins=True) as plane:  # a worker may be there before the first work is
        found = plane.handoff.wait(timeout_seconds=timeout_seconds)
    if found is None:
        raise NotFound(
            f"Nothing was offered within {timeout_seconds:g} s.",
            next_call="Wait again, or see where you are offered work: agentmemo handoff announce --help",
        )
    _show(common, found)


@app.command
def claim(
    handoff: Annotated[str | None, Parameter(help="This one; the next that is offered, when left out.")] = None,
    /,
    *,
    limit: Annotated[int | None, Parameter(help="Claim up to this many, and print them as a page.")] = None,
    lease_seconds: Annotated[
        float | None,
        Parameter(help="How long the claim lasts after your last call (default: the plane's setting, 600)."),
    ] = None,
    wait_seconds: Wait = 0.0,
    common: Common = EVERYWHERE,
) -> None:
    """Claim what is offered to you, and show it with the epoch that proves the claim.

    The claim outlives this command: it lasts until its lease ends, and every call under it (renew, progress) begins
    the lease anew. The exit status is 3 when nothing is offered, 4 when somebody else holds it.
    """
    with common.connect() as plane:

        def ask(seconds: float) -> Sequence[Handoff]:
            return plane.handoff.claim_many(
                1 if limit is None else limit,
                id=handoff,
                wait_seconds=seconds,
                heartbeat=False,
                lease_seconds=lease_seconds,
            )

        found = _awaited(ask, bool, wait_seconds)
    if not found:
        raise NotFound("Nothing is offered to you.", next_call="Wait for it: agentmemo handoff claim --wait-seconds 60")
    if limit is not None and common.json:
        common.out.page(found, None)
        return
    for each in found:
        _show(common, each)
        common.out.remark(
            f"It is yours, with epoch {each.epoch}. When it is done:\n"
            f"  agentmemo handoff complete {each.id} RESULT --epoch {each.epoch}"
        )


@app.command
def renew(handoff: Id, /, *, epoch: Epoch, common: Common = EVERYWHERE) -> None:
    """Begin the lease of your claim anew."""
    with common.connect() as plane:
        _changed(common, plane.handoff.renew(handoff, epoch=epoch), "Renewed: its lease begins anew.")


@app.command
def progress(
    handoff: Id,
    text: Annotated[str, flag("Where it stands.")] = "",
    /,
    *,
    epoch: Epoch,
    percent: Annotated[float | None, Parameter(help="How far it is, of a hundred.")] = None,
    common: Common = EVERYWHERE,
) -> None:
    """Show how far your work is; this begins the lease and the progress clock anew."""
    with common.connect() as plane:
        found = plane.handoff.progress(handoff, percent, text, epoch=epoch)
    _changed(common, found, "Noted; the lease begins anew.")


@app.command
def complete(
    handoff: Id,
    result: Json = "null",
    /,
    *,
    epoch: Annotated[int | None, Parameter(help="The epoch of your claim; unclaimed, it is claimed as well.")] = None,
    text: Annotated[bool, flag("The result is a text and is kept as it stands, not read as JSON.")] = False,
    common: Common = EVERYWHERE,
) -> None:
    """End with a result, which is checked first; one that does not fit is refused and the claim goes on.

    Without --epoch it is claimed in the same commit, if it is offered to you.
    """
    given = read_value(result, text=text)
    with common.connect() as plane:
        found = plane.handoff.complete(handoff, given, epoch=epoch)
    _changed(common, found, "Completed." if found.state == COMPLETED else "Submitted: its verifier looks at it first.")


@app.command
def fail(handoff: Id, reason: Why, /, *, epoch: Epoch, common: Common = EVERYWHERE) -> None:
    """End your work for good without a result: no further attempts, and the sender is told."""
    with common.connect() as plane:
        _changed(common, plane.handoff.fail(handoff, reason, epoch=epoch), "Failed; its sender is told.")


@app.command
def release(
    handoff: Id,
    reason: Why,
    /,
    *,
    epoch: Epoch,
    uncounted: Annotated[bool, flag("It was no attempt: nothing is counted, and it is offered at once.")] = False,
    common: Common = EVERYWHERE,
) -> None:
    """Give your claim back to be offered again, after a pause and as one failed attempt."""
    with common.connect() as plane:
        found = plane.handoff.release(handoff, reason, attempted=not uncounted, epoch=epoch)
    _changed(common, found, f"Given back; {_where(found)}.")


@app.command
def decline(
    handoff: Id,
    reason: Why,
    /,
    *,
    epoch: Annotated[int | None, Parameter(help="The epoch of your claim, if you have claimed it.")] = None,
    common: Common = EVERYWHERE,
) -> None:
    """Say no, claimed or not: others of the same receiver and then of its ladder are asked, else the sender is told."""
    with common.connect() as plane:
        found = plane.handoff.decline(handoff, reason, epoch=epoch)
    asked = f"{_where(found)}." if found.state == PENDING else "its sender is told."
    _changed(common, found, f"Declined; {asked}")


@app.command
def cancel(handoff: Id, reason: Why, /, *, common: Common = EVERYWHERE) -> None:
    """Call work back; whoever holds it is told at the next call."""
    with common.connect() as plane:
        _changed(common, plane.handoff.cancel(handoff, reason), "Cancelled.")


@app.command
def requeue(
    handoff: Id,
    /,
    *,
    receiver: Receiver = NOBODY,
    reason: Annotated[str, flag("Why, for the trail.")] = "",
    complete_by: Annotated[
        str | None, Parameter(help=f"A new deadline; one that has passed is lifted. {AHEAD}")
    ] = None,
    common: Common = EVERYWHERE,
) -> None:
    """Offer again what was declined, failed, died or expired, to the same receiver or another."""
    until = read_time(complete_by, ahead=True)
    with common.connect() as plane:
        found = plane.handoff.requeue(
            handoff,
            reason=reason,
            to_agent=receiver.to_agent,
            to_capability=receiver.to_capability,
            to_queue=receiver.to_queue,
            complete_by=until,
        )
    _changed(common, found, f"Requeued; {_where(found)}.")


@app.command
def result(handoff: Id, /, *, wait_seconds: Wait = 0.0, common: Common = EVERYWHERE) -> int:
    """Print the result as JSON; as its sender you have then received it. Ends with 1 when there is none (yet).

    --json prints the whole handoff. --wait-seconds waits until there is something to hear: its end, or that it is
    late or nobody came.
    """
    with common.connect() as plane:
        found = _awaited(
            lambda seconds: plane.handoff.result(handoff, wait_seconds=seconds),
            lambda found: found.state in ENDED or found.notice_at is not None,
            wait_seconds,
        )
    if common.json:
        common.out.document(found)
    elif found.state == COMPLETED:
        common.out.say(pretty(found.result))
    else:
        common.out.remark(f"{found.id}  No result: {_where(found)}." + (f"\n  {found.reason}" if found.reason else ""))
    return exits.DONE if found.state == COMPLETED else exits.FAILED


@app.command
def notices(*, limit: Limit = 100, cursor: Cursor = None, common: Common = EVERYWHERE) -> None:
    """List what you handed over and have to hear about: ended, late, or claimed by nobody. Oldest first.

    `handoff result` takes one off this list.
    """
    with common.connect() as plane:
        page = plane.handoff.notices(limit=limit, cursor=cursor)
    if common.json:
        common.out.page(page.items, page.cursor)
        return
    rows = [(each.id, each.state, each.to, stamp(each.notice_at), each.reason or _title(each)) for each in page.items]
    common.out.table(("handoff", "state", "to", "since", "why, or what…"), rows, empty="No notices.")
    common.out.more(page.cursor)


@app.command
def lineage(handoff: Id, /, *, common: Common = EVERYWHERE) -> None:
    """List everything that came of the same first handoff, oldest first."""
    with common.connect() as plane:
        found = list(plane.handoff.lineage(handoff))
    if common.json:
        common.out.page(found, None)
        return
    rows = [(each.id, each.parent or "", each.state, f"{each.from_agent} -> {each.to}", _title(each)) for each in found]
    common.out.table(("handoff", "parent", "state", "way", "what…"), rows, empty="No handoffs.")


@app.command
def reference(handoff: Id, namespace: str, key: str, /, *, common: Common = EVERYWHERE) -> None:
    """Print an entry that a handoff names, at its pinned version; for its holder and its sender."""
    with common.connect() as plane:
        entry = plane.handoff.reference(handoff, namespace, key)
    if common.json:
        common.out.document(entry)
    else:
        common.out.say(pretty(entry.value))


@app.command
def announce(
    *,
    capability: Annotated[Sequence[str], flag("Take work that needs this; may be repeated.")] = (),
    queue: Annotated[Sequence[str], flag("Take work from this queue; may be repeated.")] = (),
    nothing: Annotated[bool, flag("Take only what is addressed to you by name.")] = False,
    common: Common = EVERYWHERE,
) -> None:
    """Say which capabilities and queues you take work from, in place of those announced before."""
    if nothing == bool(capability or queue):
        raise InvalidInput(
            "Announce capabilities and queues, or --nothing.",
            why="What is announced takes the place of everything before.",
            next_call="agentmemo handoff announce --capability code-review --queue nightly",
        )
    with common.connect() as plane:
        found = plane.handoff.announce(capabilities=capability, queues=queue)
    if common.json:
        common.out.document(found)
    else:
        common.out.say(f"{found.agent} is offered work for {', '.join(found.addresses)}.")


@app.command
def limit(
    to: Annotated[str, Parameter(help="An agent, or capability:NAME, queue:NAME.")],
    /,
    *,
    concurrency: Annotated[int | None, Parameter(help="It holds at most so many at once.")] = None,
    rate: Annotated[int | None, Parameter(help="It claims at most so many per --per-seconds.")] = None,
    per_seconds: Annotated[float, Parameter(help="The time that --rate counts in.")] = 60.0,
    common: Common = EVERYWHERE,
) -> None:
    """Bound how much a receiver holds and claims. A bound that is left out is lifted."""
    with common.connect() as plane:
        found = plane.handoff.limit(to, concurrency=concurrency, rate=rate, per_seconds=per_seconds)
    if common.json:
        common.out.document(found)
    else:
        common.out.say(f"{found.to}: {_bounds(found)}; it holds {found.held} now.")


@app.command
def limits(*, common: Common = EVERYWHERE) -> None:
    """List the receivers' limits."""
    with common.connect() as plane:
        found = list(plane.handoff.limits())
    if common.json:
        common.out.page(found, None)
        return
    rows = [(each.to, str(each.held), _bounds(each)) for each in found]
    common.out.table(("receiver", "holds", "bounds…"), rows, empty="No limits.")


def _awaited(ask: Callable[[float], T], enough: Callable[[T], bool], seconds: float) -> T:
    """Ask again until it is enough or the time is over: a plane ends a long wait before the caller does."""
    end = monotonic() + seconds
    while True:
        found = ask(max(0.0, min(end - monotonic(), CALL_SECONDS)))
        if enough(found) or not monotonic() < end:
            return found


def _show(common: Common, found: Handoff) -> None:
    if common.json:
        common.out.document(found)
        return
    common.out.fields((*_course(found), *_package(found)))


def _course(found: Handoff) -> tuple[tuple[str, str], ...]:
    """Where it is, who has it, and its clocks."""
    return (
        ("handoff", found.id),
        ("state", found.state),
        ("from", found.from_agent),
        ("to", found.to if found.known else f"{found.to} (nobody has called as it so far)"),
        ("key", found.key or ""),
        ("priority", str(found.priority) if found.priority else ""),
        ("attempt", f"{found.attempt} of {found.max_attempts}"),
        ("moves by", found.wake or ""),
        ("offered", stamp_ago(found.available_at) if found.state == PENDING else ""),
        ("due", stamp_ago(found.due_at)),
        ("complete by", stamp_ago(found.complete_by)),
        ("epoch", str(found.epoch) if found.epoch else ""),
        ("held by", " ".join(filter(None, (found.holder, found.worker))) if found.holder else ""),
        ("claimed", stamp_ago(found.claimed_at)),
        ("run", found.run or ""),
        ("progress", (f"{found.percent:.0f} % " if found.percent is not None else "") + found.progress),
        ("created", stamp(found.created_at)),
        ("updated", stamp_ago(found.updated_at)),
        ("ended", stamp_ago(found.ended_at)),
        ("escalated", stamp_ago(found.escalated_at)),
        ("received", stamp_ago(found.received_at)),
        ("parent", found.parent or ""),
        ("root", found.root or "" if found.root != found.id else ""),
        ("verifies", found.verifies or ""),
        ("on behalf of", ", ".join(found.on_behalf_of) if found.on_behalf_of != [found.from_agent] else ""),
        ("budget", _budget(found)),
        ("reason", found.reason),
        ("before", "\n".join(f"{each.holder}, {each.outcome}: {each.reason}" for each in found.attempts)),
    )


def _package(found: Handoff) -> tuple[tuple[str, str], ...]:
    """What its sender gave along, and what came of it."""
    return (
        ("goal", found.goal),
        ("workflow", "@".join(filter(None, (found.workflow, found.workflow_version)))),
        ("constraints", "\n".join(found.constraints)),
        ("references", "\n".join(map(_reference, found.references))),
        ("acceptance", _acceptance(found.acceptance)),
        ("tried", "\n".join(f"{each.text}: {each.why_failed}" for each in found.tried)),
        ("unverified", "\n".join(found.unverified)),
        ("artifacts", pretty(found.artifacts) if found.artifacts else ""),
        ("context", "" if found.context is None else pretty(found.context)),
        ("result", "" if found.result is None else pretty(found.result)),
    )


def _changed(common: Common, found: Handoff, text: str) -> None:
    if common.json:
        common.out.document(found)
    else:
        common.out.say(f"{found.id}  {text}")


def _title(found: Handoff) -> str:
    return found.goal or found.workflow or shortened(found.context)


def _subject(found: Handoff) -> str:
    """Of a handoff that was listed without its package."""
    return found.goal or found.workflow or (f"key {found.key}" if found.key else "")


def _where(found: Handoff) -> str:
    """Whose turn it is, as the end of a sentence."""
    if found.state == PENDING:
        later = found.available_at > SystemClock().now_us()
        return f"it is offered to {found.to}" + (f" from {stamp_ago(found.available_at)} on" if later else "")
    return f"it is {found.state}" + (f", held by {found.holder}" if found.state == CLAIMED else "")


def _reference(found: Reference) -> str:
    return f"{found.namespace}/{found.key}" + (f"@{found.version}" if found.version is not None else "")


def _acceptance(found: Acceptance | None) -> str:
    if found is None:
        return ""
    parts = [f"schema {shortened(found.schema)}"] if found.schema is not None else []
    parts += [f"check {check}" for check in found.checks]
    parts += [f"verifier {found.verifier}"] if found.verifier else []
    return "\n".join(parts)


def _budget(found: Handoff) -> str:
    bounds = {name: getattr(found.budget, name, None) for name in ("steps", "seconds", "tokens", "nanousd")}
    return ", ".join(f"{name} {most:g}" for name, most in bounds.items() if most is not None)


def _bounds(found: HandoffLimit) -> str:
    parts = [f"at most {found.concurrency} at once"] if found.concurrency is not None else []
    parts += [f"at most {found.rate} per {found.per_seconds:g} s"] if found.rate is not None else []
    return ", ".join(parts) or "no bounds"
