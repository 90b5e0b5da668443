"""How an answer is held to a form: every provider takes a JSON Schema of an object, so that is what is sent.

A schema of anything else, and a list of choices, are wrapped in an object and taken out of it again.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from agentmemo.llm.protocol import ModelRequest
from agentmemo.model.values import NOT_JSON

WRAPPED = "answer"


class AnswerForm(NamedTuple):
    """The schema to send. `wrapped` says that the answer is the value of the field `answer`."""

    schema: dict[str, Any]
    wrapped: bool
    is_label: bool = False

    def text_of(self, text: str) -> str:
        """The answer without its wrapping; what does not hold to the form comes back as it is, to be judged."""
        if not self.wrapped:
            return text
        try:
            value = msgspec.json.decode(text, type=dict[str, Any])[WRAPPED]
        except (*NOT_JSON, KeyError):
            return text
        return value if self.is_label and isinstance(value, str) else msgspec.json.encode(value).decode()


def form_of(request: ModelRequest) -> AnswerForm | None:
    if request.choices:
        return AnswerForm(_wrap({"type": "string", "enum": list(request.choices)}), wrapped=True, is_label=True)
    if request.output_schema is None:
        return None
    if request.output_schema.get("type") == "object":
        return AnswerForm(request.output_schema, wrapped=False)
    return AnswerForm(_wrap(request.output_schema), wrapped=True)


def _wrap(schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": {WRAPPED: schema}, "required": [WRAPPED], "additionalProperties": False}
