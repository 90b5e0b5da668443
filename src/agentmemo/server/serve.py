"""Running the server: bind, announce, serve until told to stop, and leave in good order."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import resource
import socket
import ssl
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import uvicorn

from agentmemo.embedded import release_plane, shared_plane
from agentmemo.errors import InvalidInput, Unavailable
from agentmemo.server.app import App, create_app
from agentmemo.server.credentials import Credentials, ensure_credentials
from agentmemo.server.protocol import Protocol, bounds_of
from agentmemo.settings import VERSION

DEFAULT_PORT = 7707
BACKLOG = 2048
GRACE_SECONDS = 10
KEEP_ALIVE_SECONDS = 75
# What the store, its threads and messages to people need, whatever clients do.
DESCRIPTORS_KEPT = 256
# A peer that acknowledges nothing is gone after this, also where nothing is sent to it.
VANISHED_SECONDS = 60


class Started(msgspec.Struct, frozen=True, kw_only=True):
    """What a server says once it listens. The keys are filled only by the first start of a store."""

    url: str
    database: str
    version: str
    process: int
    agent_key_file: Path | None = None
    agent_key: str | None = None
    person_key: str | None = None


def serve(  # noqa: PLR0913 - each option of `agentmemo up`
    *,
    data: str | None,
    host: str = "127.0.0.1",
    port: int = DEFAULT_PORT,
    tls_certificate: str | None = None,
    tls_key: str | None = None,
    allow_insecure: bool = False,
    access_log: bool = False,
    announce: Callable[[Started], None],
) -> None:
    """Serve a store over HTTP until SIGINT or SIGTERM; `announce` is called once it listens.

    `data` is a path or a database as for `connect`, None for the data directory. Port 0 picks a free one.
    Several servers and embedded users may share one store. Raises InvalidInput where the address would expose keys
    in clear text, and Unavailable when the address is taken or the store cannot be opened.
    """
    check_exposure(host, tls=bool(tls_certificate and tls_key), allow_insecure=allow_insecure)
    _check_tls(tls_certificate, tls_key)
    listener = bind(host, port)
    try:
        plane = shared_plane(data)
        plane.kept = True
        try:
            credentials = ensure_credentials(plane.engine)
            scheme = "https" if tls_certificate else "http"
            started = _started(plane, url_of(scheme, host, listener.getsockname()[1]), credentials)
            config = uvicorn.Config(
                create_app(plane),
                http=partial(Protocol, bounds_of(plane.engine.settings, descriptors())),  # type: ignore[arg-type]
                ssl_certfile=tls_certificate,
                ssl_keyfile=tls_key,
                access_log=access_log,
                log_config=None,
                log_level="info" if access_log else "warning",
                ws="none",
                lifespan="off",  # stopping begins earlier than a lifespan could tell: see _Server
                proxy_headers=False,
                server_header=False,
                backlog=BACKLOG,
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=GRACE_SECONDS,
            )
            _Server(config, announce, started).run(sockets=[listener])
        finally:
            plane.kept = False
            release_plane(plane)
    finally:
        listener.close()


class _Server(uvicorn.Server):
    """Announces once it listens, and ends streams and long-polls before it waits for requests to finish."""

    def __init__(self, config: uvicorn.Config, announce: Callable[[Started], None], started: Started) -> None:
        super().__init__(config)
        self._announce = announce
        self._announcement = started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._announce(self._announcement)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        app = self.config.app
        if isinstance(app, App):
            app.stop()
        await super().shutdown(sockets)


def check_exposure(host: str, *, tls: bool, allow_insecure: bool) -> None:
    """Refuse to send keys in clear text over a network unless told to."""
    if tls or allow_insecure or is_loopback(host):
        return
    raise InvalidInput(
        f"{host} can be reached from other machines, and without TLS keys would travel in clear text.",
        why="The server listens on 127.0.0.1 unless told otherwise and given TLS or an explicit flag.",
        next_call="Give a certificate and key, or --allow-insecure behind a proxy that speaks TLS.",
    )


def is_loopback(host: str) -> bool:
    """True if every address of the host is this machine's own."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        pass
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError as error:
        raise InvalidInput(
            f"The host {host!r} has no address: {error}.", next_call="Use an IP address, such as 127.0.0.1."
        ) from None
    return bool(found) and all(ipaddress.ip_address(str(address[0])).is_loopback for *_, address in found)


def bind(host: str, port: int) -> socket.socket:
    """A listening address, held before the store is opened. Raises Unavailable when it is taken."""
    plain = host.strip("[]")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            plain, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            _miss_the_vanished(listener)
            listener.bind(address)
        except BaseException:
            listener.close()
            raise
    except OSError as error:
        taken = error.errno == errno.EADDRINUSE
        raise Unavailable(
            f"Port {port} on {host} is taken." if taken else f"{host}:{port} cannot be bound: {error.strerror}.",
            next_call="Choose another with --port; --port 0 picks a free one.",
            retry_safe=False,
        ) from error
    except OverflowError:
        raise InvalidInput(f"{port} is not a port.", next_call="Use 0 to 65535.") from None
    return listener


def _miss_the_vanished(listener: socket.socket) -> None:
    """Have the kernel end the connections of machines that went away without a word; what is accepted inherits it."""
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (
        ("TCP_KEEPIDLE", VANISHED_SECONDS),
        ("TCP_KEEPINTVL", VANISHED_SECONDS // 4),
        ("TCP_KEEPCNT", 4),
        ("TCP_USER_TIMEOUT", VANISHED_SECONDS * 1000),
    ):
        if hasattr(socket, name):
            listener.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def descriptors() -> int:
    """How many connections this process has descriptors for, once it has raised its limit as far as it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
    return max(1, soft - DESCRIPTORS_KEPT) if soft != resource.RLIM_INFINITY else sys.maxsize


def url_of(scheme: str, host: str, port: int) -> str:
    plain = host.strip("[]")
    return f"{scheme}://[{plain}]:{port}" if ":" in plain else f"{scheme}://{plain}:{port}"


def _started(plane: Any, url: str, credentials: Credentials) -> Started:
    return Started(
        url=url,
        database=plane.engine.database.capabilities.address,
        version=VERSION,
        process=os.getpid(),
        agent_key_file=credentials.agent_key_file,
        agent_key=credentials.agent_key,
        person_key=credentials.person_key,
    )


def _check_tls(certificate: str | None, key: str | None) -> None:
    if bool(certificate) != bool(key):
        raise InvalidInput("TLS needs both a certificate and its key.", next_call="Give both, or neither.")
    if certificate and key:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)
        except (OSError, ssl.SSLError) as error:
            raise InvalidInput(
                f"The certificate {certificate} and its key cannot be used: {error}.",
                next_call="Give PEM files that belong together and that you may read.",
            ) from None
