"""Workflow documents: plain text compiled, everything checked, one hash for one document."""

from __future__ import annotations

import json

import jsonschema_rs
import pytest

from agentmemo.errors import InvalidInput
from agentmemo.model import workflows as model
from agentmemo.model.workflow_guidance import warnings_of
from agentmemo.model.workflow_rules import EXAMPLE, compile_document, workflow_schema
from agentmemo.model.workflow_text import AS_WRITTEN, items_of, title_of, when_and_then
from agentmemo.model.workflows import Step, canonical, plain, step_hash, version_of

TOOL = {"id": "fetch", "kind": "tool", "tool": "fetch_diff", "effect": "read"}
EACH = {
    "id": "each", "kind": "foreach", "items": "$steps.fetch.output.files",
    "steps": [{"id": "look", "instruction": "Look at {$item.path}, number {$index}"}],
}  # fmt: skip


def document(*steps, **fields):
    return compile_document({"name": "w", "designed_by": "opus-4", "steps": list(steps) or ["Do it"], **fields})


def refused(*steps, **fields):
    with pytest.raises(InvalidInput) as error:
        document(*steps, **fields)
    assert error.value.next_call
    return error.value.details["path"]


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ("1. Fetch\n2. Review\n   - style\n   - bugs\n3. Post", ["Fetch", "Review\n- style\n- bugs", "Post"]),
        ("1) one\n- of it\n2) two", ["one\n- of it", "two"]),
        ("Steps:\n- a\n  more of a\n- b", ["a\nmore of a", "b"]),
        ("* a\n* b", ["a", "b"]),
        ("do this\n  and this\nthen that", ["do this\nand this", "then that"]),
        ("## Step 1: Fetch\nAll of it.\n## Step 2: Go", ["Fetch\nAll of it.", "Go"]),
        ("1. Run:\n```\n2. is code\n```\n3. Stop", ["Run:\n```\n2. is code\n```", "Stop"]),
        ("Be careful.\n1. a\n2. b", ["a\nBe careful.", "b"]),
        ("1. Version 1.2 of it\n1.1 is older", ["Version 1.2 of it\n1.1 is older"]),
        ("  \n", []),
    ],
)
def test_items_of_a_text(text, items):
    assert items_of(text) == items


@pytest.mark.parametrize(
    ("text", "when", "then"),
    [
        ("If PR > 1000 lines, review file by file", "PR > 1000 lines", "review file by file"),
        ("When tests fail, then stop", "tests fail", "stop"),
        ("Empty diff: say so, and end", "Empty diff", "say so, and end"),
        ("large -> split", "large", "split"),
        ("Binary files → skip", "Binary files", "skip"),
        ("If it lies at http://x.y", "If it lies at http://x.y", AS_WRITTEN),
        ("Be kind", "Be kind", AS_WRITTEN),
    ],
)
def test_edge_cases_are_taken_apart(text, when, then):
    assert when_and_then(text) == (when, then)


def test_texts_and_objects_mix():
    made = document("1. Fetch it", {"instruction": "Fetch it"}, {"kind": "tool", "tool": "post"}, edge_cases=[
        "If empty, stop", {"when": "odd", "then": "ask"}, {"id": "if_empty", "when": "x", "then": "y"},
    ])  # fmt: skip
    assert [step.id for step in made.steps] == ["fetch_it", "fetch_it_2", "post"]
    assert [step.instruction for step in made.steps] == ["Fetch it", "Fetch it", None]
    assert [len(step.checks) for step in made.steps] == [1, 0, 0], "only words get the check that there is something"
    assert [case.id for case in made.edge_cases] == ["empty", "odd", "if_empty"]


def test_ids_that_are_given_are_kept():
    assert [step.id for step in document("Fetch", {"id": "fetch", "instruction": "x"}).steps] == ["fetch_2", "fetch"]
    assert document("日本語").steps[0].id == "step_1"


def test_a_title_ends_with_a_word():
    assert title_of("**Do** " + "word " * 40) == "Do " + ("word " * 15).strip() + " …"


def test_who_designed_it():
    assert document().designed_by == model.DesignedBy(model="opus-4")
    assert document(designed_by="person:ana").designed_by == model.DesignedBy(person="ana")
    for unclear in ({}, {"model": "a", "person": "b"}, None, 5):
        assert refused(designed_by=unclear) == "$.designed_by"


@pytest.mark.parametrize(
    ("steps", "path"),
    [
        (["a", 5], "$.steps[1]"),
        ([{"id": "a", "kind": "tool"}], "$.steps[0].tool"),
        ([{"id": "a", "kind": "branch"}], "$.steps[0].cases"),
        ([{"id": "a", "kind": "assert"}], "$.steps[0].checks"),
        ([{"id": "a", "kind": "workflow"}], "$.steps[0].workflow"),
        ([{"id": "a", "kind": "human"}], "$.steps[0].instruction"),
        ([TOOL | {"ladder": ["haiku"]}], "$.steps[0].ladder"),
        ([TOOL | {"instruction": "x"}], "$.steps[0].instruction"),
        ([{"id": "a", "instruction": "x", "effect": "write"}], "$.steps[0].effect"),
        ([{"id": "a", "instruction": "x", "severity": "low"}], "$.steps[0].severity"),
        ([TOOL | {"effect": "irreversible", "in_doubt": "retry"}], "$.steps[0].in_doubt"),
        ([TOOL | {"effect": "write"}, {"id": "b", "instruction": "x", "tools": ["fetch_diff"]}], "$.steps"),
        ([TOOL, TOOL], "$.steps"),
        ([{"id": "end", "instruction": "x"}], "$.steps[0].id"),
        ([{"id": "a", "instruction": "{$steps.later.output}"}, TOOL], "$.steps[0].instruction"),
        ([{"id": "a", "instruction": "{$steps.a.output}"}], "$.steps[0].instruction"),
        ([TOOL, {"id": "a", "instruction": "{$steps.fetch.files}"}], "$.steps[1].instruction"),
        ([TOOL, {"id": "a", "instruction": "x", "input": "$steps.fetch.output and more"}], "$.steps[1].input"),
        ([TOOL | {"input": {"n": ["$item"]}}], "$.steps[0].input"),
        ([TOOL | {"input": "$inputs.other"}], "$.steps[0].input"),
        ([TOOL | {"when": "inputs.other > 1"}], "$.steps[0].when"),
        ([TOOL | {"when": 'steps["nothing"].output == 1'}], "$.steps[0].when"),
        ([TOOL, EACH | {"items": "files"}], "$.steps[1].items"),
        ([TOOL, EACH, {"id": "c", "instruction": "{$steps.look.output}"}], "$.steps[2].instruction"),
        ([{"id": "a", "kind": "workflow", "workflow": "w"}], "$.steps[0].workflow"),
        (
            [TOOL, {"id": "b", "kind": "branch", "cases": [{"when": "true", "goto": "fetch"}]}],
            "$.steps[1].cases[0].goto",
        ),
        ([TOOL | {"checks": [{"kind": "regex"}]}], "$.steps[0].checks[0].pattern"),
        ([TOOL | {"checks": [{"kind": "regex", "pattern": "("}]}], "$.steps[0].checks[0].pattern"),
        ([TOOL | {"checks": [{"kind": "regex", "pattern": r"(a)\1"}]}], "$.steps[0].checks[0].pattern"),
        ([TOOL | {"checks": [{"kind": "regex", "pattern": "a", "tool": "t"}]}], "$.steps[0].checks[0].tool"),
        ([TOOL | {"checks": [{"kind": "second_model", "instruction": "x"}]}], "$.steps[0].checks[0].severity"),
        (
            [TOOL | {"checks": [{"kind": "expression", "expression": "steps.x.output"}]}],
            "$.steps[0].checks[0].expression",
        ),
        ([{"id": "a", "instruction": "x", "ladder": ["haiku", "none"]}], "$.steps[0].ladder"),
        ([{"id": "a", "instruction": "x", "ladder": ["haiku", "haiku"]}], "$.steps[0].ladder"),
    ],
)  # fmt: skip
def test_steps_that_cannot_be_done(steps, path):
    assert refused(*steps, inputs={"properties": {"n": {}}}) == path


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"name": "No Name"}, "$.name"),
        ({"colour": "red"}, "$"),
        ({"ladder": ["opus", "none"]}, "$.ladder"),
        ({"output": "$steps.gone.output"}, "$.output"),
        ({"edge_cases": [{"when": "a", "then": "b", "step": "gone"}]}, "$.edge_cases[0].step"),
        ({"edge_cases": [{"when": "a", "then": "b", "action": "stop"}]}, "$.edge_cases[0].matches"),
        ({"edge_cases": [{"id": "x", "when": "a", "then": "b"}] * 2}, "$.edge_cases"),
        ({"examples": [{"input": 1, "output": 2, "step": "gone"}]}, "$.examples[0].step"),
        ({"tools": ["other"], "steps": [TOOL]}, "$.tools"),
        ({"steps": 5}, "$.steps"),
        ({"edge_cases": 5}, "$.edge_cases"),
    ],
)
def test_documents_that_do_not_fit(fields, path):
    with pytest.raises(InvalidInput) as error:
        compile_document({"name": "w", "designed_by": "m", "steps": ["a"]} | fields)
    assert error.value.details["path"] == path


def test_depth_and_number_are_bounded():
    deep = {"id": "s9", "instruction": "x"}
    for level in range(model.DEPTH_MAX):
        deep = {"id": f"s{level}", "kind": "foreach", "items": "$inputs.n", "steps": [deep]}
    assert refused(deep).endswith(".steps")
    many = [{"id": f"m{number}", "instruction": "x"} for number in range(150)]
    inner = [{"id": f"n{number}", "instruction": "x"} for number in range(60)]
    assert refused(*many, {"id": "f", "kind": "foreach", "items": "$inputs.n", "steps": inner}) == "$.steps"


def test_one_document_has_one_form():
    made = document(TOOL, EACH)
    spelled_out = json.loads(canonical(made)) | {"budget": {}, "quality": {"step_bar": 0.95}, "license": ""}
    spelled_out["steps"][0] |= {"escalate": {}, "timeout_seconds": 300, "in_doubt": "ask"}
    assert compile_document(spelled_out) == made
    assert version_of(compile_document(spelled_out)) == version_of(made)
    assert version_of(document(TOOL)) != version_of(made)


def test_the_version_of_a_document_never_changes():
    assert version_of(compile_document(EXAMPLE)) == "a626b7eb0d79e333f0fdb5d381298a857eb564b5f5d3f12409ab8aadd3b84e90"


def test_a_step_hash_is_what_the_step_asks():
    step = Step(id="a", instruction="x")
    same = Step(id="b", title="B", instruction="x", ladder=[model.Rung(model="haiku")])
    assert step_hash(step) == step_hash(same)
    assert step_hash(step) != step_hash(Step(id="a", instruction="y"))
    told = model.EdgeCase(id="c", when="odd", then="ask", step="a")
    assert step_hash(step, [told]) != step_hash(step)
    assert step_hash(same, [told]) == step_hash(same), "the case of another step"
    assert step_hash(step, [model.EdgeCase(id="c", when="odd", then="ask")]) != step_hash(step), "told to every model"


def test_the_schema_fits_what_it_describes():
    validator = jsonschema_rs.Draft202012Validator(workflow_schema())
    whole = plain(document(TOOL, EACH, edge_cases="- If odd, ask", ladder=["none", "haiku"]))
    assert list(validator.iter_errors(whole)) == []
    assert not validator.is_valid(whole | {"colour": "red"})
    assert not validator.is_valid(whole | {"name": "No Name"})


def test_warnings_refuse_nothing():
    found = "\n".join(warnings_of(document(*(["Do it"] * 13), TOOL | {"id": "t"})))
    for said in ("No description", "0 triggers", "14 steps", "succeed together in 51% of the runs", "No examples"):
        assert said in found
    unchecked = {"id": "a", "instruction": "x " * 12_000, "context": {"max_tokens": 200_000}}
    unchecked["instruction"] = unchecked["instruction"][:20_000]
    found = "\n".join(warnings_of(document(unchecked, unchecked | {"id": "b"})))
    for said in ("No hard check on a, b", "should stay under 5000 tokens", "from 100000 on"):
        assert said in found
    calm = document(TOOL, description="Fetches.", triggers=[f"way {n}" for n in range(10)])
    assert warnings_of(calm) == []
