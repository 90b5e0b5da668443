"""Programs that are started hundreds of times, each in a process of its own that has imported everything already.

What imports is one process without threads or stores, and each program is forked from it: loading the interpreter and
the package takes longer than most of them live.
"""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

from agentmemo import crashpoints

# What connecting, serving and the command line import when they are first used.
MODULES = ["agentmemo.cli.main", "agentmemo.cli.up", "agentmemo.cli.options", "agentmemo.cli.verbs", "cyclopts"]
MODULES += ["agentmemo.embedded", "agentmemo.remote", "agentmemo.executor.configured", "agentmemo.store.postgres"]
MODULES += ["agentmemo.server.serve", "agentmemo.console.app", "rich.console"]
MODULES += [
    f"agentmemo.client._sync.{part}" for part in ("buffer", "escalations", "guards", "handoffs", "ledger", "run")
]
MODULES += [f"agentmemo.client._sync.{part}" for part in ("audit", "policies", "reports", "state", "workflows")]

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(MODULES)


class Forked:
    """`python WORDS...`, as `subprocess.Popen` would start it and with what of its face is in use.

    WORDS are a program's path, or `-m` and a module, and arguments; `errors` is the file of its standard error.
    """

    def __init__(self, words, environment, errors, folder=None):
        input_, given = os.pipe()
        said, output = os.pipe()
        self.stdin, self.stdout = os.fdopen(given, "wb"), os.fdopen(said, "rb")
        ends = [Connection(input_), Connection(output), Connection(os.dup(errors.fileno()))]
        self._process = _context.Process(target=_perform, args=(ends, [*map(str, words)], dict(environment), folder))
        self._process.start()
        for end in ends:
            end.close()

    @property
    def pid(self):
        return self._process.pid

    def poll(self):
        """Its exit code, a signal's number below zero; None while it lives."""
        return self._process.exitcode

    def wait(self, seconds=None):
        self._process.join(seconds)
        if self.poll() is None:
            raise subprocess.TimeoutExpired(self._process.name, seconds)
        return self.poll()

    def send_signal(self, number):
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def kill(self):
        self.send_signal(signal.SIGKILL)

    def stop(self):
        """Every thread of it stands still when this returns."""
        self.send_signal(signal.SIGSTOP)
        while not _stands_still(self.pid):
            pass

    def close(self):
        """Let go of its pipes, whether it reads them or not."""
        for pipe in (self.stdin, self.stdout):
            with suppress(BrokenPipeError):
                pipe.close()


def completed(words, environment, folder=None, *, stdin=b"", seconds=60):
    """As `subprocess.run` would answer; whatever takes longer is killed."""
    with tempfile.TemporaryFile() as errors:
        process = Forked(words, environment, errors, folder)
        late = threading.Timer(seconds, process.kill)
        late.start()
        with suppress(BrokenPipeError):
            process.stdin.write(stdin)
            process.stdin.close()
        said = process.stdout.read()
        code = process.wait()
        late.cancel()
        process.close()
        errors.seek(0)
        return subprocess.CompletedProcess(words, code, said, errors.read())


def _stands_still(pid):
    """Whether every thread does. The first stops while another is still in a call of the kernel that takes a lock."""
    if not Path("/proc/self/stat").exists():
        words = ["ps", "-o", "state=", "-p", str(pid)]
        return subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout[:1] == "T"
    return all(_state(thread) in ("T", None) for thread in Path(f"/proc/{pid}/task").iterdir())


def _state(thread):
    """As `ps` tells it, or None where it has ended; starting `ps` takes longer than most of what is asked about."""
    try:
        stat = (thread / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return stat.rpartition(")")[2].split()[0]


def _perform(ends, words, environment, folder):
    """What the new process does: as the interpreter would, with these streams, words, environment and folder."""
    for number, end in enumerate(ends):
        os.dup2(end.fileno(), number)
        end.close()
    # Those it was forked with remember what they were: what could be sought in, and how far.
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - as long as the process
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", 1, encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
    faulthandler.enable(sys.stderr)  # who dies by itself says where
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder or os.curdir)
    # Read when this was imported, and from another environment.
    crashpoints._point, crashpoints._left = crashpoints._armed()
    program, *sys.argv[1:] = words if words[0] != "-m" else words[1:]
    if words[0] == "-m":
        sys.path.insert(0, os.getcwd())  # noqa: PTH109 - as the interpreter does
        runpy.run_module(program, run_name="__main__", alter_sys=True)
    else:
        sys.argv[0] = program
        sys.path.insert(0, str(Path(program).parent))
        runpy.run_path(program, run_name="__main__")
