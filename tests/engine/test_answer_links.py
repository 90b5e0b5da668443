"""One-time links: looking uses nothing up, guessing ends soon, and what is grave takes the code."""

from __future__ import annotations

import threading

import pytest

from agentmemo import NotFound, PermissionDenied
from agentmemo.engine import answer_links
from agentmemo.engine.call import Call
from agentmemo.model.access import Caller
from agentmemo.model.notifications import MISSES_MAX
from agentmemo.settings import Settings
from agentmemo.store import secrets_file
from agentmemo.store.queries import Query, load
from agentmemo.testing import ManualPlane

HOUR = 3600.0
NEW = "ab" * 32
HELD = "SELECT hash, code, misses, used_at FROM answer_link"


class Desk:
    def __init__(self, plane):
        self.plane = plane
        self.engine = plane.engine
        agent = plane.connect("agent")
        self.question = agent.escalations.create(severity="high", reason="Roll back?", wait=False).id
        self.call = self.engine.system_calls({1})[1]
        self.engine.pepper()
        (self.number, *_) = self.engine.database.read(
            lambda tx: tx.one("escalation_get", workspace=1, handle=self.question)
        )

    def write(self, work):
        return self.engine.database.write(work, lane=1)

    def link(self, hours=1.0):
        deadline = self.plane.clock.now_us() + round(hours * HOUR * 1_000_000)
        return self.write(
            lambda tx: answer_links.make_link(
                tx, self.call, escalation=self.number, notification="ntf_1", person="maria", deadline=deadline
            )
        )

    def look(self, token):
        return self.engine.database.read(lambda tx: answer_links.look(tx, self.engine.peppers(), token))

    def check(self, token, code="", *, guarded=True):
        return answer_links.check(self.engine, token, code, guarded=guarded)

    def caller(self, token, code="", *, guarded=True, person="maria"):
        """Somebody who came by a link, as the engine sees them."""
        _, link = self.check(token, code, guarded=guarded)
        caller = Caller(kind="person", name=person, door="link", link=link)
        return Call(self.engine, caller, 1, self.engine.names.actor(1, "person", person))

    def use(self, caller, *, guarded=True, escalation=None):
        escalation = escalation or self.number
        return self.write(lambda tx: answer_links.use(tx, caller, escalation=escalation, guarded=guarded))


@pytest.fixture(params=["sqlite", "postgres"])
def desk(request, tmp_path):
    place = tmp_path / "plane.db" if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    load(request.param).update({"test_held": Query(HELD)})
    plane = ManualPlane(place, settings=Settings(postgres_allow_lossy=True))
    yield Desk(plane)
    plane.close()


def wrong(code):
    return f"{(int(code) + 1) % 10_000:04d}"


def test_a_link_answers_once_with_its_code(desk):
    link = desk.link()
    assert len(link.token) == 43
    assert len(link.code) == 4
    found = desk.look(link.token)
    assert (found.handle, found.person_kind, found.person_name) == (desk.question, "person", "maria")
    assert found.used_at is None
    assert desk.check(link.token, link.code)[0] == found
    caller = desk.caller(link.token, link.code)
    assert link.token not in repr(caller.caller)
    desk.use(caller)
    assert desk.look(link.token).used_at == desk.plane.clock.now_us()
    with pytest.raises(PermissionDenied, match="used before"):
        desk.check(link.token, link.code)
    with pytest.raises(PermissionDenied, match="used before"):
        desk.use(caller)


def test_of_two_at_once_one_uses_it(desk):
    link = desk.link()
    first, second = desk.caller(link.token, link.code), desk.caller(link.token, link.code)
    desk.use(second)
    with pytest.raises(PermissionDenied, match="used before"):
        desk.use(first)


def test_whoever_came_otherwise_needs_none(desk):
    desk.use(desk.call)


def test_neither_token_nor_code_is_in_the_store(desk):
    link = desk.link()
    ((hash_, code, _, _),) = desk.engine.database.read(lambda tx: tx.all("test_held"))
    assert len(hash_) == 32
    assert link.token.encode() not in hash_
    assert link.code != code
    assert len(code) == 64


def test_without_the_code_only_what_is_not_grave(desk):
    link = desk.link()
    with pytest.raises(PermissionDenied, match="code"):
        desk.check(link.token)
    milder = desk.caller(link.token, guarded=False)
    with pytest.raises(PermissionDenied, match="code"):
        desk.use(milder)
    assert desk.look(link.token).misses == 0, "a form without a code is what scanners send, and no guess"
    with pytest.raises(PermissionDenied, match="code"):
        desk.check(link.token, wrong(link.code), guarded=False)
    desk.use(milder, guarded=False)
    assert desk.look(link.token).used_at is not None


def test_guessing_ends(desk):
    link = desk.link()
    caller = desk.caller(link.token, link.code)
    for left in range(MISSES_MAX - 1, -1, -1):
        with pytest.raises(PermissionDenied) as refused:
            desk.check(link.token, wrong(link.code))
        assert f"{left} tries" in refused.value.next_call
        assert link.token not in str(refused.value.to_dict())
        assert link.code not in refused.value.message
    with pytest.raises(PermissionDenied, match="locked"):
        desk.check(link.token, link.code)
    with pytest.raises(PermissionDenied, match="locked"):
        desk.use(caller)


def test_many_guesses_at_once_are_as_many_guesses(desk):
    link = desk.link()
    refused = []

    def guess(number):
        try:
            desk.check(link.token, f"{(int(link.code) + 1 + number) % 10_000:04d}")
        except PermissionDenied as error:
            refused.append(error)

    threads = [threading.Thread(target=guess, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 20
    assert desk.look(link.token).misses == MISSES_MAX
    with pytest.raises(PermissionDenied, match="locked"):
        desk.check(link.token, link.code)


def test_a_link_ends_with_its_question_and_after_three_days(desk):
    short, long = desk.link(hours=1), desk.link(hours=1000)
    caller = desk.caller(short.token, short.code)
    desk.plane.clock.advance(HOUR)
    with pytest.raises(PermissionDenied, match="expired"):
        desk.check(short.token, short.code)
    with pytest.raises(PermissionDenied, match="expired"):
        desk.use(caller)
    assert desk.look(short.token).expires_at == desk.plane.clock.now_us()
    desk.plane.clock.advance(70 * HOUR)
    assert desk.check(long.token, long.code)
    desk.plane.clock.advance(HOUR)
    with pytest.raises(PermissionDenied, match="expired"):
        desk.check(long.token, long.code)


def test_no_other_token_leads_anywhere(desk):
    link = desk.link()
    for token in ("", "x" * 43, link.token[:-1], link.token + "x", link.token.swapcase(), "é" * 43):
        assert desk.look(token) is None
        with pytest.raises(NotFound):
            desk.check(token, link.code)
    with pytest.raises(NotFound):
        desk.use(desk.caller(link.token, link.code), escalation=desk.number + 1)
    with pytest.raises(NotFound):
        desk.use(desk.caller(link.token, link.code, person="otto"))


def test_a_use_that_is_undone_leaves_the_link(desk):
    link = desk.link()
    caller = desk.caller(link.token, link.code)

    def answer_that_fails(tx):
        answer_links.use(tx, caller, escalation=desk.number, guarded=True)
        raise LookupError

    with pytest.raises(LookupError):
        desk.write(answer_that_fails)
    assert desk.look(link.token).used_at is None
    desk.use(caller)


def test_links_and_keys_outlive_a_new_secret(desk):
    link = desk.link()
    key = desk.plane.connect(person="ana").keys.create("person", "maria").secret
    place = secrets_file.place(desk.engine.database.capabilities.beside)
    place.write_text(f"{NEW}\n{place.read_text()}")
    desk.plane.restart()
    desk.engine = desk.plane.engine
    desk.call = desk.engine.system_calls({1})[1]
    assert desk.engine.pepper() == bytes.fromhex(NEW)
    assert desk.engine.authenticate(key).name == "maria"
    newer = desk.link()
    assert desk.look(newer.token).secret != desk.look(link.token).secret
    for each in (newer, link):
        desk.use(desk.caller(each.token, each.code))
    place.write_text(f"{NEW}\n")
    if desk.engine.database.capabilities.name == "sqlite":
        desk.plane.restart()
        desk.engine = desk.plane.engine
        assert desk.look(newer.token)
        assert desk.look(link.token) is None
