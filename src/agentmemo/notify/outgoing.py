"""HTTP calls to addresses of others: in a bounded time, without redirects, and to nowhere private unless allowed."""

from __future__ import annotations

import contextlib
import http.client
import io
import ipaddress
import socket
import ssl
from typing import NamedTuple
from urllib.parse import urlsplit

from agentmemo.clock import monotonic

# From the connection to the last byte of the answer, however slowly they come. Looking the name up has the time that
# the resolver of this machine is set to.
POST_SECONDS = 15.0
ANSWER_BYTES = 64 * 1024
# Public addresses of IPv6. Beside them lie those that carry one of IPv4 to wherever that leads.
GLOBAL = ipaddress.IPv6Network("2000::/3")
CARRIERS = (ipaddress.IPv6Network("2002::/16"), ipaddress.IPv6Network("2001::/23"))  # 6to4; Teredo and its kind
NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


class Outcome(NamedTuple):
    """What came of one attempt: the status, or why there is none. `cause` says it without naming any address."""

    status: int | None
    error: str
    cause: str = ""
    body: bytes = b""
    wait_seconds: float = 0.0

    @property
    def delivered(self) -> bool:
        return self.status is not None and 200 <= self.status < 300  # noqa: PLR2004 - HTTP's success


class PrivateAddress(Exception):
    """An address that must not be called."""


def post(url: str, body: bytes, headers: dict[str, str], *, private: bool, seconds: float = POST_SECONDS) -> Outcome:
    """One POST. Redirects are not followed, and the address that was looked at is the one that is called."""
    parts = urlsplit(url)
    secure = parts.scheme == "https"
    host, port = parts.hostname or "", parts.port or (443 if secure else 80)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        addresses = _addresses(host, port, private=private)
        line = _Line(addresses, port, monotonic() + seconds)
    except (OSError, ValueError, PrivateAddress) as error:
        return Outcome(None, f"not reached: {error}"[:500], type(error).__name__)
    try:
        if secure:
            line.secure(host)
        connection = http.client.HTTPConnection(host, port)
        connection.sock = line
        connection.request("POST", path, body, headers)
        answer = connection.getresponse()
        trouble = "" if answer.status < 300 else f"answered {answer.status}"  # noqa: PLR2004 - as above
        return Outcome(
            answer.status, trouble, trouble, answer.read(ANSWER_BYTES), _seconds(answer.getheader("retry-after"))
        )
    except OSError as error:
        return Outcome(None, f"no answer: {type(error).__name__} {error}"[:500], type(error).__name__)
    except (ValueError, http.client.HTTPException) as error:
        # Their texts may repeat the path, and in a path there may be a secret.
        return Outcome(None, f"no answer: {type(error).__name__}", type(error).__name__)
    finally:
        line.hang_up()


def check_public(host: str) -> None:
    """Raise PrivateAddress or OSError unless a host that somebody else will call leads to public addresses only."""
    _addresses(host, 0, private=False)


def is_public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Whether an address leads to the public internet, and to a single place there."""
    if isinstance(address, ipaddress.IPv4Address):
        return address.is_global and not address.is_multicast
    if address in NAT64:
        return is_public(ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF))
    return address in GLOBAL and address.is_global and not any(address in carrier for carrier in CARRIERS)


class _Line:
    """A connection whose every operation has what is left of one time: a peer that sends a byte now and then ends too.

    It is what `http.client` needs of a socket.
    """

    def __init__(self, addresses: list[str], port: int, end: float) -> None:
        self._end = end
        self._socket = self._reach(addresses, port)

    def _reach(self, addresses: list[str], port: int) -> socket.socket:
        """The first that answers; each has its part of the time, so that one that is dead leaves some to the next."""
        failure: OSError | None = None
        for tried, address in enumerate(addresses):
            try:
                return socket.create_connection((address, port), self._left() / (len(addresses) - tried))
            except OSError as error:
                failure = error
        raise failure or OSError("the name has no address")

    def secure(self, host: str) -> None:
        self._socket.settimeout(self._left())
        self._socket = ssl.create_default_context().wrap_socket(self._socket, server_hostname=host)

    def sendall(self, data: bytes) -> None:
        self._socket.settimeout(self._left())
        self._socket.sendall(data)

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Answer(self))

    def receive_into(self, buffer: memoryview) -> int:
        self._socket.settimeout(self._left())
        return self._socket.recv_into(buffer)

    def close(self) -> None:
        """`http.client` closes before it has read the answer's body; `hang_up` is what ends it."""

    def hang_up(self) -> None:
        self._socket.close()

    def _left(self) -> float:
        left = self._end - monotonic()
        if left <= 0:
            raise TimeoutError("it took too long")
        return left


class _Answer(io.RawIOBase):
    def __init__(self, line: _Line) -> None:
        self._line = line

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        return self._line.receive_into(buffer)


def _addresses(host: str, port: int, *, private: bool) -> list[str]:
    """The addresses of a host, looked up once. Raises PrivateAddress when any of them is not a public one."""
    found = list(dict.fromkeys(str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)))
    for address in found:
        if not private and not is_public(ipaddress.ip_address(address.partition("%")[0])):
            raise PrivateAddress(f"{host} leads to the private address {address}")
    return found


def _seconds(retry_after: str | None) -> float:
    """What Retry-After asks for, up to an hour; a date there counts as nothing."""
    with contextlib.suppress(ValueError):
        return min(3600.0, max(0.0, float(retry_after or 0)))
    return 0.0
