"""Several machines, one PostgreSQL: tasks are started anywhere and done anywhere, each once.

export AGENTMEMO_URL=postgresql://agentmemo@db.example/agentmemo
python examples/shared_database.py work      # on as many machines as you like; kill some
python examples/shared_database.py start 20  # on any of them
"""

import os
import socket
import sys
import time

import agentmemo


def register(agent: agentmemo.Connection) -> None:
    @agent.task("summarise", version="1")
    def summarise(run: agentmemo.Run, chapter: int) -> dict[str, str]:
        # Whoever takes this over finds the outline in the database and only writes the text.
        outline = run.step("outline", outline_of, chapter)
        return {"text": run.step("text", text_of, outline), "by": me()}


def outline_of(chapter: int) -> str:
    time.sleep(0.3)  # stands for a slow and expensive model call
    return f"outline of chapter {chapter}"


def text_of(outline: str) -> str:
    time.sleep(0.3)
    return f"text after the {outline}"


def me() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"


def work(agent: agentmemo.Connection) -> None:
    register(agent)
    print("working", flush=True)
    agent.work(concurrency=2)


def start(agent: agentmemo.Connection, chapters: int) -> None:
    runs = [
        agent.start("summarise", {"chapter": chapter}, key=f"chapter-{chapter}") for chapter in range(1, chapters + 1)
    ]
    print("started", len(runs), flush=True)
    for run in runs:
        while (found := agent.runs.get(run.id)).state not in {"completed", "failed"}:
            time.sleep(0.2)
        print(
            f"chapter {run.inputs['chapter']}: {found.state}, {found.steps} steps, by {found.result['by']}", flush=True
        )


def main() -> None:
    with agentmemo.connect(agent="librarian") as agent:
        if sys.argv[1:2] == ["work"]:
            work(agent)
        else:
            start(agent, int(sys.argv[2]) if len(sys.argv) > 2 else 20)


if __name__ == "__main__":
    main()
