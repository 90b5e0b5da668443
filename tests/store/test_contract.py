"""The contract on the databases of this house."""

from __future__ import annotations

from agentmemo.testing.store import StoreContract


class TestContract(StoreContract):
    def test_capabilities_are_those_declared(self, kind, database):
        able = database.capabilities
        assert (able.durable, able.concurrent_reads) == (kind == "sqlite file", kind == "sqlite file")
        assert able.exclusive_writer
        assert (able.file is None) == (kind == "sqlite memory")
