"""The models and tools that are configured on this machine, for the workflows of a connection."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TypeVar

from agentmemo.client._async.connection import AsyncConnection
from agentmemo.client._sync.connection import Connection
from agentmemo.client.driving import StepExecutor, ToolSource
from agentmemo.executor.mcp_tools import McpTools
from agentmemo.executor.model_steps import ModelSteps
from agentmemo.llm.config import Models
from agentmemo.llm.config import load as load_models
from agentmemo.llm.prices import PriceBook, book_of
from agentmemo.model.prices import Price

Connected = TypeVar("Connected", Connection, AsyncConnection)


def equipped(connection: Connected, models: ConfiguredModels) -> Connected:
    """With the models and tools that its workflows may use."""
    connection.workflows.use(models.executor)
    connection.workflows.use_tools(models.tools)
    return connection


class ConfiguredModels:
    """The models, prices and tools of a store, read from its folder when they are needed first."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    @cached_property
    def _models(self) -> Models:
        return load_models(folder=self._folder)

    @cached_property
    def _book(self) -> PriceBook:
        return book_of(self._models)

    def lookup(self, model: str, at_us: int) -> Price | None:
        return self._book.lookup(model, at_us)

    def executor(self) -> StepExecutor | None:
        """Whoever asks the models that are configured here; None where none is."""
        return ModelSteps(self._models) if self._models.names else None

    def tools(self) -> ToolSource | None:
        """The tools of the MCP servers that are configured here, for one connection."""
        return McpTools(self._models.tools) if self._models.tools else None
