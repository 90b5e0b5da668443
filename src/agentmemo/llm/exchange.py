"""HTTP to providers: one pool of connections, one time for a call with all its retries, and no word of any key."""

from __future__ import annotations

import importlib
import os
import threading
from collections.abc import Callable, Iterator
from itertools import count
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from agentmemo import ids
from agentmemo.clock import SECOND, Clock
from agentmemo.errors import InvalidInput
from agentmemo.llm import refusals
from agentmemo.llm.refusals import Broken, Refusal
from agentmemo.settings import MIB, VERSION

if TYPE_CHECKING:
    import httpx

ATTEMPTS = 5
FIRST_WAIT_SECONDS = 0.5
CONNECT_SECONDS = 10.0
ANSWER_BYTES = 64 * MIB
REFUSAL_BYTES = 64 * 1024
# What runs on this machine is behind no proxy, whatever the environment forgot to say.
HERE = ("all://127.0.0.1", "all://localhost", "all://[::1]")

T = TypeVar("T")


class Sending(NamedTuple):
    """One call. `what` names the model in errors; `key` is there so that it can be kept out of them."""

    what: str
    url: str
    headers: dict[str, str]
    body: bytes
    seconds: float
    key: str | None

    def __repr__(self) -> str:
        return f"Sending(what={self.what!r}, url={self.url!r})"


class Exchange:
    """Thread-safe. What was surely not served is sent again, within the call's time; what may have been never is."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._pool: httpx.Client | None = None
        self._process = os.getpid()

    def post(self, sending: Sending, read: Callable[[Iterator[bytes]], T]) -> tuple[T, str]:
        """What `read` made of the answer's bytes, and the provider's id of the request."""
        end = self._clock.boot_us() + round(sending.seconds * SECOND)
        for attempt in count(1):
            outcome = self._attempt(sending, read, end)
            if not isinstance(outcome, Refusal):
                return outcome
            wait = outcome.wait_seconds
            if wait is None:
                wait = ids.jitter(FIRST_WAIT_SECONDS * 2 ** (attempt - 1))
            if not outcome.again or attempt == ATTEMPTS or self._clock.boot_us() + wait * SECOND >= end:
                raise outcome.error
            self._clock.sleep(wait)
        raise AssertionError("the last attempt has returned or raised")

    def close(self) -> None:
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.close()

    def _attempt(self, sending: Sending, read: Callable[[Iterator[bytes]], T], end: int) -> tuple[T, str] | Refusal:
        library = _library()
        left = max(0.001, (end - self._clock.boot_us()) / SECOND)
        timeout = library.Timeout(left, connect=min(left, CONNECT_SECONDS))
        try:
            with self._connections().stream(
                "POST", sending.url, content=sending.body, headers=sending.headers, timeout=timeout
            ) as response:
                if not response.is_success:
                    return self._refusal(sending, response, end)
                answer = read(self._pieces(response, end, ANSWER_BYTES))
                return answer, _request_id(response)
        except (library.ConnectError, library.ConnectTimeout, library.PoolTimeout, library.ProxyError) as error:
            return refusals.unreached(sending.what, _cause(error, sending.key))
        except (library.TimeoutException, TimeoutError):
            return Refusal(refusals.late(sending.what, sending.seconds))
        except (library.TransportError, library.DecodingError) as error:
            return Refusal(refusals.lost(sending.what, _cause(error, sending.key)))
        except Broken as error:
            return Refusal(refusals.lost(sending.what, _without(sending.key, str(error))))

    def _refusal(self, sending: Sending, response: httpx.Response, end: int) -> Refusal:
        body = bytearray()
        for piece in self._pieces(response, end, ANSWER_BYTES):
            body += piece
            if len(body) >= REFUSAL_BYTES:
                break
        if sending.key:
            body = body.replace(sending.key.encode(), b"***")
        return refusals.refused(
            sending.what, response.status_code, response.headers, bytes(body[:REFUSAL_BYTES]), self._clock.now_us()
        )

    def _pieces(self, response: httpx.Response, end: int, limit: int) -> Iterator[bytes]:
        """The answer as it comes. Between two bytes at most the call's time may pass, and so may no more in all."""
        taken = 0
        for piece in response.iter_bytes():
            taken += len(piece)
            if taken > limit:
                raise Broken(f"it has more than {limit // MIB} MiB")
            if self._clock.boot_us() > end:
                raise TimeoutError
            yield piece

    def _connections(self) -> httpx.Client:
        with self._lock:
            if self._process != os.getpid():
                # After a fork both sides would speak on the same sockets.
                self._pool, self._process = None, os.getpid()
            if self._pool is None:
                self._pool = _library().Client(
                    headers={"user-agent": f"agentmemo/{VERSION}"},
                    # How many calls run at once is the callers' affair; here none waits for another.
                    limits=_library().Limits(max_connections=None, max_keepalive_connections=20),
                    mounts=dict.fromkeys(HERE),
                )
            return self._pool


def _request_id(response: httpx.Response) -> str:
    return str(response.headers.get("request-id") or response.headers.get("x-request-id") or "")


def _cause(error: Exception, key: str | None) -> str:
    return _without(key, f"{type(error).__name__} {error}".strip())[:200]


def _without(key: str | None, text: str) -> str:
    return text.replace(key, "***") if key else text


def _library() -> Any:
    """Loaded when a model is first called."""
    try:
        return importlib.import_module("httpx")
    except ImportError:
        raise InvalidInput(
            "Calling models needs an HTTP client that is not installed.",
            next_call="Install it: pip install 'agentmemo[models]'.",
        ) from None
