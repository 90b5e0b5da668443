"""Telling people: each occasion once, again after failures, by one server, and brought up to date at the end."""

from __future__ import annotations

import logging

import msgspec
import pytest

from agentmemo.engine import notifications
from agentmemo.engine.notification_messages import compose
from agentmemo.engine.notifications import Recipient
from agentmemo.model.notifications import PAUSES_SECONDS
from agentmemo.notify.channels import NotSent
from agentmemo.notify.people import PeopleSender
from agentmemo.settings import Settings
from agentmemo.testing import ManualPlane

MARIA = Recipient("maria", "email", "maria@example.org")
OTTO = Recipient("otto", "slack", "U0")


class Outbox:
    """A channel that keeps what it is given, and refuses as told."""

    def __init__(self):
        self.refusals = []
        self.sent = []
        self.updated = []
        self.meanwhile = lambda: None

    def send(self, message, address):
        self.meanwhile()
        if self.refusals and (refusal := self.refusals.pop(0)):
            raise refusal
        self.sent.append((message, address))
        return f"provider of {message.id}"

    def update(self, provider, message, address):
        if self.refusals and (refusal := self.refusals.pop(0)):
            raise refusal
        self.updated.append((provider, message, address))
        return provider


class Desk:
    """A plane with one question, and what people are told of it."""

    def __init__(self, plane):
        self.plane = plane
        self.engine = plane.engine
        self.agent = plane.connect("agent")
        self.question = self.agent.escalations.create(severity="high", reason="Roll back?", wait=False)
        self.call = self.engine.system_calls({1})[1]
        self.outbox = Outbox()
        self.sender = self.new_sender()

    def new_sender(self):
        made = PeopleSender(self.engine, compose)
        made.channels = dict.fromkeys(made.channels, self.outbox)
        return made

    def write(self, work):
        return self.engine.database.write(work, lane=1)

    def tell(self, *recipients, occasion="extra"):
        def work(tx):
            (number, *_) = tx.one("escalation_get", workspace=1, handle=self.question.id)
            return notifications.enqueue(tx, self.call, number, occasion, recipients)

        return self.write(work)

    def end(self):
        self.agent.escalations.withdraw(self.question.id, "solved itself")

    def seen(self, person="maria"):
        """The newest message to a person, as it stands with its question."""
        found = [told for told in self.agent.escalations.get(self.question.id).told if told.person == person]
        return found[-1] if found else None

    def trail(self):
        events = self.agent.audit.events()
        return [event for event in events if event.operation.startswith("notification.")]


@pytest.fixture(params=["sqlite", "postgres"])
def desk(request, tmp_path):
    place = tmp_path / "plane.db" if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    settings = Settings(postgres_allow_lossy=True, public_url="https://memo.example.org/")
    plane = ManualPlane(place, settings=settings)
    yield Desk(plane)
    plane.close()


def test_each_occasion_reaches_each_address_once(desk):
    assert desk.tell(MARIA, OTTO) == 2
    assert desk.tell(MARIA, OTTO) == 0
    assert desk.sender.send_due() == 2
    assert desk.sender.send_due() == 0
    assert desk.tell(MARIA) == 0
    assert desk.tell(MARIA, occasion="another") == 1
    assert desk.sender.send_due() == 1
    assert [address for _, address in desk.outbox.sent] == ["maria@example.org", "U0", "maria@example.org"]
    seen = desk.seen("otto")
    assert (seen.state, seen.attempts, seen.error, seen.sent_at) == ("sent", 0, "", desk.plane.clock.now_us())


def test_the_trail_says_who_was_told_and_not_where(desk):
    desk.tell(MARIA, OTTO)
    desk.outbox.refusals = [NotSent("the recipient is refused", final=True)]
    desk.sender.send_due()
    failed, sent = sorted(desk.trail(), key=lambda event: event.operation)
    assert (failed.operation, failed.outcome, failed.reason) == (
        "notification.fail", "failed", "the recipient is refused",
    )  # fmt: skip
    assert sent.operation == "notification.send"
    assert sent.stream == desk.question.id
    assert (sent.subject["channel"], sent.subject["person"], sent.subject["state"]) == ("slack", "otto", "sent")
    assert "example.org" not in str(msgspec.to_builtins(failed))
    assert desk.agent.audit.verify().intact


def test_what_fails_is_tried_again_with_pauses_and_given_up(desk):
    desk.tell(MARIA)
    desk.outbox.refusals = [NotSent("down")] * 100
    for attempt in range(1, len(PAUSES_SECONDS) + 1):
        assert desk.sender.send_due() == 1
        assert desk.sender.send_due() == 0, "it pauses first"
        seen = desk.seen()
        assert (seen.state, seen.attempts) == ("queued" if attempt < len(PAUSES_SECONDS) else "failed", attempt)
        desk.plane.clock.advance(PAUSES_SECONDS[-1] * 1.5)
    assert desk.sender.send_due() == 0
    assert desk.seen().error == "down"
    assert [event.operation for event in desk.trail()] == ["notification.fail"]


def test_a_channel_that_says_when_is_not_asked_before(desk):
    desk.tell(MARIA)
    desk.outbox.refusals = [NotSent("slow down", wait_seconds=600)]
    desk.sender.send_due()
    desk.plane.clock.advance(599)
    assert desk.sender.send_due() == 0
    desk.plane.clock.advance(1)
    assert desk.sender.send_due() == 1
    assert desk.seen().state == "sent"


def test_where_nobody_can_be_reached_the_next_are_told_at_once(desk):
    ana = desk.plane.connect(person="ana")
    for name in ("maria", "otto"):
        channel = {"kind": "email", "address": f"{name}@example.org"}
        ana.policies.set("contact", name, {"channels": [channel]})
    steps = [{"targets": ["person:maria"]}, {"targets": ["person:otto"]}]
    ana.policies.set("route", "default", {"steps": steps})
    desk.question = desk.agent.escalate(severity="high", reason="Ship it?", wait=False)
    desk.outbox.refusals = [NotSent("no such mailbox", final=True)]
    desk.sender.send_due()
    assert desk.seen("otto") is None
    desk.plane.advance(0)
    assert (desk.seen("maria").state, desk.seen("otto").occasion) == ("failed", "step 2")
    desk.sender.send_due()
    # What fails beside a step hastens nothing.
    desk.outbox.refusals = [NotSent("no such mailbox", final=True)]
    desk.tell(MARIA)
    desk.sender.send_due()
    desk.plane.advance(0)
    assert desk.agent.escalations.get(desk.question.id).step_number == 2


def test_two_servers_do_not_both_send(desk):
    desk.tell(MARIA)
    other = desk.new_sender()
    (due,) = other._due()
    desk.outbox.meanwhile = lambda: desk.write(lambda tx: results.append(notifications.take(tx, due)))
    results = []
    assert desk.sender.send_due() == 1
    assert results == [None]
    assert not other._send(due)
    assert len(desk.outbox.sent) == 1


def test_a_server_that_dies_while_it_sends_leaves_the_message(desk):
    desk.tell(MARIA)
    (due,) = desk.sender._due()
    desk.write(lambda tx: notifications.take(tx, due))
    assert desk.sender.send_due() == 0
    desk.plane.clock.advance(61)
    assert desk.sender.send_due() == 1
    assert desk.seen().state == "sent"


def test_after_the_decision_everybody_who_was_told_hears_of_it(desk):
    desk.tell(MARIA, OTTO)
    desk.sender.send_due()
    desk.plane.clock.advance(1)
    desk.end()
    assert desk.sender.send_due() == 2
    assert desk.sender.send_due() == 0
    assert {message.over.state for _, message, _ in desk.outbox.updated} == {"withdrawn"}
    assert all(provider == f"provider of {message.id}" for provider, message, _ in desk.outbox.updated)
    assert all(not message.answer_url for _, message, _ in desk.outbox.updated)
    assert desk.seen().state == desk.seen("otto").state == "expired"


def test_who_was_not_told_before_the_decision_is_not_told_at_all(desk):
    desk.tell(MARIA)
    desk.end()
    assert desk.sender.send_due() == 0
    assert desk.outbox.sent == []
    assert desk.seen().state == "expired"


def test_what_is_over_is_told_to_nobody_new(desk):
    desk.end()
    assert desk.tell(MARIA) == 0
    assert desk.seen() is None


def test_a_decision_while_a_message_is_on_its_way_follows_it(desk):
    desk.tell(MARIA)
    desk.outbox.meanwhile = desk.end
    desk.sender.send_due()
    assert desk.outbox.sent[0][0].over is None
    desk.sender.send_due()
    ((_, message, _),) = desk.outbox.updated
    assert message.over is not None
    assert desk.seen().state == "expired"


def test_an_update_that_fails_is_tried_again(desk):
    desk.tell(MARIA)
    desk.sender.send_due()
    desk.end()
    desk.outbox.refusals = [NotSent("down")]
    desk.sender.send_due()
    assert desk.seen().state == "sent"
    desk.plane.clock.advance(60)
    desk.sender.send_due()
    assert desk.seen().state == "expired"
    assert desk.sender.send_due() == 0


def test_a_message_that_cannot_be_written_does_not_stop_the_others(desk, caplog):
    def broken(tx, call, due):
        if due.person == "maria":
            raise ValueError("maria@example.org")
        return compose(tx, call, due)

    desk.sender._compose = broken
    desk.tell(MARIA, OTTO)
    desk.sender.start_due()
    desk.sender.close()
    assert desk.seen("otto").state == "sent"
    assert (desk.seen().state, desk.seen().attempts) == ("queued", 1)
    assert desk.seen().error == "could not be written: ValueError"


def test_secrets_are_never_logged(desk, caplog, monkeypatch):
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("AGENTMEMO_SLACK_TOKEN", "xoxb-hidden")
    monkeypatch.setenv("AGENTMEMO_SMTP_PASSWORD", "hidden")
    desk.tell(MARIA, OTTO)
    desk.outbox.refusals = [NotSent("down")]
    desk.sender.start_due()
    desk.sender.close()
    ((message, _),) = desk.outbox.sent
    token = message.answer_url.rpartition("/")[2]
    assert len(token) == 43
    everything = [desk.agent.escalations.get(desk.question.id), list(desk.agent.audit.events())]
    for text in (caplog.text, str(everything)):
        for secret in (token, "hidden", message.answer_url):
            assert secret not in text


def test_an_idle_plane_writes_nothing(desk):
    before = desk.engine.database.counters()["commits"]
    assert desk.sender.send_due() == 0
    assert desk.engine.database.counters()["commits"] == before
