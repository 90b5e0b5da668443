"""A denial is seen only by those who may read the namespace it names."""

from __future__ import annotations

import pytest

from agentmemo import Grant, PermissionDenied, Unavailable
from agentmemo.engine.access import Denials

READER = [Grant(permissions=("state:read", "audit:read"), namespaces=("open",))]


@pytest.mark.parametrize("known", [True, False], ids=["known namespace", "unknown namespace"])
def test_a_denial_does_not_tell_others_which_namespace_it_was_for(plane, known):
    owner = plane.connect("owner")
    owner.state.set("open", "k", 1)
    if known:
        owner.state.set("secret-project", "k", 1)
    with pytest.raises(PermissionDenied):
        plane.connect("nosy", grants=READER).state.set("secret-project", "k", 2)
    seen = plane.connect("reader", grants=READER).audit.events(outcome="denied")
    assert [event.subject for event in seen] == []
    assert [event.subject["namespace"] for event in owner.audit.events(outcome="denied")] == ["secret-project"]


def _denied(plane):
    return [(event.subject.get("namespace"), event.count) for event in _owner(plane).audit.events(outcome="denied")]


def _owner(plane):
    return plane.connect("owner")


def _ask(nosy, *namespaces):
    for namespace in namespaces:
        with pytest.raises(PermissionDenied):
            nosy.state.get(namespace, "k")


def test_names_beyond_a_windows_share_are_counted_together(plane):
    nosy = plane.connect("nosy", grants=READER)
    most = Denials.NAMES_MAX
    _ask(nosy, *[f"guess-{number}" for number in range(most + 30)])
    # Each further name costs no commit and no memory of its own.
    assert _denied(plane) == [(f"guess-{number}", 1) for number in range(most)] + [(None, 1)]
    plane.advance(61)
    assert _denied(plane)[most + 1 :] == [(None, 29)]
    _ask(nosy, "later")
    assert _denied(plane)[-1] == ("later", 1)


def test_what_was_counted_is_forgotten_once_it_is_written(plane):
    _ask(plane.connect("nosy", grants=READER), "a", "a", "b")
    plane.advance(61)
    assert _denied(plane) == [("a", 1), ("b", 1), ("a", 1)]
    assert plane.engine.denials._counted == {}


def test_a_window_ends_where_the_wall_clock_was_set_back(plane):
    nosy = plane.connect("nosy", grants=READER)
    _ask(nosy, "a", "a")
    plane.clock.step(-86_400)
    plane.clock.advance(61)
    _ask(nosy, "a")
    assert _denied(plane) == [("a", 1), ("a", 2)]


def test_a_count_is_kept_until_it_can_be_written(plane, monkeypatch):
    nosy = plane.connect("nosy", grants=READER)
    _ask(nosy, "a", "a", "b", "b", "b")

    def full(_work, **_where):
        raise Unavailable("The disk is full.", retry_safe=False)  # else the client asks again

    with monkeypatch.context() as broken:
        broken.setattr(plane.engine.database, "write", full)
        with pytest.raises(Unavailable):
            plane.engine.denials.flush()
        plane.clock.advance(61)
        with pytest.raises(Unavailable):
            nosy.state.get("a", "k")
    plane.engine.denials.flush()
    assert sorted(_denied(plane)) == [("a", 1), ("a", 2), ("b", 1), ("b", 2)]
