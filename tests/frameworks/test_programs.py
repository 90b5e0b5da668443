"""The programs of examples/frameworks as a reader starts them, and the page that shows how."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess

from relays import FOLDER, STEPS

ROOT = FOLDER.parents[1]
PAGE = FOLDER / "README.md"
SECONDS = 600


def test_page_runs(frameworks_python):
    text = PAGE.read_text(encoding="utf-8")
    ((command, shown),) = re.findall(r"^```console\n\$ (.+?)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    environment = os.environ | {"PATH": f"{frameworks_python.parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-c", command], cwd=ROOT, env=environment, timeout=SECONDS, check=False,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    printed = iter(done.stdout.splitlines())
    missing = [line for line in filter(None, shown.splitlines()) if line != "..." and line not in printed]
    assert missing == [], f"the page shows it, but it was not printed there:\n{done.stdout}"


def test_every_program_is_told_of_and_tested():
    programs = {path.stem for path in FOLDER.glob("*.py")}
    assert programs == {*STEPS, "relay"}
    page = PAGE.read_text(encoding="utf-8")
    links = re.findall(r"\]\((\S+?)\)", page)
    assert {f"{name}.py" for name in programs} <= set(links)
    assert [link for link in links if not (FOLDER / link).exists()] == []


def test_no_framework_in_the_development_environment():
    """Their pins would decide about ours."""
    frameworks = ("langgraph", "langchain_core", "agents", "pydantic_ai")
    assert [name for name in frameworks if importlib.util.find_spec(name)] == []
