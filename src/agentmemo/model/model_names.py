"""Names of models: which of them name the same model, dated or not."""

from __future__ import annotations

import re

# What providers put behind a name: a day (20251001, 2025-10-01, 0613), a month (2411), or latest.
_DAY = r"20\d\d-?(?:0[1-9]|1[0-2])-?(?:0[1-9]|[12]\d|3[01])|(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])"
_DATED = re.compile(rf"[-@](?:{_DAY}|2[3-9](?:0[1-9]|1[0-2]))\Z")
_LATEST = re.compile(r"[-@:]latest\Z")


def stem(name: str) -> str:
    """The name without its date: `claude-haiku-4-5` for `claude-haiku-4-5-20251001`."""
    return _LATEST.sub("", _DATED.sub("", name.lower()))


def fits(requested: str, served: str | None) -> bool:
    """Whether what answered is what was asked for. A dated name asks for that date, one without for any.

    A provider that does not say what it served has not shown that it was the right one.
    """
    if served is None:
        return False
    if requested.lower() == served.lower():
        return True
    return not _DATED.search(requested.lower()) and stem(requested) == stem(served)
