"""Edits of workflow documents: each kind, each refusal, and what keeps its hash."""

from __future__ import annotations

import pytest

from agentmemo import InvalidInput, PermissionDenied
from agentmemo.model.workflow_edits import Edit, apply, in_words, read_edits, tools_of
from agentmemo.model.workflow_rules import compile_document
from agentmemo.model.workflows import DesignedBy, plain, step_hash, version_of, walk

BY = DesignedBy(model="opus")
PARENT = compile_document(
    {
        "name": "w",
        "designed_by": "opus-4",
        "steps": [
            {"id": "fetch", "kind": "tool", "tool": "fetch", "effect": "read"},
            {"id": "way", "kind": "branch", "cases": [{"when": "steps.fetch.output == ''", "goto": "review"}]},
            {
                "id": "review",
                "instruction": "Review {$steps.fetch.output}",
                "input": {"diff": "$steps.fetch.output"},
                "when": "inputs.wanted",
                "checks": [
                    {"kind": "expression", "id": "short", "expression": "size(output) < 9"},
                    {"kind": "regex", "pattern": "x"},
                ],
                "tools": ["look"],
                "ladder": ["small"],
                "context": {"examples": 2},
            },
            {"id": "each", "kind": "foreach", "items": "$inputs.all",
             "steps": [{"id": "inner", "instruction": "Do {$item}"}]},
        ],
        "edge_cases": [{"id": "empty", "when": "empty", "then": "say so", "step": "review"}],
    }
)  # fmt: skip
CASES = {
    "add_edge_case": {"edit": "add_edge_case", "step": "review", "when": "too long", "then": "split it"},
    "add_edge_case for all": {"edit": "add_edge_case", "when": "too long", "then": "split it"},
    "change_edge_case": {"edit": "change_edge_case", "id": "empty", "then": "stop"},
    "add_example": {"edit": "add_example", "step": "review", "input": {"diff": "x"}, "output": "y"},
    "change_step": {"edit": "change_step", "step": "review", "instruction": "Look at {$steps.fetch.output}"},
    "add a check": {"edit": "change_step", "step": "fetch", "add_checks": [{"kind": "regex", "pattern": "."}]},
    "change an inner step": {"edit": "change_step", "step": "inner", "instruction": "Do {$item} well"},
    "split_step": {
        "edit": "split_step",
        "step": "review",
        "first": {"id": "read", "instruction": "Read {$steps.fetch.output}"},
        "instruction": "Judge {$steps.read.output}",
    },
    "split an inner step": {
        "edit": "split_step",
        "step": "inner",
        "first": {"id": "before", "instruction": "Look at {$item}"},
        "instruction": "Do {$steps.before.output}",
    },
}
# The steps that show anew what they can do; every other keeps its hash.
TOUCHED = {
    "add_edge_case": {"review"},
    "add_edge_case for all": {"review", "inner"},
    "change_edge_case": {"review"},
    "add_example": set(),
    "change_step": {"review"},
    "add a check": {"fetch"},
    # A loop is what is done in it.
    "change an inner step": {"inner", "each"},
    "split_step": {"review", "read", "way"},
    "split an inner step": {"inner", "before", "each"},
}


def made(*edits, **options):
    return apply(PARENT, read_edits(list(edits)), designed_by=BY, reason="Because.", **options)


def hashes(document):
    return {step.id: step_hash(step, document.edge_cases) for step in walk(document.steps)}


def step(document, name):
    return next(each for each in walk(document.steps) if each.id == name)


@pytest.mark.parametrize("name", CASES)
def test_what_is_not_edited_keeps_its_hash(name):
    document = made(CASES[name])
    before, after = hashes(PARENT), hashes(document)
    assert {each for each in after if before.get(each) != after[each]} == TOUCHED[name]
    assert document.parent == version_of(PARENT)
    assert document.designed_by == BY
    (edit,) = read_edits([CASES[name]])
    assert document.changes == f"Because.\n- {in_words(edit)}"
    assert (document.ladder, document.quality, document.tools) == (PARENT.ladder, PARENT.quality, PARENT.tools)


def test_every_kind_of_edit_is_shown_here():
    shown = {type(edit) for case in CASES.values() for edit in read_edits([case])}
    assert shown == set(Edit.__args__)


def test_several_edits_build_on_each_other():
    document = made(CASES["split_step"], {"edit": "change_step", "step": "read", "instruction": "Read it all"})
    assert step(document, "read").instruction == "Read it all"


def test_where_new_edge_cases_and_examples_come_from_is_kept():
    document = made(CASES["add_edge_case"], CASES["add_example"], source="failure:run_1")
    assert [case.source for case in document.edge_cases] == ["designed", "failure:run_1"]
    assert [example.source for example in document.examples] == ["failure:run_1"]
    assert document.edge_cases[1].id == "too_long"


def test_a_split_step_keeps_what_others_know_of_it():
    document = made(CASES["split_step"])
    first, second, old = step(document, "read"), step(document, "review"), step(PARENT, "review")
    assert [each.id for each in document.steps] == ["fetch", "way", "read", "review", "each"]
    for name in ("when", "input", "tools", "ladder", "context"):
        assert getattr(first, name) == getattr(second, name) == getattr(old, name)
    assert (second.checks, second.output_schema, second.instruction) == (
        old.checks, old.output_schema, "Judge {$steps.read.output}",
    )  # fmt: skip
    # Who jumped to the step jumps to what is done first of it.
    assert step(document, "way").cases[0].goto == "read"


def test_checks_are_taken_away_by_people_alone():
    for drops, left in ((["short"], ["regex"]), (["regex_2"], ["expression"])):
        edit = {"edit": "change_step", "step": "review", "drop_checks": drops}
        with pytest.raises(PermissionDenied):
            made(edit)
        document = made(edit, by_person=True)
        assert [check.kind for check in step(document, "review").checks] == left


@pytest.mark.parametrize("by_person", [False, True])
def test_no_tool_is_gained_but_those_that_are_named(by_person):
    edit = {"edit": "change_step", "step": "review", "add_checks": [{"kind": "tool", "tool": "mail"}]}
    with pytest.raises(PermissionDenied, match="'mail'"):
        made(edit, by_person=by_person)
    assert tools_of(made(edit, by_person=by_person, tools=["mail"])) == {"fetch", "look", "mail"}
    known = {"edit": "change_step", "step": "review", "add_checks": [{"kind": "tool", "tool": "fetch"}]}
    assert tools_of(made(known)) == tools_of(PARENT)


@pytest.mark.parametrize(
    ("edit", "what"),
    [
        ({"edit": "rewrite", "document": {}}, "Invalid value 'rewrite'"),
        ({"edit": "add_edge_case", "when": "x"}, "missing required field `then`"),
        ({"edit": "add_edge_case", "when": "x", "then": "y", "matches": "true"}, "unknown field `matches`"),
        ({"edit": "add_edge_case", "when": "x", "then": "y", "step": "nowhere"}, "no step 'nowhere'"),
        ({"edit": "change_edge_case", "id": "nowhere", "then": "y"}, "no edge case 'nowhere'"),
        ({"edit": "change_edge_case", "id": "empty"}, "changes nothing"),
        ({"edit": "add_example", "step": "nowhere", "input": 1, "output": 2}, "no step 'nowhere'"),
        ({"edit": "change_step", "step": "nowhere", "instruction": "x"}, "no step 'nowhere'"),
        ({"edit": "change_step", "step": "review"}, "changes nothing"),
        ({"edit": "change_step", "step": "fetch", "instruction": "x"}, "follows none"),
        ({"edit": "change_step", "step": "review", "effect": "write"}, "unknown field `effect`"),
        ({"edit": "change_step", "step": "review", "tool": "mail"}, "unknown field `tool`"),
        ({"edit": "change_step", "step": "review", "instruction": "{$steps.nowhere.output}"}, "no step 'nowhere'"),
        (CASES["split_step"] | {"step": "fetch"}, "done by no model"),
        (CASES["split_step"] | {"first": {"id": "fetch", "instruction": "x"}}, "more than one step"),
    ],
)
def test_an_edit_that_does_not_fit_is_refused(edit, what):
    with pytest.raises(InvalidInput, match=what):
        made(edit)


def test_a_person_names_checks_that_are_there():
    with pytest.raises(InvalidInput, match="no check 'long'"):
        made({"edit": "change_step", "step": "review", "drop_checks": ["long"]}, by_person=True)


@pytest.mark.parametrize("edits", [[], [CASES["add_edge_case"]] * 51, "add_edge_case", {"edit": "add_edge_case"}])
def test_edits_are_a_list_of_some(edits):
    with pytest.raises(InvalidInput):
        read_edits(edits)


def test_the_parent_stays_as_it_is():
    before = plain(PARENT)
    for case in CASES.values():
        made(case)
    assert plain(PARENT) == before
