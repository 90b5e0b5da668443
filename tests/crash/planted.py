"""Faults of the product, made on purpose: what looks for faults must find them."""

from __future__ import annotations

import itertools
from collections.abc import Callable

from agentmemo.client._sync.stored_steps import StoredSteps
from agentmemo.engine import audit
from agentmemo.store import queries
from agentmemo.store.sqlite_writer import GroupCommit

VARIABLE = "CRASH_PLANTED"
EVERY = 7
Set = Callable[[object, str, object], None]


def plant(name: str, set_: Set) -> None:
    """`set_` is `setattr`, or does the same and undoes it later."""
    if name:
        PLANTS[name](set_)


def lose_a_commit(set_: Set) -> None:
    """It is answered, and was not made."""
    make, passed = GroupCommit.__init__, itertools.count(1)

    def made(self, *given, **named) -> None:
        make(self, *given, **named)
        execute = self._execute

        def lose(statement: str) -> None:
            if statement == "COMMIT" and not next(passed) % EVERY:
                self._transaction.forget()
                statement = "ROLLBACK"
            execute(statement)

        self._execute = lose

    set_(GroupCommit, "__init__", made)


def do_a_finished_step_again(set_: Set) -> None:
    set_(StoredSteps, "look", lambda *_, **__: None)


def accept_an_old_epoch(set_: Set) -> None:
    _change(set_, "run_held", " AND epoch = :epoch", "")
    _change(set_, "run_count_step", " AND epoch = :epoch", "")


def leave_an_event_out(set_: Set) -> None:
    append, passed = audit._append, itertools.count(1)

    def left_out(tx, call, leaf, namespace, beside) -> int:
        if next(passed) % EVERY:
            return append(tx, call, leaf, namespace, beside)
        call.events += 1
        return tx.next_position(call.workspace)

    set_(audit, "_append", left_out)


def wake_nobody(set_: Set) -> None:
    """What is ready is not where whoever could do it looks."""
    _change(set_, "ready_add", "VALUES (:run, ", "SELECT :run, ")
    _change(set_, "ready_add", ":available_at)\n", ":available_at WHERE 0\n")


def sum_wrongly(set_: Set) -> None:
    _change(set_, "ledger_spent_change", "nanousd + :nanousd", "nanousd + :nanousd - 1")


def _change(set_: Set, name: str, old: str, new: str) -> None:
    known = queries.load("sqlite")
    assert old in known[name].sql, f"{name} is {known[name].sql}"
    changed = {**known, name: known[name]._replace(sql=known[name].sql.replace(old, new))}
    set_(queries, "load", lambda _database: changed)


PLANTS: dict[str, Callable[[Set], None]] = {
    each.__name__: each
    for each in (
        lose_a_commit, do_a_finished_step_again, accept_an_old_epoch, leave_an_event_out, wake_nobody, sum_wrongly
    )
}  # fmt: skip
