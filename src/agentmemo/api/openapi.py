"""The operations table as an OpenAPI 3.1 document."""

from __future__ import annotations

from typing import Any

import msgspec

from agentmemo.api.examples import EXAMPLES, HANDLE, PARAMETER_EXAMPLES
from agentmemo.api.links import all_links, links_from
from agentmemo.api.operation import Operation
from agentmemo.api.operations import OPERATIONS
from agentmemo.errors import CLASSES
from agentmemo.model.state import PAGE_MAX
from agentmemo.settings import VERSION

PREFIX = "/v1"
CODES = ["error", "internal", *(cls.code for cls in CLASSES)]
_PROBLEM = "#/components/responses/Problem"


def describe() -> dict[str, Any]:
    """The whole document, made anew from the table."""
    kinds = {kind for operation in OPERATIONS for kind in _types_of(operation)}
    _, schemas = msgspec.json.schema_components(
        sorted(kinds, key=lambda kind: kind.__name__), ref_template="#/components/schemas/{name}"
    )
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        paths.setdefault(PREFIX + operation.path, {})[operation.method.lower()] = _operation(operation, schemas)
    for operation in OPERATIONS:
        # What a request carries is described where it travels: path, query or body.
        schemas.pop(operation.request.__name__, None)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "AgentMemo",
            "version": VERSION,
            "summary": "The control plane for AI agents.",
            "description": (
                "Durable state, runs and steps, and a verifiable trail. Times are integers: microseconds since 1970 "
                "in UTC. A `/` inside a name or key is sent as `%2F`."
            ),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "security": [{"key": []}],
        "tags": [{"name": noun} for noun in dict.fromkeys(operation.noun for operation in OPERATIONS)],
        "paths": paths,
        "components": {
            "schemas": {**schemas, "Problem": _problem_schema()},
            "responses": {"Problem": _problem_response()},
            "links": all_links(),
            "parameters": _shared_parameters(),
            "securitySchemes": {
                "key": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "am_<kind>_<id>_<secret>_<checksum>",
                    "description": "`agentmemo up` prints a key, `agentmemo keys create` makes one.",
                }
            },
        },
    }


def _types_of(operation: Operation) -> list[Any]:
    return [kind for kind in (operation.request, operation.response, operation.items) if kind is not None]


def _operation(operation: Operation, schemas: dict[str, Any]) -> dict[str, Any]:
    properties = dict(schemas[operation.request.__name__].get("properties", {}))
    if operation.method == "GET" and "limit" in properties:
        properties["limit"] = {**properties["limit"], "minimum": 1, "maximum": PAGE_MAX}
    required = set(schemas[operation.request.__name__].get("required", []))
    in_path = [part[1:-1] for part in operation.path.split("/") if part.startswith("{")]
    parameters = [_parameter(name, "path", properties.pop(name), required=True) for name in in_path]
    described: dict[str, Any] = {
        "operationId": operation.name,
        "tags": [operation.noun],
        "summary": operation.summary,
        "description": _description(operation),
    }
    if operation.method in {"POST", "PUT"}:
        described["requestBody"] = _body(operation, properties, sorted(required - set(in_path)))
    else:
        parameters += [
            _parameter(name, "query", schema, required=name in required) for name, schema in properties.items()
        ]
    described["parameters"] = parameters + _headers_for(operation)
    described["responses"] = _responses(operation)
    return described


def _description(operation: Operation) -> str:
    docstring = (operation.request.__doc__ or "").strip()
    # A struct without a docstring of its own shows its base's, or its signature; neither says anything here.
    own = "" if docstring.startswith((operation.request.__name__ + "(", "What a caller sends")) else docstring
    needs = f"Needs the permission `{operation.permission}`." if operation.permission else "Needs a valid key."
    return f"{own}\n\n{needs}".strip()


def _parameter(name: str, place: str, schema: dict[str, Any], *, required: bool) -> dict[str, Any]:
    found: dict[str, Any] = {"name": name, "in": place, "required": required, "schema": _query_schema(schema)}
    if place == "path":
        found["schema"] = {**schema, "minLength": 1}
    if name in PARAMETER_EXAMPLES:
        found["example"] = PARAMETER_EXAMPLES[name]
    return found


def _query_schema(schema: dict[str, Any]) -> dict[str, Any]:
    """A query has no null: what may be null is simply left out."""
    choices = [choice for choice in schema.get("anyOf", []) if choice.get("type") != "null"]
    return choices[0] if len(choices) == 1 else schema


def _body(operation: Operation, properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "object", "properties": properties, "additionalProperties": False}
    if required:
        schema["required"] = required
    content: dict[str, Any] = {"schema": schema}
    if operation.request in EXAMPLES:
        content["example"] = EXAMPLES[operation.request]
    return {"required": bool(required), "content": {"application/json": content}}


def _headers_for(operation: Operation) -> list[dict[str, Any]]:
    names: list[str] = []
    if operation.mutating:
        names += ["IdempotencyKey", "Claim", "Worker"]
        if "if_version" in operation.request.__struct_fields__:
            names += ["IfMatch", "IfNoneMatchAny"]
    if operation.name == "state.get":
        names.append("IfNoneMatch")
    if operation.watch:
        names.append("LastEventId")
    return [{"$ref": f"#/components/parameters/{name}"} for name in names]


def _responses(operation: Operation) -> dict[str, Any]:
    content: dict[str, Any] = {"application/json": {"schema": _answer_schema(operation)}}
    if operation.watch:
        content["text/event-stream"] = {"schema": {"type": "string"}}
    success: dict[str, Any] = {"description": operation.summary or "Done.", "content": content}
    headers: dict[str, Any] = {}
    if operation.name in {"state.get", "state.set"}:
        headers["ETag"] = {"description": "The version, in quotes.", "schema": {"type": "string"}}
    if operation.mutating:
        headers["Idempotency-Replayed"] = {
            "description": "`true` where the answer was stored by an earlier request with the same Idempotency-Key.",
            "schema": {"type": "string"},
        }
    if headers:
        success["headers"] = headers
    if links := links_from(operation):
        success["links"] = links
    found: dict[str, Any] = {"200": success}
    if operation.name == "state.get":
        found["304"] = {"description": "The version named in If-None-Match is the current one."}
    return {**found, "default": {"$ref": _PROBLEM}}


def _answer_schema(operation: Operation) -> dict[str, Any]:
    if operation.items is not None:
        return {
            "type": "object",
            "properties": {
                "items": {"type": "array", "items": {"$ref": f"#/components/schemas/{operation.items.__name__}"}},
                "cursor": {
                    "anyOf": [{"type": "string"}, {"type": "null"}],
                    "description": "For the next page; null on the last.",
                },
            },
            "required": ["items"],
        }
    assert operation.response is not None  # noqa: S101 - every operation answers with a page or a struct
    return {"$ref": f"#/components/schemas/{operation.response.__name__}"}


def _problem_schema() -> dict[str, Any]:
    text = {"type": "string"}
    properties = {
        "type": {"type": "string", "format": "uri-reference"},
        "title": text,
        "status": {"type": "integer"},
        "detail": text,
        "code": {"enum": CODES, "description": "Stable; what programs decide by."},
        "message": text,
        "why": text,
        "next_call": {"type": "string", "description": "A valid next step."},
        "in_python": {"type": "string", "description": "The same, as the Python client says it."},
        "retry_safe": {"type": "boolean", "description": "Whether the same request may be sent again unchanged."},
        "details": {"type": "object"},
        "instance": {"anyOf": [text, {"type": "null"}]},
    }
    required = ["type", "title", "status", "detail", "code", "message", "why", "next_call", "retry_safe"]
    return {"title": "Problem", "type": "object", "properties": properties, "required": required}


def _problem_response() -> dict[str, Any]:
    example = {
        "type": "urn:agentmemo:error:version_conflict",
        "title": "Version conflict",
        "status": 409,
        "detail": "github_sync/last_commit_hash has version 4, not 3.",
        "code": "version_conflict",
        "message": "github_sync/last_commit_hash has version 4, not 3.",
        "why": "Somebody wrote it meanwhile.",
        "next_call": "Read GET /v1/state/github_sync/last_commit_hash, decide again, and send if_version=4.",
        "retry_safe": False,
        "details": {"expected": 3, "current": 4},
    }
    content = {"schema": {"$ref": "#/components/schemas/Problem"}, "example": example}
    return {"description": "Refused, and why (RFC 9457).", "content": {"application/problem+json": content}}


def _header(name: str, description: str, example: str, **schema: Any) -> dict[str, Any]:
    return {
        "name": name,
        "in": "header",
        "required": False,
        "description": description,
        "example": example,
        "schema": {"type": "string", **schema},
    }


def _shared_parameters() -> dict[str, Any]:
    version = r'^"[0-9]{1,15}"$'
    return {
        "IdempotencyKey": _header(
            "Idempotency-Key",
            "Stands for this request with this body: within 24 hours a repetition gets the stored answer.",
            "8e03978e-40d5-43dd-bc93-6894a57f9324",
            pattern="^[!-~]{1,128}$",
        ),
        "Claim": _header(
            "AgentMemo-Claim",
            "The claim on a run: handle and epoch. A stale one is refused.",
            f"{HANDLE}@3",
            pattern=r"^run_[0-9a-z]{16}@[0-9]{1,9}$",
        ),
        "Worker": _header("AgentMemo-Worker", "The worker whose lease the call renews.", "wrk_01j9x2k7m3q8w4ez"),
        "IfMatch": _header("If-Match", "The same as if_version.", '"3"', pattern=version),
        "IfNoneMatchAny": _header("If-None-Match", "The key must be absent.", "*", const="*"),
        "IfNoneMatch": _header("If-None-Match", "Answer 304 if this is the version.", '"3"', pattern=version),
        "LastEventId": _header(
            "Last-Event-ID", "Go on behind this event, without a gap.", "118", pattern="^[0-9]{0,15}$"
        ),
    }
