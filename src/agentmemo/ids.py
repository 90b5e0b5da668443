"""Handles: the only ids. A prefix and 16 Crockford base32 characters (48 bits of milliseconds, 32 random).

Any client can mint one. Within a process handles of one millisecond count upwards from a random start, so they
never collide there; across processes 32 random bits keep them apart.
"""

from __future__ import annotations

import hmac
import os
import re
import threading

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_PAIRS = [a + b for a in ALPHABET for b in ALPHABET]
HANDLE = re.compile(r"^[a-z]{3}_[0-9a-hjkmnp-tv-z]{16}\Z")
SHORTEST_PREFIX = 6

_lock = threading.Lock()
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


def is_handle(text: str, prefix: str | None = None) -> bool:
    return bool(HANDLE.match(text)) and (prefix is None or text.startswith(prefix + "_"))


def salt(size: int = 32) -> bytes:
    """Random bytes for commitments, secrets and keys."""
    return os.urandom(size)


def keyed_hash(key: bytes, content: bytes) -> bytes:
    """HMAC-SHA256; used for blob ids, credential hashes and commitments."""
    return hmac.digest(key, content, "sha256")


def jitter(seconds: float) -> float:
    """Between half and one and a half times as long, so that many who wait do not come back in step."""
    return seconds * (0.5 + int.from_bytes(os.urandom(2), "big") / 65536)


def same_bytes(a: bytes, b: bytes) -> bool:
    """Compare in constant time."""
    return hmac.compare_digest(a, b)


def digits(count: int) -> str:
    """A code of decimal digits, for a person to read and type."""
    return f"{int.from_bytes(os.urandom(16), 'big') % 10**count:0{count}d}"
