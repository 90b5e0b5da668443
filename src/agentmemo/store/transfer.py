"""Copying a whole store into an empty one, whatever databases the two are.

The source is one snapshot, read a page at a time in the order of its keys, so memory is bounded and work on it goes on.
The target carries a mark until everything in it was compared with the source: nobody can open half a store, and who
starts again goes on where the copy stopped. What is not copied is made anew there: the search index and the duties.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import msgspec

from agentmemo.clock import monotonic
from agentmemo.crashpoints import reach
from agentmemo.errors import Conflict, InvalidInput, Unavailable
from agentmemo.store.audit import REVISION_MASK
from agentmemo.store.database import Row

PAGE_ROWS = 1000
# With chunks of 256 KiB, 16 of them are 4 MiB.
PAGE_CHUNKS = 16
PAGE_ANSWERS = 64
_encode = msgspec.msgpack.Encoder().encode


class Table(NamedTuple):
    """What is copied of a table. The key's columns come first; `texts` are those of them that are text.

    Of a table that is only `appended` to, a copy that goes on takes what is there for good, until it is compared.
    """

    name: str
    key: tuple[str, ...]
    columns: tuple[str, ...]
    texts: tuple[str, ...] = ()
    appended: bool = False
    page: int = PAGE_ROWS

    @property
    def by_position(self) -> bool:
        """Its key is a position, so each workspace has a range of its own and grows at the end of it."""
        return self.key == ("position",)


def _table(
    name: str, key: str, rest: str, *, texts: tuple[str, ...] = (), appended: bool = False, page: int = PAGE_ROWS
) -> Table:
    keys = tuple(key.split())
    return Table(name, keys, keys + tuple(rest.split()), texts, appended, page)


TABLES = (
    _table("workspace", "id", "name blob_key floor"),
    _table("actor", "id", "workspace kind name created_at disabled_at"),
    _table("namespace", "id", "workspace name"),
    _table(
        "credential",
        "id",
        "workspace kind actor hash label grants created_at expires_at revoked_at last_used_at",
        texts=("id",),
    ),
    _table("schedule", "id", "workspace task cron inputs options author next_at", texts=("id",)),
    _table(
        "worker",
        "id",
        "workspace actor host process boot_id lease_us lease_until started_at stopped_at",
        texts=("id",),
    ),
    _table("blob", "number", "workspace id size codec data_key touched_at complete"),
    _table("blob_chunk", "blob chunk", "content", appended=True, page=PAGE_CHUNKS),
    _table(
        "event",
        "position",
        "id stream sequence at actor operation outcome namespace leaf payload",
        appended=True,
    ),
    _table(
        "entry_version",
        "position",
        "entry version kind author run at expires_at origin size codec value blob",
        appended=True,
    ),
    _table("entry", "id", "namespace key version position live expires_at"),
    _table(
        "run",
        "id",
        "handle workspace name key state epoch attempt max_attempts agent inputs_hash wake wake_at waiting_for"
        " wait_name wait_key deadline overdue_at worker task task_version priority parent forked_from steps takeovers"
        " percent progress current_step reason error budget worked_us tokens nanousd claimed_at created_at updated_at"
        " finished_at pruned holder",
    ),
    _table("run_value", "run field", "size codec value blob", texts=("field",)),
    _table("ready", "run", "workspace task priority available_at"),
    _table(
        "step",
        "run name key",
        "id number state effect attempt epoch run_attempt fingerprint started_at finished_at error decision size codec "
        "value blob",
        texts=("name", "key"),
    ),
    _table(
        "handoff",
        "id",
        "handle workspace key digest state wake sender address priority turn offered available_at offered_at epoch"
        " attempt max_attempts holder worker run limited ladder rung due_at complete_by progress_us progress_at late"
        " percent progress reason goal workflow checked parent root path behalf budget verifies sender_run"
        " claimed_at escalated_at notice_at received_at ended_at pruned created_at updated_at",
    ),
    _table("handoff_value", "handoff field", "size codec value blob", texts=("field",)),
    _table("handoff_reference", "handoff namespace key", "version digest", texts=("key",)),
    _table("handoff_attempt", "id", "handoff epoch holder started_at ended_at outcome reason"),
    _table("handoff_turn", "workspace address sender", "turn", texts=("address",)),
    _table("handoff_receiver", "workspace actor address", "", texts=("address",)),
    _table("handoff_refusal", "handoff actor address", "", texts=("address",)),
    _table("handoff_limit", "workspace address", "concurrency held rate per_us tokens filled_at", texts=("address",)),
    _table(
        "escalation",
        "id",
        "handle workspace collapse_key digest action_digest state revision kind severity rank reason asker run step"
        " irreversible policy fallback deadline warned lapsed_at climb climb_at due_at holder held_at hold_until"
        " extended assignee occurrences last_at decision answer execute_by uses redeemed supersedes superseded_by"
        " created_at updated_at ended_at pruned inhibited_by inhibited_rule ended_reason",
    ),
    _table("escalation_value", "id", "escalation field size codec value blob"),
    _table(
        "escalation_waiter",
        "id",
        "workspace escalation key implicit waits actor run step state attempts error created_at updated_at",
    ),
    _table("escalation_vote", "id", "escalation person decision ballot at"),
    _table("escalation_comment", "id", "escalation person text at"),
    _table("run_watch", "run", "number memory updated_at"),
    _table("run_failure", "id", "workspace fingerprint run at"),
    _table(
        "guarded",
        "id",
        "workspace actor tool verdict rule version digest pattern reversible key escalation review at"
        " objector objected_at",
    ),
    _table("execution", "run", "workspace workflow version unproven driver models progress revision"),
    _table(
        "execution_attempt",
        "id",
        "run workspace workflow version path step step_hash number rung first_rung model served_model verdict problems"
        " input_hash reservation checks at",
    ),
    _table(
        "usage",
        "id",
        "handle workspace digest state role agent workflow version run step attempt rung epoch model model_served"
        " input_max output_max input_tokens cached_input_tokens cache_write_tokens output_tokens price served_price"
        " worst_nanousd nanousd counted_nanousd source request_id outcome at ended_at",
    ),
    _table("ledger_cap", "workspace scope per", "nanousd author at", texts=("scope", "per")),
    _table("ledger_spent", "workspace scope per period", "nanousd tokens", texts=("scope", "per", "period")),
    _table("rule_use", "workspace rule", "uses", texts=("rule",)),
    _table("webhook", "id", "workspace actor url label position created_at ended_at", texts=("id",)),
    _table(
        "delivery",
        "id",
        "workspace webhook message type subject body state attempts next_at status error created_at ended_at",
        texts=("id",),
    ),
    _table(
        "notification",
        "id",
        "workspace escalation occasion person channel address carries state attempts next_at provider shown error"
        " created_at sent_at grouping lead",
        texts=("id",),
    ),
    _table("answer_link", "hash", "workspace escalation notification person code misses expires_at used_at secret"),
    _table("signal", "id", "run name author at size codec value blob"),
    _table("note", "id", "run kind key text because step at author position"),
    _table("policy", "id", "workspace kind name version current live document author comment at"),
    _table("workflow", "id", "workspace name versions current words created_at"),
    _table(
        "workflow_version",
        "id",
        "workflow number version state description designed_by parent changes untrusted author created_at"
        " state_changed_at size codec value blob",
    ),
    _table(
        "evidence",
        "id",
        "workspace subject source model served workflow step standing reasons since last_at successes failures"
        " abstained inputs tested_successes tested_failures trials planned watch above called calls input_tokens"
        " output_tokens",
    ),
    _table("evidence_input", "evidence input_hash", "successes failures", texts=("input_hash",)),
    _table("evidence_edge", "evidence edge", "times", texts=("edge",)),
    _table(
        "comparison",
        "id",
        "workspace run path role number evidence model version frames input_hash verdict reason at",
    ),
    _table("workflow_word", "workspace word workflow", "count", texts=("word",)),
    _table(
        "workflow_case",
        "id",
        "workspace workflow digest step source author created_at removed_at size codec value blob",
    ),
    _table("trial", "run", "workspace workflow version plan"),
    _table(
        "trial_case",
        "id",
        "run workspace workflow version step step_hash model served_model digest input_hash verdict failed_check"
        " problems edge_cases nanousd execution at",
    ),
    _table("request", "workspace actor key", "fingerprint summary answer at", texts=("key",), page=PAGE_ANSWERS),
)
# What the databases have besides, and why no copy needs it.
LEFT_OUT = {
    "meta": "each store's own",
    "turn": "counted from the events",
    "entry_search": "made anew by upkeep",
    "duty": "who leads upkeep in the source leads nothing here",
    "workspace.indexed": "0, so that the index is made anew",
    "request.id": "only SQLite numbers them",
    "run_value.id": "only SQLite numbers them",
    "blob_chunk.id": "only SQLite numbers them",
    "handoff_value.id": "only SQLite numbers them",
    "handoff_reference.id": "only SQLite numbers them",
    "handoff_turn.id": "only SQLite numbers them",
    "handoff_receiver.id": "only SQLite numbers them",
    "handoff_refusal.id": "only SQLite numbers them",
    "handoff_limit.id": "only SQLite numbers them",
}


class Source(Protocol):
    """One consistent snapshot of a store, until it is closed."""

    address: str  # for people, without secrets
    beside: Path  # what this machine keeps for the store lies beside this path
    code_points: str  # what makes an ORDER BY go by code points, where the database would do otherwise
    pepper_check: str | None  # what tells the secret that the keys were made with, where the store knows

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """Parameters stand as `?`."""
        ...

    def close(self) -> None: ...


class Target(Source, Protocol):
    """A store that is being filled, by nobody else meanwhile."""

    def mark(self) -> str | None:
        """What `begin` left there."""
        ...

    def begin(self, mark: str) -> None:
        """From here to `finish` the store cannot be opened."""
        ...

    def reserve(self, workspaces: Sequence[int]) -> None:
        """Whoever has had the store open since it was empty waits until `finish` to write in these."""
        ...

    def append(self, table: Table, rows: Sequence[Row]) -> None:
        """Add rows, durably and all or none."""
        ...

    def clear(self, table: Table) -> None: ...

    def finish(self, pepper_check: str | None) -> None:
        """Set the counters past what was copied, and take the mark away."""
        ...


class CopiedTable(msgspec.Struct, frozen=True, kw_only=True):
    """`resumed` says that rows of an earlier attempt were found whole and kept."""

    name: str
    rows: int
    sha256: str
    resumed: bool = False


class Copied(msgspec.Struct, frozen=True, kw_only=True):
    """What the target holds: the newest revision of each workspace is that of the source when the copy began."""

    source: str
    target: str
    tables: list[CopiedTable]
    revisions: dict[str, int]
    keys: int
    seconds: float


Tell = Callable[[str, int], None]


def copy(source: Source, target: Target, tell: Tell = lambda _table, _rows: None) -> Copied:
    """Fill the target and compare it, table by table, with the source. `tell` hears of each page: table, rows so far.

    Raises Conflict when the target holds something else, Unavailable when a copied table differs from the source or a
    database fails. What was copied by then stays under the mark, and the same call goes on with it.
    """
    began = monotonic()
    resumes = _begin(source, target)
    target.reserve([workspace for (workspace,) in source.query("SELECT id FROM workspace ORDER BY id")])
    tables = [_copy_table(source, target, table, tell, resumes=resumes) for table in TABLES]
    revisions = _revisions(source)
    keys = _number(source, "SELECT count(*) FROM credential WHERE revoked_at IS NULL")
    reach("copy.before_finish")
    target.finish(source.pepper_check)
    return Copied(
        source=source.address,
        target=target.address,
        tables=tables,
        revisions=revisions,
        keys=keys,
        seconds=round(monotonic() - began, 3),
    )


def pages(side: Source, table: Table, after: Row | None = None, below: int | None = None) -> Iterator[list[Row]]:
    """The rows of a table in the order of its key, from the one after `after` and, for positions, below `below`."""
    key = ", ".join(f"{column} {side.code_points}" if column in table.texts else column for column in table.key)
    columns, places = ", ".join(table.columns), ", ".join("?" * len(table.key))
    while True:
        conditions = [f"({key}) > ({places})"] if after is not None else []
        conditions += [f"{key} < ?"] if below is not None else []
        where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        sql = f"SELECT {columns} FROM {table.name}{where} ORDER BY {key} LIMIT {table.page}"  # noqa: S608 - of TABLES
        rows = side.query(sql, [*(after or ()), *(() if below is None else (below,))])
        if rows:
            yield rows
            after = rows[-1][: len(table.key)]
        if len(rows) < table.page:
            return


def digest(side: Source, table: Table) -> tuple[int, str]:
    """How many rows a table has, and the SHA-256 of all of them in the order of their key."""
    return _digest_of(pages(side, table))


def _digest_of(found: Iterator[list[Row]]) -> tuple[int, str]:
    count, whole = 0, hashlib.sha256()
    for page in found:
        # Both sides cut their pages at the same rows, unless they differ anyway.
        whole.update(_encode(page))
        count += len(page)
    return count, whole.hexdigest()


def _begin(source: Source, target: Target) -> bool:
    """True where an earlier copy of the same source is continued. Leaves the mark."""
    mark = f"{_identity(source)} {source.address}"
    held = target.mark()
    if held is not None:
        if held.partition(" ")[0] != mark.partition(" ")[0]:
            raise Conflict(
                f"{target.address} holds an unfinished copy of {held.partition(' ')[2]}.",
                why="Only a copy of the same store can go on there.",
                next_call="Name that source, or another target.",
            )
        return True
    if _number(target, "SELECT count(*) FROM workspace"):
        raise Conflict(
            f"{target.address} holds something.",
            why="A store is copied into an empty one; nothing is ever merged or replaced.",
            next_call="Name a new file or an empty database.",
        )
    target.begin(mark)
    return False


def _identity(source: Source) -> str:
    """What tells a store's data from any other's, wherever it lies: a digest of its first workspace's random key."""
    first = source.query("SELECT blob_key FROM workspace ORDER BY id LIMIT 1")
    return hashlib.sha256(bytes(first[0][0])).hexdigest()[:16] if first else "empty"


def _copy_table(source: Source, target: Target, table: Table, tell: Tell, *, resumes: bool) -> CopiedTable:
    kept = 0
    if resumes and table.appended:
        kept = _number(target, f"SELECT count(*) FROM {table.name}")  # noqa: S608 - of TABLES
    elif resumes:
        target.clear(table)
    expected = _go_on(source, target, table, tell) if kept else _fill(source, target, table, tell)
    found = digest(target, table)
    if found != expected and kept:
        # What an earlier attempt copied has changed in the source since: old versions are pruned there, for example.
        kept = 0
        target.clear(table)
        expected = _fill(source, target, table, tell)
        found = digest(target, table)
    if found != expected:
        raise Unavailable(
            f"The copy of the table {table.name} differs from the source: {found[0]} rows of {expected[0]}.",
            why="It was written by another program meanwhile, or a disk or network changed bytes.",
            next_call="Empty the target and copy again; agentmemo doctor looks at the source.",
            retry_safe=False,
        )
    return CopiedTable(name=table.name, rows=found[0], sha256=found[1], resumed=kept > 0)


def _fill(source: Source, target: Target, table: Table, tell: Tell) -> tuple[int, str]:
    """Copy all of a table into an empty one; returns the digest of what was read."""
    return _digest_of(_appended(target, table, pages(source, table), tell))


def _go_on(source: Source, target: Target, table: Table, tell: Tell) -> tuple[int, str]:
    """Copy what is missing at the end; returns the digest of the whole table in the source."""
    for after, below in _ranges(source, target, table):
        for _ in _appended(target, table, pages(source, table, after, below), tell):
            pass
    return digest(source, table)


def _appended(target: Target, table: Table, found: Iterator[list[Row]], tell: Tell) -> Iterator[list[Row]]:
    count = 0
    for page in found:
        target.append(table, page)
        reach("copy.after_page")
        count += len(page)
        tell(table.name, count)
        yield page


def _ranges(source: Source, target: Target, table: Table) -> Iterator[tuple[Row | None, int | None]]:
    """Where to go on: after the highest key of the target, in each workspace's range where the key is a position."""
    order = ", ".join(f"{column} DESC" for column in table.key)
    last = f"SELECT {', '.join(table.key)} FROM {table.name}"  # noqa: S608 - of TABLES
    if not table.by_position:
        found = target.query(f"{last} ORDER BY {order} LIMIT 1")
        yield (found[0] if found else None), None
        return
    for (workspace,) in source.query("SELECT id FROM workspace ORDER BY id"):
        low, high = _range(workspace)
        found = target.query(f"{last} WHERE position >= ? AND position < ? ORDER BY {order} LIMIT 1", (low, high))
        yield (found[0] if found else (low,)), high


def _revisions(source: Source) -> dict[str, int]:
    found = {}
    for workspace, name in source.query("SELECT id, name FROM workspace ORDER BY name"):
        sql = "SELECT max(position) FROM event WHERE position >= ? AND position < ?"
        found[name] = (source.query(sql, _range(workspace))[0][0] or 0) & REVISION_MASK
    return found


def _range(workspace: int) -> tuple[int, int]:
    """[low, high) of the positions of a workspace."""
    return workspace * (REVISION_MASK + 1), (workspace + 1) * (REVISION_MASK + 1)


def _number(side: Source, sql: str) -> int:
    return int(side.query(sql)[0][0])


def holds_a_null_character(table: Table, error: Exception) -> InvalidInput:
    return InvalidInput(
        f"A text in the table {table.name} cannot be copied: {error}.",
        why="PostgreSQL keeps every character in a text but U+0000.",
        next_call="Take it out of a backup, UPDATE ... SET text = replace(text, char(0), ''), and copy the backup.",
    )
