# Generated from client/_async by scripts/generate_sync.py; edit there.
"""A page that walks on: iterating it fetches the pages after it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Page(Generic[T]):
    """`items` of this page and the `cursor` of the next, None on the last. Iterating goes over all pages."""

    def __init__(self, items: list[T], cursor: str | None, following: Callable[[str], Page[T]]) -> None:
        self.items = items
        self.cursor = cursor
        self._following = following

    def next_page(self) -> Page[T] | None:
        return self._following(self.cursor) if self.cursor else None

    def __iter__(self) -> Iterator[T]:
        page: Page[T] | None = self
        while page is not None:
            for item in page.items:
                yield item
            page = page.next_page()

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> T:
        return self.items[index]
