"""A contender lives in a process of its own and measures when it is told to, so that contenders take turns.

`python contender.py MODULE FUNCTION DIRECTORY` prepares it; each line on standard input is an order (the arguments of
`load.measure` beside the name of the workload), each line it answers is a sample.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import load

HERE = Path(__file__).parent
END_SECONDS = 20


class Contender:
    """The parent's end. `wrapper` is put before the command, for example strace."""

    def __init__(
        self,
        module: str,
        function: str,
        directory: Path,
        *,
        wrapper: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.name = f"{module}.{function}"
        self._errors = directory.with_suffix(".stderr")
        with self._errors.open("wb") as errors:
            self._process = subprocess.Popen(
                [*wrapper, sys.executable, str(HERE / "contender.py"), module, function, str(directory)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                cwd=directory,
                env=os.environ | dict(environment or {}),
                text=True,
            )
        self._answer()

    def measure(self, workload: str, clients: int, **order: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"workload": workload, "clients": clients, **order}) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        answer = json.loads(line) if line else {"failed": self._errors.read_text(errors="replace")[-1500:]}
        if "failed" in answer:
            self.close()
            raise RuntimeError(f"{self.name}: {answer['failed']}")
        return answer


def main() -> None:
    module, function, directory = sys.argv[1:]
    # Libraries print where they like; only this descriptor carries answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def answer(content: Any) -> None:
        answers.write(json.dumps(content) + "\n")
        answers.flush()

    with getattr(importlib.import_module(module), function)(Path(directory)) as workloads:
        answer({"ready": True})
        for line in sys.stdin:
            order = json.loads(line)
            try:
                answer(load.measure(workloads[order.pop("workload")], **order))
            except Exception as error:  # noqa: BLE001 - the parent decides what a failure means
                answer({"failed": repr(error)})


if __name__ == "__main__":
    main()
