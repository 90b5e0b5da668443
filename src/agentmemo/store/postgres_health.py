"""What `doctor` looks at in a PostgreSQL store: what a commit is worth, what is left to clean, who holds it back."""

from __future__ import annotations

from typing import Any

import psycopg

from agentmemo.model.system import Finding

# Autovacuum begins at a fifth; past one dead row for each living one it does not keep up.
DEAD_RATIO_HIGH = 1.0
# Transactions since the oldest snapshot: vacuum can remove nothing younger.
OLD_SNAPSHOT = 10_000_000
CONNECTIONS_HIGH = 0.8
SETTINGS = ("synchronous_commit", "fsync", "full_page_writes", "synchronous_standby_names", "server_version")
LOOK = """
SELECT pg_is_in_recovery(),
    (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'),
    current_setting('max_connections')::int,
    (SELECT coalesce(max(age(backend_xmin)), 0) FROM pg_stat_activity),
    (SELECT coalesce(max(n_dead_tup::float8 / greatest(n_live_tup, 10000)), 0) FROM pg_stat_user_tables),
    (SELECT count(*) FROM turn)
"""


def findings(connection: psycopg.Connection[Any], address: str, schema_version: str) -> list[Finding]:
    settings = {name: setting(connection, name) for name in SETTINGS}
    row = connection.execute(LOOK).fetchone()
    assert row is not None  # noqa: S101 - a SELECT without FROM has a row
    standby, used, most, oldest, dead, _ = row
    return [
        _finding(
            "server", f"PostgreSQL {settings['server_version']} at {address}, schema {schema_version}.", fine=True
        ),
        _durability(settings),
        _finding(
            "role",
            "It is a standby and takes no writes." if standby else "It is the primary.",
            fine=not standby,
            next_call="Name all hosts and add target_session_attrs=read-write to the address.",
            level="fail",
        ),
        _finding(
            "connections",
            f"{used} of {most} connections are in use.",
            fine=used < CONNECTIONS_HIGH * most,
            next_call="Use fewer servers, smaller AGENTMEMO_POSTGRES_READERS and _WRITERS, or a pooler.",
        ),
        _finding(
            "oldest snapshot",
            f"The oldest is {oldest} transactions old.",
            fine=oldest < OLD_SNAPSHOT,
            next_call="Find it in pg_stat_activity and pg_prepared_xacts and end it: vacuum waits for it.",
        ),
        _finding(
            "dead rows",
            f"At most {dead:.2f} dead rows for a living one.",
            fine=dead < DEAD_RATIO_HIGH,
            next_call="Let autovacuum run more often on that table (pg_stat_user_tables names it).",
        ),
    ]


def setting(connection: psycopg.Connection[Any], name: str) -> str:
    row = connection.execute("SELECT current_setting(%s, true)", (name,)).fetchone()
    return str(row[0]) if row else ""


def _durability(settings: dict[str, str]) -> Finding:
    lossy = [f"{name}=off" for name in ("synchronous_commit", "fsync", "full_page_writes") if settings[name] == "off"]
    if lossy:
        return _finding(
            "durability",
            f"{', '.join(lossy)}: a crash can lose commits.",
            fine=False,
            next_call="Switch on.",
            level="fail",
        )
    copies = settings["synchronous_standby_names"]
    where = f"on the standbys {copies!r} too" if copies else "on this server's disk"
    return _finding("durability", f"A commit is acknowledged once it is {where}.", fine=True)


def _finding(check: str, text: str, *, fine: bool, next_call: str = "", level: str = "warn") -> Finding:
    return Finding(check=check, level="ok" if fine else level, text=text, next_call="" if fine else next_call)
