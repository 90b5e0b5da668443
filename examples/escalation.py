"""An agent asks a person, is killed while it waits, and another process goes on with the answer.

python examples/escalation.py
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import agentmemo


def deploy(store: str) -> None:
    """What the agent does; it may be killed anywhere and started again."""
    with agentmemo.connect(store, agent="deployer") as agent, agent.run("deploy", "v42") as run:
        run.step("scan", lambda: print("agent: scanned") or "CVE-2026-1")
        answer = agent.escalate(
            severity="high",
            reason="Security vulnerability found in production",
            context={"cve": run.step("scan again", lambda: "CVE-2026-1"), "service": "api"},
            suggested_actions=["Rollback deploy", "Patch immediately", "Notify team"],
        )
        run.step("act", lambda: print(f"agent: {answer.by} chose {answer.choice}"))


def start(store: Path) -> subprocess.Popen[str]:
    # On its stderr it says where a person can answer.
    command = [sys.executable, __file__, str(store)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "plane.db"
        first = start(store)
        person = agentmemo.connect(store, person="ana")
        while not (waiting := list(person.inbox.list())):
            time.sleep(0.05)
        first.send_signal(signal.SIGKILL)
        print(first.communicate()[0].strip())
        print("the agent was killed while it waited")

        (asked,) = waiting
        print(f"ana: {asked.severity}: {asked.reason}; {[action.label for action in asked.suggested_actions]}")
        person.inbox.answer(asked.id, "choose", choice="rollback-deploy", comment="v41 was fine")

        print(start(store).communicate()[0].strip())
        (told,) = person.inbox.list(section="done")
        print(f"asked {told.occurrences} time, answer {person.inbox.get(told.id).waiters[0].state}")
        person.close()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        deploy(sys.argv[1])
        sys.stdout.flush()
        os._exit(0)
    main()
