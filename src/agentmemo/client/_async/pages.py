"""A page that walks on: iterating it fetches the pages after it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class AsyncPage(Generic[T]):
    """`items` of this page and the `cursor` of the next, None on the last. Iterating goes over all pages."""

    def __init__(self, items: list[T], cursor: str | None, following: Callable[[str], Awaitable[AsyncPage[T]]]) -> None:
        self.items = items
        self.cursor = cursor
        self._following = following

    async def next_page(self) -> AsyncPage[T] | None:
        return await self._following(self.cursor) if self.cursor else None

    async def __aiter__(self) -> AsyncIterator[T]:
        page: AsyncPage[T] | None = self
        while page is not None:
            for item in page.items:
                yield item
            page = await page.next_page()

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> T:
        return self.items[index]
