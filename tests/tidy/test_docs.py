"""What the docs show works: a page with `<!-- run -->` is carried out from top to bottom.

Its ```python blocks share one namespace, the `$ agentmemo` lines of its ```console blocks one data directory.
A block that cannot run here says so: ```python no-run.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [page for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))] if page.exists()]
FENCE = re.compile(r"^```(?P<kind>python|console)(?P<rest>[^\n]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
SECONDS = 120

DRIVER = """
import json, subprocess, sys
namespace = {"__name__": "__main__"}
for kind, line, text in json.load(open(sys.argv[1], encoding="utf-8")):
    print(f"-- line {line}", flush=True)
    if kind == "python":
        exec(compile("\\n" * line + text, sys.argv[2], "exec"), namespace)
    else:
        subprocess.run(text, check=True, shell=True)
"""


def blocks(page):
    text = page.read_text(encoding="utf-8")
    for match in FENCE.finditer(text):
        if "no-run" not in match["rest"]:
            yield match["kind"], text.count("\n", 0, match.start()) + 1, match["text"]


def steps(page):
    """What the page does, in order: (python or console, line, text)."""
    for kind, line, text in blocks(page):
        if kind == "python":
            yield kind, line, text
        else:
            commands = re.findall(r"^\$ (agentmemo(?:[^\n]*\\\n)*[^\n]*)$", text, re.MULTILINE)
            yield from (("console", line, command) for command in commands)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_page_runs_or_says_why_not(page, tmp_path):
    if "<!-- run -->" not in page.read_text(encoding="utf-8"):
        unproven = [f"{page.name}:{line}" for kind, line, _ in blocks(page) if kind == "python"]
        assert unproven == [], "mark the page `<!-- run -->`, or these blocks `no-run`"
        return
    script, driver, here = tmp_path / "steps.json", tmp_path / "driver.py", tmp_path / "here"
    here.mkdir()
    script.write_text(json.dumps(list(steps(page))), encoding="utf-8")
    driver.write_text(DRIVER, encoding="utf-8")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AGENTMEMO_")} | {
        "AGENTMEMO_DATA": str(tmp_path / "data"),
        "HOME": str(tmp_path),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    result = subprocess.run(
        [sys.executable, driver, script, page], cwd=here, env=environment, timeout=SECONDS, check=False,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout
