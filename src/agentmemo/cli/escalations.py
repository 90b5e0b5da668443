"""`agentmemo escalate` and `agentmemo escalation`: what an agent asks people, and what comes of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from cyclopts import Parameter

from agentmemo.cli import exits
from agentmemo.cli.handoff_package import AHEAD
from agentmemo.cli.inbox_page import page, summary
from agentmemo.cli.options import EVERYWHERE, Common, Cursor, Json, Limit, flag, group_of_commands
from agentmemo.cli.output import stamp
from agentmemo.cli.values import read_time, read_value
from agentmemo.clock import SystemClock, monotonic
from agentmemo.errors import InvalidInput
from agentmemo.model.escalations import ENDED, UNDECIDED, Answer, Escalation

app = group_of_commands("escalation", "What you ask people: create, look, withdraw, use an approval.")

Id = Annotated[str, Parameter(help="Handle of an escalation; its first characters are enough.")]
Severity = Annotated[str, Parameter(help="critical, high, medium or low: who is told when, and by when it is decided.")]
Reason = Annotated[str, Parameter(help="The question in one sentence: why a person, and why now.")]
Wait = Annotated[bool, flag("Wait for the answer and print it; the status is 1 where it is no: reject, abort or skip.")]
CALL_SECONDS = 60.0
# With these the asker may go ahead in some way.
POSITIVE = ("approve", "edit", "answer", "choose")


def _json(help: str) -> Parameter:  # noqa: A002 - cyclopts' word
    return Parameter(
        allow_leading_hyphen=True, show_default=False, help=f"{help} JSON; - reads standard input, @FILE a file."
    )


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Asked:
    """What the person is shown, and what happens when nobody answers."""

    kind: Annotated[str, Parameter(help="approval, question, stuck, risk, failure, handoff or info.")] = "question"
    context: Annotated[str, _json("What a person needs to know to decide.")] = "null"
    suggest: Annotated[
        Sequence[str], flag("A way out: a label, or {id, label, effect, reversible, cost} as JSON; may be repeated.")
    ] = ()
    action: Annotated[
        str | None, _json("What will be executed when it is approved: {tool, arguments, revision, reversible}.")
    ] = None
    response_schema: Annotated[str | None, _json("A form to fill in: a flat JSON Schema.")] = None
    default: Annotated[
        str | None, Parameter(help="When nobody answers: deny, skip, abort, pause, or the id of a --suggest.")
    ] = None
    deadline: Annotated[str | None, Parameter(help=f"By when. {AHEAD}")] = None
    escalation_key: Annotated[str | None, Parameter(help="Names the question: asked again, it is the same.")] = None
    collapse_key: Annotated[str | None, Parameter(help="Questions with one such key are one while it is open.")] = None
    route: Annotated[str, Parameter(help="The policy that says who is told.")] = "default"
    needs: Annotated[str | None, _json("How many must agree, or {count, exclude, deny}.")] = None
    sensitivity: Annotated[str, Parameter(help="What a message may carry: public, internal, secret.")] = "internal"
    detail: Annotated[str | None, _json("Evidence, shown below the reasons.")] = None
    supersedes: Annotated[str | None, Parameter(help="The escalation that this one replaces.")] = None
    guard: Annotated[int | None, Parameter(help="The decision of `guard check` that says to ask.")] = None

    def arguments(self) -> dict[str, Any]:
        """As `escalations.create` takes them."""
        return {
            "kind": self.kind,
            "context": read_value(self.context),
            "suggested_actions": [_suggestion(each) for each in self.suggest],
            "action": _object(self.action, "--action"),
            "response_schema": _object(self.response_schema, "--response-schema"),
            "default": self.default,
            "deadline": read_time(self.deadline, ahead=True),
            "key": self.escalation_key,
            "collapse_key": self.collapse_key,
            "route": self.route,
            "needs": _needs(self.needs),
            "sensitivity": self.sensitivity,
            "detail": _object(self.detail, "--detail"),
            "supersedes": self.supersedes,
            "guard": self.guard,
        }


NOTHING = Asked()


def escalate(
    severity: Severity,
    reason: Reason,
    /,
    *,
    asked: Asked = NOTHING,
    wait: Wait = False,
    common: Common = EVERYWHERE,
) -> int:
    """Ask a person. The question is durable when this returns; --wait prints the answer when it is there."""
    arguments = asked.arguments()
    with common.connect() as plane:
        made = plane.escalations.create(severity=severity, reason=reason, wait=wait, **arguments)
    if isinstance(made, Answer):
        return _answered(common, made)
    _changed(common, made, summary(made))
    if made.state in UNDECIDED:
        common.out.remark(f"A person answers it: agentmemo inbox answer {made.id}")
    return exits.DONE


app.command(escalate, name="create")


@app.command(name="list")
def list_(
    *,
    state: Annotated[
        str | None,
        Parameter(
            help="open, acknowledged, decided, defaulted, auto_decided, withdrawn, superseded; or undelivered: the "
            "answer is not with who asked yet."
        ),
    ] = None,
    run: Annotated[str | None, Parameter(help="Only what this run asked.")] = None,
    limit: Limit = 100,
    cursor: Cursor = None,
    common: Common = EVERYWHERE,
) -> None:
    """List what was asked, newest first."""
    with common.connect() as plane:
        found = plane.escalations.list(state=state, run=run, limit=limit, cursor=cursor)
    if common.json:
        common.out.page(found.items, found.cursor)
        return
    rows = [(each.id, each.severity, each.state, stamp(each.created_at), _outcome(each), each.reason) for each in found]
    columns = ("escalation", "severity", "state", "asked", "answer", "question…")
    common.out.table(columns, rows, empty="Nothing was asked.")
    common.out.more(found.cursor)


@app.command
def get(
    escalation: Id,
    /,
    *,
    wait_seconds: Annotated[float, flag("Wait so long for its end.")] = 0.0,
    common: Common = EVERYWHERE,
) -> None:
    """Show a question with its votes, who waits for it, and its answer."""
    with common.connect() as plane:
        end = monotonic() + wait_seconds
        found = plane.escalations.get(escalation)
        while found.state not in ENDED and (left := end - monotonic()) > 0:
            found = plane.escalations.get(found.id, wait_seconds=min(left, CALL_SECONDS), after=found)
    if common.json:
        common.out.document(found)
    else:
        common.out.say(page(found, SystemClock().now_us()))


@app.command
def withdraw(
    escalation: Id,
    reason: Annotated[str, Parameter(help="Why, for the people and the trail.")],
    /,
    *,
    common: Common = EVERYWHERE,
) -> None:
    """Take a question back; whoever waits for it goes on with `abort`."""
    with common.connect() as plane:
        _changed(common, plane.escalations.withdraw(escalation, reason), "Withdrawn.")


@app.command
def receive(escalation: Id, /, *, common: Common = EVERYWHERE) -> None:
    """Say that you have the answer, where no --wait brought it; until then it counts as not delivered."""
    with common.connect() as plane:
        found = plane.escalations.receive(escalation)
    _changed(common, found, summary(found))


@app.command
def redeem(
    escalation: Id,
    tool: Annotated[str, Parameter(help="The tool that is about to be called.")],
    arguments: Json = "null",
    /,
    *,
    revision: Annotated[str, flag("The target's revision, such as a commit.")] = "",
    common: Common = EVERYWHERE,
) -> None:
    """Use an approval right before the action. The status is 5 for any other action than the one approved."""
    given = read_value(arguments)
    with common.connect() as plane:
        found = plane.escalations.redeem(escalation, tool, given, revision=revision)
    _changed(common, found, f"Approved for exactly this; it can be used {found.uses} more times.")


def _answered(common: Common, answer: Answer) -> int:
    if common.json:
        common.out.document(answer)
    else:
        common.out.say(f"{answer.escalation}  {' '.join(filter(None, (answer.decision, answer.choice)))}")
        common.out.fields((("by", answer.by), ("comment", answer.comment)))
    return exits.DONE if answer.decision in POSITIVE else exits.FAILED


def _changed(common: Common, found: Escalation, text: str) -> None:
    if common.json:
        common.out.document(found)
    else:
        common.out.say(f"{found.id}  {text}")


def _outcome(found: Escalation) -> str:
    return (found.answer.choice or found.answer.decision) if found.answer else ""


def _suggestion(argument: str) -> Any:
    return read_value(argument) if argument.startswith(("{", "@")) else argument


def _needs(argument: str | None) -> Any:
    needs = None if argument is None else read_value(argument)
    return {"count": needs} if isinstance(needs, int) else needs


def _object(argument: str | None, option: str) -> Any:
    value = None if argument is None else read_value(argument)
    if value is not None and not isinstance(value, dict):
        raise InvalidInput(f"{option} is not a JSON object.", next_call=f"Give {option} '{{...}}'.")
    return value
