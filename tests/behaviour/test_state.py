"""State: versions, conditions, expiry, history, search, watching, transactions, origin."""

from __future__ import annotations

import threading

import pytest

from agentmemo import (
    Grant,
    InvalidInput,
    LimitExceeded,
    NotFound,
    PermissionDenied,
    RevisionGone,
    VersionConflict,
)
from agentmemo.settings import Settings
from agentmemo.store import state as rows
from agentmemo.testing import ManualPlane

promise = pytest.mark.promise


@promise("article.state")
def test_the_article_runs_as_written(agent):
    agent.state.set("github_sync", "last_commit_hash", "abc123")
    last_hash = agent.state.get("github_sync", "last_commit_hash")
    assert last_hash == "abc123"


@promise("state.get")
def test_get_behaves_as_a_dictionary(agent):
    assert agent.state.get("n", "absent") is None
    assert agent.state.get("n", "absent", 7) == 7
    agent.state.set("n", "null", None)
    assert agent.state.get("n", "null", "default") is None
    with pytest.raises(NotFound):
        agent.state.entry("n", "absent")


@promise("state.entry")
def test_an_entry_says_where_it_comes_from(surface, agent):
    made = agent.state.set("n", "k", {"a": [1, 2.5, None, True, "é"]})
    read = agent.state.entry("n", "k")
    assert read == made
    assert (read.version, read.author, read.origin, read.trust) == (1, "agent:agent", "agent", "agent")
    assert read.written_at == surface.plane.clock.now_us()
    assert (read.run, read.expires_at, read.deleted) == (None, None, False)
    with agent.run("job", "1") as run:
        assert agent.state.set("n", "k", 2).run == run.id
    assert agent.state.entry("n", "k").run == run.id


@promise("state.versions")
def test_versions_never_restart(surface, agent):
    assert agent.state.set("n", "k", 1).version == 1
    assert agent.state.delete("n", "k").version == 2
    assert agent.state.set("n", "k", 2, ttl_seconds=5).version == 3
    surface.plane.advance(6)
    assert agent.state.get("n", "k") is None
    assert agent.state.set("n", "k", 3).version == 5
    assert [(e.version, e.deleted) for e in agent.state.history("n", "k")] == [
        (5, False), (4, True), (3, False), (2, True), (1, False),
    ]  # fmt: skip


@promise("state.cas")
def test_if_version_guards_against_others(agent):
    first = agent.state.set("n", "k", 1, if_version=0)
    with pytest.raises(VersionConflict) as caught:
        agent.state.set("n", "k", 2, if_version=0)
    assert caught.value.details == {"expected": 0, "current": 1}
    assert "if_version=1" in caught.value.next_call
    second = agent.state.set("n", "k", 2, if_version=first.version)
    with pytest.raises(VersionConflict):
        agent.state.delete("n", "k", if_version=first.version)
    agent.state.delete("n", "k", if_version=second.version)
    with pytest.raises(VersionConflict):
        agent.state.set("n", "k", 3, if_version=3)
    assert agent.state.set("n", "k", 3, if_version=0).version == 4


@promise("state.cas")
def test_a_conflict_says_why_the_version_is_another(agent):
    agent.state.set("n", "gone", 1)
    agent.state.delete("n", "gone")
    agent.state.set("n", "k", 1)
    agent.state.set("n", "k", 2)
    for key, expected, why in (
        ("never", 3, "It was never written."),
        ("gone", 1, "It was deleted meanwhile, or its time ended."),
        ("k", 1, "Somebody wrote it meanwhile."),
        ("k", 9, "It has never come to that version; its last one is 2."),
    ):
        with pytest.raises(VersionConflict) as caught:
            agent.state.set("n", key, 1, if_version=expected)
        assert caught.value.why == why
    with pytest.raises(NotFound, match="n/k has no value as version 9") as missing:
        agent.state.entry("n", "k", version=9)
    assert missing.value.why == "Its last one is 2."


@promise("state.cas")
def test_an_expired_entry_counts_as_absent(surface, agent):
    agent.state.set("n", "k", 1, ttl_seconds=1)
    surface.plane.clock.advance(2)  # upkeep has not been there yet
    assert agent.state.set("n", "k", 2, if_version=0).version == 2


@promise("state.ttl")
def test_time_to_live(surface, agent):
    entry = agent.state.set("n", "k", 1, ttl_seconds=10)
    assert entry.expires_at == entry.written_at + 10_000_000
    surface.plane.clock.advance(9.999999)
    assert agent.state.get("n", "k") == 1
    surface.plane.clock.advance(0.000001)
    assert agent.state.get("n", "k") is None
    assert len(agent.state.list("n")) == 0
    with pytest.raises(NotFound):
        agent.state.delete("n", "k")
    surface.plane.upkeep()
    expired = agent.audit.events(type="state.expire")[0]
    assert (expired.actor, expired.from_version, expired.to_version) == ("service:agentmemo", 1, 2)


@promise("state.ttl")
@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf"), 1e12])
def test_a_time_to_live_that_is_none_is_refused(agent, seconds):
    with pytest.raises(InvalidInput):
        agent.state.set("n", "k", 1, ttl_seconds=seconds)


@promise("state.history")
def test_history_is_read_in_pages(agent):
    for number in range(7):
        agent.state.set("n", "k", number)
    page = agent.state.history("n", "k", limit=3)
    assert [entry.value for entry in page.items] == [6, 5, 4]
    assert [entry.value for entry in page] == [6, 5, 4, 3, 2, 1, 0]
    assert agent.state.get("n", "k", version=3) == 2
    with pytest.raises(NotFound):
        agent.state.entry("n", "k", version=8)
    with pytest.raises(NotFound):
        agent.state.history("n", "never")


@promise("state.as_of")
def test_the_past_can_be_read(agent):
    one = agent.state.set("n", "k", 1)
    agent.state.set("n", "other", "x")
    two = agent.state.set("n", "k", 2)
    gone = agent.state.delete("n", "k")
    assert agent.state.get("n", "k", as_of=one.revision - 1) is None
    assert agent.state.get("n", "k", as_of=one.revision) == 1
    assert agent.state.get("n", "k", as_of=two.revision - 1) == 1
    assert agent.state.get("n", "k", as_of=two.revision) == 2
    assert agent.state.get("n", "k", as_of=gone.revision) is None


@promise("state.gone")
def test_a_revision_that_has_not_happened_is_refused(agent):
    newest = agent.state.set("n", "k", 1).revision
    asked = [
        lambda revision: agent.state.get("n", "k", as_of=revision),
        lambda revision: agent.state.diff("n", since=revision),
        lambda revision: agent.state.diff("n", since=0, until=revision),
        lambda revision: next(agent.state.watch("n", after=revision)),
        lambda revision: agent.audit.events(after=revision),
    ]
    for ask in asked:
        with pytest.raises(RevisionGone) as caught:
            ask(newest + 1)
        assert caught.value.details == {"newest": newest}
        with pytest.raises(InvalidInput):
            ask(-1)
    assert list(agent.state.diff("n", since=newest)) == []
    with pytest.raises(InvalidInput):
        agent.state.diff("n", since=newest, until=newest - 1)


@promise("state.exact")
def test_what_is_written_is_answered_as_it_is_read(agent):
    value = {"pair": (1, (2, "x"))}
    written = agent.state.set("n", "k", value).value
    assert written == agent.state.get("n", "k") == {"pair": [1, [2, "x"]]}
    value["pair"] = None
    assert written["pair"] == [1, [2, "x"]]


@promise("state.as_of")
def test_a_version_and_a_moment_are_not_asked_for_at_once(agent):
    newest = agent.state.set("n", "k", 1).revision
    with pytest.raises(InvalidInput):
        agent.state.get("n", "k", version=1, as_of=newest)


@promise("state.as_of")
def test_a_moment_long_past_is_found(agent, monkeypatch):
    monkeypatch.setattr(rows, "RECENT", 2)
    moments = {}
    for number in range(20):
        moments[agent.state.set("n", "k", number).revision] = number
        moments[agent.state.set("n", "other", number).revision] = number
    assert {revision: agent.state.get("n", "k", as_of=revision) for revision in moments} == moments


@promise("state.diff")
def test_diff_tells_what_became_of_each_key(agent):
    agent.state.set("n", "same", 0)
    agent.state.set("n", "changed", 1)
    start = agent.state.set("n", "removed", 1).revision
    agent.state.set("n", "changed", 2)
    agent.state.delete("n", "removed")
    agent.state.set("n", "added", 5)
    middle = agent.state.set("n", "fleeting", 1).revision
    agent.state.delete("n", "fleeting")
    found = {d.key: (d.change, d.before, d.after) for d in agent.state.diff("n", start)}
    assert found == {"added": ("added", None, 5), "changed": ("changed", 1, 2), "removed": ("removed", 1, None)}
    assert {d.key for d in agent.state.diff("n", start, middle)} == {"added", "changed", "removed", "fleeting"}
    assert len(agent.state.diff("nowhere", start)) == 0


@promise("state.list")
def test_lists_go_by_prefix_and_page(agent):
    for key in ("b/2", "a/1", "b/1", "b", "b/\U0001f600", "c"):
        agent.state.set("n", key, key)
    assert [e.key for e in agent.state.list("n", limit=2)] == ["a/1", "b", "b/1", "b/2", "b/\U0001f600", "c"]
    page = agent.state.list("n", prefix="b/", limit=2)
    assert [e.key for e in page.items] == ["b/1", "b/2"]
    assert [e.key for e in agent.state.list("n", prefix="b/", limit=2, cursor=page.cursor).items] == ["b/\U0001f600"]
    assert agent.state.list("n").next_page() is None
    assert len(agent.state.list("nowhere")) == 0
    with pytest.raises(InvalidInput):
        agent.state.list("n", limit=0)
    with pytest.raises(InvalidInput):
        agent.state.list("n", limit=1001)


@promise("state.cursor")
def test_a_foreign_cursor_is_refused(agent):
    for number in range(3):
        agent.state.set("n", f"k{number}", number)
        agent.state.set("n", "k0", number)
    cursor = agent.state.list("n", limit=1).cursor
    for call in (
        lambda: agent.state.list("n", prefix="k", cursor=cursor),
        lambda: agent.state.list("m", cursor=cursor),
        lambda: agent.state.history("n", "k0", cursor=cursor),
        lambda: agent.state.list("n", cursor="not a cursor"),
        lambda: agent.state.list("n", cursor=cursor[:-4]),
        lambda: agent.state.list("n", cursor=""),
    ):
        with pytest.raises(InvalidInput):
            call()


@promise("state.search")
def test_search_finds_words_of_keys_and_values(surface, agent):
    agent.state.set("n", "deploy-notes", {"title": "Rollback of Friday", "tags": ["urgent", 42]})
    agent.state.set("m", "k", "nothing about Friday")
    agent.state.set("n", "old", "rollback")
    agent.state.delete("n", "old")
    surface.plane.upkeep()
    assert [m.entry.key for m in agent.state.search("rollb")] == ["deploy-notes"]
    assert {m.entry.namespace for m in agent.state.search("friday")} == {"n", "m"}
    assert [m.entry.namespace for m in agent.state.search("friday", namespace="m")] == ["m"]
    assert [m.entry.key for m in agent.state.search("deploy urgent 42")] == ["deploy-notes"]
    assert "Rollback" in agent.state.search("rollback")[0].snippet
    assert len(agent.state.search('"; DROP TABLE entry')) == 0
    agent.state.set("n", "deploy-notes", "other words")
    surface.plane.upkeep()
    assert len(agent.state.search("rollback")) == 0
    with pytest.raises(InvalidInput):
        agent.state.search("?!")


@promise("state.search")
def test_search_is_read_in_pages(surface, agent):
    for number in range(5):
        agent.state.set("n", f"k{number}", "needle")
    surface.plane.upkeep()
    assert sorted(m.entry.key for m in agent.state.search("needle", limit=2)) == [f"k{n}" for n in range(5)]


@promise("access.filter")
def test_what_you_may_not_read_is_not_there(surface, agent):
    for namespace in ("team/a", "team/b", "private"):
        agent.state.set(namespace, "k", "treasure")
    surface.plane.upkeep()
    grants = [Grant(permissions=("state:read",), namespaces=("team/*",)), Grant(permissions=("audit:read",))]
    guest = surface.connect("guest", grants=grants)
    assert [n.name for n in guest.state.namespaces()] == ["team/a", "team/b"]
    assert {m.entry.namespace for m in guest.state.search("treasure")} == {"team/a", "team/b"}
    with pytest.raises(PermissionDenied):
        guest.state.get("private", "k")
    with pytest.raises(PermissionDenied):
        guest.state.set("team/a", "k", 1)
    seen = {event.subject.get("namespace") for event in guest.audit.events(type="state.*", outcome="ok")}
    assert seen == {"team/a", "team/b"}


@promise("access.filter")
def test_missing_and_forbidden_look_the_same(surface, agent):
    agent.state.set("private", "k", 1)
    guest = surface.connect("guest", grants=[Grant(permissions=("state:read",), namespaces=("team/*",))])
    said = []
    for namespace in ("private", "absent"):
        with pytest.raises(PermissionDenied) as caught:
            guest.state.entry(namespace, "k")
        said.append(str(caught.value).replace(namespace, "NAMESPACE"))
    assert said[0] == said[1]


@promise("state.watch")
def test_a_watch_has_no_gaps_while_others_write(surface, agent):
    start = agent.state.set("n", "first", 0).revision
    writers = [surface.connect(f"writer{number}") for number in range(3)]
    threads = [
        threading.Thread(target=lambda w=writer, n=number: [w.state.set("n", f"{n}/{i}", i) for i in range(20)])
        for number, writer in enumerate(writers)
    ]
    noise = threading.Thread(target=lambda: [agent.state.set("elsewhere", "k", i) for i in range(20)])
    for thread in [*threads, noise]:
        thread.start()
    changes = []
    for change in agent.state.watch("n", after=start):
        changes.append(change)
        if len(changes) == 60:
            break
    for thread in [*threads, noise]:
        thread.join()
    assert [c.revision for c in changes] == sorted({c.revision for c in changes})
    for number in range(3):
        assert [c.entry.value for c in changes if c.key.startswith(f"{number}/")] == list(range(20))


@promise("state.watch")
def test_a_watch_tells_deletion_and_expiry(surface, agent):
    start = agent.state.set("n", "a", 1).revision
    agent.state.set("n", "b", 2, ttl_seconds=1)
    agent.state.delete("n", "a")
    surface.plane.advance(2)
    found = []
    for change in agent.state.watch("n", after=start):
        found.append((change.kind, change.key, change.version))
        if change.kind == "expire":
            break
    assert found == [("set", "b", 1), ("delete", "a", 2), ("expire", "b", 2)]


@promise("state.watch")
def test_a_watch_from_now_misses_nothing_that_follows(surface, agent):
    agent.state.set("n", "before", 1)
    watcher = surface.connect("watcher")
    found = []
    reading = threading.Event()

    def read():
        reading.set()
        for change in watcher.state.watch("n"):
            found.append(change.key)
            if change.key == "last":
                return

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    reading.wait()
    for number in range(20_000):
        agent.state.set("n", f"k{number}", number)
        if found:
            break
    agent.state.set("n", "last", 1)
    thread.join(60)
    assert not thread.is_alive()
    assert "before" not in found
    assert found[-1] == "last"
    first = int(found[0][1:])
    assert found[:-1] == [f"k{n}" for n in range(first, first + len(found) - 1)]


@promise("state.gone")
def test_a_compacted_revision_is_told(tmp_path):
    plane = ManualPlane(tmp_path / "p.db", settings=Settings(versions_kept=2, versions_days=1))
    agent = plane.connect()
    first = agent.state.set("n", "k", 0).revision
    second = agent.state.set("n", "k", 1).revision
    for number in range(2, 5):
        agent.state.set("n", "k", number)
    plane.advance(2 * 86400)
    with pytest.raises(RevisionGone) as caught:
        next(agent.state.watch("n", after=first - 1))
    floor = caught.value.details["oldest"]
    assert next(agent.state.watch("n", after=floor)).revision == floor + 1
    for revision in (first, second):
        with pytest.raises(RevisionGone):
            agent.state.get("n", "k", as_of=revision)
    assert [e.value for e in agent.state.history("n", "k")] == [4, 3]
    assert agent.state.get("n", "k") == 4
    plane.close()


@promise("state.gone")
def test_what_compaction_left_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr(rows, "RECENT", 2)
    plane = ManualPlane(tmp_path / "p.db", settings=Settings(versions_kept=10, versions_days=1))
    agent = plane.connect()
    revisions = [agent.state.set("n", "k", number).revision for number in range(20)]
    plane.advance(2 * 86400)
    assert [agent.state.get("n", "k", as_of=revision) for revision in revisions[10:]] == list(range(10, 20))
    with pytest.raises(RevisionGone):
        agent.state.get("n", "k", as_of=revisions[9])
    plane.close()


@promise("state.gone")
def test_a_past_between_compacted_revisions_is_never_told_wrongly(tmp_path):
    plane = ManualPlane(tmp_path / "p.db", settings=Settings(versions_kept=1, versions_days=1))
    agent = plane.connect()
    agent.state.set("n", "k", "old")
    between = agent.state.set("n", "other", 1).revision
    plane.advance(2 * 86400)
    agent.state.set("n", "k", "new")
    plane.advance(2 * 86400)
    # The value of that moment is gone: it is neither the new one nor "there was none".
    with pytest.raises(RevisionGone):
        agent.state.get("n", "k", as_of=between)
    with pytest.raises(RevisionGone):
        agent.state.diff("n", between)
    assert agent.state.get("n", "other", as_of=between) == 1
    plane.close()


@promise("state.transaction")
def test_a_transaction_is_one_commit(agent):
    agent.state.set("n", "old", 1)
    with agent.transaction() as tx:
        tx.state.set("n", "a", 1, if_version=0)
        tx.state.set("m", "b", [2])
        tx.state.delete("n", "old")
        with pytest.raises(InvalidInput):
            _ = tx.results
        assert agent.state.get("n", "a") is None
    assert len(tx.results) == 3
    assert (agent.state.get("n", "a"), agent.state.get("m", "b"), agent.state.get("n", "old")) == (1, [2], None)
    events = list(agent.audit.events(after=tx.revision - 3))
    assert [e.operation for e in events] == ["state.set", "state.set", "state.delete"]


@promise("state.transaction")
def test_a_transaction_is_none_when_one_part_is_refused(agent):
    agent.state.set("n", "a", 1)
    before = agent.status().revision
    with pytest.raises(VersionConflict), agent.transaction() as tx:
        tx.state.set("n", "b", 1)
        tx.state.set("n", "a", 2, if_version=0)
    assert agent.state.get("n", "b") is None
    assert agent.status().revision == before
    with pytest.raises(ZeroDivisionError), agent.transaction() as tx:
        tx.state.set("n", "c", 1)
        _ = 1 / 0
    assert agent.state.get("n", "c") is None
    with agent.transaction() as tx:
        pass
    assert tx.results == []


@promise("state.transaction")
def test_a_transaction_is_checked_for_every_right(surface, agent):
    half = surface.connect("half", grants=[Grant(permissions=("state:*",), namespaces=("mine",))])
    with pytest.raises(PermissionDenied), half.transaction() as tx:
        tx.state.set("mine", "k", 1)
        tx.state.set("yours", "k", 1)
    assert agent.state.get("mine", "k") is None


@promise("state.large")
def test_large_values(agent):
    value = {"text": "x" * (10 * 1024 * 1024), "n": 1}
    entry = agent.state.set("n", "big", value)
    assert entry.size_bytes > 10 * 1024 * 1024
    assert agent.state.get("n", "big") == value
    for size in (1535, 1536, 4094, 4095, 262_144, 600_000):
        text = "".join(chr(33 + (index * 7919 + size) % 90) for index in range(size))
        agent.state.set("n", "sized", text)
        assert agent.state.get("n", "sized") == text


@promise("state.large")
def test_a_value_over_the_limit_is_refused(tmp_path):
    plane = ManualPlane(tmp_path / "p.db", settings=Settings(value_bytes_max=1000))
    agent = plane.connect()
    agent.state.set("n", "k", "x" * 998)
    with pytest.raises(LimitExceeded) as caught:
        agent.state.set("n", "k", "x" * 999)
    assert caught.value.details == {"bytes": 1001, "limit": 1000}
    assert agent.state.get("n", "k") == "x" * 998
    plane.close()


@promise("state.origin")
def test_trust_follows_from_origin(surface, agent):
    assert agent.state.set("n", "k", 1, origin="tool").trust == "agent"
    assert agent.state.set("n", "k", 1, origin="external").trust == "external"
    with pytest.raises(PermissionDenied):
        agent.state.set("n", "k", 1, origin="human")
    with pytest.raises(InvalidInput):
        agent.state.set("n", "k", 1, origin="god")
    person = surface.connect(person="dana")
    entry = person.state.set("n", "k", 2, origin="human")
    assert (entry.trust, entry.author) == ("verified", "person:dana")
    with pytest.raises(PermissionDenied), agent.transaction() as tx:
        tx.state.set("n", "k", 3, origin="human")


@promise("state.revision")
def test_revisions_are_dense_and_per_workspace(surface, agent):
    other = surface.connect("other", workspace="elsewhere")
    first = agent.state.set("n", "k", 1).revision
    theirs = other.state.set("n", "k", 1).revision
    assert [agent.state.set("n", "k", 1).revision for _ in range(3)] == [first + 1, first + 2, first + 3]
    assert other.state.set("n", "k", 1).revision == theirs + 1
    assert other.state.get("n", "k", version=1) == 1
    assert len(other.state.history("n", "k")) == 2


BAD_NAMES = ["", "a\x00b", "line\nbreak", "\ud800", "x" * 2000, "tab\t", "c1\x85", "line\u2028"]


@promise("input.refused")
@pytest.mark.parametrize(
    "name", BAD_NAMES, ids=["empty", "nul", "newline", "surrogate", "long", "tab", "c1", "separator"]
)
def test_bad_names_are_refused(agent, name):
    with pytest.raises((InvalidInput, LimitExceeded)):
        agent.state.set(name, "k", 1)
    with pytest.raises((InvalidInput, LimitExceeded)):
        agent.state.set("n", name, 1)
    # Reading a name that no entry can have finds nothing, whatever the name.
    with pytest.raises((InvalidInput, LimitExceeded, NotFound)):
        agent.state.entry("n", name)
    with pytest.raises((InvalidInput, LimitExceeded, NotFound)):
        agent.state.delete(name, "k")


@promise("state.exact")
@pytest.mark.parametrize(
    ("value", "path"),
    [
        (float("nan"), "$"),
        ({"a": [1, float("inf")]}, "$.a[1]"),
        (["ok", "\udfff"], "$[1]"),
        ({"a": {"\ud800": 1}}, "$.a"),
        ({1: 2}, "$"),
        ({"a": {None: 2}}, "$.a"),
        (b"bytes", "$"),
        ({"a": {1, 2}}, "$.a"),
        ([object()], "$[0]"),
        ({"a": 1j}, "$.a"),
    ],
    ids=["nan", "inf", "surrogate", "surrogate key", "int key", "null key", "bytes", "set", "object", "complex"],
)
def test_what_json_cannot_say_is_refused_with_its_path(agent, value, path):
    with pytest.raises(InvalidInput) as caught:
        agent.state.set("n", "k", value)
    assert caught.value.details["path"] == path
    with pytest.raises(InvalidInput), agent.transaction() as tx:
        tx.state.set("n", "k", value)
    assert agent.state.get("n", "k", "absent") == "absent"


@promise("input.refused")
@pytest.mark.parametrize(
    "call",
    [
        lambda state: state.set("n", "k", 1, if_version="1"),
        lambda state: state.set("n", "k", 1, ttl_seconds="soon"),
        lambda state: state.set(5, "k", 1),
        lambda state: state.set("n", None, 1),
        lambda state: state.get("n", "k", version="one"),
        lambda state: state.list("n", limit="ten"),
        lambda state: state.list("n", prefix=3),
        lambda state: state.search(7),
    ],
    ids=["version", "ttl", "namespace", "key", "get", "limit", "prefix", "search"],
)
def test_wrong_types_are_refused(agent, call):
    with pytest.raises(InvalidInput):
        call(agent.state)
