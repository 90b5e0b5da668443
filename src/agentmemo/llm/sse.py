"""Server-sent events: the data of each, as bytes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator


def events(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The data of each event, when it is complete. Lines end as the standard says, and at no other character."""
    data: list[bytes] = []
    for line in _lines(pieces):
        if line.startswith(b"data:"):
            data.append(line[5:].removeprefix(b" "))
        elif not line and data:
            yield b"\n".join(data)
            data = []
    if data:
        yield b"\n".join(data)


def _lines(pieces: Iterable[bytes]) -> Iterator[bytes]:
    held: list[bytes] = []
    for piece in pieces:
        first, *others = piece.split(b"\n")
        held.append(first)
        for following in others:
            yield b"".join(held).removesuffix(b"\r")
            held = [following]
    if rest := b"".join(held):
        yield rest.removesuffix(b"\r")
