"""The long forms of the tests that try to break it: each said as NAME=SIZE, with SEED=n to repeat one.

    python tests/torture.py KILLS=10000 [SEED=n] [-- further arguments]

What has no size is left out; with none at all SECONDS=600 is run.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
SEED = "AGENTMEMO_CRASH_SEED"
# Programs of their own take --seed; what runs by pytest reads its size and the seed from the environment.
PROGRAMS = {
    "KILLS": ("crash/kills.py", "--kills"),
    "FAULTS": ("crash/faults.py", "--faults"),
    "HISTORIES": ("histories/run.py", "--histories"),
    "API": ("fuzz/cases.py", "--cases"),
    "FUZZ": ("fuzz/run.py", "--seconds"),
    "CLIENTS": ("fuzz/hostile.py", "--clients"),
    "SOAK": ("crash/soak.py", "--minutes"),
}
UNSEEDED = {"CLIENTS", "SOAK"}
TESTS = {
    "POWER": ["-n", "0", "-s", "crash/test_power.py"],
    "MACHINES": ["-n", "2", "behaviour/test_machines.py"],
    "SECONDS": ["-n", "0", "-s", "crash", "-k", "chaos"],
}
DEFAULT = {"SECONDS": "600"}


def main(arguments: list[str]) -> int:
    cut = arguments.index("--") if "--" in arguments else len(arguments)
    said = dict(argument.split("=", 1) for argument in arguments[:cut])
    seed = said.pop("SEED", "")
    sizes = {name: size for name, size in said.items() if size} or DEFAULT
    if unknown := sizes.keys() - PROGRAMS.keys() - TESTS.keys():
        print(f"Unknown: {', '.join(sorted(unknown))}. Use {', '.join([*PROGRAMS, *TESTS])}, SEED.", file=sys.stderr)  # noqa: T201
        return 2
    failed = [name for name, size in sizes.items() if _run(name, size, seed, arguments[cut + 1 :])]
    return 1 if failed else 0


def _run(name: str, size: str, seed: str, further: list[str]) -> int:
    """The exit code of one form."""
    environment = dict(os.environ)
    if name in PROGRAMS:
        program, option = PROGRAMS[name]
        command = [str(HERE / program), option, size]
        command += ["--seed", seed] if seed and name not in UNSEEDED else []
    else:
        environment |= {f"AGENTMEMO_TORTURE_{name}": size} | ({SEED: seed} if seed else {})
        command = ["-m", "pytest", *(str(HERE / part) if (HERE / part).exists() else part for part in TESTS[name])]
    print(f"torture: {name}={size}", flush=True)  # noqa: T201 - progress of a long run
    return subprocess.run([sys.executable, *command, *further], env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
