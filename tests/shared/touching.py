"""What PostgreSQL touches for a call: the rows that its plans read, those they drop included, and the pages.

The server tells of each statement itself (auto_explain), in the session that ran it. So neither other programs nor
other sessions disturb it, and what grew is shown with its plan.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from agentmemo.clock import SystemClock
from agentmemo.settings import Settings
from agentmemo.store.open import place_of
from agentmemo.store.postgres_sessions import Sessions
from agentmemo.store.postgres_wire import Wire
from agentmemo.store.transfer import copy
from agentmemo.testing.postgres import PostgresServer

TOLD = {
    "session_preload_libraries": "auto_explain",
    "auto_explain.log_min_duration": "0",
    "auto_explain.log_analyze": "on",
    "auto_explain.log_timing": "off",
    "auto_explain.log_buffers": "on",
    "auto_explain.log_format": "json",
    "auto_explain.log_level": "notice",
}
# A statement is planned anew five times, and then a plan for whatever values may be kept.
CALLS = 6
DROPPED = ("Rows Removed by Filter", "Rows Removed by Join Filter", "Rows Removed by Index Recheck")
PAGES = ("Shared Hit Blocks", "Shared Read Blocks")


def filled(server: PostgresServer, file: Path, settings: Settings) -> str:
    """The address of a database with what is in a file, named as that, and as one that autovacuum has been through."""
    url = server.make_database(file.stem)
    with (
        contextlib.closing(place_of(str(file), settings).source()) as source,
        contextlib.closing(place_of(url, settings).target(SystemClock())) as target,
    ):
        copy(source, target)
    server.execute("VACUUM ANALYZE", database=file.stem)
    return url


def told(url: str, **settings: str) -> str:
    """The address with which sessions tell what they touch; `settings` are of the server."""
    options = " ".join(f"-c {name}={value}" for name, value in {**TOLD, **settings}.items())
    return f"{url}?options={quote(options)}"


class Meter:
    """Counts what the sessions of this process touch that it opened with an address from `told`."""

    def __init__(self, patch: Callable[[type, str, Any], None]) -> None:
        self._plans: list[dict[str, Any]] = []
        connect = Sessions.open

        def listening(sessions: Sessions) -> Wire:
            wire = connect(sessions)
            wire._connection.add_notice_handler(self._hear)
            return wire

        patch(Sessions, "open", listening)

    def measure(self, work: Callable[[], Any]) -> tuple[int, int, dict[str, int]]:
        """Rows and pages together, statements, and the rows and pages by plan."""
        self._plans.clear()
        work()
        seen: dict[str, int] = {}
        for plan in self._plans:
            statement = f"{plan['Query Text']}\n{described(plan['Plan'])}"
            seen[statement] = seen.get(statement, 0) + touched(plan["Plan"])
        return sum(seen.values()), len(self._plans), seen

    def settled(self, work: Callable[[], Any]) -> tuple[int, int, dict[str, int]]:
        """The same for the dearer of two calls: the first, and one for which plans may have been kept."""
        found = [self.measure(work) for _ in range(CALLS)]
        return max(found[0], found[-1], key=lambda each: each[0])

    def _hear(self, notice: Any) -> None:
        text = notice.message_primary or ""
        if "plan:" in text:
            self._plans.append(json.loads(text[text.index("{") :]))


def touched(plan: dict[str, Any]) -> int:
    """Pages are counted by each node for all beneath it, rows by itself and for one loop of it."""
    return round(_rows(plan)) + sum(plan.get(name, 0) for name in PAGES)


def described(plan: dict[str, Any], depth: int = 0) -> str:
    what = [plan["Node Type"], plan.get("Index Name") or plan.get("Relation Name") or "", f"{_own(plan):.0f} rows"]
    return "\n".join(["  " * depth + " ".join(what), *(described(part, depth + 1) for part in plan.get("Plans", ()))])


def _rows(plan: dict[str, Any]) -> float:
    return _own(plan) + sum(map(_rows, plan.get("Plans", ())))


def _own(plan: dict[str, Any]) -> float:
    return float(plan["Actual Loops"] * (plan["Actual Rows"] + sum(plan.get(name, 0) for name in DROPPED)))
