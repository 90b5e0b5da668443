"""Documents as Agent Skills, and skills of others as drafts: nothing lost, nothing gained."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skills_ref import validate

from agentmemo.client import skill_folders, yaml_files
from agentmemo.errors import InvalidInput
from agentmemo.model.workflow_guidance import SKILL_LINES_MAX, SKILL_TOKENS_MAX, tokens_of
from agentmemo.model.workflow_rules import compile_document
from agentmemo.model.workflow_skill import draft_of, split_front
from agentmemo.model.workflow_versions import Workflow
from agentmemo.model.workflows import plain, version_of

WHOLE = {
    "name": "code-review",
    "description": "Reviews --- a pull request: on, no & yes.\nWhen somebody asks <for> it.",
    "designed_by": "opus-4",
    "license": "Apache-2.0",
    "steps": [
        {"id": "fetch", "kind": "tool", "tool": "fetch_diff", "input": {"pr": "$inputs.pr"}, "effect": "read"},
        {"id": "each", "kind": "foreach", "items": "$steps.fetch.output.files", "steps": ["See {$item.path}\n- style"]},
        {"id": "post", "kind": "tool", "tool": "post", "effect": "irreversible", "when": "size(inputs.pr) > 0"},
    ],
    "edge_cases": "- If the diff is empty, say so",
    "examples": [{"input": {"pr": "on"}, "output": "---\n# no\n"}],
}  # fmt: skip


def workflow_of(document):
    return Workflow(
        name=document.name, version=version_of(document), number=1, state="draft", description=document.description,
        designed_by="opus-4", author="agent:a", created_at=0, state_changed_at=0, versions=1, unproven=True,
        document=plain(document),
    )  # fmt: skip


def out_and_in(document, folder, tools=()):
    written = skill_folders.write(folder, workflow_of(document))
    assert validate(written) == []
    text = (written / "SKILL.md").read_text(encoding="utf-8")
    body = split_front(text)[1]
    assert tokens_of(body) < SKILL_TOKENS_MAX
    assert body.count("\n") < SKILL_LINES_MAX
    assert version_of(skill_folders.read(written, designed_by=None, tools=list(tools))) == version_of(document)
    return written, text


def test_a_skill_keeps_the_version(tmp_path):
    written, text = out_and_in(compile_document(WHOLE), tmp_path, ["fetch_diff", "post"])
    assert (written / "references" / "workflow.yaml").exists()
    front = yaml_files.loads(split_front(text)[0])
    assert front["allowed-tools"] == "fetch_diff post"
    assert front["metadata"]["workflow-version"] == version_of(compile_document(WHOLE))
    for said in (
        "1. **fetch**",
        "   1. **See {$item.path}**",
        "irreversible: once only",
        "## Edge cases",
        "    # no",
    ):
        assert said in text


def test_without_the_library_it_is_json(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    written, _ = out_and_in(compile_document(WHOLE), tmp_path, ["fetch_diff", "post"])
    assert [file.name for file in (written / "references").iterdir()] == ["workflow.json"]


@pytest.mark.parametrize(
    "long",
    [
        {"examples": [{"input": n, "output": "word " * 50} for n in range(200)]},
        {"steps": ["Do this\n" + "- and that\n" * 100] * 20},
        {"edge_cases": [{"when": f"case {n} " + "x" * 200, "then": "y" * 200} for n in range(200)]},
    ],
)
def test_what_is_long_stands_beside_it(tmp_path, long):
    out_and_in(compile_document({"name": "long", "designed_by": "m", "steps": "Do it"} | long), tmp_path)


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=60)


@settings(max_examples=20, deadline=None)
@given(description=texts, license_=texts, title=texts, instruction=texts.filter(str.strip), output=texts)
def test_whatever_stands_in_it_is_a_skill(tmp_path_factory, description, license_, title, instruction, output):
    step = {"id": "a", "title": title, "instruction": instruction.replace("$", "")}
    document = compile_document({
        "name": "any", "designed_by": "m", "description": description, "license": license_, "steps": [step],
        "examples": [{"input": 1, "output": output}],
    })  # fmt: skip
    out_and_in(document, tmp_path_factory.mktemp("skill"))


def test_a_whole_document_gains_no_tools(tmp_path):
    written = skill_folders.write(tmp_path, workflow_of(compile_document(WHOLE)))
    with pytest.raises(InvalidInput) as error:
        skill_folders.read(written, designed_by=None, tools=["fetch_diff"])
    assert error.value.details["tools"] == ["post"]


def test_an_sop_becomes_steps_with_soft_checks(tmp_path):
    file = tmp_path / "code-assist.sop.md"
    file.write_text(
        "# Code Assist\n\n## Overview\n\nWrites code.\n\n## Parameters\n\n- **task** (required): What to do\n\n"
        "## Steps\n\n### 1. Setup\n\nSet it up.\n\n**Constraints:**\n- You MUST make a folder\n- You MAY rest\n\n"
        "### 2. Explore\n\nLook {$inputs.x}.\n\n## Troubleshooting\n\n- If it fails, ask\n",
        encoding="utf-8",
    )
    made = compile_document(skill_folders.read(file, designed_by=None, tools=[]))
    assert (made.name, made.description) == ("code-assist", "Writes code.")
    assert [(step.id, step.title) for step in made.steps] == [("setup", "Setup"), ("explore", "Explore")]
    assert "task" in made.steps[0].instruction, "what stands outside is told first"
    assert [(check.severity, check.instruction) for check in made.steps[0].checks] == [
        ("soft", "You MUST make a folder")
    ]
    assert made.edge_cases[0].when == "it fails"
    assert "{ $inputs.x}" in made.steps[1].instruction.replace("{$ ", "{ $"), "words of others are no expressions"


@pytest.mark.parametrize(
    ("body", "titles"),
    [
        ("Just do it well.", ["Just do it well."]),
        ("# A\n\n## Step 1: Look\nx\n\n## Step 2: Go\ny", ["Look", "Go"]),
        ("# A\n\n## Instructions\n\n1. Look\n2. Go\n\n## Notes\nbe kind", ["Look", "Go"]),
        ("# A\nRun:\n```\n## Steps\n```\nDo", ["Run:"]),
    ],
)
def test_steps_are_found_in_any_skill(body, titles):
    made = draft_of({}, body, known_as="a", designed_by=None, tools=["t"])
    assert [step["title"] for step in made["steps"]] == titles
    assert all(step["tools"] == ["t"] for step in made["steps"])
    assert ("be kind" in made["steps"][0]["instruction"]) is ("be kind" in body)


def test_nothing_is_no_skill(tmp_path):
    (tmp_path / "SKILL.md").write_text("---\nname: a\n---\n\n", encoding="utf-8")
    with pytest.raises(InvalidInput, match="nothing to do"):
        skill_folders.read(tmp_path, designed_by=None, tools=[])
    with pytest.raises(InvalidInput, match="cannot be read"):
        skill_folders.read(tmp_path / "gone.sop.md", designed_by=None, tools=[])
    (tmp_path / "SKILL.md").write_text("---\n- a\n---\nx", encoding="utf-8")
    with pytest.raises(InvalidInput, match="no list of fields"):
        skill_folders.read(tmp_path, designed_by=None, tools=[])
