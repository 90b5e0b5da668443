"""`agentmemo up`: a plane that others reach over HTTP."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from agentmemo.cli.options import EVERYWHERE, Common
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
        bool, Parameter(help="Listen beyond this machine without TLS, behind a proxy that speaks it.")
    ] = False,
    access_log: Annotated[bool, Parameter(help="Log every request.")] = False,
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
    listening = _Signals()

    def announce(started: Started) -> None:
        listening.begun = True
        _announce(common, started)

    serve(
        data=common.data,
        host=host,
        port=port,
        tls_certificate=tls_certificate,
        tls_key=tls_key,
        allow_insecure=allow_insecure,
        access_log=access_log,
        announce=announce,
    )
    common.out.remark("Stopped; everything that was acknowledged is kept.")


class _Signals:
    """Both signals are the ordinary way to end: while it serves they are the server's, and afterwards nothing."""

    def __init__(self) -> None:
        self.begun = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._came)

    def _came(self, _number: int, _frame: object) -> None:
        # The server raises the signal once more after it has left in good order.
        if not self.begun:
            raise KeyboardInterrupt


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
