"""Which file may import what. The layers are a contract that `make check` keeps; this is the rest."""

from __future__ import annotations

import ast
from fnmatch import fnmatch

# third-party package -> the only files of src/agentmemo that may import it
HOMES = {
    "aiohttp": ("client/*",),
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


def test_third_party_packages_stay_at_home(package):
    strays = [
        f"{file.name}:{line} imports {name}"
        for file in package
        for line, name in imports(file.tree)
        if not at_home(name.partition(".")[0], file.name.removeprefix("src/agentmemo/"))
    ]
    assert strays == []


def test_inner_imports_are_listed(package, ratchet):
    found = {
        f"{file.name}: {name}"
        for file in package
        for function in ast.walk(file.tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for _, name in imports(function)
        if name.partition(".")[0] == "agentmemo"
    }
    ratchet("inner_imports", found)


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
