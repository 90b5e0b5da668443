"""The command line's entry: `agentmemo`, also as `python -m agentmemo`.

Only what `--version` needs is imported here; each noun's commands are imported when one of them is called.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING

from agentmemo.cli import exits
from agentmemo.cli.output import console, prepare_streams, report, write
from agentmemo.errors import Error, InvalidInput

if TYPE_CHECKING:
    from cyclopts import App, CycloptsError

HELP = """The control plane for AI agents: durable state, runs and a verifiable log in one SQLite file.

Without `--url` a command opens the store itself; no server is needed. `agentmemo demo` shows what it is about.

Exit statuses: 0 done, 1 refused or failed, 2 wrong usage, 3 not found, 4 conflict, 5 not permitted, 6 unavailable.
"""
# name -> (where it is made, one line for the list of commands)
COMMANDS = {
    "up": ("up:up", "Start a plane that others reach over HTTP."),
    "demo": ("demo:demo", "Five steps that continue where you kill them."),
    "status": ("plane:status", "How the plane is doing."),
    "briefing": ("plane:briefing", "What an agent needs to know when it starts."),
    "state": ("state:app", "Versioned JSON values."),
    "runs": ("runs:app", "Durable work: look, explain, decide, signal, cancel."),
    "events": ("events:app", "The trail: every change, and the proof that nothing was edited."),
    "keys": ("keys:app", "Credentials and actors."),
    "backup": ("plane:backup", "Write a consistent copy of the store."),
    "restore": ("plane:restore", "Put a copy in the place of the store."),
    "doctor": ("plane:doctor", "Look for what is wrong, and say what to do."),
}
WITH_VALUE = ("--url", "--data", "--workspace", "--agent", "--person", "--key", "--key-file")


def main(arguments: Sequence[str] | None = None) -> int:
    """Perform one command and return its exit status (see `exits`). Expected errors never show a traceback."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    prepare_streams()
    json = "--json" in given
    try:
        status = _perform(given)
        sys.stdout.flush()
    except Error as error:
        report(error, json=json)
        return exits.status_of(error)
    except KeyboardInterrupt:
        write(sys.stderr, "Stopped.")
        return exits.INTERRUPTED
    except BrokenPipeError:
        # Nobody reads any more. What Python flushes at its end must not complain either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return exits.BROKEN_PIPE
    return status


def _perform(given: list[str]) -> int:
    if given in (["--version"], ["-V"]):
        write(sys.stdout, f"agentmemo {version('agentmemo')}")
        return exits.DONE
    try:
        from cyclopts import CycloptsError
    except ImportError:
        raise InvalidInput(
            "The command line is not installed.", next_call="Install it: pip install 'agentmemo[cli]'."
        ) from None
    tokens = options_last(given)
    app = build()
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
        version=version("agentmemo"),
        version_flags=("--version", "-V"),
        default_parameter=Parameter(negative=()),
        suppress_keyboard_interrupt=False,
        console=console(sys.stdout),
        error_console=console(sys.stderr),
    )
    for name, (place, help_text) in COMMANDS.items():
        app.command(f"agentmemo.cli.{place}", name=name, help=help_text)
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
    if not rest or (len(rest) == 1 and COMMANDS.get(rest[0], ("", ""))[0].endswith(":app")):
        return rest  # a noun alone asks for its help, which takes no options
    end = rest.index("--") if "--" in rest else len(rest)
    return [*rest[:end], *leading, *rest[end:]]
