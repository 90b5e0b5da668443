"""How the console says things: counts, times, sizes, money, states, and text that others wrote."""

from __future__ import annotations

import math
import re
import unicodedata
from typing import Any

import msgspec
from markupsafe import Markup, escape

from agentmemo import clock
from agentmemo.model import escalations as escalation_model
from agentmemo.model import handoffs as handoff_model
from agentmemo.model.escalations import Escalation
from agentmemo.model.handoffs import Handoff
from agentmemo.model.runs import Run, Step

NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
MINUTE, HOUR, DAY = 60, 3600, 86400
NANO = 1_000_000_000
KILO = 1000
LEAST_SHOWN = 0.001
CENT_FROM = 100
PREVIEW_CHARACTERS = 120
PRETTY_CHARACTERS = 64_000
TITLE_CHARACTERS = 160
_ISO = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z")
# What reorders or hides the text around it, and so can make an agent's words look like somebody else's.
_DECEIVING = re.compile("[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff]")

# state -> (class, icon, word); each state has its own shape
STATES: dict[str, tuple[str, str, str]] = {
    "pending": ("pending", "pending", "Pending"),
    "running": ("running", "running", "Running"),
    "waiting": ("waiting", "waiting", "Waiting"),
    "completed": ("completed", "completed", "Completed"),
    "failed": ("failed", "failed", "Failed"),
    "cancelled": ("pending", "low", "Cancelled"),
    "started": ("running", "running", "Running"),
    "in_doubt": ("doubt", "doubt", "In doubt"),
    "asks": ("waiting", "person", "Asks you"),
    "doubtful": ("doubt", "doubt", "In doubt"),
    "overdue": ("failed", "high", "Overdue"),
    "ok": ("completed", "completed", "ok"),
    "denied": ("failed", "failed", "denied"),
    "refused": ("waiting", "failed", "refused"),
    "scheduled": ("pending", "scheduled", "Scheduled"),
    "offered": ("pending", "pending", "Not claimed yet"),
    "unclaimed": ("failed", "high", "Unclaimed"),
    "claimed": ("running", "running", "Claimed"),
    "parked": ("waiting", "waiting", "Parked"),
    "silent": ("failed", "high", "Silent"),
    "late": ("failed", "high", "Late"),
    "submitted": ("running", "submitted", "Being verified"),
    "declined": ("failed", "declined", "Declined"),
    "dead": ("failed", "dead", "Dead"),
    "expired": ("failed", "expired", "Expired"),
    "approved": ("completed", "completed", "Approved"),
    "edited": ("completed", "completed", "Edited"),
    "chosen": ("completed", "completed", "Chosen"),
    "answered": ("completed", "completed", "Answered"),
    "rejected": ("pending", "failed", "Rejected"),
    "stopped": ("pending", "dead", "Stopped"),
    "defaulted": ("waiting", "expired", "Defaulted"),
    "auto_decided": ("running", "replay", "By rule"),
    "withdrawn": ("pending", "declined", "Withdrawn"),
    "superseded": ("pending", "replay", "Replaced"),
    "unanswered": ("waiting", "waiting", "Waits"),
    "ready": ("waiting", "pending", "Not resumed yet"),
    "unread": ("pending", "pending", "Not fetched yet"),
    "leased": ("running", "running", "Resuming"),
    "unresumed": ("failed", "high", "Not resumed"),
    "applied": ("completed", "completed", "Has the answer"),
    "gone": ("pending", "low", "Ended before"),
    "met": ("completed", "completed", "Met"),
    "unmet": ("waiting", "high", "Not met"),
    "draft": ("pending", "pending", "Draft"),
    "shadow": ("waiting", "waiting", "Shadow"),
    "canary": ("running", "running", "Canary"),
    "active": ("completed", "completed", "Active"),
    "retired": ("pending", "low", "Retired"),
    "testing": ("pending", "pending", "Tested further"),
    "insufficient": ("pending", "pending", "Too few inputs"),
    "unproven": ("waiting", "doubt", "Not shown"),
    "qualified": ("completed", "completed", "Good enough"),
    "demoted": ("failed", "expired", "Taken off"),
    "used": ("completed", "completed", "In use"),
}
SEVERITIES = {"critical": "Critical", "high": "High", "medium": "Medium", "low": "Low"}
QUESTIONS = {
    "in_doubt": "Did it happen?",
    "mismatch": "Keep the stored result, or do it again?",
    "budget": "Raise the budget?",
    "takeovers": "Let it go on?",
}
DECIDED_LOOKS = {
    "approve": "approved",
    "edit": "edited",
    "choose": "chosen",
    "answer": "answered",
    "reject": "rejected",
    "abort": "stopped",
}
DECISIONS = {
    "approve": "approved",
    "edit": "approved with changes",
    "answer": "answered",
    "reject": "rejected",
    "abort": "stopped",
    "skip": "skipped",
}
FALLBACKS = {
    "deny": "refuse",
    "skip": "skip it",
    "abort": "stop what asked",
    "pause": "go on waiting, and do nothing",
}
WAKES = {
    "lease": "held by a worker",
    "ready": "waits for a worker",
    "caller": "waits to be opened again",
    "timer": "sleeps",
    "signal": "waits for a signal",
    "child": "waits for a child",
    "person": "waits for a person",
}
TRUST = {"verified": "verified", "agent": "agent's words, not verified", "external": "from outside, not verified"}


def visible(value: Any) -> Any:
    """Control and direction characters as visible marks; everything else unchanged. Applied to all output."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    return _DECEIVING.sub(lambda match: f"⟨U+{ord(match[0]):04X}⟩", value)


def number_word(number: int) -> str:
    """`three`, up to twelve; then digits."""
    return NUMBERS[number] if 0 <= number < len(NUMBERS) else f"{number:,}"


def count(number: int, one: str, many: str = "") -> str:
    """`three runs`, `one run`."""
    return f"{number_word(number)} {one if number == 1 else many or one + 's'}"


def sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def duration(seconds: float) -> str:
    """`0.8 s`, `1 min 44 s`, `3 h 20 min`, `2 d 4 h`."""
    if seconds < 0:
        return "0 s"
    if seconds < 10:  # noqa: PLR2004 - below it a tenth says something
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for unit, size, lower, below in (("d", DAY, "h", HOUR), ("h", HOUR, "min", MINUTE), ("min", MINUTE, "s", 1)):
        if whole >= size:
            rest = whole % size // below
            return f"{whole // size} {unit}" + (f" {rest} {lower}" if rest else "")
    return f"{whole} s"


def between(start_us: int, end_us: int) -> str:
    return duration((end_us - start_us) / clock.SECOND)


def size(number: int) -> str:
    """`9.1 kB`."""
    amount, unit = float(number), "bytes"
    for larger in ("kB", "MB", "GB", "TB"):
        if amount < KILO:
            break
        amount, unit = amount / KILO, larger
    return f"{number:,} bytes" if unit == "bytes" else f"{amount:.1f} {unit}"


def money(nanousd: int) -> str:
    """`$0.037`; three decimals under a dollar, and as many more as it takes to say that it is not nothing."""
    dollars, sign = abs(nanousd) / NANO, "-" if nanousd < 0 else ""
    if 0 < dollars < LEAST_SHOWN:
        return f"{sign}${dollars:.{min(9, 1 - math.floor(math.log10(dollars)))}f}"
    return f"{sign}${dollars:,.3f}" if dollars < 1 else f"{sign}${dollars:,.2f}"


def time_tag(at_us: int, now_us: int, *, seconds: bool = True) -> Markup:
    """An absolute UTC time; the date is left out today."""
    text = time_text(at_us, now_us, seconds=seconds)
    return Markup('<time datetime="{}">{}</time>').format(clock.iso(at_us), text)


def time_text(at_us: int, now_us: int, *, seconds: bool = True) -> str:
    """The same where there can be no mark-up."""
    moment, today = clock.utc(at_us), clock.utc(now_us)
    text = f"{moment:%H:%M:%S}" if seconds else f"{moment:%H:%M}"
    if moment.date() != today.date():
        year = "" if moment.year == today.year else f" {moment.year}"
        text = f"{moment.day} {moment:%b}{year} {text}"
    return text


def with_times(text: str, now_us: int) -> Markup:
    """A sentence of the plane, escaped, with its ISO times made readable."""
    pieces: list[Markup] = []
    end = 0
    for match in _ISO.finditer(text):
        try:
            time = time_tag(clock.parse_iso(match[0]), now_us)
        except ValueError:
            continue  # no time but a name that looks like one
        pieces += [escape(visible(text[end : match.start()])), time, Markup(" UTC")]
        end = match.end()
    pieces.append(escape(visible(text[end:])))
    return Markup("").join(pieces)


def pretty(value: Any) -> str:
    """Indented JSON of a stored value; cut where a page would no longer be readable."""
    text = msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
    if len(text) > PRETTY_CHARACTERS:
        return text[:PRETTY_CHARACTERS] + f"\n… {len(text) - PRETTY_CHARACTERS:,} more characters, in this page's JSON"
    return text


def preview(value: Any) -> str:
    """One short line of a value."""
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= PREVIEW_CHARACTERS else text[: PREVIEW_CHARACTERS - 1] + "…"


def run_look(run: Run) -> str:
    """Which of STATES a run shows: a question counts more than the state it is in."""
    if run.wake == "person":
        return "doubtful" if run.waiting_for == "in_doubt" else "asks"
    return run.state


def run_title(run: Run) -> str:
    return f"{run.name}, {run.key}" if run.key else run.name


def step_name(step: Step) -> str:
    return step.name if step.key == "1" else f"{step.name}/{step.key}"


def is_told(handoff: Handoff) -> bool:
    """Whether people were told about it and nothing has come of that: it is dead, or as unclaimed or late as it was.

    Of a dead one that retention emptied nothing is left to decide; it has no notice any more.
    """
    if handoff.state == handoff_model.DEAD:
        return handoff.notice_at is not None
    moved = max(handoff.available_at, handoff.claimed_at or 0)
    if handoff.wake is None or handoff.escalated_at is None or handoff.escalated_at < moved:
        return False
    # The holder has spoken since when its clock runs again, and when it has handed in a result.
    spoke = handoff.state == handoff_model.SUBMITTED or handoff.due_at not in {None, handoff.complete_by}
    return handoff.state == handoff_model.PENDING or is_late(handoff) or not spoke


def is_late(handoff: Handoff) -> bool:
    """Whether people were told that it should have been completed by now."""
    return handoff.complete_by is not None and handoff.complete_by <= (handoff.escalated_at or 0)


def handoff_look(handoff: Handoff) -> str:
    """Which of STATES a handoff shows: that nobody came, or that it is late, counts more than the state it is in."""
    if handoff.wake is None:
        return handoff.state
    waits = handoff.state == handoff_model.PENDING
    if is_told(handoff):
        return "unclaimed" if waits else "late" if is_late(handoff) else "silent"
    if waits:
        return "scheduled" if handoff.wake == "time" else "offered"
    return "parked" if handoff.wake == "run" else handoff.state


def is_handoff(handle: str) -> bool:
    """Whether a handle is a handoff's: events and entries name what they were made under, a run or a handoff."""
    return handle.startswith("hof_")


def is_escalation(handle: str | None) -> bool:
    """Whether what a run waits for is a question in the inbox, and no question about the run itself."""
    return handle is not None and handle.startswith("esc_")


def escalation_look(found: Escalation) -> str:
    """Which of STATES an ended escalation shows: what was said, or how it ended without a word."""
    if found.state == escalation_model.DECIDED and found.answer:
        return DECIDED_LOOKS.get(found.answer.decision, "answered")
    return found.state


def then(found: Escalation) -> str:
    """What happens when nobody answers in time."""
    if found.default in FALLBACKS:
        return FALLBACKS[found.default]
    return next((action.label for action in found.suggested_actions if action.id == found.default), found.default)


def said(found: Escalation, decision: str, choice: str | None) -> str:
    """A decision by the words it was offered with."""
    if choice is not None:
        return next((action.label for action in found.suggested_actions if action.id == choice), choice)
    return DECISIONS.get(decision, decision)


def handoff_title(handoff: Handoff) -> str:
    """Its goal in one line; without one, what it is or whom it is for. A verification is named by what it verifies."""
    text = " ".join(handoff.goal.split())
    if handoff.verifies and isinstance(handoff.context, dict) and handoff.context.get("goal"):
        text = "Verify: " + " ".join(str(handoff.context["goal"]).split())
    if not text:
        return handoff.workflow or f"Work for {receiver(handoff.to)}"
    return text if len(text) <= TITLE_CHARACTERS else text[: TITLE_CHARACTERS - 1] + "…"


def receiver(address: str) -> str:
    """`agent:reviewer` as `reviewer`, `queue:tests` as `queue tests`."""
    kind, _, name = address.partition(":")
    return f"{kind} {name}" if kind in {"capability", "queue"} else name or address


def trust_of(author: str) -> str:
    """How far words go by who said them: a person's are the person's own, an agent's are claims."""
    return "verified" if author.startswith("person:") else "agent"


def actor_name(actor: str) -> str:
    """`person:ada` as `ada`: the kind stands beside it where it matters."""
    return actor.partition(":")[2] or actor


def byline(author: str, trust: str) -> str:
    return f"{actor_name(author)}, {author.partition(':')[0]}; {TRUST.get(trust, trust)}"


def slug(text: str) -> str:
    """An id for an element, made of letters and digits only."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-") or "x"
