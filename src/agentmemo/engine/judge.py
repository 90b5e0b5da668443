"""Judging what others wrote: schemas, expressions and results, in a process beside this one.

What is asked of the libraries is up to the sender, and they hold the interpreter while they run. There, time and memory
are bounded: what takes more ends with that process, and nothing here waits for it but the call that asked.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
import threading
from typing import IO, Any

import msgspec

from agentmemo.clock import monotonic
from agentmemo.engine.judge_process import MEMORY_BYTES, SECONDS, Answer, Evaluation, Question, frame, size_of
from agentmemo.errors import InvalidInput, Unavailable, rebuild
from agentmemo.model.handoffs import Acceptance
from agentmemo.model.kinds import described
from agentmemo.model.values import decode, encode

START_SECONDS = 30.0
# The time of its processor is what bounds an answer; a busy machine gives that out slowly.
ANSWER_SECONDS = 10 * SECONDS
CHUNK = 1 << 16
HEADER = 8
_TOO_MUCH = f"it takes more than {SECONDS:g} s or {MEMORY_BYTES >> 20} MiB to find out"


class Judge:
    """One process, started when the first acceptance is met, and anew after one that had to be ended."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None

    def check_definition(self, acceptance: Acceptance) -> None:
        """Raises InvalidInput for a schema that is none, or an expression that cannot be read."""
        answer = self._ask(_question(acceptance, None, None, defines=True))
        if answer is None:
            raise InvalidInput(
                f"The acceptance cannot be read: {_TOO_MUCH}.",
                why="What a result must be is looked at for every result, so it has to be simple.",
                next_call="Send a smaller schema and simpler checks, or let a verifier look at the result.",
            )

    def problems(self, acceptance: Acceptance, result: Any, context: Any) -> list[str]:
        """Why a result is not accepted; empty when it is."""
        answer = self._ask(_question(acceptance, result, context, defines=False))
        return [f"result: {_TOO_MUCH}; return less"] if answer is None else answer.problems

    def evaluate(self, expressions: list[str], variables: dict[str, Any]) -> list[tuple[Any, str]]:
        """By expression: its value and no reason, or None and why it has none.

        Raises InvalidInput for what is no expression.
        """
        answer = self._ask(Evaluation(expressions, encode(variables)))
        if answer is None:
            return [(None, _TOO_MUCH)] * len(expressions)
        return [(None, why) if why else (decode(content), "") for content, why in answer.values]

    def close(self) -> None:
        with self._lock:
            self._end()

    def _ask(self, asked: Question | Evaluation) -> Answer | None:
        """None where the question took too much."""
        content = msgspec.msgpack.encode(asked)
        with self._lock:
            child = self._running()
            try:
                _write(child.stdin, frame(content))
                found = msgspec.msgpack.decode(_receive(child, ANSWER_SECONDS), type=described(Answer))
            except (OSError, EOFError):
                self._end()
                return None
        if found.error is not None:
            raise rebuild(found.error)
        return found

    def _running(self) -> subprocess.Popen[bytes]:
        if self._child is None or self._child.poll() is not None:
            self._end()
            try:
                self._child = _start()
                _receive(self._child, START_SECONDS)
            except (OSError, EOFError) as error:
                self._end()
                raise Unavailable(
                    f"The process that checks results cannot be started: {error}.",
                    why="Results are checked beside the plane, in bounded time and memory.",
                    next_call="Try again in a moment; see that the plane's machine can start Python.",
                    retry_safe=True,
                ) from error
        return self._child

    def _end(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            child.kill()
            child.communicate()


def _question(acceptance: Acceptance, result: Any, context: Any, *, defines: bool) -> Question:
    return Question(msgspec.json.encode(acceptance), encode(result), encode(context), defines=defines)


def _start() -> subprocess.Popen[bytes]:
    """In a session of its own: what ends the plane's terminal ends it through its closed input."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "agentmemo.engine.judge_process"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
        start_new_session=True,
    )


def _write(pipe: IO[bytes] | None, content: bytes) -> None:
    assert pipe is not None  # noqa: S101 - it was asked for
    pipe.write(content)
    pipe.flush()


def _receive(child: subprocess.Popen[bytes], seconds: float) -> bytes:
    """The next frame. Raises TimeoutError, or EOFError where the process has ended."""
    assert child.stdout is not None  # noqa: S101 - it was asked for
    pipe, end = child.stdout.fileno(), monotonic() + seconds
    waiting = select.poll()
    waiting.register(pipe, select.POLLIN)
    found = b""
    while len(found) < HEADER or len(found) < HEADER + size_of(found[:HEADER]):
        if not waiting.poll(max(0.0, end - monotonic()) * 1000):
            raise TimeoutError("no answer in time")
        part = os.read(pipe, CHUNK)
        if not part:
            raise EOFError("it ended without an answer")
        found += part
    return found[HEADER:]
