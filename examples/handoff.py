"""One agent finds, another mends: work that is handed over, lost with its holder, taken over, and answered.

python examples/handoff.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import agentmemo


def mend(task: agentmemo.Handoff, run: agentmemo.Run) -> dict[str, str]:
    place = run.step("find", lambda: task.context["file"])
    return {"mended": run.step("mend", lambda: f"{place}: patched")}


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "plane.db"
        analyst = agentmemo.connect(store, agent="analyst")
        task = analyst.handoff.create(
            to_agent="engineer",
            goal="Mend what the analysis found",
            context={"file": "auth.py", "line": 12},
            acceptance={"schema": {"type": "object", "required": ["mended"]}},
        )
        print(f"analyst: handed over {task.id[:4]}..., {task.state}")

        # The first engineer claims it and is gone: nobody has to notice.
        first = agentmemo.connect(store, agent="engineer")
        first.handoff.claim()
        first.close()

        second = agentmemo.connect(store, agent="engineer")
        second.handoff.work(mend, until_idle=True)

        done = analyst.handoff.result(task.id, wait_seconds=5)
        print(f"analyst: {done.state} by {done.holder} at epoch {done.epoch}: {done.result}")
        second.close()
        analyst.close()


if __name__ == "__main__":
    main()
