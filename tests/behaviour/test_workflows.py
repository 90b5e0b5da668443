"""Workflow documents: kept in versions, moved by evidence and by people, found by what is wanted."""

from __future__ import annotations

import pytest

from agentmemo import Conflict, Grant, InvalidInput, InvalidTransition, NotFound, PermissionDenied
from agentmemo.model.access import AGENT_DEFAULT, EVERYTHING
from agentmemo.model.workflow_rules import compile_document
from agentmemo.model.workflows import version_of

promise = pytest.mark.promise
STEPS = """1. Fetch PR diff
2. Review each file
   - style and bugs
3. Post the review"""
EDGE_CASES = """- If PR > 1000 lines, review file by file
- Empty diff: say that there is nothing to review"""
LONG = "Look at each line. " * 500


def create(agent, **changes):
    given = {"name": "code-review", "steps": STEPS, "edge_cases": EDGE_CASES, "designed_by": "opus-4"}
    return agent.workflows.create(**given | changes)


@pytest.fixture
def ana(surface):
    return surface.connect(person="ana")


@promise("workflow.article")
def test_the_call_of_the_article_makes_a_draft(agent):
    made = create(agent)
    assert (made.name, made.number, made.state, made.designed_by) == ("code-review", 1, "draft", "opus-4")
    assert (made.author, made.unproven, made.untrusted, made.versions) == ("agent:agent", True, False, 1)
    assert [step["id"] for step in made.document["steps"]] == ["fetch_pr_diff", "review_each_file", "post_the_review"]
    assert made.document["edge_cases"][0] == {
        "id": "pr_1000_lines", "when": "PR > 1000 lines", "then": "review file by file",
    }  # fmt: skip
    assert made.version == version_of(compile_document(made.document))
    assert any("triggers" in warning for warning in made.warnings)
    assert agent.workflows.get("code-review") == made


@promise("workflow.version")
def test_the_same_document_is_the_same_version(agent):
    first = create(agent)
    before = len(list(agent.audit.events()))
    assert create(agent) == first
    assert agent.workflows.add(first.document) == first
    assert len(list(agent.audit.events())) == before
    second = create(agent, steps=LONG)
    assert (second.number, second.versions) == (2, 2)
    assert create(agent).number == 1, "a version that is no longer the newest is found as well"


@promise("workflow.named")
def test_versions_are_named_in_three_ways(agent):
    first, second = create(agent), create(agent, steps=LONG, description="Reviews code.")
    assert agent.workflows.get("code-review").number == 2
    for version in (1, "1", first.version, first.version[:6]):
        assert agent.workflows.get("code-review", version=version).version == first.version
    assert agent.workflows.get("code-review", version="draft") == second
    assert second.document["steps"][0]["instruction"].startswith("Look at each line.")
    for missing in (3, "abcdef0123", "active"):
        with pytest.raises(NotFound):
            agent.workflows.get("code-review", version=missing)
    with pytest.raises(NotFound):
        agent.workflows.get("no-such-workflow")
    with pytest.raises(InvalidInput, match="is no version"):
        agent.workflows.get("code-review", version="newest")


@promise("workflow.named")
def test_lists_leave_documents_out(agent):
    for name in ("c", "a", "b"):
        create(agent, name=name)
    create(agent, name="a", steps="Another one")
    page = agent.workflows.list(limit=2)
    assert [(each.name, each.number, each.document) for each in page.items] == [("a", 2, None), ("b", 1, None)]
    assert [each.name for each in agent.workflows.list(limit=2, cursor=page.cursor).items] == ["c"]
    assert [each.number for each in agent.workflows.versions("a")] == [2, 1]
    assert len(list(agent.workflows.list(state="active"))) == 0
    assert [each.name for each in agent.workflows.list(state="draft")] == ["a", "b", "c"]


@promise("workflow.move")
def test_people_move_versions_and_agents_do_not(surface, agent, ana):
    made = create(agent)
    with pytest.raises(PermissionDenied):
        surface.connect("mover", grants=[AGENT_DEFAULT]).workflows.promote("code-review", 1, "shadow")
    with pytest.raises(PermissionDenied, match="Only a person"):
        surface.connect("strong", grants=[EVERYTHING]).workflows.promote("code-review", 1, "shadow")
    moved = ana.workflows.promote("code-review", made.version[:8], "shadow", reason="to see it")
    assert (moved.state, moved.state_changed_at) == ("shadow", surface.plane.clock.now_us())
    assert ana.workflows.promote("code-review", 1, "shadow") == moved, "where it is already"
    assert ana.workflows.demote("code-review", 1).state == "retired"
    with pytest.raises(InvalidTransition) as error:
        ana.workflows.promote("code-review", 1, "active")
    assert error.value.details["allowed"] == ["draft"]
    assert ana.workflows.demote("code-review", 1, "draft").state == "draft"


@promise("workflow.evidence")
def test_nothing_becomes_active_without_evidence(agent, ana):
    create(agent)
    for to in ("canary", "active"):
        with pytest.raises(Conflict, match="Nothing has shown"):
            ana.workflows.promote("code-review", 1, to)
    assert agent.workflows.get("code-review").state == "draft"


@promise("workflow.evidence")
def test_one_version_is_active(agent, ana, monkeypatch):
    monkeypatch.setattr("agentmemo.engine.promotion.check", lambda *_: None)
    create(agent)
    ana.workflows.promote("code-review", 1)
    create(agent, steps="Something else")
    assert agent.workflows.get("code-review").number == 1, "the active one is meant, not the newest"
    ana.workflows.promote("code-review", 2)
    assert [(each.number, each.state) for each in agent.workflows.versions("code-review")] == [
        (2, "active"), (1, "retired"),
    ]  # fmt: skip
    assert not agent.workflows.get("code-review").unproven
    events = list(agent.audit.events(type="workflow.move"))
    assert [(each.subject["from"], each.subject["to"]) for each in events] == [
        ("draft", "active"), ("active", "retired"), ("draft", "active"),
    ]  # fmt: skip


@promise("workflow.search")
def test_workflows_are_found_by_what_is_wanted(agent, ana):
    create(agent, triggers=["look over my pull request", "is this change good?"])
    create(agent, name="refund", triggers=["give the customer the money back", "refund an order"])
    create(agent, name="weather", description="Tells what the weather will be like.")
    found = list(agent.workflows.search("Could you review the PULL REQUESTS please"))
    assert found[0].workflow.name == "code-review"
    assert found[0].score > 0
    assert [each.workflow.name for each in agent.workflows.search("refunding orders", limit=1)] == ["refund"]
    assert list(agent.workflows.search("xyzzy")) == []
    with pytest.raises(InvalidInput, match="no word"):
        agent.workflows.search("?!")
    ana.workflows.demote("refund", 1)
    assert "refund" not in [each.workflow.name for each in agent.workflows.search("refund an order")]


@promise("workflow.search")
def test_search_stays_in_its_workspace(surface):
    create(surface.connect("a", workspace="one"), triggers=["refund"])
    assert list(surface.connect("b", workspace="two").workflows.search("refund")) == []


@promise("workflow.diff")
def test_diff_says_which_steps_keep_their_evidence(agent):
    create(agent)
    create(agent, steps=STEPS.replace("Post the review", "Post it as a comment"), description="Reviews.")
    found = agent.workflows.diff("code-review", 1, 2)
    assert [(each.id, each.change) for each in found.steps] == [
        ("post_it_as_a", "added"), ("post_the_review", "removed"),
    ]  # fmt: skip
    assert found.kept == ["fetch_pr_diff", "review_each_file"]
    assert [each.field for each in found.fields] == ["description"]
    assert "+ step post_it_as_a" in found.text


@promise("workflow.checked")
@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"name": "Code Review"}, "$.name"),
        ({"steps": ""}, "$.steps"),
        ({"steps": [{"id": "a", "kind": "tool"}]}, "$.steps[0].tool"),
        ({"designed_by": {}}, "$.designed_by"),
        ({"inputs": {"type": 5}}, "$.inputs"),
        ({"steps": [{"id": "a", "instruction": "x", "when": "inputs.n >"}]}, "step a: when"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_path(agent, changes, path):
    with pytest.raises(InvalidInput) as error:
        create(agent, **changes)
    assert error.value.details["path"] == path
    assert error.value.next_call
    assert list(agent.workflows.list()) == []


@promise("access.deny")
def test_grants(surface, agent):
    create(agent)
    reader = surface.connect("reader", grants=[Grant(permissions=("workflows:read",))])
    assert reader.workflows.get("code-review").number == 1
    with pytest.raises(PermissionDenied):
        create(reader, name="other")


@promise("workflow.import")
def test_skills_come_in_untrusted_and_go_out_whole(surface, agent, ana, tmp_path):
    (tmp_path / "greet").mkdir()
    (tmp_path / "greet" / "SKILL.md").write_text(
        "---\nname: greet\ndescription: Greets people.\nallowed-tools: Bash\n---\n"
        "# Greet\n\n## Steps\n1. Say hello. You MUST smile {$inputs.secret}.\n2. Wait.\n\n## Edge cases\n- Nobody: go\n"
    )
    made = agent.workflows.import_skill(tmp_path / "greet")
    assert (made.name, made.state, made.untrusted, made.designed_by) == ("greet", "draft", True, "unknown")
    assert made.document.get("tools") is None
    assert made.document["steps"][0]["checks"][0]["severity"] == "soft"
    assert "Bash" in made.changes
    folder = agent.workflows.export_skill("greet", tmp_path / "out")
    assert folder.name == "greet"
    assert surface.connect("b", workspace="two").workflows.import_skill(folder).version == made.version
    assert not ana.workflows.promote("greet", 1, "shadow").untrusted


@promise("workflow.checked")
def test_the_schema_is_served(agent):
    assert agent.workflows.schema()["title"] == "AgentMemo workflow document"
