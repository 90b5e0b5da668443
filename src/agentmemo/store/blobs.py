"""Stored values: inline up to 4 KiB, else once per workspace as a blob in chunks, named by a keyed hash."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import msgspec

from agentmemo import ids
from agentmemo.crashpoints import reach
from agentmemo.errors import Unavailable
from agentmemo.store.database import Database, Row, Transaction

INLINE_BYTES_MAX = 4096
CHUNK_BYTES = 256 * 1024
PLAIN, ZLIB = 0, 1
# Two values of 1.5 KiB fill a page of 4 KiB; larger ones would leave a third of it empty, so they are compressed.
COMPRESS_FROM = 1536
_LEVEL = 1


class Packed(msgspec.Struct, frozen=True):
    """A value ready for its row. `source` is what fingerprints are made of; `original` the value.

    `commitment` (under `salt`) is made with it, on the caller's thread, for the event that will tell of the value.
    """

    size: int
    codec: int
    value: bytes | None
    blob: bytes | None
    source: bytes
    original: Any = None
    salt: bytes = b""
    commitment: str = ""

    def columns(self) -> dict[str, Any]:
        return {"size": self.size, "codec": self.codec, "value": self.value, "blob": self.blob}


NOTHING = Packed(0, PLAIN, None, None, b"")


def pack(database: Database, workspace: int, blob_key: bytes, content: bytes, original: Any) -> Packed:
    """Encode a value for its row; a large one is stored first, in commits of its own that cannot block others long.

    Until the row that refers to it commits, the blob is unreferenced, and swept after its grace time.
    """
    size = len(content)
    if size < COMPRESS_FROM:
        return Packed(size, PLAIN, content, None, content, original)
    if size <= INLINE_BYTES_MAX:
        codec, stored = compress(content)
        return Packed(size, codec, stored, None, content, original)
    blob = ids.keyed_hash(blob_key, content)
    _store_blob(database, workspace, blob, content)
    return Packed(size, PLAIN, None, blob, blob, original)


def compress(content: bytes) -> tuple[int, bytes]:
    """(codec, bytes): compressed where that saves at least an eighth."""
    squeezed = zlib.compress(content, _LEVEL)
    return (ZLIB, squeezed) if len(squeezed) < len(content) * 7 // 8 else (PLAIN, content)


def unpack(tx: Transaction, workspace: int, codec: int, value: bytes | None, blob: bytes | None) -> bytes:
    """The value's bytes; b"" where the row holds none."""
    if blob is not None:
        found = tx.one("blob_find", workspace=workspace, id=blob)
        if found is None or not found[3]:
            raise Unavailable(
                "A stored value is missing its content.",
                why="The file was damaged or edited outside AgentMemo.",
                next_call="Run agentmemo doctor, then restore a backup.",
                retry_safe=False,
            )
        codec = found[2]
        value = b"".join(chunk for (chunk,) in tx.all("blob_chunks", blob=found[0]))
    return inline(codec, value)


def inline(codec: int, value: bytes | None) -> bytes:
    """The bytes of a value that lies in its row; b"" where there is none."""
    if value is None:
        return b""
    return zlib.decompress(value) if codec == ZLIB else value


def _store_blob(database: Database, workspace: int, blob: bytes, content: bytes) -> None:
    codec, stored = compress(content)

    def begin(tx: Transaction) -> tuple[int, bytes] | None:
        found = tx.one("blob_find", workspace=workspace, id=blob)
        if found is None:
            row = tx.one("blob_add", workspace=workspace, id=blob, size=len(content), codec=codec, now=tx.now)
            assert row is not None  # noqa: S101 - RETURNING always returns
            return (row[0], stored)
        number, _, begun_codec, complete = found
        tx.write("blob_touch", number=number, now=tx.now)
        return None if complete else (number, _go_on(tx, number, begun_codec, content))

    begun = database.write(begin, lane=workspace)
    if begun is None:
        return
    number, stored = begun
    for index, chunk in enumerate(_chunks(stored)):
        reach("blob.before_chunk")
        database.write(partial(_add_chunk, number=number, index=index, chunk=chunk), lane=workspace)
        reach("blob.after_chunk")
    reach("blob.before_complete")
    database.write(lambda tx: tx.write("blob_complete", number=number, now=tx.now), lane=workspace)


def _go_on(tx: Transaction, number: int, codec: int, content: bytes) -> bytes:
    """What to store of a blob that another writer has begun: its choice of a codec stands.

    Its chunks stay where they are the beginning of ours. Another build of the library compresses otherwise.
    """
    stored = zlib.compress(content, _LEVEL) if codec == ZLIB else content
    if not stored.startswith(b"".join(chunk for (chunk,) in tx.all("blob_chunks", blob=number))):
        tx.write("blob_remove_chunks", number=number)
    return stored


def _add_chunk(tx: Transaction, number: int, index: int, chunk: bytes) -> None:
    tx.write("blob_chunk_add", blob=number, chunk=index, content=chunk)


def unreferenced(tx: Transaction, before: int, after: int, limit: int) -> tuple[list[tuple[int, int]], int]:
    """(workspace, number) of blobs that nothing refers to and nobody touched since `before`, and where to go on.

    `limit` blobs behind `after` are looked at; after the last of all it goes on with the first.
    """
    last, looked = tx.one("blob_next", after=after, limit=limit) or (None, 0)
    found = tx.all("blob_unreferenced", after=after, last=last, before=before) if looked else []
    return [(place, number) for place, number in found], last if looked == limit else 0


def remove(tx: Transaction, numbers: Sequence[int], before: int) -> int:
    """Remove of these blobs what is still unreferenced. Returns how many that were."""
    removed = 0
    for number in numbers:
        if tx.all("blob_unreferenced", after=number - 1, last=number, before=before):
            tx.write("blob_remove_chunks", number=number)
            tx.write("blob_remove", number=number)
            removed += 1
    return removed


def _chunks(content: bytes) -> Iterator[bytes]:
    for start in range(0, len(content), CHUNK_BYTES):
        yield content[start : start + CHUNK_BYTES]


def packed_row(row: Row) -> Packed:
    """The four value columns of a row as a Packed without its source."""
    size, codec, value, blob = row
    return Packed(size, codec, value, blob, b"")
