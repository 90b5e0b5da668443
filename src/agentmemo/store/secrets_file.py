"""Secrets in 0600 files beside the store, never inside it."""

from __future__ import annotations

import os
from pathlib import Path

from agentmemo import ids
from agentmemo.errors import Unavailable
from agentmemo.store.sqlite_files import make_directory, sync_directory

PEPPER_BYTES = 32
SUFFIX = "-pepper"
# What is hashed with it, so that databases can tell it from another.
CHECKED = b"agentmemo pepper"


def peppers(database: Path | None) -> list[bytes]:
    """The plane's own secrets for hashing keys, one a line, made on first use. A store in memory gets a fresh one.

    What is made is hashed under the first of them; what was made under the others is known as long as they are there.
    AGENTMEMO_PEPPER_FILE names another file, for servers that share a database and get their secrets from elsewhere.
    """
    if database is None:
        return [ids.random_bytes(PEPPER_BYTES)]
    path = given_place() or database.with_name(database.name + SUFFIX)
    found = read(path)
    if found is None and given_place() is None:
        write(path, ids.random_bytes(PEPPER_BYTES).hex())
        found = read(path)
    if not found:
        raise Unavailable(f"{path} cannot be read.", next_call="Restore it, or remove it and make new keys.")
    return _secrets_in(found)


def _secrets_in(content: str) -> list[bytes]:
    return [bytes.fromhex(line) for line in content.split()]


def place(database: Path | None) -> Path | None:
    """The file that holds it, for a store whose things lie beside `database`."""
    return given_place() or (database.with_name(database.name + SUFFIX) if database else None)


def check_of(database: Path) -> str | None:
    """What tells the secret beside a store without revealing it; None where there is none."""
    path = place(database)
    found = read(path) if path else None
    return ids.keyed_hash(_secrets_in(found)[0], CHECKED).hex() if found else None


def given_place() -> Path | None:
    given = os.environ.get("AGENTMEMO_PEPPER_FILE")
    return Path(given) if given else None


def read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Unavailable(f"{path} cannot be read: {error.strerror}.", next_call="Make it readable by you.") from error


def write(path: Path, content: str) -> None:
    """Create the file readable by its owner only, safe from a loss of power; an existing one is kept."""
    try:
        make_directory(path.parent)
        # A private name first, then a link: nobody ever reads half a secret, and two makers cannot differ.
        partial = path.with_name(f"{path.name}.{ids.random_bytes(4).hex()}")
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(content + "\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(partial, path)
        except FileExistsError:
            pass
        finally:
            partial.unlink()
        # Keys are hashed under it from now on: it must not be gone after a loss of power when they are there.
        sync_directory(path.parent)
    except OSError as error:
        raise Unavailable(
            f"{path} cannot be written: {error.strerror}.", next_call="Make the data directory writable."
        ) from error
