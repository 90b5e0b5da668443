"""State: versions that only grow, conditions, transactions, times to live, the past, and watches without gaps."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule
from machines.machine import PICK, Machine, after

from agentmemo import NotFound, VersionConflict
from agentmemo.model.state import WatchNamespace

NAMESPACES = ("a", "b")
PLACES = st.tuples(st.sampled_from(NAMESPACES), st.sampled_from(["k1", "k2"]))
LARGE = "large " * 1000
VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.text(max_size=5), st.lists(st.integers(), max_size=3), st.just(LARGE)
)
# What a write of a transaction does; a number is the condition of a version that is not there.
ACTS = st.sampled_from(["set", "set", "set", "delete"])
NEVER = 10_000


@dataclass
class Version:
    kind: str  # set, delete, expire
    value: object
    expires_at: int | None
    revision: int


@dataclass
class Key:
    versions: list[Version] = field(default_factory=list)

    def is_live(self, now):
        newest = self.versions[-1] if self.versions else None
        return bool(newest) and newest.kind == "set" and (newest.expires_at is None or newest.expires_at > now)

    def version(self, now):
        """What a condition is compared with."""
        return len(self.versions) if self.is_live(now) else 0

    def is_due(self, now):
        return bool(self.versions) and self.versions[-1].kind == "set" and not self.is_live(now)


class StateMachine(Machine):
    """`keys` holds every version of every key; `seen` is how far each watcher has come."""

    def begin(self):
        self.agent = self.surface.connect()
        self.keys = {}
        self.seen = dict.fromkeys(NAMESPACES, 0)

    def restarted(self):
        self.agent = self.surface.connect()

    def key(self, place):
        return self.keys.setdefault(place, Key())

    def wrote(self, place, kind, value, entry, seconds=None):
        key = self.key(place)
        expires_at = after(self.now, seconds) if seconds else None
        assert (entry.version, entry.expires_at) == (len(key.versions) + 1, expires_at)
        assert entry.revision > max((v.revision for k in self.keys.values() for v in k.versions), default=0)
        key.versions.append(Version(kind, value, expires_at, entry.revision))

    def upkeep_came(self):
        """What is over has the version that ends it."""
        for place, key in self.keys.items():
            if key.is_due(self.now):
                newest = next(iter(self.witness.state.history(*place)))
                assert (newest.version, newest.deleted) == (len(key.versions) + 1, True)
                key.versions.append(Version("expire", None, None, newest.revision))

    @rule(place=PLACES, value=VALUES, seconds=st.sampled_from([None, 10, 100, 86_400]))
    def set(self, place, value, seconds):
        self.wrote(place, "set", value, self.agent.state.set(*place, value, ttl_seconds=seconds), seconds)

    @rule(place=PLACES, value=VALUES, wrong=st.sampled_from([None, None, 0, 1, 2]))
    def set_if(self, place, value, wrong):
        """Over the version that there is: 0 where it is absent, deleted or over, also before upkeep has been there."""
        current = self.key(place).version(self.now)
        if wrong in (None, current):
            self.wrote(place, "set", value, self.agent.state.set(*place, value, if_version=current))
        else:
            with pytest.raises(VersionConflict):
                self.agent.state.set(*place, value, if_version=wrong)

    @rule(place=PLACES, value=VALUES, deletes=st.booleans())
    def come_too_late(self, place, value, deletes):
        self.set(place, value, 10)
        self.pass_time(10, upkeep=False)
        self.delete(place) if deletes else self.set_if(place, value, None)

    @rule(place=PLACES)
    def delete(self, place):
        if self.key(place).is_live(self.now):
            self.wrote(place, "delete", None, self.agent.state.delete(*place))
        else:
            with pytest.raises(NotFound):
                self.agent.state.delete(*place)

    @rule(writes=st.lists(st.tuples(PLACES, VALUES, ACTS), min_size=1, max_size=4), fails=st.booleans())
    def transact(self, writes, fails):
        """One commit or none: also where what comes last is refused."""
        live = {place: self.key(place).is_live(self.now) for place, _, _ in writes}
        for place, _, act in writes:
            fails = fails or (act == "delete" and not live[place])
            live[place] = act == "set"
        try:
            with self.agent.transaction() as tx:
                for place, value, act in writes:
                    tx.state.set(*place, value) if act == "set" else tx.state.delete(*place)
                if fails:
                    tx.state.set("a", "k1", None, if_version=NEVER)
        except (VersionConflict, NotFound):
            assert fails
            return
        assert not fails
        for (place, value, act), entry in zip(writes, tx.results, strict=True):
            self.wrote(place, act, value if act == "set" else None, entry)

    @rule(namespace=st.sampled_from(NAMESPACES), limit=st.sampled_from([1, 3, 1000]))
    def watch(self, namespace, limit):
        """From where it stopped: each change once, in the order of revisions, expiries as well."""
        due = sorted(
            (version.revision, key, number, version.kind, version.value)
            for (place, key), known in self.keys.items()
            for number, version in enumerate(known.versions, 1)
            if place == namespace and version.revision > self.seen[namespace]
        )
        request = WatchNamespace(namespace=namespace, after=self.seen[namespace], limit=limit)
        found = self.agent._plane.call(request)
        assert due[:limit] == [
            (change.revision, change.key, change.version, change.kind, change.entry.value) for change in found.changes
        ]
        self.seen[namespace] = found.next

    @rule(place=PLACES, pick=PICK)
    def look_back(self, place, pick):
        """The whole history, one version of it, and what there was as of a revision."""
        versions = self.key(place).versions
        if not versions:
            with pytest.raises(NotFound):
                list(self.agent.state.history(*place))
            return
        told = [(entry.version, entry.value, entry.revision) for entry in self.agent.state.history(*place)]
        assert told[::-1] == [(number, v.value, v.revision) for number, v in enumerate(versions, 1)]
        number = pick % len(versions)
        absent = versions[number].kind != "set"
        expected = "absent" if absent else versions[number].value
        assert self.agent.state.get(*place, "absent", version=number + 1) == expected
        until = versions[number + 1].revision - 1 if number + 1 < len(versions) else self.witness.status().revision
        assert self.agent.state.get(*place, "absent", as_of=until) == expected

    @rule(namespace=st.sampled_from(NAMESPACES), pick=PICK)
    def compare(self, namespace, pick):
        """What became of each key since a revision."""
        since = pick % (self.witness.status().revision + 1)
        expected = {}
        for (place, name), key in self.keys.items():
            before = [version for version in key.versions if version.revision <= since]
            if place == namespace and before != key.versions:
                pair = [v[-1].value if v and v[-1].kind == "set" else "absent" for v in (before, key.versions)]
                if pair != ["absent", "absent"]:
                    expected[name] = pair
        assert expected == {
            found.key: [
                "absent" if found.before_version is None else found.before,
                "absent" if found.after_version is None else found.after,
            ]
            for found in self.agent.state.diff(namespace, since=since)
        }

    @invariant()
    def the_plane_holds_what_the_model_holds(self):
        for namespace in NAMESPACES:
            expected = {
                key: (known.versions[-1].value, len(known.versions))
                for (place, key), known in self.keys.items()
                if place == namespace and known.is_live(self.now)
            }
            assert {e.key: (e.value, e.version) for e in self.agent.state.list(namespace)} == expected
