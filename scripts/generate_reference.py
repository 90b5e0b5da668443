"""Write the reference pages from the code: what the table of operations, the errors, the settings and the names say.

python scripts/generate_reference.py           write docs/reference/ and the marked tables of other pages
python scripts/generate_reference.py --check   fail if what is there differs
"""

from __future__ import annotations

import collections.abc
import contextlib
import importlib.util
import inspect
import re
import sys
import types
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

import agentmemo
from agentmemo import errors, settings
from agentmemo.api.operation import Operation
from agentmemo.api.operations import OPERATIONS
from agentmemo.client.parts import Part
from agentmemo.model.pages import Page
from agentmemo.model.wire import words_of
from agentmemo.model.workflow_rules import workflow_schema

ROOT = Path(__file__).resolve().parent.parent
WARNING = "<!-- Written by scripts/generate_reference.py from the code; edit there. -->\n"
NOUNS = {
    "state": "State",
    "run": "Runs",
    "step": "Steps",
    "task": "Tasks and schedules",
    "worker": "Workers",
    "briefing": "Briefing",
    "ledger": "Ledger",
    "policy": "Policies",
    "workflow": "Workflows",
    "report": "Reports",
    "audit": "Events",
    "access": "Access",
    "key": "Keys",
    "actor": "Actors",
    "transaction": "Transactions",
    "system": "System",
}
WORDS = {
    str: "text",
    int: "integer",
    float: "number",
    bool: "true or false",
    bytes: "bytes",
    Any: "any JSON",
    type(None): "null",
}
NO_DEFAULT = "required"


# types and defaults in words


def type_words(kind: Any, link: str = "") -> str:
    """`list[Grant] | None` as `list of Grant or null`; structs link to where their fields stand."""
    if kind in WORDS:
        return WORDS[kind]
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Literal, typing.Annotated):
        return " or ".join(f"`{word}`" for word in words_of(kind)) or type_words(inner[0], link)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(type_words(part, link) for part in inner)
    if origin in (list, tuple, collections.abc.Sequence):
        return f"list of {type_words(inner[0], link)}"
    if origin is dict:
        return f"object of {type_words(inner[1], link)}"
    return f"[{kind.__name__}]({link}#{kind.__name__.lower()})"


def default_words(field: msgspec.structs.FieldInfo) -> str:
    if field.required:
        return NO_DEFAULT
    value = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()  # type: ignore[misc]
    if value is msgspec.UNSET:
        return "not given"
    plain = msgspec.to_builtins(value)
    return f"`{msgspec.json.encode(plain).decode()}`"


def structs_inside(kind: Any, outer: tuple[type, ...] = ()) -> Iterator[type[msgspec.Struct]]:
    """Every struct a type mentions, however deep; one that holds its own kind once."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        if kind in outer:
            return
        yield kind
        for field in msgspec.structs.fields(kind):
            yield from structs_inside(field.type, (*outer, kind))
        return
    for inner in typing.get_args(kind):
        yield from structs_inside(inner, outer)


def first_paragraph(text: str | None) -> str:
    """A docstring's first paragraph on one line; what msgspec and dataclasses make up themselves is no docstring."""
    return " ".join(inspect.cleandoc(text or "").split("\n\n", maxsplit=1)[0].split())


def row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def table(head: tuple[str, ...], rows: list[str]) -> str:
    return "\n".join([row(*head), row(*("---" for _ in head)), *rows])


# docs/reference/http.md


def http_page() -> str:
    by_noun: dict[str, list[Operation]] = {}
    for operation in OPERATIONS:
        by_noun.setdefault(operation.noun, []).append(operation)
    parts = [WARNING, "# HTTP reference\n", HTTP_INTRO, "## All operations\n", overview(), ""]
    for noun, operations in by_noun.items():
        parts.append(f"## {NOUNS.get(noun, noun.capitalize())}\n")
        parts += [operation_section(operation) for operation in operations]
    parts += ["## Types\n", "What comes back. A client ignores fields it does not know.\n"]
    kinds: dict[str, type[msgspec.Struct]] = {}
    for operation in OPERATIONS:
        for kind in (operation.response, operation.items, operation.request):
            for struct in structs_inside(kind) if kind else ():
                if struct is not operation.request:
                    kinds[struct.__name__] = struct
    parts += [struct_section(kinds[name]) for name in sorted(kinds)]
    return "\n".join(parts).rstrip() + "\n"


HTTP_INTRO = """\
Every path stands under `/v1`; `GET /v1/openapi.json` describes the same for programs. Bodies are JSON objects. Fields
in braces are parts of the path, percent-encoded (a `/` inside a key is `%2F`); the others travel in the query for GET
and DELETE and in the body for POST and PUT. A field that does not exist is refused with the nearest that does. Times
are integers: microseconds since 1970 in UTC.

Headers:

- `Authorization: Bearer am_...` says who calls. Without it the answer is 401.
- `Idempotency-Key: ...`, 1 to 128 printable characters. A change that is repeated with the same key and content is
  answered from the store for 24 hours, with `Idempotency-Replayed: true`; with other content it is refused.
- `If-Match: "3"` and `If-None-Match: *` stand for `if_version=3` and `if_version=0`; a miss is then 412. Entries come
  with their version as `ETag`.
- `AgentMemo-Claim: run_...@3` is the claim under which a change is made: the run's handle and its epoch.
- `AgentMemo-Worker: wrk_...` is the worker that calls. It renews its lease.
- `Accept: text/event-stream`: an operation that can stream answers with server-sent events. Their ids are revisions, so
  `Last-Event-ID` goes on without a gap.

Forms:

- A **page** is `{"items": [...], "cursor": "..."}`. Send the cursor back with the same filter for the next page; on the
  last page it is null.
- An **error** is a problem document (RFC 9457) with `code`, `message`, `why`, `next_call`, `retry_safe` and `details`.
  The codes and their status stand in [errors](../errors.md).
- A **wait** is `wait_seconds` (or `wait`): the answer comes when there is something to say, or when the time is over.

Without a key: `GET /healthz` (the process answers) and `GET /readyz` (a write would be accepted now). `GET /metrics`,
in the Prometheus form, needs one from other machines.
"""


def overview() -> str:
    return table(
        ("operation", "request", "permission", "what it does"),
        [
            row(
                f"[{operation.name}](#{anchor(operation.name)})",
                f"`{operation.method} /v1{operation.path}`",
                f"`{operation.permission}`" if operation.permission else "any key",
                operation.summary,
            )
            for operation in OPERATIONS
        ],
    )


def anchor(heading: str) -> str:
    """How Markdown renderers name a heading."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def operation_section(operation: Operation) -> str:
    parts = [f"### {operation.name}\n", f"`{operation.method} /v1{operation.path}`\n"]
    parts.append(f"{operation.summary}. {first_paragraph(operation.request.__doc__)}".strip() + "\n")
    facts = []
    if operation.permission:
        facts.append(f"Permission `{operation.permission}`.")
    if operation.buffered:
        facts.append("May be part of a transaction or of a step's `calls`.")
    if operation.liveness:
        facts.append("Changes only a lease, so it records no event.")
    if operation.watch:
        facts.append("Can wait (`wait_seconds`) and stream.")
    if facts:
        parts.append(" ".join(facts) + "\n")
    if fields := msgspec.structs.fields(operation.request):
        parts.append(
            table(
                ("field", "in", "type", "default"),
                [row(f"`{f.name}`", place(operation, f.name), type_words(f.type), default_words(f)) for f in fields],
            )
            + "\n"
        )
    parts.append(f"Answers {answer_words(operation)}.\n")
    return "\n".join(parts)


def place(operation: Operation, field: str) -> str:
    if f"{{{field}}}" in operation.path:
        return "path"
    return "query" if operation.method in ("GET", "DELETE") else "body"


def answer_words(operation: Operation) -> str:
    if operation.response is Page:
        return f"a page of {type_words(operation.items)}"
    return type_words(operation.response)


def struct_section(kind: type[msgspec.Struct]) -> str:
    doc = first_paragraph(kind.__doc__)
    rows = [row(f"`{f.name}`", type_words(f.type), default_words(f)) for f in msgspec.structs.fields(kind)]
    return "\n".join(
        part for part in (f"### {kind.__name__}\n", f"{doc}\n" if doc else "", f"{fields_table(rows)}\n") if part
    )


def fields_table(rows: list[str]) -> str:
    return table(("field", "type", "default"), rows)


# docs/reference/python.md


def python_page() -> str:
    parts = [WARNING, "# Python reference\n", PYTHON_INTRO]
    parts.append("## Functions\n")
    for name in agentmemo.__all__:
        thing = getattr(agentmemo, name)
        if inspect.isfunction(thing):
            parts.append(callable_section(f"agentmemo.{name}", thing, level=3))
    parts.append(class_section("Connection", agentmemo.Connection, "What `agentmemo.connect` returns."))
    with agentmemo.connect(":memory:", agent="reference") as agent:
        facades = [
            (name, type(getattr(agent, name))) for name, part in vars(type(agent)).items() if isinstance(part, Part)
        ]
        transaction, page = type(agent.transaction()), type(agent.state.list("reference"))
    parts += [class_section(f"Connection.{name}", kind, "") for name, kind in facades]
    parts.append(class_section("Transaction", transaction, "What `agent.transaction()` returns."))
    parts.append(class_section("Page", page, "What every list returns."))
    parts.append(class_section("Run", agentmemo.Run, ""))
    parts.append(class_section("StepContext", agentmemo.StepContext, ""))
    parts += ["## Values\n"]
    for name in agentmemo.__all__:
        thing = getattr(agentmemo, name)
        if isinstance(thing, type) and issubclass(thing, msgspec.Struct):
            parts.append(struct_section_python(thing))
    return "\n".join(parts).rstrip() + "\n"


PYTHON_INTRO = """\
`import agentmemo` and `agentmemo.connect()`. The asynchronous twins have the same names with `await`:
`agentmemo.connect_async()` returns an `AsyncConnection`, whose runs are `AsyncRun` and whose steps see an
`AsyncStepContext`. What answers a `Page` is awaited, and then gone through over all its pages; a watch is gone through
at once:

```text
async with await agentmemo.connect_async() as agent:
    async for entry in await agent.state.list("team/plan"):
        ...
    async for change in agent.state.watch("team/plan"):
        ...
```

Errors are in [errors](../errors.md); the fields of results are those of the
[HTTP types](http.md#types).
"""


def class_section(title: str, kind: type, note: str) -> str:
    doc = first_paragraph(kind.__doc__)
    parts = [f"## {title}\n", *(f"{text}\n" for text in (note, doc) if text)]
    seen: set[str] = set()
    for owner in kind.__mro__[:-1]:
        for name, thing in vars(owner).items():
            if name.startswith("_") or name in seen:
                continue
            seen.add(name)
            if isinstance(thing, property):
                parts.append(property_section(title, name, thing))
            elif inspect.isfunction(thing):
                parts.append(callable_section(f"{short(title)}.{name}", thing, level=3))
    return "\n".join(parts)


def short(title: str) -> str:
    """What a reader types: `agent.state.set`, `run.step`."""
    if title == "Connection":
        return "agent"
    if title.startswith("Connection."):
        return "agent." + title.partition(".")[2]
    return {"Transaction": "tx", "Run": "run", "StepContext": "step", "Page": "page"}.get(title, title)


def callable_section(title: str, function: Callable[..., Any], *, level: int) -> str:
    doc = inspect.cleandoc(function.__doc__ or "")
    parts = [f"{'#' * level} {title}\n", f"```text\n{title}{signature(function)}\n```\n"]
    return "\n".join([*parts, f"{doc}\n"] if doc else parts)


def property_section(title: str, name: str, found: property) -> str:
    doc = first_paragraph(found.__doc__)
    kind = annotation_words((found.fget.__annotations__ if found.fget else {}).get("return", "Any"))
    return f"### {short(title)}.{name}\n\n```text\n{short(title)}.{name} -> {kind}\n```\n" + (
        f"\n{doc}\n" if doc else ""
    )


def signature(function: Callable[..., Any]) -> str:
    """The signature as it is written, without `self` and module names."""
    found = inspect.signature(function)
    parameters = [
        parameter.replace(
            annotation=Written(parameter.annotation),
            # A bare object only tells "not given" from None.
            default=Written("...") if type(parameter.default) is object else parameter.default,
        )
        for name, parameter in found.parameters.items()
        if name != "self"
    ]
    text = str(found.replace(parameters=parameters, return_annotation=Written(found.return_annotation)))
    if len(text) <= 80:
        return text
    inner, _, answer = text.rpartition(") -> ")
    return "(\n" + "".join(f"    {part},\n" for part in split_parameters(inner[1:])) + f") -> {answer}"


def split_parameters(text: str) -> list[str]:
    """Cut at the commas that stand outside brackets."""
    parts, depth, start = [], 0, 0
    for position, char in enumerate(text):
        depth += (char in "[({") - (char in "])}")
        if char == "," and depth == 0:
            parts.append(text[start:position].strip())
            start = position + 1
    return [*parts, text[start:].strip()]


class Written:
    """An annotation that prints as it stands in the source."""

    def __init__(self, annotation: Any) -> None:
        self.text = annotation_words(annotation)

    def __repr__(self) -> str:
        return self.text


def annotation_words(annotation: Any) -> str:
    text = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", str(annotation))
    return re.sub(r"\b(?:model|datetime|os)\.(?=[A-Z]|datetime)", "", text)


def struct_section_python(kind: type[msgspec.Struct]) -> str:
    rows = [row(f"`{f.name}`", type_words(f.type, "http.md"), default_words(f)) for f in msgspec.structs.fields(kind)]
    return f"### {kind.__name__}\n\n{first_paragraph(kind.__doc__)}\n\n{fields_table(rows)}\n"


# docs/reference/cli.md


def cli_page() -> str | None:
    """The command line's own help; None while there is none."""
    if importlib.util.find_spec("agentmemo.cli.main") is None:
        return None
    app = importlib.import_module("agentmemo.cli.main").build()
    text = app.generate_docs(output_format="markdown", recursive=True, heading_level=1)
    text = re.sub(r"^## Table of Contents\n.*?(?=^\*\*Commands)", "", text, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"^# agentmemo\n+```console\n.*?```\n", "# Command line reference\n", text, flags=re.DOTALL)
    common = re.search(r"^\*\*Common options\*\*:\n\n((?:\* .*\n)+)", text, re.MULTILINE)
    if common:
        # Every command has them: they stand once, at the top.
        text = re.sub(r"^\*\*Common options\*\*:\n\n(?:\* .*(?:\n|\Z))+\n?", "", text, flags=re.MULTILINE)
        every = f"\nEvery command takes these options:\n\n{common[1]}"
        text = text.replace("\n## ", f"{every}\n## ", 1)
    text = re.sub(r"[ \t]+$", "", text, flags=re.MULTILINE)
    return WARNING + "\n" + re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


# tables inside pages written by hand


def settings_table() -> str:
    """One line per field of `settings.Settings`, its meaning from MEANINGS, which must name each."""
    fields = msgspec.structs.fields(settings.Settings)
    if missing := {f.name for f in fields} ^ set(MEANINGS):
        sys.exit(f"generate_reference.py: MEANINGS and settings.Settings differ in {', '.join(sorted(missing))}")
    return table(
        ("variable", "default", "what it bounds"),
        [row(f"`AGENTMEMO_{f.name.upper()}`", default_words(f), MEANINGS[f.name]) for f in fields],
    )


MEANINGS = {
    "value_bytes_max": "One stored value. A larger one is refused with LimitExceeded.",
    "request_bytes_max": "One request over HTTP.",
    "request_values_max": "The items and members in the JSON of one request over HTTP; above it 413.",
    "requests_per_second": "Requests of one key over HTTP, with a second's worth at once; above it 429. 0: no limit.",
    "bodies_bytes_max": "The bodies of all requests a server works on together; above it 503, but one always goes.",
    "head_bytes_max": "The path and headers of one request; a larger head is answered 431.",
    "head_seconds": "How long a client may take to send the head of a request, or to send anything at all.",
    "body_seconds": "How long a client may take to send the body of a request.",
    "stalled_seconds": "How long a client may leave unread what it is sent; who reads 64 KiB of it has as long again.",
    "connections_max": "Open connections of a server, and never more than it has file descriptors for; above it 503.",
    "watchers_max": "Streams and long-polls that wait at a server at the same time; above it 503 with Retry-After.",
    "watchers_per_actor_max": "The same of one agent, service or person, so that none takes every place.",
    "patience_seconds": "How long a call over HTTP waits for a server that was reached before, as when it restarts.",
    "lease_seconds": "How long a worker of the library is believed alive after its last call or heartbeat.",
    "unattended_lease_seconds": "The same for callers that cannot heartbeat, such as models that call tools.",
    "wait_seconds_max": "The longest long-poll; a longer `wait_seconds` is cut to this.",
    "upkeep_interval_seconds": "How often the leading process looks for overdue duties.",
    "overdue_hours": "How long an unfinished run may wait without a time of its own before it counts as overdue.",
    "progress_seconds": "How long a holder may show no progress before its sender and the people are told; 0: never.",
    "pickup_seconds": "How long a handoff waits for its receiver before the sender and the people are told.",
    "webhook_private_addresses": "Whether webhooks may lead to private addresses, such as this machine or network.",
    "public_url": "Where people reach the console, such as https://memo.example.org: links in messages begin with it.",
    "smtp_url": "The mail server: smtp://user@host:587 (STARTTLS), smtps://host:465, smtp+plain://localhost:25.",
    "smtp_from": "The sender of mail to people, such as `AgentMemo <memo@example.org>`.",
    "slack_url": "Slack's Web API, or what stands for it.",
    "ntfy_url": "The ntfy server for addresses that are a topic alone.",
    "handoff_hops_max": "How often work may be handed on before it is kept as dead.",
    "request_hours": "How long the answer to a request id is kept for a repeated request.",
    "blob_hours": "How long a large value that nothing refers to is kept.",
    "finished_runs_days": "After this, a finished run keeps only a tombstone: no steps, values or notes.",
    "versions_days": "Versions of a key older than this may go, all but the newest ones.",
    "versions_kept": "How many newest versions of a key always stay.",
    "postgres_writers": "Connections for writing. One serves a workspace at a time, so more help many workspaces.",
    "postgres_readers": "The most connections for reading at once.",
    "postgres_patience_seconds": "How long a call waits for a database that is away, before Unavailable.",
    "postgres_idle_seconds": "After this the server ends the transaction of a process that hangs in the midst of one.",
    "postgres_statement_seconds": "After this the server ends a statement, such as waiting for a turn.",
    "postgres_prepare": "Prepared statements. They are given up by themselves behind a pooler that has none.",
    "postgres_notify": "NOTIFY as a hint to the other servers. Without it they look every 50 ms.",
    "postgres_allow_lossy": "Open a database that acknowledges commits before they are safe.",
    "denial_window_seconds": "Denied reads of one kind are counted and written to the trail once per window.",
}


def errors_table() -> str:
    """One line per class of the tree, with its meaning from the tree in the module's docstring."""
    meanings = dict(re.findall(r"^[ │├└─]*(\w+) +(\S.*)$", errors.__doc__ or "", re.MULTILINE))
    rows = []
    for kind in errors.CLASSES:
        line = [
            f"`{kind.code}`",
            f"`{kind.__name__}`",
            meanings[kind.__name__],
        ]
        line += ["yes" if kind.retry_safe_by_default else "no"]
        rows.append(row(*line, *(str(codes.get(kind, "")) for codes in (http_statuses(), exit_codes()) if codes)))
    head = ["code", "class", "meaning", "retry safe"]
    head += [name for name, codes in (("HTTP", http_statuses()), ("exit", exit_codes())) if codes]
    return table(tuple(head), rows)


def http_statuses() -> dict[type[errors.Error], int]:
    if importlib.util.find_spec("agentmemo.server.problems") is None:
        return {}
    by_code = importlib.import_module("agentmemo.server.problems").STATUS
    return {kind: by_code[kind.code] for kind in errors.CLASSES}


def exit_codes() -> dict[type[errors.Error], int]:
    if importlib.util.find_spec("agentmemo.cli.exits") is None:
        return {}
    by_code = importlib.import_module("agentmemo.cli.exits").BY_CODE
    return {kind: by_code[kind.code] for kind in errors.CLASSES}


TABLES: dict[str, tuple[str, Callable[[], str]]] = {
    "settings": ("docs/operations.md", settings_table),
    "errors": ("docs/errors.md", errors_table),
}


def with_table(name: str, text: str, content: str) -> str:
    """The page with what stands between its two marks replaced."""
    begin, end = f"<!-- generated: {name} -->", f"<!-- end: {name} -->"
    head, found, rest = text.partition(begin)
    _, closed, tail = rest.partition(end)
    if not (found and closed):
        sys.exit(f"generate_reference.py: the marks {begin} and {end} are missing")
    return f"{head}{begin}\n{content}\n{end}{tail}"


# all of it


def pages() -> dict[str, str]:
    """Path -> text of everything this script writes."""
    written = {"docs/reference/http.md": http_page(), "docs/reference/python.md": python_page()}
    schema = msgspec.json.format(msgspec.json.encode(workflow_schema()), indent=2).decode()
    written["docs/reference/workflow.schema.json"] = schema + "\n"
    if cli := cli_page():
        written["docs/reference/cli.md"] = cli
    for name, (path, content) in TABLES.items():
        if path in written or (ROOT / path).exists():
            text = written.get(path) or (ROOT / path).read_text(encoding="utf-8")
            written[path] = with_table(name, text, content())
    return written


def main() -> int:
    check = "--check" in sys.argv[1:]
    stale = []
    for name, text in pages().items():
        path = ROOT / name
        if check and (not path.exists() or path.read_text(encoding="utf-8") != text):
            stale.append(name)
        elif not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    if stale:
        print(f"Stale: {', '.join(stale)}. Run: python scripts/generate_reference.py")
    return int(bool(stale))


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        sys.exit(main())
