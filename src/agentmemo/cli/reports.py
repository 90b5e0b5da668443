"""`agentmemo report`: what asking people costs, and how their oversight is set up."""

from __future__ import annotations

import textwrap
from typing import Annotated

from cyclopts import Parameter

from agentmemo.cli import exits
from agentmemo.cli.options import EVERYWHERE, Common, group_of_commands
from agentmemo.cli.output import stamp
from agentmemo.cli.values import read_time
from agentmemo.clock import SECOND, SystemClock
from agentmemo.errors import InvalidInput
from agentmemo.model.reports import Attention, OversightLine

app = group_of_commands("report", "What asking people costs, and how their oversight is set up.")

DAY = 86_400 * SECOND
MINUTE, HOUR = 60, 3600
TEXT_WIDTH = 86


@app.command
def attention(
    *,
    days: Annotated[float | None, Parameter(help="Over so many days up to --until (default: 7).")] = None,
    since: Annotated[str | None, Parameter(help="From this UTC time on; also 15m, 2h, 7d ago.")] = None,
    until: Annotated[str | None, Parameter(help="Before this time (default: now).")] = None,
    common: Common = EVERYWHERE,
) -> None:
    """Show how often people were asked, how fast and how they decided, and which question is asked too often."""
    begins, ends = read_time(since), read_time(until)
    if days is not None:
        if since is not None:
            raise InvalidInput("--days and --since name two beginnings.", next_call="Leave one out.")
        ends = SystemClock().now_us() if ends is None else ends
        begins = ends - round(days * DAY)
    with common.connect() as plane:
        found = plane.reports.attention(since=begins, until=ends)
    if common.json:
        common.out.document(found)
    else:
        _show(common, found)


@app.command
def oversight(*, common: Common = EVERYWHERE) -> int:
    """Go through the requirements of human oversight: the plane's part, how it is set up, what is missing or yours.

    Ends with 1 when something is missing.
    """
    with common.connect() as plane:
        found = plane.reports.oversight()
    if common.json:
        common.out.document(found)
    else:
        common.out.say(f"{found.standard}, {stamp(found.at)}")
        common.out.say("What the plane does of each requirement; a claim of conformance is yours to make.")
        for line in found.lines:
            _line(common, line)
        common.out.say(f"\n{found.met} of {len(found.lines)} are met as it is set up now.")
    return exits.DONE if found.met == len(found.lines) else exits.FAILED


@app.command
def savings(
    workflow: Annotated[str, Parameter(help="The workflow.")],
    /,
    *,
    version: Annotated[str | None, Parameter(help="Only of this version; its design counts all the same.")] = None,
    smart_model: Annotated[
        str | None, Parameter(help="What would do every run instead (default: what designed it).")
    ] = None,
    design_nanousd: Annotated[
        int | None, Parameter(help="What the design cost, where the ledger has no call of it.")
    ] = None,
    since: Annotated[str | None, Parameter(help="From this UTC time on; also 15m, 2h, 7d ago.")] = None,
    until: Annotated[str | None, Parameter(help="Before this time (default: now).")] = None,
    common: Common = EVERYWHERE,
) -> None:
    """Show what a workflow saves against a smart model that does every run, with everything that it costs."""
    with common.connect() as plane:
        found = plane.ledger.savings(
            workflow,
            version=version,
            smart_model=smart_model,
            design_nanousd=design_nanousd,
            since=read_time(since),
            until=read_time(until),
        )
    if common.json:
        common.out.document(found)
    else:
        common.out.say(_wrapped(found.explain()))


def _line(common: Common, line: OversightLine) -> None:
    common.out.say(f"\n{line.id}  {'met' if line.met else 'NOT MET'}")
    pairs = (
        ("asks", line.asks),
        ("the plane", line.part),
        ("set up", "\n".join(line.configured)),
        ("missing", "\n".join(line.missing)),
        ("yours", line.left),
        ("shown by", line.test),
    )
    common.out.fields((f"  {name}", "\n".join(map(_wrapped, text.splitlines()))) for name, text in pairs)


def _show(common: Common, found: Attention) -> None:
    per_100 = found.questions_per_100_calls
    joined = f", {found.asks - found.questions} more were joined to one" if found.asks > found.questions else ""
    pairs = (
        ("from", f"{stamp(found.since)} to {stamp(found.until)}"),
        ("questions", f"{found.questions}{joined}"),
        ("per 100 calls", "" if per_100 is None else f"{per_100:.1f}, over {found.tool_calls} tool calls"),
        ("decided", _decided(found)),
        ("time to decide", _times(found)),
        ("approved", _percent(found.approve_rate)),
        ("edited", _percent(found.edited_share)),
        ("rejected", _percent(found.rejected_share)),
        ("defaulted", _percent(found.defaulted_share)),
        ("warned", f"{found.warned} at half of the time, {found.warned_late} near its end"),
        ("undelivered now", str(found.undelivered)),
    )
    common.out.fields(pairs)
    _people(common, found)
    _often(common, found)


def _people(common: Common, found: Attention) -> None:
    if found.people:
        rows = [
            (
                each.person,
                str(each.decisions),
                _duration(each.seconds),
                _duration(each.look_seconds),
                _percent(each.approve_rate),
                each.warning,
            )
            for each in found.people
        ]
        common.out.say("")
        common.out.table(("person", "decisions", "median", "looked", "approved", "warning…"), rows, empty="")
    if found.askers:
        common.out.say("")
        askers = [(each.asker, str(each.questions), str(each.asks)) for each in found.askers]
        common.out.table(("asker", "questions", "asks"), askers, empty="")


def _often(common: Common, found: Attention) -> None:
    if found.often:
        common.out.say("")
        rows = [
            (str(each.asks), f"{each.approved} of {each.decided}", each.advice and "rule?", each.reason)
            for each in found.often
        ]
        common.out.table(("asked", "approved", "advice", "the same question…"), rows, empty="")
    if found.unanswered:
        common.out.say("")
        rows = [(each.escalation, each.severity, each.default, each.reason) for each in found.unanswered]
        common.out.table(("nobody answered", "severity", "default", "question…"), rows, empty="")


def _decided(found: Attention) -> str:
    counts = (
        (found.decided, "by people"),
        (found.auto_decided, "by rules"),
        (found.defaulted, "by default"),
        (found.withdrawn, "taken back"),
        (found.undecided, "still open"),
        (found.lapsed, "past their time"),
    )
    return ", ".join(f"{count} {text}" for count, text in counts if count)


def _times(found: Attention) -> str:
    if found.seconds is None or found.seconds_p90 is None:
        return ""
    return f"median {_duration(found.seconds)}, nine of ten within {_duration(found.seconds_p90)}"


def _wrapped(text: str) -> str:
    return textwrap.fill(text, TEXT_WIDTH, break_on_hyphens=False, break_long_words=False)


def _percent(part: float | None) -> str:
    return "" if part is None else f"{100 * part:.0f} %"


def _duration(seconds: float) -> str:
    if seconds < MINUTE:
        return f"{seconds:.1f} s"
    return f"{seconds / MINUTE:.0f} min" if seconds < HOUR else f"{seconds / HOUR:.1f} h"
