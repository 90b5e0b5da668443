"""The command line's entry: `agentmemo`, also as `python -m agentmemo`.

Only what `--version` needs is imported here; each noun's commands are imported when one of them is called.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from agentmemo.cli import exits
from agentmemo.cli.output import console, prepare_streams, report, write
from agentmemo.errors import Error, InvalidInput, Unavailable
from agentmemo.settings import VERSION

if TYPE_CHECKING:
    from cyclopts import App, CycloptsError

HELP = """The control plane for AI agents: durable state, runs and a verifiable log in one SQLite file
or one PostgreSQL database.

Without `--url` a command opens the store itself; no server is needed. `agentmemo demo` shows what it is about.

Exit statuses: 0 done, 1 refused or failed, 2 wrong usage, 3 not found, 4 conflict, 5 not permitted, 6 unavailable.
"""
# In the order of the help. A noun is an app of commands, the others are one command each.
COMMANDS = {
    "up": "up:up",
    "demo": "demo:demo",
    "status": "plane:status",
    "briefing": "plane:briefing",
    "state": "state:app",
    "runs": "runs:app",
    "handoff": "handoffs:app",
    "inbox": "inbox:app",
    "escalate": "escalations:escalate",
    "escalation": "escalations:app",
    "work": "work:work",
    "webhook": "webhooks:app",
    "policy": "policies:app",
    "workflow": "workflow_group:app",
    "guard": "guards:app",
    "ledger": "ledger:app",
    "report": "reports:app",
    "events": "events:app",
    "keys": "keys:app",
    "backup": "plane:backup",
    "restore": "plane:restore",
    "copy": "moving:copy",
    "migrate": "moving:migrate",
    "doctor": "plane:doctor",
}
# A noun that does something by itself.
ALONE = frozenset({"inbox"})
WITH_VALUE = ("--url", "--data", "--database", "--workspace", "--agent", "--person", "--key", "--key-file")


def main(arguments: Sequence[str] | None = None) -> int:
    """Perform one command and return its exit status (see `exits`). Expected errors never show a traceback."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    prepare_streams()
    json = "--json" in given
    try:
        status = _perform(given)
        sys.stdout.flush()
    except Error as error:
        from agentmemo.api.next_calls import worded
        from agentmemo.cli.verbs import in_shell

        error.next_call = worded(error.next_call, in_shell)
        report(error, json=json)
        return exits.status_of(error)
    except KeyboardInterrupt:
        write(sys.stderr, "Stopped.")
        return exits.INTERRUPTED
    except OSError as error:
        # What Python still flushes at its end must not complain a second time.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            return exits.BROKEN_PIPE
        report(
            Unavailable(f"The operating system refused: {error}.", next_call="Mend that, then repeat the command."),
            json=json,
        )
        return exits.UNAVAILABLE
    return status


def _perform(given: list[str]) -> int:
    if given in (["--version"], ["-V"]):
        write(sys.stdout, f"agentmemo {VERSION}")
        return exits.DONE
    try:
        from cyclopts import CycloptsError
    except ImportError as error:
        raise Unavailable(
            f"The command line is not installed: {error.name} is missing.",
            next_call="Install it: pip install 'agentmemo[cli]'.",
            retry_safe=False,
        ) from error
    tokens = options_last(given)
    app = build()
    if tokens in ([], ["--help"], ["-h"]):
        for name in COMMANDS:
            app[name]  # imports it, so that the list can say what it does
    try:
        result = app(tokens, print_error=False, exit_on_error=False, result_action="return_value")
    except CycloptsError as error:
        raise usage(error) from None
    return result if isinstance(result, int) else exits.DONE


def build() -> App:
    """The whole command tree. A noun's module is imported when one of its commands or its help is asked for."""
    from cyclopts import App, Parameter

    app = App(
        name="agentmemo",
        help=HELP,
        help_format="markdown",
        version=VERSION,
        version_flags=("--version", "-V"),
        default_parameter=Parameter(negative=()),
        suppress_keyboard_interrupt=False,
        console=console(sys.stdout),
        error_console=console(sys.stderr),
    )
    for number, (name, place) in enumerate(COMMANDS.items()):
        app.command(f"agentmemo.cli.{place}", name=name, sort_key=number)
    return app


def usage(error: CycloptsError) -> InvalidInput:
    """What the parser refused, in the form of every other error."""
    words = " ".join(error.command_chain or ())
    return InvalidInput(
        " ".join(str(error).split()),
        next_call=f"agentmemo {words} --help".replace("  ", " "),
        details={"command": words},
    )


def options_last(given: Sequence[str]) -> list[str]:
    """Common options may stand before the command; the parser wants them behind it."""
    leading: list[str] = []
    rest = list(given)
    while rest and (rest[0] == "--json" or rest[0].partition("=")[0] in WITH_VALUE):
        takes = 2 if rest[0] in WITH_VALUE else 1
        leading += rest[:takes]
        del rest[:takes]
    if not rest or (len(rest) == 1 and rest[0] not in ALONE and COMMANDS.get(rest[0], "").endswith(":app")):
        return rest  # a noun alone asks for its help, which takes no options
    end = rest.index("--") if "--" in rest else len(rest)
    return [*rest[:end], *leading, *rest[end:]]
