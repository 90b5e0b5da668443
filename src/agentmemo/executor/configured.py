"""The models and tools that are configured on this machine, for the workflows of a connection."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agentmemo.client.driving import StepExecutor, ToolSource
    from agentmemo.llm.config import Models
    from agentmemo.llm.prices import PriceBook
    from agentmemo.model.prices import Price


class ConfiguredModels:
    """The models, prices and tools of a store, read from its folder when they are needed first."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    @cached_property
    def _models(self) -> Models:
        from agentmemo.llm.config import load

        return load(folder=self._folder)

    @cached_property
    def _book(self) -> PriceBook:
        from agentmemo.llm.prices import book_of

        return book_of(self._models)

    def lookup(self, model: str, at_us: int) -> Price | None:
        return self._book.lookup(model, at_us)

    def executor(self) -> StepExecutor | None:
        """Whoever asks the models that are configured here; None where none is."""
        if not self._models.names:
            return None
        from agentmemo.executor.model_steps import ModelSteps

        return ModelSteps(self._models)

    def tools(self) -> ToolSource | None:
        """The tools of the MCP servers that are configured here, for one connection."""
        if not self._models.tools:
            return None
        from agentmemo.executor.mcp_tools import McpTools

        return McpTools(self._models.tools)
