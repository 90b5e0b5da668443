"""Which file may import what. The layers are a contract that `make check` keeps; this is the rest."""

from __future__ import annotations

import ast
from fnmatch import fnmatch

# third-party package -> the only files of src/agentmemo that may import it
HOMES = {
    "apprise": ("notify/apprise.py",),
    "apsw": ("store/sqlite*.py", "store/migrate.py", "store/restore.py"),
    "cyclopts": ("cli/*",),
    "genai_prices": ("llm/installed_prices.py",),
    "httpx": ("llm/exchange.py",),
    "icalendar": ("client/calendars.py",),
    "jinja2": ("console/*", "server/*"),
    "mcp": ("executor/mcp_tools.py",),
    "psycopg": ("store/postgres*.py", "store/transfer*.py", "testing/postgres.py"),
    "recurring_ical_events": ("client/calendars.py",),
    "rich": ("cli/*",),
    "smtplib": ("notify/email.py",),
    "sqlite3": (),  # the system's library has a bug that corrupts the log; apsw brings its own
    "starlette": ("console/*", "server/*"),
    "yaml": ("client/yaml_files.py",),
    "uvicorn": ("console/*", "server/*"),
}

# Imports inside functions: loaded when it is needed, and why not before (decision 24).
LATE = {
    "cli/main.py: agentmemo.api.next_calls": "only a refusal names calls",
    "cli/main.py: agentmemo.cli.verbs": "the same",
    "cli/options.py: agentmemo.cli.first_use": "only who reads a store that was never made needs it",
    "cli/up.py: agentmemo.server.serve": "the server is an optional extra",
    "client/_async/connection.py: agentmemo.client._async.buffer": "as its parts, loaded when it is used first",
    "client/_async/connection.py: agentmemo.client._async.run": "the same",
    "client/http_async.py: agentmemo.client.http_sync": "only the heartbeat of held runs needs it",
    "connect.py: agentmemo.embedded": "who talks to a server needs no engine, and an import should be quick",
    "connect.py: agentmemo.embedded_async": "the same; and a process is synchronous or not",
    "connect.py: agentmemo.remote": "who opens a store needs no HTTP",
    "connect.py: agentmemo.remote_async": "the same",
    "connect.py: agentmemo.settings": "who only imports the package needs no codec",
    "executor/configured.py: agentmemo.executor.mcp_tools": "where no tools are configured there is none to call",
    "executor/configured.py: agentmemo.executor.model_steps": "where no models are configured there is none to ask",
    "executor/configured.py: agentmemo.llm.config": "read when a workflow is driven, or a price is asked, first",
    "executor/configured.py: agentmemo.llm.prices": "the same",
    "notify/people.py: agentmemo.notify.every_channel": "most planes send nothing",
    "notify/webhooks.py: agentmemo.notify.outgoing": "the same",
    "server/app.py: agentmemo.console.app": "a plane that only agents call shows no page",
    "store/open.py: agentmemo.store.postgres_place": "psycopg is an optional extra",
}


def test_third_party_packages_stay_at_home(package):
    strays = [
        f"{file.name}:{line} imports {name}"
        for file in package
        for line, name in imports(file.tree)
        if not at_home(name.partition(".")[0], file.name.removeprefix("src/agentmemo/"))
    ]
    assert strays == []


def test_what_is_loaded_late_is_declared(package):
    found = {
        f"{file.name.removeprefix('src/agentmemo/')}: {module}"
        for file in package
        for function in ast.walk(file.tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for module in inner_imports(function)
    }
    assert found == LATE.keys()


def inner_imports(function):
    for node in ast.walk(function):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [f"{'.' * node.level}{node.module}"] if isinstance(node, ast.ImportFrom) else []
        yield from (name for name in names if name.startswith((".", "agentmemo")))


def imports(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level:
            yield node.lineno, "agentmemo"
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def at_home(package, place):
    return package not in HOMES or any(fnmatch(place, home) for home in HOMES[package])
