"""Whether handoffs were held by one at a time, under epochs that count, in the order that the queue promises."""

from __future__ import annotations

from collections import Counter, defaultdict

from history import Claim, Claimed, End, Ended, Hand, Handed, History, Move, Op, Refused
from timeline import HELD, OFFERED, OVER, Fault

BEFORE = {"create": "", "claim": OFFERED, "complete": HELD, "release": HELD, "bury": HELD}
AFTER = {"create": OFFERED, "release": OFFERED, "claim": HELD, "complete": OVER, "bury": OVER}


def check_claims(history: History) -> list[Fault]:
    return _moves(history.record.moves) + _answers(history) + _order(history)


def _moves(moves: list[Move]) -> list[Fault]:
    """Each move was possible where it happened: one holder for each epoch, and nothing after the end."""
    faults = []
    stands: dict[str, tuple[str, int]] = {}
    for move in moves:
        state, epoch = stands.get(move.handoff, ("", 0))
        if state != BEFORE[move.act] or move.epoch != epoch + (move.act == "claim"):
            was = f"{state} at epoch {epoch}" if state else "not there"
            faults.append(Fault(f"{_shown(move)}, which was {was}.", []))
        stands[move.handoff] = (AFTER[move.act], move.epoch)
    return faults


def _answers(history: History) -> list[Fault]:
    """Every answer is in the trail, and given to one; what was refused is not there, and all that is was asked for."""
    trail = {(move.act, move.handoff, move.epoch) for move in history.record.moves}
    told: dict[tuple[str, str, int], list[Op]] = defaultdict(list)
    for op in history.ops:
        if (move := _move_of(op)) is not None:
            told[move].append(op)
    faults = [Fault("Answered, and not in the trail.", ops) for move, ops in told.items() if move not in trail]
    faults += [Fault(f"One {move[0]} was answered to several.", ops) for move, ops in told.items() if len(ops) > 1]
    for op in history.ops:
        if isinstance(op.asked, End) and isinstance(op.said, Refused):
            place = op.asked.how, op.asked.handoff, op.asked.epoch
            if place in trail and place not in told and not _may_be_of_another(history, op):
                faults.append(Fault("Refused, and done.", [op]))
    return faults + _unasked(history, set(told))


def _may_be_of_another(history: History, op: Op) -> bool:
    """Whether the same was asked another time, or the plane gave back what a dead or closed holder had."""
    again = any(other is not op and other.asked == op.asked for other in history.ops)
    return again or op.asked.how == "release"


def _unasked(history: History, told: set[tuple[str, str, int]]) -> list[Fault]:
    """What is in the trail without an answer is of a call that was not answered. Giving back comes by itself too."""
    unanswered = Counter(_name(op) for op in history.ops if op.is_open)
    faults = []
    for move in history.record.moves:
        if (move.act, move.handoff, move.epoch) not in told and move.act in {"create", "claim", "complete"}:
            unanswered[move.act] -= 1
            if unanswered[move.act] < 0:
                faults.append(Fault(f"Nobody asked for this. {_shown(move)}.", []))
    return faults


def _move_of(op: Op) -> tuple[str, str, int] | None:
    match op.asked, op.said:
        case Hand(), Handed(handoff):
            return "create", handoff, 0
        case Claim(), Claimed(str(handoff), epoch):
            return "claim", handoff, epoch
        case End(how, handoff, epoch), Ended():
            return how, handoff, epoch
    return None


def _name(op: Op) -> str:
    return {Hand: "create", Claim: "claim", End: getattr(op.asked, "how", "")}.get(type(op.asked), "")


def _order(history: History) -> list[Fault]:
    """The next is of the highest priority that is offered, and of its sender's the one that was handed over first."""
    priorities = {
        op.said.handoff: op.asked.priority
        for op in history.ops
        if isinstance(op.asked, Hand) and isinstance(op.said, Handed)
    }
    offered: dict[str, tuple[int, int, str]] = {}
    born: dict[str, tuple[int, int, str]] = {}
    faults = []
    for move in history.record.moves:
        if move.act == "create" and move.handoff in priorities:
            born[move.handoff] = (-priorities[move.handoff], move.revision, move.actor)
        if move.act == "claim" and move.handoff in offered:
            mine = offered[move.handoff]
            before = [
                handoff for handoff, (priority, at, sender) in offered.items()
                if priority < mine[0] or (priority == mine[0] and sender == mine[2] and at < mine[1])
            ]  # fmt: skip
            if before:
                faults.append(Fault(f"{_shown(move)}, and {before[0][-6:]} was to come first.", []))
        if AFTER[move.act] == OFFERED and move.handoff in born:
            offered[move.handoff] = born[move.handoff]
        else:
            offered.pop(move.handoff, None)
    return faults


def _shown(move: Move) -> str:
    return f"Revision {move.revision}: {move.act} of {move.handoff[-6:]} at epoch {move.epoch} by {move.actor}"
