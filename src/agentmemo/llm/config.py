"""Which models there are: one file, `models.toml`, or its text in AGENTMEMO_MODELS. No other is called.

ladder = ["small", "large"]            # cheapest first

[models.small]
provider = "anthropic"                 # or "openai", or what another package has under `agentmemo.models`
model = "claude-haiku-5-5"
key_env = "ANTHROPIC_API_KEY"          # the name of the variable, never the key

[tools.files]
command = ["files-server", "--stdio"]  # an MCP server
"""

from __future__ import annotations

import difflib
import hashlib
import os
import threading
import tomllib
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from msgspec import Meta

from agentmemo.clock import Clock, SystemClock
from agentmemo.errors import InvalidInput, NotFound
from agentmemo.llm import model_settings as configured
from agentmemo.llm.anthropic import AnthropicClient
from agentmemo.llm.exchange import Exchange
from agentmemo.llm.model_settings import ANTHROPIC, OPENAI, ModelSettings
from agentmemo.llm.openai import OpenAiClient
from agentmemo.llm.protocol import ModelClient
from agentmemo.model.documents import Document, misfit, parse
from agentmemo.settings import data_directory

FILE = "models.toml"
VARIABLE = "AGENTMEMO_MODELS"
PLUGINS = "agentmemo.models"
BUILT_IN = (OPENAI, ANTHROPIC)
EXAMPLE = {"ladder": ["small"], "models": {"small": configured.EXAMPLE}}

Name = Annotated[str, Meta(pattern=r"^[\w.:-]{1,64}\Z")]
Text = Annotated[str, Meta(min_length=1)]


class ToolServer(Document):
    """An MCP server whose tools workflows may use: a command that is started, or the address of one that runs.

    `env` names the variables that a command is given, `key_env` the one whose value an address is sent as a bearer
    token. `effects` says what a tool does where the server does not say it, or is not to be believed.
    """

    command: Annotated[list[Text], Meta(min_length=1)] | None = None
    url: Text | None = None
    env: list[Text] = []
    key_env: Text | None = None
    timeout_seconds: Annotated[float, Meta(gt=0, le=3600)] = 60.0
    effects: dict[str, Literal["none", "read", "write", "irreversible"]] = {}


class ModelsDocument(Document):
    """The file. Its parts are parsed one by one, so that a misfit names the one it is in."""

    ladder: list[str] = []
    models: dict[Name, dict[str, Any]] = {}
    tools: dict[Name, dict[str, Any]] = {}


class Configured(NamedTuple):
    ladder: tuple[str, ...] = ()
    models: Mapping[str, ModelSettings] = {}
    tools: Mapping[str, ToolServer] = {}


class Models:
    """The configured models. Clients are made when first asked for, share one pool, and are thread-safe."""

    def __init__(
        self,
        said: Configured,
        *,
        source: str = "",
        table_hash: str = "",
        environ: Mapping[str, str] = os.environ,
        clock: Clock | None = None,
    ) -> None:
        self._said = said
        self._environ = environ
        self._exchange = Exchange(clock or SystemClock())
        self._clients: dict[str, ModelClient] = {}
        self._lock = threading.Lock()
        self.source = source
        self.table_hash = table_hash

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._said.models)

    @property
    def ladder(self) -> tuple[str, ...]:
        """Names, cheapest first, for documents that have no ladder of their own."""
        return self._said.ladder

    @property
    def tools(self) -> Mapping[str, ToolServer]:
        return self._said.tools

    def settings(self, name: str) -> ModelSettings:
        """Raises NotFound for a name that is not configured, with the nearest that is."""
        found = self._said.models.get(name)
        if found is not None:
            return found
        near = difflib.get_close_matches(name, self.names, n=1, cutoff=0.5)
        raise NotFound(
            f"There is no model named {name[:64]!r}.",
            why=f"Configured are: {', '.join(self.names) or 'none'}.",
            next_call=f"Did you mean {near[0]!r}?" if near else f"Add [models.{name[:64]}] to {self.source or FILE}.",
        )

    def client(self, name: str) -> ModelClient:
        """Raises NotFound as `settings` does, and InvalidInput where no package provides its provider."""
        settings = self.settings(name)
        with self._lock:
            if name not in self._clients:
                self._clients[name] = self._make(settings)
            return self._clients[name]

    def close(self) -> None:
        self._exchange.close()

    def _make(self, settings: ModelSettings) -> ModelClient:
        if settings.provider == OPENAI:
            return OpenAiClient(settings, self._exchange, self._environ)
        if settings.provider == ANTHROPIC:
            return AnthropicClient(settings, self._exchange, self._environ)
        found = entry_points(group=PLUGINS, name=settings.provider)
        if not found:
            known = [*BUILT_IN, *entry_points(group=PLUGINS).names]
            near = difflib.get_close_matches(settings.provider, known, n=1, cutoff=0.5)
            raise InvalidInput(
                f"No package provides models of {settings.provider[:64]!r}.",
                why=f"Providers here are: {', '.join(known)}.",
                next_call=f"Did you mean {near[0]!r}?" if near else "Install the package that does.",
            )
        make: Callable[[ModelSettings], ModelClient] = next(iter(found)).load()
        return make(settings)


def load(
    path: Path | None = None,
    environ: Mapping[str, str] = os.environ,
    *,
    folder: Path | None = None,
    clock: Clock | None = None,
) -> Models:
    """What `path` says; else AGENTMEMO_MODELS, a path or the text itself; else models.toml in the store's folder.

    Without any of them there are no models. Raises InvalidInput with the path of what does not fit.
    """
    given = environ.get(VARIABLE, "").strip()
    if path is None and ("\n" in given or given.startswith("[")):
        return _models(given.encode(), VARIABLE, environ, clock)
    place = path or (Path(given).expanduser() if given else (folder or data_directory()) / FILE)
    try:
        content = place.read_bytes()
    except FileNotFoundError:
        if path is None and not given:
            return Models(Configured(), source=str(place), environ=environ, clock=clock)
        raise InvalidInput(f"There is no file {place}.", next_call=f"Write it, or correct {VARIABLE}.") from None
    except OSError as error:
        raise InvalidInput(
            f"{place} cannot be read: {type(error).__name__}.", next_call="Let this user read it."
        ) from None
    return _models(content, str(place), environ, clock)


def read(text: str) -> Configured:
    """What the text says, checked. Raises InvalidInput."""
    try:
        plain = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise InvalidInput(f"The models are no TOML: {error}.", next_call="Correct that line.") from None
    document = parse(ModelsDocument, plain, "file of models", EXAMPLE)
    _check_ladder(document)
    return Configured(
        tuple(document.ladder),
        {name: _model(name, part) for name, part in document.models.items()},
        {name: _tool(name, part) for name, part in document.tools.items()},
    )


def _model(name: str, part: dict[str, Any]) -> ModelSettings:
    settings = parse(ModelSettings, part, "model", configured.EXAMPLE, f"$.models.{name}")
    configured.check(settings, f"$.models.{name}")
    return settings


def _tool(name: str, part: dict[str, Any]) -> ToolServer:
    server = parse(ToolServer, part, "tool server", {"command": ["files-server", "--stdio"]}, f"$.tools.{name}")
    if (server.command is None) == (server.url is None):
        raise misfit(f"$.tools.{name}", "it needs a command or a url, and not both", "Say where the server is.")
    for field, given, of in (("env", server.env, "command"), ("key_env", server.key_env, "url")):
        if given and getattr(server, of) is None:
            raise misfit(f"$.tools.{name}.{field}", f"only a server with a {of} is given it", "Leave it out.")
    return server


def _check_ladder(document: ModelsDocument) -> None:
    for index, name in enumerate(document.ladder):
        if name not in document.models:
            near = difflib.get_close_matches(name, document.models, n=1, cutoff=0.5)
            hint = f"Did you mean {near[0]!r}?" if near else f"Add [models.{name[:64]}]."
            raise misfit(f"$.ladder[{index}]", f"there is no model {name[:64]!r}", hint)
    if len(set(document.ladder)) != len(document.ladder):
        raise misfit("$.ladder", "a model stands in it twice", "Name each model once, cheapest first.")


def _models(content: bytes, source: str, environ: Mapping[str, str], clock: Clock | None) -> Models:
    try:
        text = content.decode()
    except UnicodeDecodeError:
        raise InvalidInput(f"{source} is not UTF-8.", next_call="Write it as UTF-8.") from None
    digest = hashlib.sha256(content).hexdigest()
    return Models(read(text), source=source, table_hash=digest, environ=environ, clock=clock)
