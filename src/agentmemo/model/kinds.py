"""Kinds of data, described to the codec once, by one thread.

msgspec describes a struct at its first use, and keeps a description that is not ready yet: a second thread that decodes
the same struct at that moment ends the process with a segmentation fault.
"""

from __future__ import annotations

import threading
from typing import Any, TypeVar

import msgspec

K = TypeVar("K")
_KNOWN_MAX = 10_000
_lock = threading.Lock()
_known: set[Any] = set()


def described(kind: K) -> K:
    """The same kind, once every thread may decode into it. Raises TypeError for what the codec cannot decode into."""
    try:
        known = kind in _known
    except TypeError:  # an annotation in it carries what has no hash, so it cannot be remembered
        with _lock:
            msgspec.json.Decoder(kind)
        return kind
    if not known:
        with _lock:
            msgspec.json.Decoder(kind)
            if len(_known) >= _KNOWN_MAX:  # of callers who make types as they go
                _known.clear()
            _known.add(kind)
    return kind
