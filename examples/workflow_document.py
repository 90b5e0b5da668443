"""A workflow is written down in plain words, found by what somebody wants, changed, and taken along as a skill.

python examples/workflow_document.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import agentmemo

STEPS = """
1. Fetch PR diff
2. Review each file
   - style and bugs
3. Post the review
"""
EDGE_CASES = """
- If PR > 1000 lines, review file by file
- Empty diff: say that there is nothing to review
"""


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, agentmemo.connect() as agent:
        first = agent.workflows.create(
            name="pull-request-review",
            steps=STEPS,
            edge_cases=EDGE_CASES,
            designed_by="opus-4",
            description="Reviews a pull request.",
            triggers=["review my pull request", "is this change good?"],
        )
        print(f"{first.name} {first.number} is a {first.state}")

        found = agent.workflows.search("could somebody review this pull request")
        print(f"found: {found.items[0].workflow.name}")

        document = dict(first.document or {})
        document["steps"] = [*document["steps"][:2], {"kind": "tool", "tool": "post_comment", "effect": "write"}]
        agent.workflows.add(document | {"parent": first.version, "changes": "Posting is no work for a model."})
        print(agent.workflows.diff("pull-request-review", 1, 2).text.partition("\n")[2])

        skill = agent.workflows.export_skill("pull-request-review", Path(folder) / "skills", version=1)
        again = agent.workflows.import_skill(skill)
        print(f"{skill.name}/SKILL.md brings number {again.number} back")


if __name__ == "__main__":
    main()
