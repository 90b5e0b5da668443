"""HTTP calls to addresses of others: no redirects, and to nowhere private unless allowed."""

from __future__ import annotations

import contextlib
import http.client
import ipaddress
import socket
import ssl
from typing import NamedTuple
from urllib.parse import urlsplit

TIMEOUT_SECONDS = 15.0
ANSWER_BYTES = 64 * 1024


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


def post(url: str, body: bytes, headers: dict[str, str], *, private: bool) -> Outcome:
    """One POST. Redirects are not followed, and the address that was looked at is the one that is called."""
    parts = urlsplit(url)
    secure = parts.scheme == "https"
    port = parts.port or (443 if secure else 80)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    host = parts.hostname or ""
    try:
        line = socket.create_connection((_address(host, port, private=private), port), TIMEOUT_SECONDS)
    except (OSError, ValueError, PrivateAddress) as error:
        return Outcome(None, f"not reached: {error}"[:500], type(error).__name__)
    try:
        if secure:
            line = ssl.create_default_context().wrap_socket(line, server_hostname=host)
        connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT_SECONDS)
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
        line.close()


def _seconds(retry_after: str | None) -> float:
    """What Retry-After asks for, up to an hour; a date there counts as nothing."""
    with contextlib.suppress(ValueError):
        return min(3600.0, max(0.0, float(retry_after or 0)))
    return 0.0


def check_public(host: str) -> None:
    """Raise PrivateAddress or OSError unless a host that somebody else will call leads to public addresses only."""
    _address(host, 0, private=False)


def _address(host: str, port: int, *, private: bool) -> str:
    """The address of a host, looked up once. Raises PrivateAddress when any of its addresses is not a public one."""
    found = [str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    if not private:
        for address in found:
            if not ipaddress.ip_address(address.partition("%")[0]).is_global:
                raise PrivateAddress(f"{host} leads to the private address {address}")
    return found[0]
