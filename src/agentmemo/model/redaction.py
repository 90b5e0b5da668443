"""Short previews of values, for people and agents to recognise a call by: bounded, and without secrets."""

from __future__ import annotations

import re
import string
from functools import lru_cache
from typing import Any

from agentmemo.model import likeness

HIDDEN = "***"
ARGUMENTS_SHOWN, TEXT_SHOWN = 80, 56
_FIELDS_SHOWN, _FIELD_TEXT = 6, 40
_CUT = "..."
_WORD = string.ascii_letters + string.digits + "_+=-"
# Letters and digits mixed for so long without a break are a key or a hash, and no word of any language.
_OPAQUE_LENGTH = 20
_RUN = re.compile(rf"\b[A-Za-z0-9_+]{{{_OPAQUE_LENGTH},}}")
_NAMES = ("passw", "passphrase", "pwd", "secret", "token", "api_key", "apikey", "api-key", "authoriz", "credential",
          "cookie", "private_key")  # fmt: skip
_NAME = re.compile("|".join(_NAMES))
# What follows a name: its value after a colon or an equals sign; after a space alone where it has a digit in it.
_ITS_VALUE = re.compile(r"(\w*[\"']?(?:\s*[:=]\s*[\"']?(?:Bearer |Basic )?|\s(?=\S*\d)))[^\s\"',}]+")
_MARKS = ("am_", "sk-", "sk_", "ghp_", "gho_", "ghs_", "ghu_", "xox", "eyj", "bearer ")
_MARKED = re.compile(r"\b(?:am_|sk[-_]|gh[posu]_|xox[a-z]-|eyJ|[Bb]earer )[\w.+/=-]{6,}")
_LOWER_ASCII = {ord(letter): letter.lower() for letter in string.ascii_uppercase}
_LOGIN = re.compile(r"://[^/\s:@]+:[^/\s@]+@")


def redact(text: str) -> str:
    """The text without what looks like a credential. It errs on the side of hiding."""
    # Looking for a literal is many times cheaper than looking for a pattern, and most texts have none.
    lower = text.lower()
    if _has_any(lower, _NAMES):
        text = _without_named(text)
    if _has_any(lower, _MARKS):
        text = _MARKED.sub(HIDDEN, text)
    if "://" in text:
        text = _LOGIN.sub(f"://{HIDDEN}@", text)
    for word in [word for word in text.split() if len(word) >= _OPAQUE_LENGTH]:
        if _RUN.search(word):
            text = text.replace(word, _RUN.sub(_opaque, word))
    return text


def _has_any(text: str, literals: tuple[str, ...]) -> bool:
    for literal in literals:  # noqa: SIM110 - any() takes three times as long
        if literal in text:
            return True
    return False


def _without_named(text: str) -> str:
    """Names are words of prose too, so where one stands is found before it is asked whether a value follows."""
    kept, begin = [], 0
    for name in _NAME.finditer(text.translate(_LOWER_ASCII)):
        value = _ITS_VALUE.match(text, name.end()) if name.start() >= begin else None
        if value is not None:
            kept += [text[begin : value.end(1)], HIDDEN]
            begin = value.end()
    return "".join([*kept, text[begin:]])


def _opaque(run: re.Match[str]) -> str:
    word = run[0]
    return word if word.isalpha() or not any(map(str.isdigit, word)) or word.isdigit() else HIDDEN


def previews(arguments: Any, outcome: str) -> tuple[str, str]:
    """Both in one line each: the fields of an object each a little, of anything else its beginning."""
    # One pass over both, since each look for a literal costs as much as the text it looks through.
    shown = redact(f"{_line(_fields(arguments), ARGUMENTS_SHOWN)}\n{_line(outcome, TEXT_SHOWN)}")
    if not shown.isascii():
        shown = encodable(shown)
    first, _, second = shown.partition("\n")
    return first, second


def encodable(text: str) -> str:
    """Without lone surrogates, which no encoding has bytes for."""
    return text.encode("utf-8", "replace").decode()


def _fields(value: Any) -> str:
    if not isinstance(value, dict):
        return "" if value is None else _text(value)
    fields = []
    for name in list(value)[:_FIELDS_SHOWN]:
        known, inner = str(name)[:_FIELD_TEXT], value[name]
        shown = HIDDEN if _is_secret(known) else inner if isinstance(inner, str) else _text(inner)
        fields.append(f"{known}={shown if len(shown) <= _FIELD_TEXT else _cut(shown, _FIELD_TEXT)}")
    return " ".join(fields)


def _line(text: str, limit: int) -> str:
    text = text if len(text) <= limit else _cut(text, limit)
    return " ".join(text.splitlines()) if "\n" in text else text


def _cut(text: str, limit: int) -> str:
    """A cut word goes whole: half a secret could not be known as one. A word as long as the limit is opaque anyway."""
    short = text[: limit - len(_CUT)]
    return (short.rstrip(_WORD) or short) + _CUT


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return likeness.plain(value).decode("utf-8", "replace")


@lru_cache(maxsize=1024)
def _is_secret(name: str) -> bool:
    lower = name.lower()
    return any(word in lower for word in _NAMES)
