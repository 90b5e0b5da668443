"""`agentmemo up`: a plane that others reach over HTTP."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from agentmemo.cli.options import EVERYWHERE, Common, flag
from agentmemo.errors import InvalidInput, Unavailable

if TYPE_CHECKING:
    from agentmemo.server.serve import Started


def up(
    *,
    host: Annotated[str, Parameter(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, Parameter(help="Port to listen on; 0 picks a free one.")] = 7707,
    tls_certificate: Annotated[str | None, Parameter(help="PEM file with the certificate.")] = None,
    tls_key: Annotated[str | None, Parameter(help="PEM file with its key.")] = None,
    allow_insecure: Annotated[
        bool,
        flag("Listen beyond this machine without TLS, behind a proxy that speaks it."),
    ] = False,
    access_log: Annotated[bool, flag("Log every request.")] = False,
    common: Common = EVERYWHERE,
) -> None:
    """Start a plane that others reach over HTTP, until Ctrl-C or SIGTERM.

    HTTP is under /v1, the console under /. The first start of a store makes an agent's key, which it keeps in a
    file, and a person's, which it shows once.
    """
    if common.url is not None:
        raise InvalidInput("--url is for asking a plane, not for being one.", next_call="Use --host and --port.")
    try:
        from agentmemo.server.serve import serve
    except ImportError as error:
        raise Unavailable(
            f"The server is not installed: {error.name} is missing.",
            next_call="Install it: pip install 'agentmemo[server]'.",
            retry_safe=False,
        ) from error
    with _ordinary_end() as begun:

        def announce(started: Started) -> None:
            begun.set()
            _announce(common, started)

        serve(
            data=common.store,
            host=host,
            port=port,
            tls_certificate=tls_certificate,
            tls_key=tls_key,
            allow_insecure=allow_insecure,
            access_log=access_log,
            announce=announce,
        )
    common.out.remark("Stopped; everything that was acknowledged is kept.")


@contextlib.contextmanager
def _ordinary_end() -> Iterator[threading.Event]:
    """Both signals are the ordinary way to end; once the server has begun they are its own."""
    begun = threading.Event()

    def came(_number: int, _frame: object) -> None:
        # The server raises its signal once more after it has left in good order.
        if not begun.is_set():
            raise KeyboardInterrupt

    former = {number: signal.signal(number, came) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield begun
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def _announce(common: Common, started: Started) -> None:
    file = started.agent_key_file
    if common.json:
        fields = {name: getattr(started, name) for name in started.__struct_fields__}
        common.out.line(fields | {"agent_key_file": str(file) if file else None, "console": f"{started.url}/"})
        return
    common.out.say(f"AgentMemo {started.version} listens on {started.url} (process {started.process}).")
    pairs = (
        ("  console", f"{started.url}/"),
        ("  store", started.database),
        ("  agent key", " in ".join(filter(None, (started.agent_key, os.fspath(file) if file else "")))),
        ("  person key", f"{started.person_key}\nshown only now: keep it" if started.person_key else ""),
        ("  try", f"AGENTMEMO_URL={started.url} agentmemo status --key-file {file}" if file else ""),
    )
    common.out.fields(pairs)
    common.out.say("Ctrl-C ends it.")
    common.out.flush()
