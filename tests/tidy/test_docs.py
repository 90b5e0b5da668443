"""What the docs show works: a page with `<!-- run -->` is carried out from top to bottom, and its outputs compared.

```python blocks share one namespace, and `print(...)  # text` must print that text. A ```python file=name.py block is
written to that file. In ```console blocks every `$ command` is run in one folder with one data directory; the lines
after it must be printed, in order, where `...` stands for anything. `<!-- run with a plane -->` runs the page beside
`agentmemo up`, `<!-- run with a database -->` beside a PostgreSQL. What cannot run here says so: ```console no-run.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from forked import completed

from agentmemo.testing.ports import ReservedPort
from agentmemo.testing.postgres import PostgresServer

ROOT = Path(__file__).resolve().parents[2]
RUNNER = Path(__file__).with_name("run_page.py")
PAGES = [page for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))] if page.exists()]
PROSE = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
FENCE = re.compile(r"^```(?P<kind>python|console)(?P<rest>[^\n]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?<!!)\[[^\]]*\]\((?P<target>[^)\s]+)\)")
MARKS = ("<!-- run -->", "<!-- run with a plane -->", "<!-- run with a database -->")
DOCUMENTED_ADDRESS = "127.0.0.1:7707"
DOCUMENTED_DATABASE = "postgresql://agentmemo@127.0.0.1:5432/agentmemo"
# Only so that what hangs ends: on a busy machine a page of many commands takes its time.
SECONDS = 600
START_SECONDS = 180


def blocks(page):
    text = page.read_text(encoding="utf-8")
    for match in FENCE.finditer(text):
        if "no-run" not in match["rest"]:
            yield match["kind"], text.count("\n", 0, match.start()) + 1, match["text"], match["rest"]


def steps(page):
    """What the page does, in order: (python, file or console; line; text; file name)."""
    for kind, line, text, rest in blocks(page):
        name = re.search(r"file=(\S+)", rest)
        if kind == "python":
            yield "file" if name else kind, line, text, name[1] if name else ""
        else:
            yield from ((kind, line, [command, *shown], "") for command, shown in commands(text))


def commands(text):
    """Each `$ command`, with continued lines, and the output that is shown after it."""
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        command = re.match(r"(?:[^\n]*\\\n)*[^\n]*\n", part)[0]
        yield command.strip(), [line for line in part[len(command) :].splitlines() if line.strip()]


@pytest.fixture
def environment(tmp_path):
    """A home of its own, where the data directory is where it is for a reader."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("AGENTMEMO_", "XDG_", "VIRTUAL_ENV"))
    }
    return kept | {
        "HOME": str(tmp_path),
        "USER": "you",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }


@pytest.fixture
def address():
    with ReservedPort() as port:
        yield f"127.0.0.1:{port.number}"


@pytest.fixture
def plane(tmp_path, environment, address):
    """`agentmemo up`: its address."""
    log = tmp_path / "up.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [Path(sys.executable).with_name("agentmemo"), "up", "--port", address.rpartition(":")[2]],
            env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        wait_until_up(process, address, log)
        yield address
    finally:
        process.terminate()
        process.wait(timeout=START_SECONDS)


@pytest.fixture
def database():
    """A PostgreSQL as its defaults are: its address."""
    with PostgresServer() as server:
        yield server.url()


def wait_until_up(process, address, log):
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"http://{address}/healthz", timeout=1):
                return
        except OSError:
            time.sleep(0.05)
    pytest.fail(log.read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_page_runs_or_says_why_not(page, tmp_path, environment, request):
    text = page.read_text(encoding="utf-8")
    if not any(mark in text for mark in MARKS):
        unproven = [f"{page.name}:{line}" for _, line, *_ in blocks(page)]
        assert unproven == [], "mark the page `<!-- run -->`, or these blocks `no-run`"
        return
    script, here = tmp_path / "steps.json", tmp_path / "here"
    here.mkdir()
    content = json.dumps(list(steps(page)))
    if MARKS[1] in text:
        content = content.replace(DOCUMENTED_ADDRESS, request.getfixturevalue("plane"))
    if MARKS[2] in text:
        content = content.replace(DOCUMENTED_DATABASE, request.getfixturevalue("database"))
    script.write_text(content, encoding="utf-8")
    result = completed([RUNNER, script, page.name], environment, here, seconds=SECONDS)
    assert result.returncode == 0, (result.stdout + result.stderr).decode()


@pytest.mark.parametrize("shown", ["42", "wrong"])
def test_a_wrong_output_is_noticed(tmp_path, shown):
    script = tmp_path / "steps.json"
    script.write_text(json.dumps([["python", 1, f"print(6 * 7)  # {shown}\n", ""]]), encoding="utf-8")
    result = subprocess.run([sys.executable, RUNNER, script, "page"], capture_output=True, text=True, check=False)
    assert (result.returncode == 0) is (shown == "42")


@pytest.mark.parametrize("page", PROSE, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page):
    broken = []
    for match in LINK.finditer(page.read_text(encoding="utf-8")):
        path, _, heading = match["target"].partition("#")
        if "://" in path or path.startswith("mailto:"):
            continue
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (heading and heading not in headings(target)):
            broken.append(match["target"])
    assert broken == []


def headings(page):
    """The anchors of a page's headings, as Markdown renderers name them."""
    found = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in found}


def test_guarantees_name_tests_that_exist():
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", (ROOT / "docs/guarantees.md").read_text(encoding="utf-8"))
    assert len(named) >= 7, "each promise is shown by a test"
    missing = [
        f"{path}::{name}"
        for path, name in named
        if not (ROOT / path).exists() or f"def {name}(" not in (ROOT / path).read_text(encoding="utf-8")
    ]
    assert missing == []


def test_architecture_names_what_exists(python):
    """Every `path.py` and every `path.py: name` of ARCHITECTURE.md is in the code, so that the map stays true."""
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    sources = {file.name: file.text for file in python} | {
        file.relative_to(ROOT).as_posix(): file.read_text(encoding="utf-8")
        for file in (ROOT / "src").rglob("*")
        if file.is_file() and file.suffix in {".sql", ".py"}
    }
    missing = []
    for path, name in re.findall(r"`([\w/]+\.(?:py|sql))(?:: (\w[\w.]*))?`", text):
        found = [content for known, content in sources.items() if known == path or known.endswith(f"/{path}")]
        if not any(not name or re.search(rf"\b{re.escape(name.rpartition('.')[2])}\b", content) for content in found):
            missing.append(f"{path}: {name}")
    assert missing == []


def test_architecture_is_short():
    assert len((ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8").splitlines()) < 150
