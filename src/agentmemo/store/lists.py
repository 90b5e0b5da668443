"""Pages of rows, newest first: each is found by the one index that fits, however many other rows there are."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from operator import itemgetter
from typing import Any

from agentmemo.store.audit import position_range
from agentmemo.store.database import Row, Transaction


def all_before(tx: Transaction, query: str, workspace: int, before: int, limit: int) -> list[Row]:
    """The newest rows of a workspace; their ids are positions of its trail."""
    low, high = position_range(workspace)
    return tx.all(query, low=low, before=min(before, high + 1), limit=limit)


def in_states(tx: Transaction, query: str, states: Sequence[str], limit: int, wanted: dict[str, Any]) -> list[Row]:
    """The newest rows in any of some states. An index has those of one state in order, so they are read one by one."""
    found = tx.fetch(*((query, {**wanted, "state": state, "limit": limit}) for state in states))
    return sorted(chain.from_iterable(found), key=itemgetter(0), reverse=True)[:limit]
