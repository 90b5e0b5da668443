"""The description: whole, and true of what the server does."""

from __future__ import annotations

import re
from urllib.parse import urlencode

import hypothesis
import msgspec
import pytest
import schemathesis
from schemathesis import GenerationMode, checks
from served import SECONDS

from agentmemo.api.examples import PARAMETER_EXAMPLES
from agentmemo.api.openapi import describe
from agentmemo.api.operations import BY_NAME, OPERATIONS
from agentmemo.model.access import EVERYTHING

CASES = 10
# A backup writes where it is told to on this machine; its refusals are tested where it is.
NOT_CALLED = {"system.backup"}


def test_every_operation_is_described(http):
    found = http.get("/v1/openapi.json", key=None).data
    assert found == msgspec.json.decode(msgspec.json.encode(describe()))
    described = {
        (method.upper(), path): body for path, methods in found["paths"].items() for method, body in methods.items()
    }
    assert {place: body["operationId"] for place, body in described.items()} == {
        (operation.method, "/v1" + operation.path): operation.name for operation in OPERATIONS
    }
    for (method, path), body in described.items():
        operation = BY_NAME[body["operationId"]]
        named = {parameter["name"] for parameter in body["parameters"] if "name" in parameter}
        if "requestBody" in body:
            named |= set(body["requestBody"]["content"]["application/json"]["schema"]["properties"])
        assert named == set(operation.request.__struct_fields__), (method, path)


def test_links_carry_what_their_targets_take():
    """Fields of one name that mean different things have different types."""
    described = msgspec.json.decode(msgspec.json.encode(describe()))
    operations = {body["operationId"]: body for methods in described["paths"].values() for body in methods.values()}
    carried = 0
    for operation in operations.values():
        answer = operation["responses"]["200"]
        for name in answer.get("links", {}):
            link = described["components"]["links"][name]
            takes = _fields_of(described, operations[link["operationId"]])
            for place, expression in [*link["parameters"].items(), *link.get("requestBody", {}).items()]:
                if not expression.startswith("{"):
                    found = _followed(described, answer["content"]["application/json"]["schema"], expression)
                    assert _types(described, found) & _types(described, takes[place.rpartition(".")[2]]), (name, place)
                    carried += 1
    assert carried > len(operations)


def _fields_of(described, operation):
    given = {found["name"]: found["schema"] for found in operation["parameters"] if "name" in found}
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
    return given | body.get("properties", {})


def _followed(described, schema, expression):
    """The schema of what an expression picks from an answer."""
    for part in expression.removeprefix("$response.body#/").split("/"):
        known = _known(described, schema)
        schema = known["items"] if part.isdigit() else known["properties"][part]
    return schema


def _known(described, schema):
    """The first of several schemas that describes an object or a list, its reference followed."""
    each = next((one for one in schema.get("anyOf", [schema]) if one.get("type") != "null"), schema)
    if "$ref" not in each:
        return each
    return _known(described, described["components"]["schemas"][each["$ref"].rpartition("/")[2]])


def _types(described, schema):
    found = {_known(described, one).get("type", "any") for one in schema.get("anyOf", [schema])}
    return found - {"null"}


def test_references_lead_somewhere():
    document = describe()

    def walk(node):
        if isinstance(node, dict):
            if "$ref" in node:
                found = document
                for part in node["$ref"].removeprefix("#/").split("/"):
                    found = found[part]
            for child in node.values():
                walk(child)
        elif isinstance(node, list):
            for child in node:
                walk(child)

    walk(document)


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.name.lower())
@pytest.mark.parametrize("name", sorted(set(BY_NAME) - NOT_CALLED))
def test_the_server_does_what_it_says(server, schema, name, mode):
    """Requests made by chance from the description: no fault, and no answer that is not described."""
    operation = schema.find_operation_by_id(name)

    @hypothesis.given(case=operation.as_strategy(generation_mode=mode))
    @hypothesis.settings(
        max_examples=CASES,
        database=None,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(hypothesis.HealthCheck),
        phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
    )
    def calls(case):
        case.call_and_validate(
            timeout=SECONDS,
            headers={"Authorization": f"Bearer {server.started['person_key']}"},
            checks=[
                checks.not_a_server_error,
                checks.status_code_conformance,
                checks.content_type_conformance,
                checks.response_schema_conformance,
            ],
        )

    calls()


@pytest.fixture(scope="module")
def schema(server):
    return schemathesis.openapi.from_url(f"{server.url}/v1/openapi.json", timeout=SECONDS)


def test_pages_have_the_bounds_that_are_described(http, key):
    paged = [each for each in OPERATIONS if each.method == "GET" and "limit" in each.request.__struct_fields__]
    paths, admin, refused = describe()["paths"], key(kind="person", grants=[EVERYTHING]).secret, set()
    for operation in paged:
        parameters = paths["/v1" + operation.path]["get"]["parameters"]
        limit = next(parameter["schema"] for parameter in parameters if parameter.get("name") == "limit")
        needed = {each["name"]: "some" for each in parameters if each.get("in") == "query" and each["required"]}
        path = "/v1" + re.sub(r"{(\w+)}", lambda part: PARAMETER_EXAMPLES.get(part[1], "some"), operation.path)
        for beyond in (limit["minimum"] - 1, limit["maximum"] + 1):
            answer = http.get(f"{path}?{urlencode({**needed, 'limit': beyond})}", key=admin)
            # What does not exist has no pages.
            if answer.status != 404:
                assert (answer.status, answer.code) == (400, "invalid_input"), operation.name
                refused.add(operation.name)
    assert len(refused) > len(paged) * 2 // 3
