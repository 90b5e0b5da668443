"""Likely secrets. A value never leaves this module: what is reported is the rule, the line and the length."""

import math
import re
from collections import Counter

from analysis.model import Mark

# A rule with a group `value` names what is secret in the match; else the whole match is.
_RULES = {
    "private key": r"-----BEGIN (?:[A-Z0-9]{1,20} ){0,3}PRIVATE KEY(?: BLOCK)?-----",
    "AWS access key id": r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b",
    "GitHub token": r"\b(?:gh[pousr]_[A-Za-z0-9]{36,255}|github_pat_[A-Za-z0-9_]{60,255})\b",
    "GitLab token": r"\bglpat-[A-Za-z0-9_-]{20,255}",
    "Slack token": r"\bxox[abeoprs]-[A-Za-z0-9-]{10,255}",
    "Google API key": r"\bAIza[0-9A-Za-z_-]{35}\b",
    "Stripe live key": r"\b[rs]k_live_[0-9A-Za-z]{16,255}\b",
    "model provider key": r"\bsk-(?:ant-|proj-)?[A-Za-z0-9_-]{32,255}",
    "JSON web token": r"\beyJ[A-Za-z0-9_-]{8,4000}\.eyJ[A-Za-z0-9_-]{8,4000}\.[A-Za-z0-9_-]{8,4000}",
    "password in a URL": r"[a-z]://[^/\s:@\"'<>]{1,64}:(?P<value>[^/\s:@\"'<>]{3,128})@[a-z0-9]",
    "assigned secret": r"(?i)(?:passw(?:or)?d|secret|token|api[_-]?key|access[_-]?key|private[_-]?key)"
    r"[\"']?\s{0,4}(?:=>|:=|[:=])\s{0,4}[\"'](?P<value>[^\"'\s]{8,512})[\"']",
}
_COMPILED = {name: re.compile(pattern) for name, pattern in _RULES.items()}
_JUDGED_BY_VALUE = {"assigned secret", "password in a URL"}
_PLACEHOLDER = re.compile(
    r"(?i)[$%{<*]|\.\.\.|xxx|example|change.?me|placeholder|dummy|redacted|your[_-]|^(?:test|fake|none|null|password)"
)
_ENTROPY_BITS_MIN = 3.3
REDACTED = "[redacted]"


def find_secrets(text: str, most: int) -> list[Mark]:
    """At most `most` marks in order of line; where rules overlap, the more specific one (listed first) speaks."""
    found: dict[tuple[int, int], str] = {}
    for name, pattern in _COMPILED.items():
        for match in pattern.finditer(text):
            span = match.span("value") if "value" in pattern.groupindex else match.span()
            taken = any(start < span[1] and span[0] < end for start, end in found)
            if not taken and _is_likely(name, text[slice(*span)]):
                found[span] = name
            if len(found) >= most:
                break
    return [
        Mark(line=text.count("\n", 0, start) + 1, name=name, text=f"{end - start} characters")
        for (start, end), name in sorted(found.items())[:most]
    ]


def redact(text: str) -> str:
    """The text without anything a rule matches, likely or not."""
    for pattern in _COMPILED.values():
        text = pattern.sub(REDACTED, text)
    return text


def entropy_bits(value: str) -> float:
    """Shannon entropy per character."""
    counts = Counter(value).values()
    return -sum(count / len(value) * math.log2(count / len(value)) for count in counts) if value else 0.0


def _is_likely(rule: str, value: str) -> bool:
    if rule not in _JUDGED_BY_VALUE:
        return True
    if _PLACEHOLDER.search(value):
        return False
    return rule != "assigned secret" or (entropy_bits(value) >= _ENTROPY_BITS_MIN and not value.isalpha())
