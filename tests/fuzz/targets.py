"""Every parser that takes bytes from outside, as a function of bytes. Each may raise the product's errors, no other.

`SEEDS` are well-formed inputs to begin from. Nesting and length beyond all measure are in `EXTREME`, for every target.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable

from agentmemo.api.operations import BY_NAME
from agentmemo.client import calendars, workflow_files, yaml_files
from agentmemo.client.http_answer import Answer, NotHttp
from agentmemo.client.http_wire import Wire
from agentmemo.engine.judge_process import Evaluation, evaluate
from agentmemo.errors import Error
from agentmemo.ids import is_handle
from agentmemo.llm import anthropic, openai
from agentmemo.llm import config as models_file
from agentmemo.llm.refusals import Broken
from agentmemo.model import workflow_expressions, workflow_skill
from agentmemo.model.access import parse_key
from agentmemo.model.ledger_otel import read_span
from agentmemo.model.pages import read_cursor
from agentmemo.model.policies import KINDS, document_of
from agentmemo.model.values import encode
from agentmemo.model.workflow_rules import compile_document
from agentmemo.notify import slack
from agentmemo.server import decoding
from agentmemo.server.problems import Refusal
from agentmemo.server.routes import Routes

ALLOWED = (Error, Refusal, Broken)
ROUTES = Routes()
WIRE = Wire("http://127.0.0.1:1", "am_agent_x", 1 << 20)
DOCUMENT = {
    "name": "triage",
    "designed_by": "m",
    "steps": [
        {"id": "a", "kind": "tool", "tool": "t", "input": {"n": "$inputs.n"}},
        {"id": "b", "kind": "branch", "cases": [{"when": "steps.a.output.x > 1", "goto": "end"}]},
        {"id": "c", "kind": "foreach", "over": "$steps.a.output.items", "steps": [{"id": "d", "kind": "llm"}]},
    ],
}
CALENDAR = b"""BEGIN:VCALENDAR\r
VERSION:2.0\r
PRODID:-//example//EN\r
BEGIN:VEVENT\r
UID:1\r
SUMMARY:ana\r
DTSTART;TZID=Europe/Berlin:20250602T090000\r
DTEND;TZID=Europe/Berlin:20250609T090000\r
RRULE:FREQ=WEEKLY;INTERVAL=2\r
END:VEVENT\r
END:VCALENDAR\r
"""
SKILL = b"""---
name: triage
description: Sort issues
allowed-tools: [Bash]
metadata: {designed-by: claude}
---
# Triage
## Steps
1. **Fetch** the issue. You MUST read all of it.
2. Decide.
## Edge cases
- When it is empty, then ask.
```
## not a heading
```
"""
PROBLEM = {"code": "conflict", "message": "m", "why": "w", "next_call": "n", "retry_safe": False, "details": {"a": 1}}
PRESSED = {
    "type": "block_actions",
    "user": {"id": "U1"},
    "response_url": "https://hooks.slack.com/x",
    "actions": [{"action_id": "decide:approve", "value": "{}"}],
    "state": {"values": {}},
}


def key(data: bytes) -> None:
    parse_key(data.decode("latin-1"))


def handle(data: bytes) -> None:
    is_handle(data.decode("utf-8", "surrogateescape"))


def cursor(data: bytes) -> None:
    read_cursor(data.decode("latin-1"), "state.list", {"namespace": "ns"}, ["", 0])


def problem(data: bytes) -> None:
    """What a server, or something in front of it, answers a client."""
    error = WIRE._error(409, data)
    str(error)
    json.dumps(error.to_dict())
    error.details.get("in_doubt")


def answer(data: bytes) -> None:
    WIRE.answer(BY_NAME["run.get"], 200, data)


def address(data: bytes) -> None:
    Wire(data.decode("utf-8", "replace"), "am_agent_x", 1 << 20)


def request(data: bytes) -> None:
    """A request line, query, headers and body, one after the other."""
    line, _, rest = data.partition(b"\n")
    headers, _, body = rest.partition(b"\n\n")
    method, _, target = line.partition(b" ")
    path, _, query = target.partition(b"?")
    given = dict(pair.partition(b": ")[::2] for pair in headers.split(b"\n"))
    route, parts = ROUTES.find(method.decode("latin-1"), path)
    decoding.decode_request(route, parts, query, given, body)
    decoding.read_claim(given)
    decoding.read_idempotency_key(given)


def value(data: bytes) -> None:
    encode(decoding._read_json(data))


def slack_form(data: bytes) -> None:
    slack.read_interaction(data)


def slack_signature(data: bytes) -> None:
    timestamp, _, signature = data.decode("latin-1").partition("\n")
    slack.verify("secret", timestamp, signature, data, 1)


def calendar(data: bytes) -> None:
    calendars.zone_in(data)
    calendars.turns_of(data, "Europe/Berlin", 1748700000_000000, 60, {})


def yaml(data: bytes) -> None:
    yaml_files.loads(data)


def skill(data: bytes) -> None:
    front, body = workflow_skill.split_front(data.decode("utf-8", "replace"))
    said = yaml_files.loads(front) if front.strip() else {}
    if isinstance(said, dict):
        compile_document(workflow_skill.draft_of(said, body, known_as="x", designed_by=None, tools=[]))


def models(data: bytes) -> None:
    models_file.read(data.decode("utf-8", "replace"))


def workflow(data: bytes) -> None:
    compile_document(workflow_files.parse(data, "w.json"))


def expression(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    workflow_expressions.references({"a": text})
    workflow_expressions.mentions(text)
    scope = workflow_expressions.Scope(inputs={"n": [1, {"a": "b"}]}, steps={"a": {"output": {"x": 1}}})
    workflow_expressions.resolve(text, scope)


def condition(data: bytes) -> None:
    evaluate(Evaluation([data.decode("utf-8", "replace")], b'{"inputs":{"n":1},"steps":{}}'))


def policy(data: bytes) -> None:
    document = decoding._read_json(data)
    for kind in KINDS:
        try:
            document_of(kind, document)
        except ALLOWED:
            continue


def span(data: bytes) -> None:
    read_span(decoding._read_json(data))


def openai_stream(data: bytes) -> None:
    openai._gather_stream([data[: len(data) // 2], data[len(data) // 2 :]])


def openai_answer(data: bytes) -> None:
    openai._gather([data])


def anthropic_stream(data: bytes) -> None:
    anthropic._gather_stream([data[: len(data) // 2], data[len(data) // 2 :]])


def anthropic_answer(data: bytes) -> None:
    anthropic._gather([data])


def http_answer(data: bytes) -> None:
    found = Answer()
    with contextlib.suppress(NotHttp, ConnectionResetError):
        found.feed(data[:40])
        if not found.whole:
            found.feed(data[40:])
            found.end()


SEEDS: dict[Callable[[bytes], None], list[bytes]] = {
    key: [b"am_agent_abcdefgh_" + b"A" * 43 + b"_000000"],
    handle: [b"run_01j9x2k7m3q8w4ez"],
    cursor: [b"WzEsInN0YXRlLmxpc3QiLDAsWyJhIiwxXV0"],
    problem: [json.dumps(PROBLEM).encode()],
    answer: [b'{"id":"run_01j9x2k7m3q8w4ez","name":"n"}'],
    http_answer: [
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2;a=b\r\n{}\r\n0\r\nx: y\r\n\r\n",
        b"HTTP/1.1 103 Early\r\n\r\nHTTP/1.0 200 OK\r\nconnection: close\r\n\r\n{}",
    ],
    address: [b"http://127.0.0.1:7707/v1", b"https://[::1]:1"],
    request: [
        b'PUT /v1/state/a%20b/k?if_version=1\nagentmemo-claim: run_a@3;step=a/b\n\n{"value": 1}',
        b'GET /v1/runs?limit=5&state=running\nidempotency-key: "a"\n\n',
        b'POST /v1/escalations\nif-match: "3"\n\n{"severity":"high","reason":"r"}',
    ],
    value: [b'{"value": [1, 2.5, "a", null, {"b": true}]}'],
    slack_form: [b"payload=" + json.dumps(PRESSED).encode()],
    slack_signature: [b"1\nv0=" + b"0" * 64],
    calendar: [CALENDAR],
    yaml: [b"a: [1, {b: c}]\nd: &x |\n  text\n", b"- 1\n- !!str 2\n- 2025-01-01\n"],
    skill: [SKILL],
    models: [b'ladder = ["a"]\n[models.a]\nprovider = "openai"\nmodel = "m"\n[tools.t]\ncommand = ["x"]\n'],
    workflow: [json.dumps(DOCUMENT).encode(), b'{"name":"w","designed_by":"m","steps":"Do it"}'],
    expression: [b"$steps.a.output.x", b"Review {$inputs.n[0]} and {$item}", b"inputs.n > 1 && has(steps.a)"],
    condition: [b"inputs.n > 0 && size('a') == 1", b"[1,2].exists(x, x > inputs.n)"],
    policy: [b'{"steps":[{"targets":["person:ana"]}]}', b'{"zone":"UTC","rota":{"people":["a"]}}'],
    span: [b'{"gen_ai.operation.name":"chat","gen_ai.usage.input_tokens":3,"gen_ai.request.model":"m"}'],
    openai_stream: [
        (
            b'data: {"id":"1","model":"m","choices":[{"delta":{"content":"a","tool_calls":[{"index":0,"function":{}}]},'
            b'"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
        )
    ],
    openai_answer: [b'{"id":"1","model":"m","choices":[{"message":{"content":"a"},"finish_reason":"stop"}]}'],
    anthropic_stream: [
        (
            b'data: {"type":"message_start","message":{"id":"1","model":"m","usage":{"input_tokens":1}}}\n\n'
            b'data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}\n\n'
            b'data: {"type":"content_block_delta","index":0,"delta":{"text":"a"}}\n\n'
            b'data: {"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":1}}\n\n'
        )
    ],
    anthropic_answer: [b'{"id":"1","model":"m","content":[{"type":"text","text":"a"}],"stop_reason":"end_turn"}'],
}
TARGETS = {target.__name__: target for target in SEEDS}
DEPTH = 20_000
EXTREME = [
    b"",
    b"\0",
    b"\xff\xfe",
    b"[" * DEPTH,
    b"[" * DEPTH + b"]" * DEPTH,
    b'{"value":' * DEPTH + b"1" + b"}" * DEPTH,
    b'{"details":' + b"[" * DEPTH + b"]" * DEPTH + b"}",
    b"(" * DEPTH + b"1" + b")" * DEPTH,
    b"- " * DEPTH,
    b"{a: " * DEPTH,
    b"a = " + b"[" * DEPTH,
    b"!" * DEPTH,
    b"1" * DEPTH,
    b"WzEs" * DEPTH,
    b"data: " + b"[" * DEPTH + b"\n\n",
    b"http://[",
    b"$inputs" + b".a" * DEPTH,
    b"{$inputs.n" * 2_000,
    b"\n# a" * DEPTH,
    b"&a [*a, *a]",
    b'{"name":"w","designed_by":"m","steps":"' + b"1. Do it\\n" * 20_000 + b'"}',
    b"# T\n## Steps\n" + b"1. Do it\n" * 20_000,
    CALENDAR.replace(b"Berlin", b"Berl" * 1000),
    CALENDAR.replace(b"DTEND", b"DTSTART"),
    CALENDAR.replace(b"INTERVAL=2", b"INTERVAL=0"),
    CALENDAR.replace(b"20250602", b"02250602").replace(b"WEEKLY", b"DAILY"),
    b"1e999",
    b'{"code":"conflict","details":[1]}',
    b'{"code":"conflict","details":"x"}',
    b'"\\ud800"',
]


def run(target: Callable[[bytes], None], data: bytes) -> None:
    """Raises what the target must not raise."""
    try:
        target(data)
    except ALLOWED:
        return
