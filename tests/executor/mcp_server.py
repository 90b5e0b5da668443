"""A small MCP server, as somebody would write one: over its standard streams, or over HTTP on a port.

python mcp_server.py FOLDER [PORT]        # FOLDER keeps what it did, since it is killed and started again
"""

import os
import sys
import threading
from pathlib import Path

from mcp.server import MCPServer
from mcp.types import ToolAnnotations

FOLDER = Path(sys.argv[1])
READS = ToolAnnotations(read_only_hint=True)
ADDS = ToolAnnotations(destructive_hint=False)
server = MCPServer("desk", log_level="CRITICAL")


def note(text):
    with (FOLDER / "done").open("a") as file:
        file.write(f"{text}\n")


def once(name):
    """Whether this is the first time, over all of its lives."""
    try:
        (FOLDER / name).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


@server.tool(annotations=READS)
def add(a: int, b: int = 1) -> dict[str, int]:
    """Adds two numbers."""
    return {"sum": a + b}


@server.tool(annotations=READS, structured_output=False)
def greet(name: str) -> str:
    return f"Hello, {name}."


@server.tool(annotations=READS, structured_output=False)
def environment() -> str:
    return " ".join(os.environ)


@server.tool(annotations=READS)
def fail() -> str:
    raise ValueError("there is no such desk")


@server.tool(annotations=READS)
def stumble() -> dict[str, str]:
    """Dies the first time."""
    if once("stumbled"):
        os._exit(1)
    return {"now": "it works"}


@server.tool(annotations=READS)
def always_dies() -> str:
    note("died")
    os._exit(1)


@server.tool(annotations=ADDS)
def pay(amount: int, idempotency_key: str) -> dict[str, str]:
    note(f"paid {amount} {idempotency_key}")
    if once("paid"):
        os._exit(1)
    return {"paid": idempotency_key}


@server.tool(annotations=READS)
def hang() -> str:
    threading.Event().wait(30)
    return "late"


@server.tool()
def erase() -> str:
    return "gone"


if __name__ == "__main__":
    if len(sys.argv) > 2:
        server.run("streamable-http", host="127.0.0.1", port=int(sys.argv[2]))
    else:
        server.run()
