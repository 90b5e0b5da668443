"""A denial is seen only by those who may read the namespace it names."""

from __future__ import annotations

import pytest

from agentmemo import Grant, PermissionDenied

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
