"""Handles: the only ids. A prefix and 16 Crockford base32 characters (48 bits of milliseconds, 32 random).

Any client can mint one. Within a process handles of one millisecond count upwards from a random start, so they
never collide there; across processes 32 random bits keep them apart.
"""

from __future__ import annotations

import hmac
import os
import re
import threading
from hashlib import sha256

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_PAIRS = [a + b for a in ALPHABET for b in ALPHABET]
HANDLE = re.compile(r"^[a-z]{3}_[0-9a-hjkmnp-tv-z]{16}\Z")
SHORTEST_PREFIX = 6
RANDOM_BYTES = 1024
# What is hashed in less time than another thread would take.
SMALL_BYTES = 1900
_BLOCK_BYTES = 64  # of SHA-256
_INNER, _OUTER = (bytes(byte ^ pad for byte in range(256)) for pad in (0x36, 0x5C))

_lock = threading.Lock()
_last_ms = 0
_last_random = 0
_random = b""


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


def is_handle(text: str, prefix: str | None = None) -> bool:
    return bool(HANDLE.match(text)) and (prefix is None or text.startswith(prefix + "_"))


def salt(size: int = 32) -> bytes:
    """Random bytes for commitments, secrets and keys.

    The system is asked for many at once: with each question this thread gives the interpreter away, and gets it back
    only when another one is done with it.
    """
    global _random  # noqa: PLW0603 - as above
    with _lock:
        if len(_random) < size:
            _random = os.urandom(max(size, RANDOM_BYTES))
        found, _random = _random[:size], _random[size:]
    return found


def _forget() -> None:
    """In a child process: what its parent is about to give out must not be given out here too."""
    global _random, _lock
    _random, _lock = b"", threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def keyed_hash(key: bytes, content: bytes) -> bytes:
    """HMAC-SHA256; used for blob ids, credential hashes and commitments."""
    if len(key) > _BLOCK_BYTES or len(content) > SMALL_BYTES:
        return hmac.digest(key, content, "sha256")
    # The same as RFC 2104 writes it. The library gives the interpreter away even for a few bytes, as with `salt`.
    block = key.ljust(_BLOCK_BYTES, b"\0")
    return sha256(block.translate(_OUTER) + sha256(block.translate(_INNER) + content).digest()).digest()


def jitter(seconds: float) -> float:
    """Between half and one and a half times as long, so that many who wait do not come back in step."""
    return seconds * (0.5 + int.from_bytes(os.urandom(2), "big") / 65536)


def same_bytes(a: bytes, b: bytes) -> bool:
    """Compare in constant time."""
    return hmac.compare_digest(a, b)


def digits(count: int) -> str:
    """A code of decimal digits, for a person to read and type."""
    return f"{int.from_bytes(os.urandom(16), 'big') % 10**count:0{count}d}"
