"""Carries out the blocks of one page of docs, in order, and compares what they print with what the page shows.

    python run_page.py STEPS.json PAGE

A step is [kind, line, text, name]: `python` blocks share one namespace, `file` is written to the working directory
under its name, `console` is one command with the lines it should print.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

PRINTED = re.compile(r"^\s*print\(.*\)  # (?P<text>.+)$", re.MULTILINE)
KILLED = re.compile(r"(?P<program>.+) & sleep \d+; kill -9 \$!")
SECONDS = 300


def main(steps, page):
    namespace = {"__name__": "__main__"}
    for kind, line, text, name in json.loads(Path(steps).read_text(encoding="utf-8")):
        sys.stdout.write(f"-- {page}:{line}\n")
        if kind == "python":
            expected, printed = PRINTED.findall(text), io.StringIO()
            with contextlib.redirect_stdout(printed):
                exec(compile("\n" * line + text, page, "exec"), namespace)  # noqa: S102 - the page's code is what is tested
            said = printed.getvalue()
        elif kind == "file":
            Path(name).write_text(text, encoding="utf-8")
            continue
        else:
            command, *expected = text
            said = export(command) if command.startswith("export ") else run(command)
        sys.stdout.write(said)
        compare(expected, said.splitlines())


def run(command):
    if killed := KILLED.fullmatch(command):
        # A busy machine may take longer to begin than a reader's: the time counts from the first line that is printed.
        begun = "until [ -s printed ]; do sleep 0.05; done"
        command = f"{killed['program']} > printed & {begun}; sleep 1.5; kill -9 $!; cat printed"
    done = subprocess.run(
        ["bash", "-c", command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        timeout=SECONDS, check=False,
    )  # fmt: skip
    # 137 is a program that the page itself kills with signal 9.
    if done.returncode not in (0, 137):
        sys.exit(f"{command}\nended with {done.returncode}:\n{done.stdout}")
    return done.stdout


def export(command):
    """What a reader exports holds for the rest of the page."""
    told = subprocess.run(["bash", "-ec", f"{command}; env -0"], stdout=subprocess.PIPE, check=True, text=True).stdout
    os.environ.update(pair.partition("=")[::2] for pair in told.split("\0") if "=" in pair)
    return ""


def compare(expected, printed):
    """Each shown line must occur, in order; `...` stands for anything."""
    rest = iter(printed)
    for line in expected:
        if line.strip() == "...":
            continue
        pattern = ".*".join(map(re.escape, line.strip().split("...")))
        if not any(re.fullmatch(pattern, found.strip()) for found in rest):
            sys.exit(f"The page shows {line!r}, which was not printed there. Printed:\n" + "\n".join(printed))


if __name__ == "__main__":
    main(*sys.argv[1:])
