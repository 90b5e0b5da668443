"""Hand work from LangGraph to the OpenAI Agents SDK to Pydantic AI and back: three processes on one SQLite file.

python examples/frameworks/relay.py [--data FOLDER]

With AGENTMEMO_URL set, the same goes over a plane or a PostgreSQL.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import agentmemo

HERE = Path(__file__).resolve().parent
SECONDS = 120


def run_all() -> None:
    """The engineer and the reviewer stay until the researcher has its answer."""
    names = ("engineer", "reviewer", "researcher")
    programs = {name: subprocess.Popen([sys.executable, HERE / f"{name}.py"]) for name in names}
    deadline = time.monotonic() + SECONDS
    try:
        while programs["researcher"].poll() is None:
            ended = [name for name, program in programs.items() if program.poll()]
            if ended or time.monotonic() > deadline:
                sys.exit(f"{' and '.join(ended)} failed" if ended else f"no result within {SECONDS} s")
            time.sleep(0.05)
        if programs["researcher"].returncode:
            sys.exit("researcher failed")
    finally:
        for program in programs.values():
            program.terminate()
        for program in programs.values():
            program.wait()


def show() -> None:
    with agentmemo.connect(agent="relay") as agent:
        run = agent.runs.find("analysis", "case-1")
        first = next(each for each in agent.handoff.list() if each.key == "case-1")
        print("\nlineage:")
        for handoff in agent.handoff.lineage(first.id):
            sender, receiver = handoff.from_agent.removeprefix("agent:"), handoff.to_agent
            print(f"  {'  ' * handoff.hops}{sender} -> {receiver}: {handoff.state}. {handoff.goal}")
        print("\nresult:", run.result["conclusion"])
        print(run.result["repair"]["source"], end="")
        print("reviewed:", *run.result["repair"]["review"]["remarks"])
        print("the trail is intact:", agent.audit.verify().intact)


def main() -> None:
    parser = argparse.ArgumentParser(description="Hand work through three agents of three frameworks.")
    parser.add_argument("--data", type=Path, help="where the store is kept (default: a folder that is removed)")
    given = parser.parse_args().data
    with tempfile.TemporaryDirectory() as folder:
        os.environ["AGENTMEMO_DATA"] = str(given or folder)
        run_all()
        show()


if __name__ == "__main__":
    main()
