"""Access: keys shown once, expiry, rotation, revocation, the kill switch, attenuation, denials."""

from __future__ import annotations

import pytest

from agentmemo import Grant, InvalidInput, NotAuthenticated, NotFound, PermissionDenied
from agentmemo.clock import SECOND
from agentmemo.model.access import EVERYTHING

promise = pytest.mark.promise
READ_TEAM = Grant(permissions=("state:read",), namespaces=("team/*",))


@pytest.fixture
def admin(surface):
    """A person with every right."""
    return surface.connect(person="dana")


@promise("key.once")
def test_a_key_is_shown_once_and_only_its_hash_is_kept(surface, admin):
    made = admin.keys.create("agent", "bob", label="ci", grants=[READ_TEAM])
    assert made.secret.startswith(f"am_agent_{made.id}_")
    listed = next(key for key in admin.keys.list() if key.id == made.id)
    assert listed.secret is None
    assert (listed.id, listed.actor, listed.label, listed.grants) == (made.id, "bob", "ci", [READ_TEAM])
    caller = surface.plane.engine.authenticate(made.secret)
    assert (caller.kind, caller.name, caller.grants, caller.key) == ("agent", "bob", (READ_TEAM,), made.id)
    secret = made.secret.split("_", 3)[3]
    kept = surface.plane.engine.database.read(
        lambda tx: [tx.one("credential_find", id=made.id), tx.all("event_leaves", low=0, high=1 << 62, limit=1000)]
    )
    assert kept[0] is not None
    assert secret not in repr(kept)
    beside = surface.plane.engine.database.capabilities.beside
    pepper = beside.with_name(beside.name + "-pepper")
    assert pepper.stat().st_mode & 0o777 == 0o600


@promise("key.ends")
def test_a_key_expires(surface, admin):
    made = admin.keys.create("agent", "bob", expires_in_days=2)
    assert made.expires_at == made.created_at + 2 * 86400 * SECOND
    engine = surface.plane.engine
    surface.plane.clock.advance(2 * 86400 - 1)
    assert engine.authenticate(made.secret).name == "bob"
    surface.plane.clock.advance(1)
    with pytest.raises(NotAuthenticated, match="expired"):
        engine.authenticate(made.secret)
    for days in (0, -1, float("nan"), 1e9):
        with pytest.raises(InvalidInput):
            admin.keys.create("agent", "bob", expires_in_days=days)


@promise("key.ends")
def test_a_key_is_revoked_now_and_for_good(surface, admin):
    made = admin.keys.create("agent", "bob")
    admin.keys.revoke(made.id, reason="leaked")
    with pytest.raises(NotAuthenticated, match="revoked"):
        surface.plane.engine.authenticate(made.secret)
    again = admin.keys.revoke(made.id)
    assert again.revoked_at == surface.plane.clock.now_us()
    assert [e.reason for e in admin.audit.events(type="key.revoke")] == ["leaked"]
    with pytest.raises(InvalidInput):
        admin.keys.rotate(made.id)
    with pytest.raises(NotFound):
        admin.keys.revoke("00000000")


@promise("key.rotate")
def test_rotation_overlaps(surface, admin):
    old = admin.keys.create("agent", "bob", grants=[READ_TEAM])
    new = admin.keys.rotate(old.id, overlap_hours=1)
    engine = surface.plane.engine
    assert engine.authenticate(new.secret).grants == engine.authenticate(old.secret).grants
    surface.plane.clock.advance(3600)
    assert engine.authenticate(new.secret).name == "bob"
    with pytest.raises(NotAuthenticated):
        engine.authenticate(old.secret)
    for hours in (-1, float("nan"), float("inf")):
        with pytest.raises(InvalidInput):
            admin.keys.rotate(new.id, overlap_hours=hours)


@promise("key.unknown")
def test_wrong_keys_are_refused(surface, admin):
    made = admin.keys.create("agent", "bob")
    engine = surface.plane.engine
    other = admin.keys.create("agent", "eve")
    for text in ("", "am_agent_x", made.secret[:-1], made.secret + "\n", made.secret.upper(), " " + made.secret):
        with pytest.raises(NotAuthenticated, match="malformed"):
            engine.authenticate(text)
    swapped = made.secret.replace(made.id, other.id)
    with pytest.raises(NotAuthenticated):
        engine.authenticate(swapped)


@promise("access.attenuate")
def test_nobody_grants_more_than_they_hold(surface):
    half = surface.connect(
        "half", grants=[Grant(permissions=("access:admin",)), Grant(permissions=("state:*",), namespaces=("team/*",))]
    )
    made = half.keys.create("agent", "bob", grants=[READ_TEAM])
    assert surface.plane.engine.authenticate(made.secret).grants == (READ_TEAM,)
    for grant in (
        Grant(permissions=("state:read",)),
        Grant(permissions=("state:read",), namespaces=("team*",)),
        Grant(permissions=("*",), namespaces=("team/a",)),
        Grant(permissions=("runs:write",), namespaces=("team/a",)),
        EVERYTHING,
    ):
        with pytest.raises(PermissionDenied):
            half.keys.create("agent", "bob", grants=[grant])
    for grant in (Grant(permissions=("*",), namespaces=()), Grant(permissions=()), Grant(permissions=("all",))):
        with pytest.raises((InvalidInput, PermissionDenied)):
            half.keys.create("agent", "bob", grants=[grant])


@promise("access.attenuate")
def test_rotation_hands_nobody_more_than_they_hold(surface, admin):
    strong = admin.keys.create("agent", "root", grants=[Grant(permissions=("state:*",))])
    half = surface.connect("half", grants=[Grant(permissions=("access:admin",))])
    with pytest.raises(PermissionDenied):
        half.keys.rotate(strong.id)
    assert surface.plane.engine.authenticate(strong.secret).name == "root"


@promise("person.only")
def test_an_agent_makes_no_person_of_itself(surface, admin):
    agent = surface.connect("bold", grants=[EVERYTHING])
    with pytest.raises(PermissionDenied):
        agent.keys.create("person", "dana")
    hers = admin.keys.create("person", "dana")
    with pytest.raises(PermissionDenied):
        agent.keys.rotate(hers.id)
    with pytest.raises(InvalidInput):
        admin.keys.create("agent", "bold", grants=[Grant(permissions=("runs:decide",))])
    wide = admin.keys.create("agent", "bold", grants=[EVERYTHING])
    caller = surface.plane.engine.authenticate(wide.secret)
    mine = surface.connect("bold", grants=caller.grants)
    with pytest.raises(PermissionDenied, match="may not"):
        mine.runs.resolve("run_0000000000000000", "continue")


@promise("access.kill")
def test_the_kill_switch(surface, admin, agent):
    with pytest.raises(PermissionDenied, match="disabled"), agent.run("r", key="1") as run:
        admin.keys.disable("agent", reason="runs wild")
        agent.state.set("n", "k", 1)
    for call in (
        lambda: agent.state.get("n", "k"),
        agent.briefing,
        lambda: agent.start("job"),
        lambda: agent.state.list("n"),
        lambda: surface.connect("agent").status(),
    ):
        with pytest.raises(PermissionDenied, match="disabled"):
            call()
    freed = admin.runs.get(run.id)
    assert (freed.state, freed.wake) == ("pending", "caller")
    assert {a.name: a.disabled_at is not None for a in admin.keys.actors()}["agent"] is True
    admin.keys.enable("agent")
    assert agent.state.set("n", "k", 1).version == 1
    operations = [e.operation for e in admin.audit.events(type="actor.*")]
    assert operations == ["actor.disable", "actor.enable"]
    with pytest.raises(NotFound):
        admin.keys.disable("nobody")


@promise("access.deny")
def test_denials_are_recorded_and_read_denials_counted(surface, admin):
    guest = surface.connect("guest", grants=[READ_TEAM])
    for _ in range(5):
        with pytest.raises(PermissionDenied):
            guest.state.get("private", "k")
    for _ in range(2):
        with pytest.raises(PermissionDenied):
            guest.state.set("private", "k", 1)
    surface.plane.advance(61)
    denied = [(e.operation, e.count, e.actor, e.subject["namespace"]) for e in admin.audit.events(outcome="denied")]
    assert denied == [
        ("state.get", 1, "agent:guest", "private"),
        ("state.set", 1, "agent:guest", "private"),
        ("state.set", 1, "agent:guest", "private"),
        ("state.get", 4, "agent:guest", "private"),
    ]


@promise("access.deny")
def test_without_grants_nothing_is_allowed(surface, admin):
    nobody = surface.connect("nobody", grants=[])
    for call in (
        lambda: nobody.state.get("n", "k"),
        lambda: nobody.state.set("n", "k", 1),
        nobody.state.namespaces,
        lambda: nobody.state.search("word"),
        nobody.runs.list,
        lambda: nobody.run("r").__enter__(),
        nobody.briefing,
        nobody.audit.events,
        nobody.keys.list,
        lambda: nobody.keys.create("agent", "x"),
        nobody.status,
        lambda: nobody.backup("/nowhere"),
    ):
        with pytest.raises(PermissionDenied):
            call()
    assert nobody.keys.whoami().grants == []


@promise("access.whoami")
def test_whoami(surface, agent, admin):
    assert (agent.keys.whoami().actor, agent.keys.whoami().kind) == ("agent", "agent")
    assert (admin.keys.whoami().actor, admin.keys.whoami().kind) == ("dana", "person")


@promise("input.refused")
@pytest.mark.parametrize("name", ["", "a b", "x" * 129, "bob\n", "a\x00", "<script>"])
def test_bad_actor_names_are_refused(surface, admin, name):
    with pytest.raises(InvalidInput):
        admin.keys.create("agent", name)
    if name:
        with pytest.raises(InvalidInput):
            surface.connect(name)


@promise("input.refused")
def test_bad_kinds_and_patterns_are_refused(admin):
    with pytest.raises(InvalidInput):
        admin.keys.create("robot", "bob")
    for pattern in ("", "a*b", "*a", "**"):
        with pytest.raises(InvalidInput):
            admin.keys.create("agent", "bob", grants=[Grant(permissions=("state:read",), namespaces=(pattern,))])
    with pytest.raises(InvalidInput):
        admin.keys.create("agent", "bob", grants=[1])
    with pytest.raises(InvalidInput):
        admin.keys.create("agent", "bob", grants="everything")
