from __future__ import annotations

import json

import pytest
from skills_ref import validate

DOCUMENT = {
    "name": "review",
    "designed_by": "opus-4",
    "steps": "1. Fetch it\n2. Review it",
    "edge_cases": "If empty, stop",
}
YAML = """# Comments may stand here.
name: review
designed_by: opus-4
steps: |
  1. Fetch it
  2. Review it
edge_cases:
  - If empty, stop
"""


@pytest.fixture
def file(tmp_path):
    found = tmp_path / "review.json"
    found.write_text(json.dumps(DOCUMENT), encoding="utf-8")
    return found


def test_a_document_is_kept_read_and_compared(cli, file, tmp_path):
    made = cli("workflow", "create", file)
    assert made.out.startswith("review  draft, number 1, version ")
    assert "- No description" in made.err
    as_yaml = tmp_path / "review.yaml"
    as_yaml.write_text(YAML, encoding="utf-8")
    first = cli("workflow", "create", as_yaml, "--json").json
    assert (first["number"], first["versions"]) == (1, 1), "the same document in another form"
    assert cli("workflow", "check", as_yaml, "--json").json["version"] == first["version"]
    assert cli("workflow", "check", file).out.startswith(f"review  {first['version']}\n- No description")
    shown = cli("workflow", "get", "review")
    assert json.loads(shown.out) == first["document"]
    assert cli("workflow", "create", "-", stdin=cli("workflow", "get", "review", "--yaml").out.encode()).out == made.out
    changed = json.dumps(DOCUMENT | {"steps": "1. Fetch it\n2. Review it well"}).encode()
    assert cli("workflow", "create", "-", "--json", stdin=changed).json["number"] == 2
    assert "+ step review_it_well  added" in cli("workflow", "diff", "review", 1, 2).out
    assert cli("workflow", "diff", "review", 1, 2, "--json").json["kept"] == ["fetch_it"]
    assert [each["number"] for each in cli("workflow", "versions", "review", "--json").json["items"]] == [2, 1]
    assert "review" in cli("workflow", "list", "--state", "draft").out
    assert "review" in cli("workflow", "search", "reviewing").out
    assert cli("workflow", "search", "xyzzy").err == "Nothing found.\n"
    assert cli("workflow", "schema").out.startswith("{")


def test_people_move_versions(cli, file):
    cli("workflow", "create", file)
    assert cli("workflow", "promote", "review", 1, "--to", "shadow").out.startswith("review  shadow")
    refused = cli("workflow", "promote", "review", 1, "--json")
    assert (refused.status, refused.problem["code"]) == (4, "invalid_transition")
    assert cli("workflow", "demote", "review", 1, "--reason", "worse").out.startswith("review  retired")
    assert cli("workflow", "demote", "review", 1, "--to", "draft", "--agent", "worker").status == 5


def test_skills_come_and_go(cli, file, tmp_path):
    made = cli("workflow", "create", file, "--json").json
    folder = cli("workflow", "export", "review", tmp_path, "--json").json["folder"]
    assert validate(tmp_path / "review") == []
    assert cli("workflow", "import", folder, "--json").json["version"] == made["version"]
    sop = tmp_path / "greet.sop.md"
    sop.write_text("# Greet\n\n## Overview\nGreets.\n\n## Steps\n\n### 1. Greet\nYou MUST smile.\n", encoding="utf-8")
    greeting = cli("workflow", "import", sop, "--tool", "wave", "--designed-by", "person:ana", "--json").json
    assert (greeting["name"], greeting["untrusted"], greeting["designed_by"]) == ("greet", True, "person:ana")
    assert greeting["document"]["tools"] == ["wave"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'{"name": 5}', "it does not say who designed it"),
        (b"name: a\nname: b\n", "comes twice"),
        (b"name: &x a\n", "anchors and aliases"),
        (b'{"name"', "is not JSON"),
    ],
)
def test_what_cannot_be_read_is_refused(cli, content, said):
    refused = cli("workflow", "check", "-", stdin=content)
    assert refused.status == 2
    assert said in refused.err
