"""Handles: the only ids. A prefix and 16 Crockford base32 characters (48 bits of milliseconds, 32 random).

Any client can mint one. Within a process handles of one millisecond count upwards from a random start, so they
never collide there; across processes 32 random bits keep them apart.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import threading
from collections import deque

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_PAIRS = [a + b for a in ALPHABET for b in ALPHABET]
HANDLE = re.compile(r"^[a-z]{3}_[0-9a-hjkmnp-tv-z]{16}\Z")
SHORTEST_PREFIX = 6

SALT_BYTES = 32
SALTS_DRAWN = 128
# HMAC's two paddings of a key (RFC 2104), as tables of what becomes of each byte.
_INNER = bytes(byte ^ 0x36 for byte in range(256))
_OUTER = bytes(byte ^ 0x5C for byte in range(256))
_BLOCK_BYTES = 64

_salts: deque[bytes] = deque()
_lock = threading.RLock()
_last_ms = 0
_last_random = 0


def mint(prefix: str, now_us: int) -> str:
    """A new handle such as `run_01j9x2k7m3q8w4ez`; the time is an argument so that tests rule it."""
    global _last_ms, _last_random  # noqa: PLW0603 - one counter per process is the point
    ms = now_us // 1000
    with _lock:
        if ms == _last_ms:
            _last_random = (_last_random + 1) & 0xFFFFFFFF
        else:
            _last_ms = ms
            _last_random = int.from_bytes(os.urandom(4), "big")
        number = ((ms & 0xFFFFFFFFFFFF) << 32) | _last_random
    pairs = _PAIRS
    return (
        f"{prefix}_{pairs[number >> 70]}{pairs[(number >> 60) & 1023]}{pairs[(number >> 50) & 1023]}"
        f"{pairs[(number >> 40) & 1023]}{pairs[(number >> 30) & 1023]}{pairs[(number >> 20) & 1023]}"
        f"{pairs[(number >> 10) & 1023]}{pairs[number & 1023]}"
    )


def derived(prefix: str, content: bytes) -> str:
    """The one handle that stands for this content: 80 bits of its hash."""
    number = int.from_bytes(hashlib.sha256(content).digest()[:10], "big")
    return f"{prefix}_" + "".join(_PAIRS[(number >> shift) & 1023] for shift in range(70, -1, -10))


def is_handle(text: str, prefix: str | None = None) -> bool:
    return bool(HANDLE.match(text)) and (prefix is None or text.startswith(prefix + "_"))


def random_bytes(size: int = 32) -> bytes:
    """For secrets and keys."""
    return os.urandom(size)


def salt() -> bytes:
    """32 random bytes for a commitment. Each call of the system lets another thread in, so many are drawn at once."""
    try:
        return _salts.pop()
    except IndexError:
        drawn = os.urandom(SALT_BYTES * SALTS_DRAWN)
        _salts.extend(drawn[at : at + SALT_BYTES] for at in range(SALT_BYTES, len(drawn), SALT_BYTES))
        return drawn[:SALT_BYTES]


def keyed_hash(key: bytes, content: bytes) -> bytes:
    """HMAC-SHA256; used for blob ids, credential hashes and commitments.

    Two plain hashes make it, as RFC 2104 has it: `hmac.digest` gives the interpreter away each time, however short the
    content, and among many threads getting it back costs more than the hashing.
    """
    padded = (key if len(key) <= _BLOCK_BYTES else hashlib.sha256(key).digest()).ljust(_BLOCK_BYTES, b"\0")
    inner = hashlib.sha256(padded.translate(_INNER))
    inner.update(content)
    return hashlib.sha256(padded.translate(_OUTER) + inner.digest()).digest()


def jitter(seconds: float) -> float:
    """Between half and one and a half times as long, so that many who wait do not come back in step."""
    return seconds * (0.5 + int.from_bytes(os.urandom(2), "big") / 65536)


def same_bytes(a: bytes, b: bytes) -> bool:
    """Compare in constant time."""
    return hmac.compare_digest(a, b)


def digits(count: int) -> str:
    """A code of decimal digits, for a person to read and type."""
    return f"{int.from_bytes(os.urandom(16), 'big') % 10**count:0{count}d}"


def _after_fork() -> None:
    """A child must not draw or count what its parent does, nor wait for a thread that it does not have."""
    global _lock, _last_ms
    _salts.clear()
    _lock, _last_ms = threading.RLock(), -1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
