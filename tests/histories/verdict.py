"""Everything that a history is held against."""

from __future__ import annotations

from collections.abc import Callable

from cycles import check_lists
from history import History
from queues import check_claims
from registers import is_linearizable, smallest, steps_of
from timeline import Fault, check_answers, check_order, check_record


def check_keys(history: History) -> list[Fault]:
    """Each key by itself: its calls are looked at without what the record says."""
    keys = {change.key for op in history.ops for change in op.changes}
    faults = []
    for key in sorted(keys):
        steps = steps_of(history.ops, key)
        if not is_linearizable(steps):
            ops = sorted((step.op for step in smallest(steps)), key=lambda op: op.called)
            faults.append(Fault(f"In no order can these have happened to {key}.", ops))
    return faults


CHECKS: dict[str, Callable[[History], list[Fault]]] = {
    "record": check_record,
    "answers": check_answers,
    "keys": check_keys,
    "lists": check_lists,
    "claims": check_claims,
    "order": check_order,
}


def check(history: History) -> list[Fault]:
    """What is wrong with it; each fault with the smallest part that is still wrong."""
    return [fault for each in CHECKS.values() for fault in each(history)]
