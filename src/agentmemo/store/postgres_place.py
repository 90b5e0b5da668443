"""A PostgreSQL database as a place for a store. See `open.Place`."""

from __future__ import annotations

from agentmemo.clock import Clock
from agentmemo.settings import Settings
from agentmemo.store import postgres_schema as schema
from agentmemo.store.database import Database
from agentmemo.store.migrate import Plan
from agentmemo.store.postgres import PostgresDatabase
from agentmemo.store.postgres_sessions import Sessions
from agentmemo.store.postgres_transfer import PostgresSource, PostgresTarget
from agentmemo.store.transfer import Source, Target


class PostgresPlace:
    def __init__(self, url: str, settings: Settings) -> None:
        self._url = url
        self._settings = settings

    def open(self, clock: Clock) -> Database:
        return PostgresDatabase(self._url, clock, self._settings)

    def source(self) -> Source:
        return PostgresSource(self._sessions())

    def target(self, clock: Clock) -> Target:
        del clock
        return PostgresTarget(self._sessions(), self._settings)

    def plan(self) -> Plan:
        return schema.plan(self._sessions())

    def migrate(self, clock: Clock) -> Plan:
        del clock
        sessions = self._sessions()
        found = schema.plan(sessions)
        with sessions.connected() as connection:
            schema.check_server(sessions, connection, allow_lossy=self._settings.postgres_allow_lossy)
        schema.migrate(sessions)
        return found

    def _sessions(self) -> Sessions:
        return Sessions(self._url, self._settings)
