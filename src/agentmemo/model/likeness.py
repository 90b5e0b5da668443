"""When two calls, results or errors are the same in all that matters: digests of what is left without what varies.

What varies without meaning is left out: times, durations, UUIDs, request ids, and the element references that a page
snapshot numbers anew each time (mozilla/pilo #430: with them, loops are invisible). Numbers stay in results, where they
may be the very progress that was waited for. They are left out of an error's class, which is about its kind.

Everything here is total: it answers for any JSON value, and reads a bounded part of a large one.
"""

from __future__ import annotations

import re
import zlib
from hashlib import blake2b
from typing import Any, NamedTuple

from agentmemo.model import values

# Beyond so many bytes of a text, what lies between its head and tail is compared as it is.
HEAD_BYTES, TAIL_BYTES = 256, 192
ERROR_HEAD_BYTES, ERROR_TAIL_BYTES = 128, 320
WORDS_COMPARED = 32
FIELDS_COMPARED = 12

_TIME_OR_DURATION = re.compile(
    rb"\d[\d.]*+(?:[:-][\d:.TZ+-]{4,}+|(?<=\.\d) ?s\b|(?<=\.\d\d) ?s\b|(?<=\.\d{3}) ?s\b| ?ms\b)"
)
# A UUID is found by its hyphens, which are rarer than hexadecimal digits; eight digits stand before them.
_UUID_TAIL = re.compile(rb"-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")
_UUID_HEAD_BYTES, _UUID_HYPHENS = 8, 4
_REFERENCE = re.compile(rb"(\bref\"?[=:] ?\"?)[\w-]+")
_REFERENCE_VALUE = re.compile(rb"@?[A-Za-z]{0,2}\d+(?:[a-z]\d+)?")
REFERENCE_BYTES = 12
_VOLATILE_FIELDS = frozenset({
    "request_id", "requestId", "trace_id", "traceId", "span_id", "correlation_id", "idempotency_key", "nonce",
    "timestamp", "ts", "now", "time", "date", "checked_at", "fetched_at", "generated_at", "duration", "duration_ms",
    "elapsed", "elapsed_ms", "took", "took_ms", "latency_ms",
})  # fmt: skip
_UPPER, _MARKS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ", b",;:!?()[]{}\"'`<>=|*\\\n\t\r"
_PLAIN_WORDS = bytes.maketrans(_UPPER + _MARKS, _UPPER.lower() + b" " * len(_MARKS))
_FAULTS = (b"error", b"exception", b"timeout", b"refused", b"denied")
_FAILED_WORDS = frozenset({"failed", "failure", "error", "errored"})
_FAILED_TEXT = re.compile(r"\s*(?:Traceback \(most recent|(?:[\w.]*(?:Error|Exception)|ERROR|FATAL|fatal|error)\b ?:)")
_OVERFLOW_OF = (b"ontext", b"rompt", b"oken")
_OVERFLOW_BY = (b"length", b"window", b"limit", b"too long", b"too many", b"maximum", b"exceed")


def digest(*parts: bytes) -> int:
    """48 bits, which every JSON reader keeps: two of the 64 events of a run coincide by chance once in 10^11 runs."""
    return int.from_bytes(blake2b(b"\0".join(parts), digest_size=6).digest(), "big")


def plain(value: Any) -> bytes:
    """The same bytes for equal JSON values, whatever the order of their keys; some bytes for anything else."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace")
    try:
        return values.encode_sorted(value)
    except (TypeError, ValueError, RecursionError, OverflowError):
        return type(value).__name__.encode()


class Outcome(NamedTuple):
    digest: int
    size: int
    has_references: bool
    head: bytes


def outcome(result: Any) -> Outcome:
    """A result, or the bytes of an error, without times, durations, UUIDs, volatile fields and element references."""
    text = result if isinstance(result, bytes) else plain(_without_volatile(result))
    size, shown = len(text), text[:HEAD_BYTES]
    has_mark = b"ref=" in text or b"ref:" in text or b'ref"' in text
    references = has_mark and _REFERENCE.search(text) is not None
    if references:
        text = _REFERENCE.sub(rb"\1", text)
    if len(text) <= HEAD_BYTES + TAIL_BYTES:
        return Outcome(digest(_steady(text)), size, references, shown)
    # As one text: where a time of other length moves the ends of head and tail, nothing else changes.
    whole = _steady(text[:HEAD_BYTES]) + text[HEAD_BYTES:-TAIL_BYTES] + _steady(text[-TAIL_BYTES:])
    return Outcome(digest(whole), size, references, shown)


def _without_volatile(value: Any) -> Any:
    if isinstance(value, dict) and not _VOLATILE_FIELDS.isdisjoint(value):
        return {name: inner for name, inner in value.items() if name not in _VOLATILE_FIELDS}
    return value


def _steady(text: bytes) -> bytes:
    if text.count(b"-") >= _UUID_HYPHENS:
        text = _without_uuids(text)
    return _TIME_OR_DURATION.sub(b"#", text)


def _without_uuids(text: bytes) -> bytes:
    kept, begin = [], 0
    for tail in _UUID_TAIL.finditer(text):
        kept.append(text[begin : max(begin, tail.start() - _UUID_HEAD_BYTES)])
        begin = tail.end()
    return b"#".join([*kept, text[begin:]]) if kept else text


def call_digest(tool: str, arguments: Any) -> int:
    """Equal for the same call: the same tool with the same arguments, but for volatile ones."""
    return digest(plain(tool), plain(_without_volatile(arguments)))


class Features(NamedTuple):
    """A call without what may vary: `loose` without numbers and references; its `targets`; a `sketch` of its words."""

    loose: int
    targets: int
    sketch: frozenset[int]


NO_FEATURES = Features(0, 0, frozenset())


def features(tool: str, arguments: Any) -> Features:
    arguments = _without_volatile(arguments)
    name = plain(tool)
    if not isinstance(arguments, dict):
        text = plain(arguments)
        about, words = _targets_and_words([text]) if isinstance(arguments, str) else (text, [])
        return Features(zlib.crc32(name + b"\0" + text), zlib.crc32(about), _sketch(words))
    loose: list[bytes] = [name]
    prose: list[bytes] = []
    targets: list[bytes] = []
    for field in sorted(arguments, key=str)[:FIELDS_COMPARED]:
        value = arguments[field]
        if isinstance(value, str):
            content = value.encode("utf-8", "replace")
            (prose if b" " in content else targets).append(content)
            named = len(content) > REFERENCE_BYTES or not _REFERENCE_VALUE.fullmatch(content)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            content, named = b"", False
        else:
            content, named = plain(value), True
            targets.append(content)
        loose.append(content if named else b"")
    if len(arguments) > FIELDS_COMPARED:
        loose.append(plain(arguments))  # many fields are compared as they are
    about, words = _targets_and_words(prose) if prose else (b"", [])
    return Features(zlib.crc32(b"\0".join(loose)), zlib.crc32(b"\0".join([*targets, about])), _sketch(words))


def _targets_and_words(texts: list[bytes]) -> tuple[bytes, list[bytes]]:
    """What a text is about (names with digits, dots, slashes, underscores), and its ordinary words."""
    targets: list[bytes] = []
    words: list[bytes] = []
    for text in texts:
        for word in _words(text[: 16 * WORDS_COMPARED]):
            (words if word.isalpha() else targets).append(word)
    return b" ".join(targets), words


def _words(text: bytes) -> list[bytes]:
    """Lower-cased, without punctuation around them; a dot stays within a word, as in a file's name."""
    return (text.translate(_PLAIN_WORDS) + b" ").replace(b". ", b" ").split()


def _sketch(words: list[bytes]) -> frozenset[int]:
    """The words whatever their order; of a long text, those of its beginning and end.

    Single words, not pairs: two requests of 22 words that differ in two of them share 0.83 of their words and 0.68 of
    their pairs.
    """
    if len(words) > WORDS_COMPARED:
        words = words[: WORDS_COMPARED // 2] + words[-WORDS_COMPARED // 2 :]
    return frozenset(map(zlib.crc32, words))


def jaccard(one: frozenset[int], other: frozenset[int]) -> float:
    common = len(one & other)
    return common / ((len(one) + len(other) - common) or 1)


def failure(result: Any) -> bytes | None:
    """The text of a failure that came as a result: tools often answer with one instead of raising it."""
    if isinstance(result, str):
        return plain(result) if _FAILED_TEXT.match(result) else None
    if not isinstance(result, dict):
        return None
    code = result.get("exit_code", result.get("returncode", 0))
    said = result.get("error")
    status = result.get("status")
    failed = (
        (isinstance(code, int) and code != 0)
        or bool(said)
        or result.get("ok") is False
        or result.get("success") is False
        or (isinstance(status, str) and status.lower() in _FAILED_WORDS)
    )
    return plain(_without_volatile(result)) if failed else None


def is_overflow(error: bytes) -> bool:
    """Whether a model refused because its context is full; literals, since this is asked of every error."""
    if not any(of in error for of in _OVERFLOW_OF):
        return False
    text = error.lower()
    return any(by in text for by in _OVERFLOW_BY) and b"rate limit" not in text


def error_class(error: bytes) -> int:
    """What kind of error it is: its words, without numbers, ids, paths and names. Never 0, which means no error."""
    return zlib.crc32(_error_words(error)) or 1


def _error_words(error: bytes) -> bytes:
    if len(error) > ERROR_HEAD_BYTES + ERROR_TAIL_BYTES:
        error = error[:ERROR_HEAD_BYTES] + b" " + error[-ERROR_TAIL_BYTES:]
    words = _words(error)
    # `requests.exceptions.ConnectTimeout` says what happened; other names with dots are arguments.
    kept = [word for word in words if word.isalpha() or (word.endswith(_FAULTS) and b"/" not in word)]
    return b" ".join(kept or words)


def failure_fingerprint(error: str, tool: str = "") -> str:
    """The same for one failure in many runs: "the same failure in k runs" is a count of equal fingerprints.

    Numbers, ids, paths and file names do not tell failures apart, the tool and the words of the message do.
    """
    return f"{digest(plain(tool), _error_words(plain(error))):012x}"
