"""How long a process takes to start: the import, its first answer, and `agentmemo up` with the memory it then holds."""

from __future__ import annotations

import http.client
import statistics
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import harness
import servers
from harness import QUICK, REPETITIONS, Row, Target

IMPORTS = 3 if QUICK else 10
# What an import does not load must not come back with the first call.
FIRST_ANSWER = """
import agentmemo
with agentmemo.connect(":memory:", agent="first") as agent:
    agent.state.get("none", "none")
"""


def run() -> list[Row]:
    return [
        _row("import agentmemo", "import agentmemo", Target(150, at_most=True)),
        _row("import to the first answer of a store in memory", FIRST_ANSWER, None),
        *_up_rows(),
    ]


def _row(subject: str, code: str, target: Target | None) -> Row:
    bare = [_seconds("pass") for _ in range(IMPORTS)]
    times = [(_seconds(code) - statistics.median(bare)) * 1e3 for _ in range(IMPORTS)]
    return Row(
        subject=subject,
        unit="ms",
        ours=statistics.median(times),
        target=target,
        settings=f"median of {IMPORTS} fresh processes, minus a bare python",
        repetitions={"ours": times},
    )


def _seconds(code: str) -> float:
    begin = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return time.perf_counter() - begin


def _up_rows() -> list[Row]:
    try:
        started = [_start() for _ in range(REPETITIONS)]
    except (RuntimeError, OSError) as error:
        return [Row(subject="agentmemo up to first answer", unit="s", note=f"not there: {error}")]
    settings = "fresh store each time; first answer is GET /readyz; resident set right after"
    times, sizes = [list(column) for column in zip(*started, strict=True)]
    return [
        Row(
            subject="agentmemo up to first answer",
            unit="s",
            peer_name="etcd (as measured before)",
            ours=statistics.median(times),
            peer=0.4,
            target=Target(1.0, at_most=True),
            settings=settings,
            repetitions={"ours": times},
        ),
        Row(
            subject="agentmemo up, memory",
            unit="MiB",
            peer_name="etcd (as measured before)",
            ours=statistics.median(sizes),
            peer=205,
            target=Target(80, at_most=True),
            settings=settings,
            repetitions={"ours": sizes},
        ),
    ]


def _start() -> tuple[float, float]:
    """(seconds, MiB)."""
    with harness.directory("up") as directory:
        begin = time.perf_counter()
        with servers.our_server(directory) as server:
            connection = http.client.HTTPConnection("127.0.0.1", urlsplit(server["url"]).port, timeout=5)
            connection.request("GET", "/readyz")
            connection.getresponse().read()
            elapsed = time.perf_counter() - begin
            connection.close()
            status = Path(f"/proc/{server['process']}/status").read_text()
        size = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
        return elapsed, int(size.split()[1]) / 1024
