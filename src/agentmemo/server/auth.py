"""Who calls: a Bearer key becomes a caller. Without a valid key nothing is served."""

from __future__ import annotations

import asyncio
import hashlib

import msgspec

from agentmemo.clock import SECOND
from agentmemo.engine.dispatch import Engine
from agentmemo.errors import NotAuthenticated
from agentmemo.model.access import Caller

VALID_US = SECOND
KNOWN_MAX = 4096
# After these, what was known of a key may be wrong.
FORGETTING = frozenset({"key.revoke", "key.rotate", "key.create", "actor.disable"})
_SCHEME = "bearer "


class Authenticator:
    """Asks the engine for each key, and remembers the answer for at most a second."""

    def __init__(self, engine: Engine, door: str) -> None:
        self._engine = engine
        self._door = door
        self._known: dict[bytes, tuple[Caller, int]] = {}

    def caller(self, header: bytes | None) -> Caller:
        """The caller of an Authorization header. Raises NotAuthenticated."""
        if header is None:
            raise NotAuthenticated(
                "This needs a key.",
                why="Access is denied by default.",
                next_call="Send 'Authorization: Bearer am_...'; `agentmemo keys create` makes a key.",
            )
        return self._remembered(header) or self._asked(header, _key_in(header))

    async def admit(self, header: bytes | None) -> Caller:
        """`caller` on an event loop: a store behind a network is asked on another thread."""
        if header is None or self._engine.database.capabilities.local:
            return self.caller(header)
        known = self._remembered(header)
        return known if known is not None else await asyncio.to_thread(self.caller, header)

    def caller_of(self, key: str) -> Caller:
        """The same for a key that came without a header."""
        text = key.encode()
        return self._remembered(text) or self._asked(text, key)

    def _remembered(self, text: bytes) -> Caller | None:
        known = self._known.get(_digest(text))
        return known[0] if known is not None and 0 <= self._engine.clock.boot_us() - known[1] < VALID_US else None

    def _asked(self, text: bytes, key: str) -> Caller:
        """From the engine, and remembered for the text that it came in."""
        now = self._engine.clock.boot_us()
        digest = _digest(text)
        self._known.pop(digest, None)
        caller = msgspec.structs.replace(self._engine.authenticate(key), door=self._door)
        if len(self._known) >= KNOWN_MAX:
            self._known.clear()
        self._known[digest] = (caller, now)
        return caller

    def forget(self) -> None:
        """Ask again for every key: one was made, revoked or replaced, or an actor was disabled."""
        self._known.clear()


def _key_in(header: bytes) -> str:
    text = header.decode("latin-1").strip()
    if text[: len(_SCHEME)].lower() != _SCHEME:
        raise NotAuthenticated(
            "The Authorization header does not carry a Bearer key.",
            next_call="Send 'Authorization: Bearer am_...'.",
        )
    return text[len(_SCHEME) :].strip()


def _digest(text: bytes) -> bytes:
    # Remembered by its hash: no readable key outlives the request that brought it.
    return hashlib.sha256(text).digest()
