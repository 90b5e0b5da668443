"""Grants, attenuation and keys."""

from __future__ import annotations

import base64
import zlib
from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from agentmemo.errors import InvalidInput, NotAuthenticated
from agentmemo.model import access
from agentmemo.model.access import AGENT_DEFAULT, EVERYTHING, PERMISSIONS, Grant

NAMES = st.sampled_from(["team/a", "team/a/b", "team/b", "team", "teams", "private", "t", "*", "team/*x"])
PATTERNS = st.sampled_from(["*", "t*", "team*", "team/*", "team/a", "team/a*", "team/a/*", "private", "p*"])
RIGHTS = st.sampled_from([*PERMISSIONS, "*", "state:*", "runs:*", "audit:*", "access:*", "s*", "st*"])
GRANT = st.builds(
    Grant,
    permissions=st.lists(RIGHTS, max_size=2).map(tuple),
    namespaces=st.lists(PATTERNS, max_size=2).map(tuple),
)
GRANTS = st.lists(GRANT, max_size=3).map(tuple)


def rights(grants, names=("team/a", "team/a/b", "team/b", "team", "teams", "private", "t", "x")):
    """Everything a caller with these grants may do, each with and without a namespace."""
    return {
        (permission, name)
        for permission in PERMISSIONS
        for name in (None, *names)
        if access.allows(grants, permission, name)
    }


@given(st.lists(GRANTS, min_size=2, max_size=4))
def test_no_chain_of_attenuations_widens(chain):
    for parent, child in pairwise(chain):
        assume(access.attenuates(list(child), parent))
    assert rights(chain[-1]) <= rights(chain[0])


@given(GRANTS, GRANTS)
def test_what_attenuates_is_contained(parent, child):
    if access.attenuates(list(child), parent):
        assert rights(child) <= rights(parent)


@given(GRANTS)
def test_everything_covers_all_and_a_part_attenuates_its_whole(grants):
    assert access.attenuates(list(grants), (EVERYTHING,))
    whole = tuple(grant for grant in grants if grant.namespaces)
    assert access.attenuates(list(whole), grants)
    assert access.attenuates([], grants)


@given(GRANTS, st.sampled_from(PERMISSIONS), NAMES)
def test_patterns_for_queries_say_the_same_as_allows(grants, permission, name):
    patterns = access.allowed_patterns(grants, permission)
    seen = patterns is None or any(
        name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern for pattern in patterns
    )
    assert seen == access.allows(grants, permission, name)


@pytest.mark.parametrize(
    ("grant", "permission", "namespace", "expected"),
    [
        (EVERYTHING, "system:admin", None, True),
        (EVERYTHING, "state:read", "any", True),
        (AGENT_DEFAULT, "state:write", "n", True),
        (AGENT_DEFAULT, "runs:decide", None, False),
        (AGENT_DEFAULT, "access:read", None, False),
        (Grant(permissions=("state:read",), namespaces=("team/*",)), "state:read", "team/a", True),
        (Grant(permissions=("state:read",), namespaces=("team/*",)), "state:read", "team", False),
        (Grant(permissions=("state:read",), namespaces=("team/*",)), "state:write", "team/a", False),
        (Grant(permissions=("state:read",), namespaces=("team",)), "state:read", "team/a", False),
        (Grant(permissions=(), namespaces=("*",)), "state:read", "n", False),
    ],
)
def test_what_a_grant_allows(grant, permission, namespace, expected):
    assert access.allows((grant,), permission, namespace) is expected
    assert access.allows((), permission, namespace) is False


@pytest.mark.parametrize(
    "grant",
    [
        Grant(permissions=("state:fly",)),
        Grant(permissions=("",)),
        Grant(permissions=("states:*",)),
        Grant(permissions=()),
        Grant(permissions=("state:read",), namespaces=()),
        Grant(permissions=("state:read",), namespaces=("",)),
        Grant(permissions=("state:read",), namespaces=("a*b",)),
        Grant(permissions=("state:read",), namespaces=("**",)),
        Grant(permissions=("runs:decide",)),
        Grant(permissions=("runs:*",)),
    ],
    ids=str,
)
def test_bad_grants_of_an_agent_are_refused(grant):
    with pytest.raises(InvalidInput):
        access.check_grants([grant], "agent")


def test_a_person_may_hold_what_only_a_person_may():
    access.check_grants([Grant(permissions=("runs:decide",)), EVERYTHING], "person")


@given(
    st.sampled_from(access.KINDS),
    st.text("0123456789abcdefghjkmnpqrstvwxyz", min_size=8, max_size=8),
    st.binary(min_size=32, max_size=32),
)
def test_a_key_reads_back(kind, public_id, secret):
    text = access.compose_key(kind, public_id, secret)
    assert access.parse_key(text) == (kind, public_id)
    body, _, checksum = text.rpartition("_")
    assert checksum == f"{zlib.crc32(body.encode()):08x}"
    assert base64.urlsafe_b64decode(text.removeprefix(f"am_{kind}_{public_id}_")[:43] + "=") == secret


KEY = access.compose_key("agent", "01234567", bytes(range(32)))


@given(st.integers(0, len(KEY) - 1), st.characters(codec="ascii"))
def test_one_wrong_character_is_found_before_any_look_up(position, char):
    assume(KEY[position] != char)
    with pytest.raises(NotAuthenticated, match="malformed"):
        access.parse_key(KEY[:position] + char + KEY[position + 1 :])


@pytest.mark.parametrize("text", ["", "am_", KEY[:-1], KEY + "0", KEY + "\n", " " + KEY, KEY.upper(), "Bearer " + KEY])
def test_a_cut_or_dressed_key_is_refused(text):
    with pytest.raises(NotAuthenticated):
        access.parse_key(text)


@pytest.mark.parametrize("name", ["a", "bob@example.com", "team:agent-1", "x" * 128, "é"])
def test_good_actor_names(name):
    access.check_actor(name, "agent")


@pytest.mark.parametrize("name", ["", " ", "a b", "a\n", "a/b", "x" * 129, "a\x00", "<b>"])
def test_bad_actor_names(name):
    with pytest.raises(InvalidInput):
        access.check_actor(name, "agent")
    with pytest.raises(InvalidInput):
        access.check_actor("good", name)
