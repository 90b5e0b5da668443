"""Finding a workflow by what somebody wants done: BM25 over its name, description and triggers.

Scores are made here, from rows that any database can keep, so that the same words find the same workflows everywhere.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable

from agentmemo.model.workflows import WorkflowDocument

# How soon a word that comes again counts no more, and how much a long document is held against itself.
SATURATION, LENGTH_SHARE = 2.0, 0.5
NAME_WEIGHT = 2
WORD_MAX = 64
QUERY_WORDS_MAX = 64
_WORD = re.compile(r"[^\W_]+")
_ACCENT = re.compile(r"[\u0300-\u036f]")
_ENDINGS = ("ations", "ation", "ings", "ing", "edly", "ed", "ies", "es", "s", "ly")
_STEM_MIN = 3
_KEPT_DOUBLE = "lsz"


def words_of(text: str) -> list[str]:
    """The words of a text without case, accents and the usual English endings."""
    plain = _ACCENT.sub("", unicodedata.normalize("NFD", text.lower().replace("'", "").replace("\u2019", "")))
    return [stem(word[:WORD_MAX]) for word in _WORD.findall(unicodedata.normalize("NFC", plain))]


def stem(word: str) -> str:
    """`reviews`, `reviewed` and `reviewing` are one word; what is not ASCII stays as it is."""
    if not word.isascii() or len(word) <= _STEM_MIN:
        return word
    ending = next((each for each in _ENDINGS if word.endswith(each) and len(word) - len(each) >= _STEM_MIN), "")
    found = word[: len(word) - len(ending)] + ("i" if ending == "ies" else "")
    if len(found) > _STEM_MIN and found.endswith("y"):
        found = found[:-1] + "i"
    if len(found) > _STEM_MIN and found.endswith("e"):
        found = found[:-1]
    if len(found) > _STEM_MIN and found[-1] == found[-2] and found[-1] not in _KEPT_DOUBLE:
        found = found[:-1]
    return found


def counts_of(document: WorkflowDocument) -> dict[str, int]:
    """How often each word counts; a word of the name counts more."""
    found: Counter[str] = Counter()
    for text in (document.description, *document.triggers):
        found.update(words_of(text))
    for word in words_of(document.name):
        found[word] += NAME_WEIGHT
    return dict(found)


def rank(rows: Iterable[tuple[int, str, int, int]], workflows: int, average: float) -> list[tuple[int, float]]:
    """Workflows with their scores, best first, from (workflow, word, count, length) of those that have the words."""
    found = list(rows)
    having = Counter(word for _, word, _, _ in found)
    scores: dict[int, float] = {}
    for workflow, word, count, length in found:
        rarity = math.log(1 + (workflows - having[word] + 0.5) / (having[word] + 0.5))
        share = 1 - LENGTH_SHARE + LENGTH_SHARE * length / average
        weight = count * (SATURATION + 1) / (count + SATURATION * share)
        scores[workflow] = scores.get(workflow, 0.0) + rarity * weight
    return sorted(scores.items(), key=lambda each: (-each[1], each[0]))
