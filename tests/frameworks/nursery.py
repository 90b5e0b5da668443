"""Starts one program again and again, each time as a process of its own that has imported its framework already.

    python nursery.py PROGRAM MODULE...

Importing a framework takes seconds, and a process that is killed at every boundary starts often. So this imports once
and forks for each order, a line of JSON on standard input: {"environment", "output", "told"}. The program's process id
and exit code are written to the named pipe `told`, a line each. Nothing of AgentMemo has been opened before the fork.

It returns once it is ready, and goes on in the background until nobody can send orders any more.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import runpy
import signal
import sys
from pathlib import Path

from agentmemo import crashpoints


def main(program, *modules):
    sys.path.insert(0, str(Path(program).parent))
    for module in modules:
        importlib.import_module(module)
    gc.freeze()  # so that no child copies what none of them changes
    if os.fork():
        return
    os.setsid()
    # What it forks is waited for by that process's own guardian.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in sys.stdin:
        if os.fork() == 0:
            guard(program, json.loads(line))
    os.killpg(0, signal.SIGKILL)  # nobody is left to end what still runs


def guard(program, order):
    """Never returns: it is the process that waits for the program and tells how it ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    child = os.fork()
    if child == 0:
        perform(program, order)
    with open(order["told"], "w", encoding="ascii") as told:  # noqa: PTH123 - opened for a pipe's sake
        told.write(f"{child}\n")
        told.flush()
        _, status = os.waitpid(child, 0)
        told.write(f"{os.waitstatus_to_exitcode(status)}\n")
    os._exit(0)


def perform(program, order):
    """As `python PROGRAM` would, with this environment and output."""
    os.environ.update(order["environment"])
    output = os.open(order["output"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for ours, theirs in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(ours, theirs)
    # Read when this was imported, and from an environment that was not this one.
    crashpoints._point, crashpoints._left = crashpoints._armed()
    sys.argv = [program]
    code = 1
    try:
        runpy.run_path(program, run_name="__main__")
        code = 0
    except SystemExit as ending:
        code = ending.code if isinstance(ending.code, int) else 1
    except BaseException:  # noqa: BLE001 - as the interpreter would show it
        sys.excepthook(*sys.exc_info())
    sys.stdout.flush()
    os._exit(code)


if __name__ == "__main__":
    main(*sys.argv[1:])
