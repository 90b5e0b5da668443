"""Expressions: values keep their type, texts are written out, and nothing is looked at twice."""

from __future__ import annotations

import pytest

from agentmemo.errors import InvalidInput
from agentmemo.model.workflow_expressions import Scope, mentions, references, render, resolve

INPUTS = {"n": 3, "title": "A {$inputs.secret} title", "secret": "s3cret", "a-b": 1, "odd key": 2, "whole": "$inputs.n"}
STEPS = {"fetch": {"output": {"files": [{"path": "a.py"}, {"path": "b.py"}], "7": "seven"}}, "text": {"output": "t"}}
SCOPE = Scope(INPUTS, STEPS, item={"path": "x"}, position=4)


@pytest.mark.parametrize(
    ("template", "value"),
    [
        ("$inputs.n", 3),
        ("$inputs", INPUTS),
        ("$inputs.a-b", 1),
        ('$inputs["odd key"]', 2),
        ("$steps.fetch.output.files", STEPS["fetch"]["output"]["files"]),
        ("$steps.fetch.output.files[1].path", "b.py"),
        ("$steps.fetch.output.files.0.path", "a.py"),
        ("$steps.fetch.output.7", "seven"),
        ("$item.path", "x"),
        ("$index", 4),
        ({"a": ["$inputs.n", "plain", 5, None]}, {"a": [3, "plain", 5, None]}),
        ("{$inputs.n} files: {$steps.fetch.output.files[0]}", '3 files: {"path":"a.py"}'),
        ("{$steps.text.output}", "t"),
        ("costs $5 {here}", "costs $5 {here}"),
        ("$5", "$5"),
        ("", ""),
    ],
)
def test_values(template, value):
    assert resolve(template, SCOPE) == value


def test_what_was_put_in_is_never_an_expression():
    assert resolve("Review {$inputs.title}", SCOPE) == "Review A {$inputs.secret} title"
    assert resolve("$inputs.title", SCOPE) == "A {$inputs.secret} title"
    assert resolve("$inputs.whole", SCOPE) == "$inputs.n"
    assert render("{$inputs.title}{$inputs.title}", SCOPE) == INPUTS["title"] * 2
    assert resolve(["$inputs.title"], SCOPE) == [INPUTS["title"]]


@pytest.mark.parametrize(
    ("template", "named"),
    [
        ("$inputs.other", "$inputs.other"),
        ("{$inputs.n.deep}", "$inputs.n.deep"),
        ("$steps.gone.output", "$steps.gone.output"),
        ("$steps.fetch.output.files[2]", "$steps.fetch.output.files[2]"),
        ("$steps.fetch.output[7]", "$steps.fetch.output[7]"),
    ],
)
def test_what_is_missing_is_named(template, named):
    with pytest.raises(InvalidInput) as error:
        resolve(template, SCOPE)
    assert error.value.details["expression"] == named
    with pytest.raises(InvalidInput, match="stands for nothing"):
        resolve("$item", Scope(INPUTS, STEPS))


def test_references():
    template = {"a": "$inputs.n", "b": ["{$steps.fetch.output.files[0]} of {$item}, {$index}", "$5"], "c": "$inputs"}
    assert references(template) == {("inputs", "n"), ("steps", "fetch"), ("item", ""), ("index", ""), ("inputs", "")}
    assert references('$inputs["odd key"]') == {("inputs", "odd key")}


@pytest.mark.parametrize(
    "template",
    [
        "$inputs.",
        "$inputs.a b",
        "see {$inputs.}",
        "{$steps.a.result}",
        "$steps.a",
        "$steps",
        "$index.x",
        "{$item",
        "$item[",
    ],
)
def test_what_begins_as_an_expression_must_be_one(template):
    with pytest.raises(InvalidInput, match="begins as an expression"):
        references(template)


def test_mentions():
    condition = """inputs.n > 3 && steps["fetch-it"].output.size() > steps.other.output && 'inputs.no' != "steps.no"
        && my.inputs.no == 1 && has(inputs.yes) && item.path == "x" && index > 1"""
    assert mentions(condition) == {
        ("inputs", "n"), ("inputs", "yes"), ("steps", "fetch-it"), ("steps", "other"), ("item", ""), ("index", ""),
    }  # fmt: skip
