"""A schema of flat values as fields of a form, and what was filled in as those values again."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping
from typing import Any

import msgspec

from agentmemo.errors import InvalidInput

FIELD = "field."  # before the name of a schema's field, so that it is none of the form's own
FLAT = ("string", "integer", "number", "boolean")


def fields_of(schema: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What a form asks for; empty where nothing is."""
    return [
        {
            "name": FIELD + name,
            "label": str(field.get("title") or name),
            "help": str(field.get("description") or ""),
            "type": field["type"],
            "choices": [shown(choice) for choice in field["enum"]] if "enum" in field else None,
            "value": shown(field["default"]) if "default" in field else "",
            "required": name in schema.get("required", []),
        }
        for name, field in schema.get("properties", {}).items()
    ]


def is_flat(schema: Any) -> bool:
    """Whether fields of a form can say all that the schema asks; anything else is written as JSON."""
    properties = schema.get("properties") if isinstance(schema, dict) else None
    if not isinstance(properties, dict) or not properties:
        return False
    return all(isinstance(field, dict) and field.get("type") in FLAT for field in properties.values())


def values_in(form: Mapping[str, str], schema: Mapping[str, Any]) -> dict[str, Any]:
    """What was filled in; an empty field is left out. Raises InvalidInput with the field's name."""
    properties = schema["properties"]
    given = {name: text for name in properties if (text := form.get(FIELD + name, "").strip())}
    return {name: _typed(name, properties[name], text) for name, text in given.items()}


def shown(choice: Any) -> str:
    """A choice of an enum as the form shows it."""
    return choice if isinstance(choice, str) else msgspec.json.encode(choice).decode()


def _typed(name: str, field: dict[str, Any], text: str) -> Any:
    if isinstance(field.get("enum"), list):
        for choice in field["enum"]:
            if shown(choice) == text:
                return choice
        raise InvalidInput(f"{text!r} is none of the choices for {name}.", next_call="Choose one of them.")
    kind = field["type"]
    if kind == "boolean" and text in ("true", "false"):
        return text == "true"
    if kind == "string":
        return text
    with contextlib.suppress(ValueError):
        number = int(text) if kind == "integer" else float(text)
        if math.isfinite(number):
            return number
    raise InvalidInput(f"{name} is {text!r}, which is no {kind}.", next_call=f"Go back and write a {kind}.")
