"""Who is signed in. The cookie holds a random id; what belongs to it stays here, with expiry and idle time-out.

A person's key is never kept in readable form: it lies here encrypted under a pad made from the session id, which only
the browser has. With it every request is authenticated anew, so a revoked key ends its sessions at once.
"""

from __future__ import annotations

import base64
import hashlib
import threading

from agentmemo import ids
from agentmemo.clock import SECOND, Clock

LIFETIME_SECONDS = 12 * 3600
IDLE_SECONDS = 30 * 60
SESSIONS_MAX = 10_000
_BLOCK = 32


class Session:
    """What the server knows of one sign-in."""

    __slots__ = ("csrf", "opened_at", "sealed", "seen_at")

    def __init__(self, csrf: str, sealed: bytes, now: int) -> None:
        self.csrf = csrf
        self.sealed = sealed
        self.opened_at = now
        self.seen_at = now


class Sessions:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._sessions: dict[bytes, Session] = {}
        self._lock = threading.Lock()
        self._signing = ids.random_bytes()

    def open(self, key: str) -> str:
        """A new session's id, for the cookie."""
        token = _token()
        now = self._clock.boot_us()
        with self._lock:
            self._drop_ended(now)
            if len(self._sessions) >= SESSIONS_MAX:
                oldest = min(self._sessions, key=lambda place: self._sessions[place].seen_at)
                del self._sessions[oldest]
            self._sessions[_place(token)] = Session(_token(), _pad(token, key.encode()), now)
        return token

    def find(self, token: str, *, touch: bool = True) -> tuple[Session, str] | None:
        """The session and its key; None when unknown or ended. Without `touch` it does not count as activity."""
        now = self._clock.boot_us()
        with self._lock:
            session = self._sessions.get(_place(token))
            if session is None:
                return None
            if _ended(session, now):
                del self._sessions[_place(token)]
                return None
            if touch:
                session.seen_at = now
        return session, _pad(token, session.sealed).decode()

    def close(self, token: str) -> None:
        with self._lock:
            self._sessions.pop(_place(token), None)

    def sign_in_token(self, nonce: str) -> str:
        """The form token of a visitor without a session, bound to a nonce in a cookie of its own."""
        return ids.keyed_hash(self._signing, nonce.encode()).hex()

    def _drop_ended(self, now: int) -> None:
        for place in [place for place, session in self._sessions.items() if _ended(session, now)]:
            del self._sessions[place]


def new_nonce() -> str:
    return _token()


def same(given: str, expected: str) -> bool:
    """Compare two tokens in constant time."""
    return ids.same_bytes(given.encode(), expected.encode())


def _ended(session: Session, now: int) -> bool:
    return now - session.opened_at > LIFETIME_SECONDS * SECOND or now - session.seen_at > IDLE_SECONDS * SECOND


def _token() -> str:
    return base64.urlsafe_b64encode(ids.random_bytes()).decode().rstrip("=")


def _place(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def _pad(token: str, text: bytes) -> bytes:
    """Encrypt or decrypt: XOR with HMAC blocks under the random id, which is used for this one text only."""
    blocks = (ids.keyed_hash(token.encode(), number.to_bytes(4, "big")) for number in range(len(text) // _BLOCK + 1))
    return bytes(a ^ b for a, b in zip(text, b"".join(blocks), strict=False))
