"""`agentmemo work`: a process that takes handed-over work and performs it with a function of yours."""

from __future__ import annotations

import asyncio
import contextlib
import difflib
import functools
import importlib
import inspect
import os
import select
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any, NoReturn, cast

from cyclopts import Parameter

from agentmemo.cli import exits
from agentmemo.cli.options import EVERYWHERE, Common, flag
from agentmemo.cli.output import stamp
from agentmemo.client._async.connection import AsyncConnection
from agentmemo.client._sync.connection import Connection
from agentmemo.client.flow import Suspended
from agentmemo.client.given import takes_run
from agentmemo.client.step_call import summary_of
from agentmemo.clock import SystemClock, monotonic
from agentmemo.errors import Error, InvalidInput
from agentmemo.model.handoffs import Handoff
from agentmemo.model.runs import EFFECTS

Function = Callable[..., Any]
ENDING = (signal.SIGINT, signal.SIGTERM)
ENDED = 0
GRACE_MAX_SECONDS = 86_400.0
EXAMPLE = "agentmemo work --handler my_agent:handle"


def work(
    *,
    handler: Annotated[str | None, flag("The function, as MODULE:FUNCTION; the current directory comes first.")] = None,
    workflows: Annotated[
        bool, flag("Execute workflows that were left to the plane, with the models of models.toml.")
    ] = False,
    tool: Annotated[
        Sequence[str],
        flag("With --workflows, a tool: MODULE:FUNCTION, or MODULE:FUNCTION:EFFECT (none, read, write, irreversible)."),
    ] = (),
    concurrency: Annotated[int, Parameter(help="So many at once.")] = 1,
    capability: Annotated[Sequence[str], flag("Announce that you take work that needs this; may be repeated.")] = (),
    queue: Annotated[Sequence[str], flag("Announce that you take work from this queue; may be repeated.")] = (),
    grace_seconds: Annotated[float, Parameter(help="How long work in hand may go on after the first signal.")] = 30.0,
    until_idle: Annotated[bool, flag("End when nothing is offered.")] = False,
    common: Common = EVERYWHERE,
) -> int:
    """Claim what is handed to this agent and perform it with a function, or execute workflows, until Ctrl-C or SIGTERM.

    The function is `handler(handoff)` or `handler(handoff, run)`, sync or async; what it returns is the result. With a
    run its steps are kept, and whoever takes over goes on behind the last one. An exception gives the handoff back
    for another attempt.

    After the first signal the work in hand is finished and nothing new is claimed. When --grace-seconds are over, or
    at a second signal, it is given back at once, which counts as no attempt; the exit status is then 1.
    """
    if (handler is None) != workflows or (tool and not workflows):
        raise InvalidInput(
            "A worker takes handoffs with --handler, or executes workflows with --workflows and their tools.",
            next_call=f"{EXAMPLE}, or agentmemo work --workflows",
        )
    if concurrency < 1:
        raise InvalidInput(f"--concurrency is 1 or more, not {concurrency}.", next_call=EXAMPLE)
    if not 0 <= grace_seconds <= GRACE_MAX_SECONDS:
        raise InvalidInput(
            f"--grace-seconds is 0 to {GRACE_MAX_SECONDS:g}, not {grace_seconds}.",
            next_call=f"{EXAMPLE} --grace-seconds 0",
        )
    shift = _Shift(common, grace_seconds)
    if workflows:
        return shift.attend(lambda: _execute(shift, tool, concurrency=concurrency, until_idle=until_idle))
    assert handler is not None  # noqa: S101 - one of the two was given
    function = _checked(load(handler), handler)
    told = shift.telling(function)

    def perform() -> None:
        with common.connect() as plane:
            shift.opened(plane)
            plane.handoff.work(
                told, concurrency=concurrency, capabilities=capability, queues=queue, until_idle=until_idle
            )

    async def perform_async() -> None:
        async with common.connect_async() as plane:
            shift.opened(plane)
            await plane.handoff.work(
                told, concurrency=concurrency, capabilities=capability, queues=queue, until_idle=until_idle
            )

    return shift.attend((lambda: asyncio.run(perform_async())) if is_async(function) else perform)


def _execute(shift: _Shift, tools: Sequence[str], *, concurrency: int, until_idle: bool) -> None:
    with shift.common.connect() as plane:
        for each in tools:
            register_tool(plane, each)
        shift.opened(plane)
        plane.work(workflows=True, concurrency=concurrency, until_idle=until_idle)


class _Shift:
    """Work on threads of its own, so that the main one is free for signals and the clock, whatever a handler does."""

    def __init__(self, common: Common, grace_seconds: float) -> None:
        self.common = common
        self._grace_seconds = grace_seconds
        self._news = _News()
        self._connection: Connection | AsyncConnection | None = None
        self._stopping = False
        self._in_hand: dict[str, Handoff] = {}
        self._error: BaseException | None = None
        self._printing = threading.Lock()

    def opened(self, connection: Connection | AsyncConnection) -> None:
        self._connection = connection
        if self._stopping:  # the signal came while it was opened
            connection.stop()
        text = f"Working as {connection.actor}; Ctrl-C ends it." if connection.actor else "Working; Ctrl-C ends it."
        self._tell({"event": "working", "agent": connection.actor or None, "process": os.getpid()}, text)

    def attend(self, work: Callable[[], None]) -> int:
        """Let it work until it ends or a signal comes; returns the exit status, or ends this process."""
        thread = threading.Thread(target=self._run, args=(work,), name="agentmemo-shift", daemon=True)
        with self._news.collected():
            thread.start()
            if self._news.next() != ENDED:
                self._stop()
                if self._news.next(self._grace_seconds) != ENDED:
                    self._give_up()
        if self._error is not None:
            raise self._error
        return exits.DONE

    def telling(self, function: Function) -> Function:
        """The handler, with a line when it begins and when it ends."""
        if is_async(function):

            @functools.wraps(function)
            async def performed(*given: Any) -> Any:
                with self._told(given[0]):
                    return await function(*given)
        else:

            @functools.wraps(function)
            def performed(*given: Any) -> Any:
                with self._told(given[0]):
                    return function(*given)

        return performed

    def _run(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - carried to the main thread
            self._error = error
        self._news.ended()

    def _stop(self) -> None:
        self._stopping = True
        if self._connection is not None:
            self._connection.stop()
        in_hand = [*self._in_hand]
        text = f"Finishing the {len(in_hand)} in hand, for at most {self._grace_seconds:g} s" if in_hand else "Stopping"
        self._tell(
            {"event": "stopping", "in_hand": in_hand},
            f"{text}; nothing new is claimed. A second signal gives back what is in hand.",
        )

    def _give_up(self) -> NoReturn:
        """Give back what is in hand and end this process; its handlers cannot be waited for."""
        for number in ENDING:
            signal.signal(number, signal.SIG_DFL)  # one more ends it whatever happens here
        in_hand = [*self._in_hand]
        text = f"Gave back {', '.join(in_hand)}: others go on." if in_hand else "Stopped."
        try:
            if self._connection is not None:
                self._connection.abandon()
        except Error as error:
            text = f"Nothing was given back: {error.message} Others go on when the lease ends."
        self._tell({"event": "gave back", "in_hand": in_hand}, text)
        os._exit(exits.FAILED if in_hand else exits.DONE)

    @contextlib.contextmanager
    def _told(self, handoff: Handoff) -> Iterator[None]:
        about = {"handoff": handoff.id, "epoch": handoff.epoch, "attempt": handoff.attempt}
        self._in_hand[handoff.id] = handoff
        what = handoff.goal or handoff.workflow or ""
        self._tell(about | {"event": "taken"}, f"{handoff.id}  taken, attempt {handoff.attempt}  {what}".rstrip())
        try:
            yield
            self._tell(about | {"event": "returned"}, f"{handoff.id}  returned")
        except Suspended:
            self._tell(about | {"event": "waits"}, f"{handoff.id}  its run waits, and holds nothing")
            raise
        except (Exception, SystemExit) as error:
            summary = summary_of(error)
            trace = "".join(traceback.format_exception(type(error), error, _theirs(error)))
            self._tell(about | {"event": "raised", "error": summary}, f"{handoff.id}  raised {summary}", trace.rstrip())
            if isinstance(error, Exception):
                raise
            raise RuntimeError(f"The handler ended with {summary}") from error  # its own end, not this process's
        finally:
            del self._in_hand[handoff.id]

    def _tell(self, event: dict[str, Any], text: str, remark: str = "") -> None:
        out, now = self.common.out, SystemClock().now_us()
        # Whoever reads this may be gone; the work is not.
        with self._printing, contextlib.suppress(OSError, ValueError):
            if out.json:
                out.line({"at": now} | event)
            else:
                out.say(f"{stamp(now)}  {text}")
                out.flush()
                if remark:
                    out.remark(remark)


def _theirs(error: BaseException) -> TracebackType | None:
    """The error's way without the part that lies in this file."""
    found = error.__traceback__
    while found is not None and found.tb_frame.f_code.co_filename == __file__:
        found = found.tb_next
    return found


def load(name: str) -> Function:
    """The function of `module:function`. Raises InvalidInput for what cannot be imported, or called."""
    module_name, colon, path = name.partition(":")
    if not (module_name and colon and path):
        raise InvalidInput(f"{name!r} does not name a function in a module.", next_call=EXAMPLE)
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        module = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:
        raise InvalidInput(
            f"The module {module_name!r} cannot be imported: {summary_of(error)}",
            why=f"It is looked for in {here} and where Python has its packages.",
            next_call=f'Try: python -c "import {module_name}"',
            details={"module": module_name},
        ) from error
    found: Any = module
    for part in path.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise InvalidInput(
                f"The module {module_name!r} has no {path!r}.",
                next_call=f"agentmemo work --handler {module_name}:{_nearest(module, path)}",
                details={"module": module_name, "function": path},
            ) from None
    if not callable(found):
        raise InvalidInput(f"{name} cannot be called.", next_call=f"agentmemo work --handler {module_name}:FUNCTION")
    return cast("Function", found)


def _checked(function: Function, name: str) -> Function:
    """A handler. Raises InvalidInput for what cannot be called as one: every attempt of every handoff would fail."""
    try:
        given = ("handoff", "run") if takes_run(function) else ("handoff",)
        inspect.signature(function).bind(*given)
    except (TypeError, ValueError) as error:
        raise InvalidInput(
            f"{name} is no handler: {error}.",
            why="It is called with the handoff, and with the run if it takes two arguments.",
            next_call="Write it as: def handle(handoff): ..., or def handle(handoff, run): ...",
        ) from None
    return function


def register_tool(plane: Connection, said: str) -> str:
    """A function as a tool of steps, MODULE:FUNCTION or MODULE:FUNCTION:EFFECT. Returns its name."""
    place, _, effect = said.rpartition(":") if said.count(":") > 1 else (said, "", EFFECTS[0])
    function = load(place)
    plane.workflows.register(function, function.__name__, effect)
    return str(function.__name__)


def is_async(function: Function) -> bool:
    """Whether calling it makes a coroutine."""
    plain = inspect.unwrap(function)
    return inspect.iscoroutinefunction(plain) or inspect.iscoroutinefunction(getattr(plain, "__call__", None))  # noqa: B004


def _nearest(module: Any, name: str) -> str:
    functions = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
    return next(iter(difflib.get_close_matches(name, functions, n=1, cutoff=0.0)), "FUNCTION")


class _News:
    """What the main thread waits for: a signal, or the end of the work.

    Both come through a pipe. A signal that another thread was interrupted by, or that came just before the waiting
    began, would not wake a thread that waits for a lock.
    """

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        os.set_blocking(self._write, False)

    @contextlib.contextmanager
    def collected(self) -> Iterator[None]:
        """Meanwhile SIGINT and SIGTERM are news, and end nothing by themselves."""
        former = {number: signal.signal(number, lambda _number, _frame: None) for number in ENDING}
        descriptor = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(descriptor)
            for number, handler in former.items():
                signal.signal(number, handler)
            os.close(self._read)
            os.close(self._write)

    def ended(self) -> None:
        os.write(self._write, bytes([ENDED]))

    def next(self, seconds: float | None = None) -> int | None:
        """The signal's number, ENDED, or None when the time is over."""
        end = None if seconds is None else monotonic() + seconds
        while select.select([self._read], [], [], None if end is None else max(0.0, end - monotonic()))[0]:
            number = os.read(self._read, 1)[0]
            if number == ENDED or number in ENDING:
                return number
        return None
