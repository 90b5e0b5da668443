"""A workflow executed by a process that may be killed anywhere: `python execute.py STORE SIDE`.

The model is a function that says what it is asked; each of its calls, and each effect, is noted beside the store.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import agentmemo
from agentmemo.testing.models import ScriptedModels

DOCUMENT = {
    "steps": [
        {"id": "fetch", "kind": "tool", "tool": "fetch", "effect": "read", "input": {"number": "$inputs.number"}},
        {"id": "look", "instruction": "Look at {$steps.fetch.output}.", "attempts": 2},
        {"id": "post", "kind": "tool", "tool": "post", "effect": "write", "in_doubt": "retry",
         "input": {"text": "$steps.look.output"}},
    ],
    "output": {"posted": "$steps.post.output", "said": "$steps.look.output"},
}  # fmt: skip
KEY = "pr-7"


def main() -> None:
    store, side = sys.argv[1:]
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    agent = agentmemo.connect(store, agent="executor")

    def note(what: str) -> None:
        with Path(side).open("a", encoding="utf-8") as notes:
            notes.write(f"{what}\n")
            notes.flush()
            os.fsync(notes.fileno())

    def fetch(number: int) -> str:
        note("fetch")
        return f"diff {number}"

    def post(text: str, idempotency_key: str) -> str:
        note(f"post {idempotency_key}")
        return f"posted {text}"

    agent.workflows.register(fetch, "fetch", "read")
    agent.workflows.register(post, "post", "write")
    agent.workflows.use(ScriptedModels({"only": lambda step: note("asked") or step.instruction}))
    agent.workflows.create(name="review", designed_by="m", **DOCUMENT)
    started = agent.workflows.open("review", {"number": 7}, key=KEY)
    agent.workflows.drive(started)
    agent.close()


if __name__ == "__main__":
    main()
