"""The plane over HTTP."""

from __future__ import annotations

from agentmemo.server.app import App, create_app
from agentmemo.server.serve import Started, serve

__all__ = ["App", "Started", "create_app", "serve"]
