"""HTTP transports: http.client for the synchronous client, aiohttp for asyncio. Written next."""

from __future__ import annotations


class HttpTransport:
    def __init__(self, address: str, key: str, limit: int) -> None: ...


class AsyncHttpTransport:
    def __init__(self, address: str, key: str, limit: int) -> None: ...
