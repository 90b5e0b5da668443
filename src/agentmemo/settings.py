"""Settings from arguments and the environment, read once at the edges into one frozen value."""

from __future__ import annotations

import getpass
import os
import re
from pathlib import Path

import msgspec

from agentmemo.errors import InvalidInput, NotAuthenticated

VERSION = "0.1.0"
MIB = 1024 * 1024
_HOST_AND_PORT = re.compile(r"(\[[^\s/\]]+\]|[^\s/:\[\]]+):\d{1,5}/?")


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Limits and intervals of one plane. Sizes in bytes, times in seconds or days as named."""

    value_bytes_max: int = 64 * MIB
    request_bytes_max: int = 96 * MIB
    request_values_max: int = 500_000
    requests_per_second: float = 0.0
    bodies_bytes_max: int = 256 * MIB
    head_bytes_max: int = 64 * 1024
    head_seconds: float = 20.0
    body_seconds: float = 300.0
    stalled_seconds: float = 60.0
    connections_max: int = 20_000
    watchers_max: int = 10_000
    watchers_per_actor_max: int = 5_000
    patience_seconds: float = 30.0
    lease_seconds: float = 10.0
    unattended_lease_seconds: float = 600.0
    wait_seconds_max: float = 60.0
    upkeep_interval_seconds: float = 0.5
    overdue_hours: float = 24.0
    pickup_seconds: float = 3600.0
    progress_seconds: float = 3600.0
    handoff_hops_max: int = 16
    webhook_private_addresses: bool = False
    public_url: str = ""
    smtp_url: str = ""
    smtp_from: str = ""
    slack_url: str = "https://slack.com/api"
    ntfy_url: str = "https://ntfy.sh"
    request_hours: float = 24.0
    blob_hours: float = 24.0
    finished_runs_days: float = 30.0
    versions_days: float = 90.0
    versions_kept: int = 100
    denial_window_seconds: float = 60.0
    postgres_writers: int = 4
    postgres_readers: int = 8
    postgres_patience_seconds: float = 30.0
    postgres_idle_seconds: float = 5.0
    postgres_statement_seconds: float = 30.0
    postgres_prepare: bool = True
    postgres_notify: bool = True
    postgres_allow_lossy: bool = False


def secret(name: str) -> str | None:
    """AGENTMEMO_<NAME>, or what the file AGENTMEMO_<NAME>_FILE holds. Secrets are read when they are used, never kept.

    Raises InvalidInput when the file cannot be read.
    """
    if given := os.environ.get(f"AGENTMEMO_{name.upper()}"):
        return given
    place = os.environ.get(f"AGENTMEMO_{name.upper()}_FILE")
    if not place:
        return None
    try:
        return Path(place).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(
            f"AGENTMEMO_{name.upper()}_FILE cannot be read: {type(error).__name__}.",
            next_call="Name a readable text file that holds the secret and nothing else.",
        ) from None


def data_directory() -> Path:
    """AGENTMEMO_DATA, or the platform's place for the user's data."""
    given = os.environ.get("AGENTMEMO_DATA")
    if given:
        return Path(given)
    from platformdirs import user_data_path

    return user_data_path("agentmemo", appauthor=False)


def default_target() -> str | None:
    """AGENTMEMO_URL, which says with its scheme what it names. Raises InvalidInput where it has none."""
    given = os.environ.get("AGENTMEMO_URL") or None
    if given is not None and "://" not in given:
        refuse_bare_address(given)
        raise InvalidInput(
            f"AGENTMEMO_URL has no scheme: {given!r}.",
            next_call="Set it to http://host:port, https://host:port, postgresql://host/name or sqlite:///path.",
        )
    return given


def refuse_bare_address(target: str) -> None:
    """Raises InvalidInput for host:port: it would name a file of that name, where a plane was meant."""
    if _HOST_AND_PORT.fullmatch(target):
        raise InvalidInput(
            f"{target!r} looks like the address of a plane without its scheme.",
            next_call=f"Use http://{target}, https://{target}, or ./{target} for a file of that name.",
        )


def key_for_http(given: str | None) -> str:
    """The key as given, or AGENTMEMO_KEY. Raises NotAuthenticated where there is none."""
    found = given or os.environ.get("AGENTMEMO_KEY")
    if not found:
        raise NotAuthenticated(
            "A plane over HTTP needs a key.",
            why="Access is denied by default.",
            next_call="Pass key=..., or set AGENTMEMO_KEY; `agentmemo up` prints one.",
        )
    return found


def default_agent() -> str:
    """AGENTMEMO_AGENT, or the operating-system user's name."""
    return os.environ.get("AGENTMEMO_AGENT") or os_user()


def os_user() -> str:
    for variable in ("USER", "LOGNAME", "USERNAME"):
        if name := os.environ.get(variable):
            return name
    try:
        # From the system's users: the same under cron and in a container, which set none of these.
        return getpass.getuser()
    except (ImportError, KeyError, OSError):
        return f"uid-{os.getuid()}" if hasattr(os, "getuid") else "user"


def from_environment() -> Settings:
    """Settings whose AGENTMEMO_<NAME> variable is set take its value. Raises InvalidInput for a bad one."""
    given: dict[str, str] = {}
    for field in msgspec.structs.fields(Settings):
        if value := os.environ.get(f"AGENTMEMO_{field.name.upper()}"):
            given[field.name] = value
    try:
        return msgspec.convert(given, Settings, strict=False)
    except msgspec.ValidationError as error:
        raise InvalidInput(
            f"A setting in the environment does not fit: {error}.", next_call="Correct or unset the variable."
        ) from None
