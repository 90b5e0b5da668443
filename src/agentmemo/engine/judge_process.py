"""The process that judges: reads questions from its input and answers each, in bounded time and memory."""

from __future__ import annotations

import contextlib
import sys
from typing import IO, Any

import msgspec

from agentmemo.engine import acceptance
from agentmemo.errors import Error
from agentmemo.model.handoffs import Acceptance
from agentmemo.model.values import decode

# Of the processor for one question, and of memory for all of them.
SECONDS = 2.0
MEMORY_BYTES = 2 << 30
_HEADER = 8


class Question(msgspec.Struct, frozen=True, array_like=True, tag="question"):
    """An acceptance, a result and its context as JSON. What only `defines` is checked without a result."""

    acceptance: bytes
    result: bytes
    context: bytes
    defines: bool


class Evaluation(msgspec.Struct, frozen=True, array_like=True, tag="evaluation"):
    """Expressions over the same variables, as JSON."""

    expressions: list[str]
    variables: bytes


class Answer(msgspec.Struct, frozen=True, array_like=True):
    """`problems` of a question; of an evaluation what each expression gave, as JSON, and else why it gave nothing."""

    problems: list[str] = []
    error: dict[str, Any] | None = None
    values: list[tuple[bytes, str]] = []


def frame(content: bytes) -> bytes:
    return len(content).to_bytes(_HEADER, "big") + content


def size_of(header: bytes) -> int:
    return int.from_bytes(header, "big")


def answer(asked: Question | Evaluation) -> Answer:
    return judge(asked) if isinstance(asked, Question) else evaluate(asked)


def evaluate(asked: Evaluation) -> Answer:
    try:
        variables = decode(asked.variables)
        return Answer(values=[acceptance.value_of(expression, variables) for expression in asked.expressions])
    except Error as error:
        return Answer(error=error.to_dict())
    except (RecursionError, MemoryError) as error:
        what = f"too deep or too large to be evaluated ({type(error).__name__})"
        return Answer(values=[(b"", what)] * len(asked.expressions))


def judge(question: Question) -> Answer:
    wanted = msgspec.json.decode(question.acceptance, type=Acceptance)
    try:
        if question.defines:
            acceptance.check_definition(wanted)
            return Answer()
        return Answer(acceptance.problems(wanted, decode(question.result), decode(question.context)))
    except Error as error:
        return Answer(error=error.to_dict())
    except (RecursionError, MemoryError) as error:
        return Answer([f"result: too deep or too large to be checked ({type(error).__name__})"])


def _serve(questions: IO[bytes], answers: IO[bytes]) -> None:
    answers.write(frame(b"ready"))
    answers.flush()
    while header := questions.read(_HEADER):
        question = msgspec.msgpack.decode(questions.read(size_of(header)), type=Question | Evaluation)
        _bound_time()
        answers.write(frame(msgspec.msgpack.encode(answer(question))))
        answers.flush()


def _bound_memory() -> None:
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, hard))


def _bound_time() -> None:
    """The kernel ends this process when the time of its processor is over: whoever asked may be gone by then."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        used = resource.getrusage(resource.RUSAGE_SELF)
        _, hard = resource.getrlimit(resource.RLIMIT_CPU)
        resource.setrlimit(resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime + SECONDS) + 1, hard))


if __name__ == "__main__":
    _bound_memory()
    _serve(sys.stdin.buffer, sys.stdout.buffer)
