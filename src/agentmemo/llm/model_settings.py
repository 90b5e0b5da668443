"""What one model is configured with: the document of `[models.<name>]`, its key, its address."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from msgspec import Meta

from agentmemo.errors import InvalidInput, NotAuthenticated
from agentmemo.model.documents import Document, misfit
from agentmemo.model.prices import PriceDocument

OPENAI, ANTHROPIC = "openai", "anthropic"
ADDRESSES = {OPENAI: "https://api.openai.com/v1", ANTHROPIC: "https://api.anthropic.com/v1"}
KEYS = {OPENAI: "OPENAI_API_KEY", ANTHROPIC: "ANTHROPIC_API_KEY"}
# Who sells at an address, in the words of the price tables. Elsewhere it is the host, which no table knows.
SELLERS = {
    "api.openai.com": "openai",
    "api.anthropic.com": "anthropic",
    "generativelanguage.googleapis.com": "google",
    "api.mistral.ai": "mistral",
    "api.deepseek.com": "deepseek",
    "api.x.ai": "x-ai",
    "api.groq.com": "groq",
    "api.together.xyz": "together",
    "openrouter.ai": "openrouter",
}
# What a request says itself; in `options` it would pass the reservation, or the form of the answer.
OWN_FIELDS = frozenset(
    {
        "grammar", "max_completion_tokens", "max_tokens", "messages", "model", "n", "response_format", "stream",
        "stream_options", "system", "temperature", "tool_choice", "tools",
    }
)  # fmt: skip
GROUP_OR_OTHERS = 0o077


class ModelSettings(Document, kw_only=True):
    """One model. The key itself never stands here: `key_env` names a variable, `key_file` a file of mode 0600.

    `options` are further fields of the request, as the provider has them. `constrain` says how the server is held to
    choices and schemas. `served_as` are names that it may answer with besides its own. `seller` is who is paid, where
    the address does not tell.
    """

    provider: Annotated[str, Meta(min_length=1)]
    model: Annotated[str, Meta(min_length=1)]
    base_url: str = ""
    key_env: str = ""
    key_file: str = ""
    max_output_tokens: Annotated[int, Meta(ge=1)] = 4096
    timeout_seconds: Annotated[float, Meta(gt=0, le=3600)] = 120.0
    stream: bool = False
    constrain: Literal["json_schema", "grammar", "none"] = "json_schema"
    served_as: list[str] = []
    seller: str = ""
    price: PriceDocument | Literal["free"] | None = None
    options: dict[str, Any] = {}


EXAMPLE = {"provider": "anthropic", "model": "claude-haiku-5-5", "key_env": "ANTHROPIC_API_KEY"}


def check(settings: ModelSettings, path: str) -> None:
    """Raises InvalidInput for what cannot be called."""
    if settings.key_env and settings.key_file:
        raise misfit(f"{path}.key_file", "there are two places for one key", "Leave one of them out.")
    if taken := sorted(OWN_FIELDS & settings.options.keys()):
        raise misfit(f"{path}.options.{taken[0]}", "the request says that itself", "Leave it out of the options.")
    if settings.base_url or settings.provider in ADDRESSES:
        parts = _parts(address(settings), f"{path}.base_url")
        if parts.username or parts.query or parts.fragment:
            raise misfit(
                f"{path}.base_url", "it holds more than host, port and path", "Name the key's variable in key_env."
            )


def address(settings: ModelSettings) -> str:
    return (settings.base_url or ADDRESSES[settings.provider]).rstrip("/")


def seller(settings: ModelSettings) -> str:
    """Whose price it is. A server of one's own is nobody's of the tables, whatever its model is called."""
    if settings.seller or not (settings.base_url or settings.provider in ADDRESSES):
        return settings.seller or settings.provider
    parts = urlsplit(address(settings))
    return SELLERS.get(parts.hostname or "", parts.netloc)


def bound(settings: ModelSettings, asked: int | None) -> int:
    """The most tokens of an answer: what is asked for, within what is configured."""
    return settings.max_output_tokens if asked is None else min(asked, settings.max_output_tokens)


def key(settings: ModelSettings, environ: Mapping[str, str]) -> str | None:
    """The key, read when it is used and never kept; None where none is configured. Raises without saying any of it."""
    if settings.key_file:
        found = _from_file(Path(settings.key_file).expanduser())
    else:
        # To an address of one's own only a key that was named for it is sent.
        name = settings.key_env or ("" if settings.base_url else KEYS.get(settings.provider, ""))
        if not name:
            return None
        found = environ.get(name, "").strip()
        if not found:
            raise NotAuthenticated(
                f"There is no key for {settings.model}: {name} is not set.",
                next_call=f"Set {name}, or name another variable in key_env.",
            )
    if not found or not found.isascii() or not found.isprintable() or " " in found:
        raise NotAuthenticated(
            f"The key for {settings.model} is empty, or holds what no key does: spaces, line breaks, other than ASCII.",
            next_call="Set the key alone, without a second line.",
        )
    return found


def _from_file(path: Path) -> str:
    try:
        with path.open(encoding="utf-8") as file:
            if os.fstat(file.fileno()).st_mode & GROUP_OR_OTHERS:
                raise NotAuthenticated(
                    f"Others may read the key file {path}.", next_call=f"chmod 600 {path}", retry_safe=True
                )
            return file.read().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(
            f"The key file {path} cannot be read: {type(error).__name__}.",
            next_call="Name a readable text file that holds the key and nothing else.",
        ) from None


def _parts(url: str, path: str) -> Any:
    try:
        parts = urlsplit(url)
        fits = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        fits = False
    if not fits:
        raise misfit(path, "it is not an address", "Use https://host/v1, or http://host:port/v1.")
    return parts
