"""Large values: what was begun by somebody who died is finished by the next one."""

from __future__ import annotations

import random

import pytest

from agentmemo.store import blobs
from agentmemo.testing.store import add_workspace

BLOB_KEY = b"k" * 32


@pytest.fixture
def content():
    """Of some chunks, which compress to fewer."""
    return random.Random(1).randbytes(blobs.CHUNK_BYTES).hex().encode() * 2


@pytest.mark.needs("durable")
def test_what_another_compressor_began_is_not_finished_with_ours(database, content, monkeypatch):
    """As one before the machine was brought up to date: its first chunks do not fit our last ones."""
    workspace, reached = add_workspace(database), []

    class Died(Exception):
        pass

    def die(point):
        reached.append(point)
        if reached.count("blob.after_chunk") == 1:
            raise Died

    with monkeypatch.context() as patch:
        patch.setattr(blobs, "_LEVEL", 9)
        patch.setattr(blobs, "reach", die)
        with pytest.raises(Died):
            blobs.pack(database, workspace, BLOB_KEY, content, None)
    packed = blobs.pack(database, workspace, BLOB_KEY, content, None)
    assert content == database.read(lambda tx: blobs.unpack(tx, workspace, packed.codec, packed.value, packed.blob))
