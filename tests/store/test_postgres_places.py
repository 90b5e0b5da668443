"""Databases that are not as ours would be: what they are set up for, and who may do what there."""

from __future__ import annotations

import contextlib

import pytest

from agentmemo.errors import Unavailable
from agentmemo.store import access
from agentmemo.testing.store import add, add_workspace, names

EURO = "k\N{EURO SIGN}"


@contextlib.contextmanager
def database(postgres, options=""):
    """The address of another database, which is gone afterwards."""
    postgres.execute("DROP DATABASE IF EXISTS elsewhere", f"CREATE DATABASE elsewhere {options}")
    yield postgres.url("elsewhere")
    postgres.execute("DROP DATABASE elsewhere WITH (FORCE)")


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_a_database_that_cannot_hold_every_text_is_refused_and_left_alone(postgres, opened_postgres, encoding):
    with database(postgres, f"ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0") as url:
        with pytest.raises(Unavailable) as caught:
            opened_postgres(url=url)
        assert encoding in str(caught.value)
        assert not caught.value.retry_safe


def test_what_others_want_of_the_encoding_does_not_matter(stand, postgres, monkeypatch):
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    postgres.execute("ALTER DATABASE tests SET client_encoding = 'LATIN1'")
    try:
        agent = stand.agent()
        agent.state.set("counters", EURO, EURO)
        assert stand.trusted().state.get("counters", EURO) == EURO
    finally:
        postgres.execute("ALTER DATABASE tests RESET client_encoding")


def test_what_is_not_ours_or_may_not_be_read_is_told(postgres, opened_postgres):
    with database(postgres) as url:
        postgres.execute("CREATE TABLE meta (a int)", database="elsewhere")
        with pytest.raises(Unavailable, match="is not AgentMemo's") as caught:
            opened_postgres(url=url)
        assert not caught.value.retry_safe
        postgres.execute("DROP TABLE meta", database="elsewhere")
        opened_postgres(url=url).close()
        postgres.execute("CREATE ROLE poor LOGIN")
        try:
            with pytest.raises(Unavailable, match="permission denied"):
                opened_postgres(url=url.replace("//agentmemo@", "//poor@"))
        finally:
            postgres.execute("DROP ROLE poor")


def test_a_text_that_cannot_be_sent_whole_is_not_sent_in_part(opened_postgres):
    """libpq would send what stands before the U+0000, which is another name."""
    database = opened_postgres()
    workspace = add_workspace(database)
    database.write(lambda tx: add(tx, "known"))
    for work in (lambda tx: access.find_actor(tx, workspace, "agent", "known\0 not"), lambda tx: add(tx, "new\0")):
        with pytest.raises(Unavailable, match=r"U\+0000"):
            database.write(work)
    assert names(database, workspace) == ["known"]
