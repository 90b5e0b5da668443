"""The contract on the databases of this house."""

from __future__ import annotations

from agentmemo.testing.store import StoreContract


class TestContract(StoreContract):
    def test_capabilities_are_those_declared(self, kind, database):
        able = database.capabilities
        kept = kind != "sqlite memory"
        assert (able.durable, able.concurrent_reads, able.beside is not None) == (kept, kept, kept)
        assert able.local == kind.startswith("sqlite")
        assert (able.file is None) == (kind != "sqlite file")
