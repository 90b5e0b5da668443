"""A code review that a strong model designed and a cheap one does, over a real Git diff.

python examples/code_review.py

With a model in models.toml, or in AGENTMEMO_MODELS, the plane does each step with it. Without one it says what to do
about that, and this program does the steps itself: each is handed in, checked and kept.
"""

import subprocess
import tempfile
from pathlib import Path
from typing import Any

import agentmemo

BEFORE, AFTER = "def add(a, b):\n    return a - b\n", "def add(a, b):\n    return a + b\n"
DIFF = {"diff": "$steps.fetch.output"}
SAFETY, VERDICT = {"enum": ["clean", "suspicious"]}, {"enum": ["approve", "request changes"]}
CASES = [
    ("-    return a - b\n+    return a + b", "clean", "approve"),
    ("-    return total\n+    return eval(request.body)", "suspicious", "request changes"),
    ("-password = read()\n+password = 'hunter2'", "suspicious", "request changes"),
    ("-    count = 0\n+    count = 1", "clean", "approve"),
]


def make_repository(folder: str) -> None:
    """A repository with a pull request to review."""

    def git(*words: str) -> None:
        identity = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org"]
        subprocess.run(["git", "-C", folder, *identity, *words], check=True, capture_output=True)

    git("init", "--quiet", "--initial-branch=main")
    for branch, text in (("main", BEFORE), ("pr-123", AFTER)):
        if branch != "main":
            git("switch", "--quiet", "--create", branch)
        Path(folder, "sums.py").write_text(text, encoding="utf-8")
        git("add", "--all")
        git("commit", "--quiet", "--message", branch)


def design(agent: agentmemo.Connection) -> None:
    workflow = agent.workflows.create(
        name="code-review",
        steps="""
        1. Fetch PR diff from GitHub
        2. Check for security patterns (see checklist)
        3. Verify test coverage increased
        4. Post review comment
        """,
        edge_cases="""
        - If PR > 1000 lines, review in chunks
        - Skip for dependabot PRs
        """,
        designed_by="opus-4",
    )
    # Words are done by models. What a tool does better becomes one in the next version, and worked cases are what lets
    # a small model do the rest.
    agent.workflows.create(
        name="code-review",
        steps=[
            {"id": "fetch", "kind": "tool", "tool": "fetch_diff", "effect": "read",
             "input": {"pr_number": "$inputs.pr_number"}},
            {"id": "security", "instruction": "Check for security patterns", "input": DIFF, "output_schema": SAFETY},
            {"id": "verdict", "instruction": "Give the verdict of the review", "input": DIFF, "output_schema": VERDICT},
        ],
        examples=[
            {"step": step, "input": {"diff": diff}, "output": output}
            for diff, safety, verdict in CASES
            for step, output in (("security", safety), ("verdict", verdict))
        ],
        edge_cases=workflow.document["edge_cases"] if workflow.document else None,
        output={"security": "$steps.security.output", "verdict": "$steps.verdict.output"},
        designed_by="opus-4",
        parent=workflow.version,
        changes="The diff is fetched by a tool; answers are labels, with worked cases.",
    )  # fmt: skip


def do_it_here(agent: agentmemo.Connection, tools: dict[str, Any]) -> Any:
    """The other way out: whoever runs this program does each `next_step`, and hands in what came of it."""
    now = agent.workflows.start("code-review", {"pr_number": 123})
    while (step := now.next_step) is not None:
        output = tools[step.tool](**step.input) if step.tool else step.output_schema["enum"][0]
        now = agent.workflows.submit(now, step.step, output)
    return now


def main() -> None:
    with agentmemo.connect(agent="reviewer") as agent, tempfile.TemporaryDirectory() as folder:
        make_repository(folder)

        @agent.tool(effect="read")
        def fetch_diff(pr_number: int) -> str:
            """What a pull request changes."""
            command = ["git", "-C", folder, "diff", f"main...pr-{pr_number}"]
            return subprocess.run(command, check=True, capture_output=True, text=True).stdout

        design(agent)
        try:
            done = agent.workflows.execute("code-review", pr_number=123)
        except agentmemo.Unavailable as error:
            print(error)
            done = do_it_here(agent, {"fetch_diff": fetch_diff})
        print("result:", done.result)
        for step in agent.runs.steps(done.id):
            print(f"{step.name}: {step.state}")
        print("paid for:", len(list(agent.ledger.list(run=done.id))), "model calls")


if __name__ == "__main__":
    main()
