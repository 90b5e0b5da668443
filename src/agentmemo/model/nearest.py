"""The nearest of many short texts, by BM25 (Robertson and Zaragoza 2009, k1 = 1.2, b = 0.75), without a model.

Worked examples that resemble the case at hand are what lets a small model do a step; where the nearest agree, none is
needed at all.
"""

from __future__ import annotations

import heapq
import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

K1, B = 1.2, 0.75
_WORD = re.compile(r"\w+")


class Near(NamedTuple):
    """A text by its place, and how much of the asked one's words it accounts for.

    `likeness` is its score as a share of what all words of the asked text would score in a text of usual length, those
    that no text holds counted as the rarest: near 1 for the same words, low where what matters is unknown.
    """

    place: int
    likeness: float


class Nearest:
    """An index over texts, which are known by their place in the list."""

    def __init__(self, texts: Sequence[str]) -> None:
        counts = [Counter(words(text)) for text in texts]
        lengths = [count.total() for count in counts]
        average = (sum(lengths) / len(lengths)) if lengths else 1.0
        postings: dict[str, list[tuple[int, float]]] = defaultdict(list)
        for number, (count, length) in enumerate(zip(counts, lengths, strict=True)):
            norm = K1 * (1 - B + B * length / (average or 1.0))
            for word, often in count.items():
                postings[word].append((number, often * (K1 + 1) / (often + norm)))
        self._postings = dict(postings)
        self._weights = {word: _weight(len(counts), len(found)) for word, found in postings.items()}
        self._unknown = _weight(len(counts), 0)

    def top(self, text: str, count: int) -> list[Near]:
        """The `count` nearest, nearest first; of equals, the earlier one. None shares no word."""
        scores: dict[int, float] = defaultdict(float)
        possible = 0.0
        for word in set(words(text)):
            weight = self._weights.get(word, self._unknown)
            possible += weight
            for number, score in self._postings.get(word, ()):
                scores[number] += weight * score
        best = heapq.nsmallest(count, scores.items(), key=lambda pair: (-pair[1], pair[0]))
        return [Near(number, min(1.0, score / possible)) for number, score in best]


def _weight(texts: int, holding: int) -> float:
    """How much a word says that so many of the texts hold."""
    return math.log(1 + (texts - holding + 0.5) / (holding + 0.5))


def words(text: str) -> Iterable[str]:
    return _WORD.findall(text.casefold())
