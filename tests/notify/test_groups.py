"""Questions of one group come to a person in one message, which is kept true until all of them are over."""

from __future__ import annotations

import pytest

from agentmemo.clock import SECOND
from agentmemo.engine.notification_messages import compose
from agentmemo.model import notification_forms as forms
from agentmemo.notify.channels import NotSent
from agentmemo.notify.people import PeopleSender
from agentmemo.settings import Settings
from agentmemo.testing import ManualPlane


class Outbox:
    """A channel that keeps what it is given, and refuses once if told so."""

    def __init__(self):
        self.refusal = None
        self.sent = []
        self.updated = []

    def send(self, message, _address):
        if self.refusal:
            refusal, self.refusal = self.refusal, None
            raise refusal
        self.sent.append(message)
        return f"provider of {message.id}"

    def update(self, provider, message, _address):
        self.updated.append((provider, message))
        return provider


class Office:
    """A plane whose route tells ana of the questions of one kind and run together."""

    def __init__(self, plane, **route):
        self.plane = plane
        self.ana = plane.connect(person="ana")
        self.agent = plane.connect("agent")
        self.ana.policies.set("contact", "ana", {"channels": [{"kind": "email", "address": "ana@example.org"}]})
        grouped = {"group_by": ["kind", "asker"], "group_wait_seconds": 30, "group_interval_seconds": 300}
        self.ana.policies.set("route", "default", {"steps": [{"targets": ["person:ana"]}]} | grouped | route)
        self.outbox = Outbox()
        self.sender = PeopleSender(plane.engine, compose)
        self.sender.channels = dict.fromkeys(self.sender.channels, self.outbox)

    def ask(self, reason, severity="high", **options):
        return self.agent.escalate(severity=severity, reason=reason, wait=False, **options)

    def pass_(self, seconds):
        self.plane.advance(seconds)
        self.sender.send_due()

    def questions(self):
        """Of each message that was sent, the questions in it."""
        return [sorted(each.question for each in (message, *message.others)) for message in self.outbox.sent]


@pytest.fixture(params=["sqlite", "postgres"])
def plane(request, tmp_path):
    place = tmp_path / "plane.db" if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    settings = Settings(postgres_allow_lossy=True, public_url="https://memo.example.org/")
    made = ManualPlane(place, settings=settings)
    yield made
    made.close()


def test_questions_of_one_group_are_one_message(plane):
    office = Office(plane)
    first = office.ask("Disk full on a?")
    office.pass_(10)
    second = office.ask("Disk full on b?")
    office.ask("Ship it?", kind="risk")
    office.pass_(10)
    assert office.questions() == []
    office.pass_(10)
    assert office.questions() == [["Disk full on a?", "Disk full on b?"]]
    (message,) = office.outbox.sent
    links = {message.answer_url, message.others[0].answer_url}
    assert len(links) == 2
    assert all(link.startswith("https://memo.example.org/answer/") for link in links)
    office.pass_(10)
    assert office.questions()[1:] == [["Ship it?"]]
    # Those that come later wait for the next message of their group.
    office.ask("Disk full on c?")
    office.ask("Disk full on d?")
    office.pass_(285)
    assert len(office.questions()) == 2
    office.pass_(5)
    assert office.questions()[2:] == [["Disk full on c?", "Disk full on d?"]]
    told = [office.ana.escalations.get(asked.id).told[0].state for asked in (first, second)]
    assert told == ["sent", "sent"]


def test_the_message_says_of_each_question_what_was_decided(plane):
    office = Office(plane)
    first, second = office.ask("Which mirror?"), office.ask("Which branch?")
    office.pass_(30)
    office.ana.inbox.answer(first.id, "answer", comment="the one in Oslo")
    office.pass_(1)
    ((provider, message),) = office.outbox.updated
    assert provider == f"provider of {office.outbox.sent[0].id}"
    assert (message.question, message.over) == ("Which branch?", None)
    assert [(each.question, each.over.by) for each in message.others] == [("Which mirror?", "person:ana")]
    text = forms.plain_text(message)
    assert text.startswith("1 question waits for you, 1 is over.")
    assert "Decided: Answer by person:ana" in text
    assert message.answer_url in text
    office.agent.escalations.withdraw(second.id, "found it")
    office.pass_(1)
    assert all(each.over for each in (office.outbox.updated[1][1], *office.outbox.updated[1][1].others))
    assert len(office.outbox.updated) == 2


def test_a_group_that_was_not_accepted_is_tried_again_whole(plane):
    office = Office(plane)
    office.ask("One?")
    office.ask("Two?")
    office.outbox.refusal = NotSent("busy")
    office.pass_(30)
    assert office.questions() == []
    office.pass_(10)
    assert office.questions() == [["One?", "Two?"]]


def test_what_is_critical_waits_for_nobody_and_no_question_until_its_end(plane):
    office = Office(plane, group_wait_seconds=86_400)
    office.ask("Isolate it?", severity="critical")
    office.pass_(0)
    assert office.questions() == [["Isolate it?"]]
    soon = plane.clock.now_us() + 1000 * SECOND
    office.ask("Soon?", deadline=soon)
    office.ask("Some day?")
    office.pass_(801)  # at 80 % of its time it goes, and the others come along
    assert office.questions().count(["Some day?", "Soon?"]) == 1


def test_every_channel_shows_each_question(plane):
    office = Office(plane)
    office.ask("<b>Disk</b> full?")
    office.ask("Which branch?")
    office.pass_(30)
    (message,) = office.outbox.sent
    assert forms.subject(message).startswith("High: 2 questions wait for you: ")
    mail = forms.mail(message)
    for text in (mail.text, mail.html, str(forms.slack(message)), forms.webhook(message).decode()):
        assert all(each.answer_url in text for each in (message, *message.others))
    assert "&lt;b&gt;Disk" in mail.html
    assert "<b>Disk" not in mail.html
    assert "click" not in forms.ntfy(message, "topic")
