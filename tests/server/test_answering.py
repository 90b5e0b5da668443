"""People answer from a link or from Slack: what scanners do decides nothing, and what a person does decides once."""

from __future__ import annotations

import asyncio
import hmac
import html
import json
import logging
import re
import threading
from urllib.parse import urlencode

import httpx
import pytest
from served import SECONDS

from agentmemo.model import notification_forms as forms
from agentmemo.model.escalation_rules import POLICIES
from agentmemo.notify.people import PeopleSender
from agentmemo.server import slack
from agentmemo.server.app import create_app
from agentmemo.settings import Settings
from agentmemo.testing import ManualPlane

PLACE = "https://memo.example.org"
SECRET = "8f742231b10e"
MEMBER = "U0MARIA"


class Outbox:
    """A channel that keeps what it is given."""

    def __init__(self):
        self.sent = []
        self.updated = []

    def send(self, message, _address):
        self.sent.append(message)
        return "C1/17.1"

    def update(self, provider, message, _address):
        self.updated.append(message)
        return provider


class Desk:
    """A plane with a question, a person who was told of it, and a browser that knows only the message."""

    def __init__(self, plane):
        self.plane = plane
        self.agent = plane.connect("deployer")
        self.admin = plane.connect(person="root")
        self.outbox = Outbox()
        self.sender = PeopleSender(plane.engine, plane.local.people._compose)
        self.sender.channels = dict.fromkeys(self.sender.channels, self.outbox)
        self.app = create_app(plane.local)
        self.cookies = httpx.Cookies()

    def ask(self, channel="email", address="maria@example.org", person="maria", **more):
        given = {
            "severity": "high",
            "reason": "Roll back production?",
            "context": {"why": "errors rose", "p99": "4 s"},
            "suggested_actions": [{"id": "yes", "label": "Roll back", "reversible": True}],
        }
        self.contact(person, channel, address)
        asked = self.agent.escalations.create(**(given | more), wait=False)
        # Mild ones are told in batches, a while after they were asked.
        self.plane.advance(POLICIES[asked.severity].batch_seconds)
        self.sender.send_due()
        return asked

    def contact(self, person, channel, address):
        channels = [{"kind": channel, "address": address}]
        self.admin.policies.set("contact", person, {"channels": channels, "sensitivity": "secret"})

    @property
    def message(self):
        return self.outbox.sent[-1]

    def path(self):
        return self.message.answer_url.removeprefix(PLACE)

    def call(self, method, path, **more):
        async def once():
            transport = httpx.ASGITransport(app=self.app)
            async with httpx.AsyncClient(transport=transport, base_url=PLACE, cookies=self.cookies) as client:
                answer = await client.request(method, path, **more)
                self.cookies.update(client.cookies)
                return answer

        return asyncio.run(once())

    def submit(self, page, **fields):
        """What a browser sends for a page's form: its hidden fields, and what was filled in."""
        hidden = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', page.text))
        form = {name: html.unescape(text) for name, text in hidden.items()} | fields
        return self.call("POST", self.path(), data=form)

    def state(self, asked):
        return self.agent.escalations.get(asked.id)

    def links(self):
        return [event for event in self.agent.audit.events() if event.operation == "inbox.answer"]


@pytest.fixture(params=["sqlite", "postgres"])
def desk(request, tmp_path, monkeypatch):
    monkeypatch.setenv("AGENTMEMO_SLACK_SIGNING_SECRET", SECRET)
    place = tmp_path / "plane.db" if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    plane = ManualPlane(place, settings=Settings(public_url=PLACE, postgres_allow_lossy=True))
    yield Desk(plane)
    plane.close()


# links


@pytest.mark.parametrize("severity", ["critical", "high", "medium", "low"])
def test_scanners_decide_nothing_and_use_nothing_up(desk, severity):
    asked = desk.ask(severity=severity)
    desk.call("HEAD", desk.path())
    pages = [desk.call("GET", desk.path()) for _ in range(3)]
    assert {page.status_code for page in pages} == {200}
    # A program that fills in nothing, and one that sends every button and field there is.
    assert desk.submit(pages[0]).status_code == 400
    for value in re.findall(r'type="radio" name="decision" value="([^"]*)"', pages[0].text):
        if severity in ("critical", "high"):
            assert desk.submit(pages[0], decision=value, code="").status_code == 403
    assert desk.state(asked).state == "open"
    assert desk.links() == []
    done = desk.submit(desk.call("GET", desk.path()), decision="choose yes", code=desk.message.code)
    assert done.status_code == 303
    answer = desk.state(asked).answer
    assert (answer.by, answer.choice, answer.via) == ("person:maria", "yes", "link")


def test_a_page_shows_everything_and_is_kept_nowhere(desk):
    desk.ask(reason="Roll back <b>production</b>?")
    page = desk.call("GET", desk.path())
    for text in ("Roll back &lt;b&gt;production", "errors rose", "4 s", "agent:deployer", "the answer is no"):
        assert text in page.text
    assert page.headers["cache-control"] == "no-store"
    assert page.headers["referrer-policy"] == "no-referrer"
    assert page.headers["x-robots-tag"] == "none"
    assert "default-src 'none'" in page.headers["content-security-policy"]
    cookie = page.headers["set-cookie"].lower()
    assert all(part in cookie for part in ("httponly", "samesite=strict", "secure"))
    assert desk.message.code not in page.text


def test_a_link_answers_once_and_then_shows_what_was_decided(desk):
    asked = desk.ask()
    page = desk.call("GET", desk.path())
    desk.submit(page, decision="choose yes", code=desk.message.code, comment="go")
    again = desk.submit(page, decision="reject", code=desk.message.code, comment="no")
    assert again.status_code == 403
    assert "Decided: Roll back by person:maria" in desk.call("GET", desk.path()).text
    assert desk.state(asked).answer.comment == "go"
    assert "<form" not in desk.call("GET", desk.path()).text


def test_a_refused_answer_leaves_the_link_and_what_was_typed(desk):
    asked = desk.ask()
    page = desk.call("GET", desk.path())
    refused = desk.submit(page, decision="reject", code=desk.message.code)
    assert "needs a comment" in refused.text
    wrong = f"{(int(desk.message.code) + 1) % 10_000:04d}"
    refused = desk.submit(page, decision="reject", code=wrong, comment="not on a Friday")
    assert "4 tries are left" in refused.text
    assert "not on a Friday" in refused.text
    desk.submit(page, decision="reject", code=desk.message.code, comment="not on a Friday")
    assert desk.state(asked).answer.decision == "reject"


def test_a_form_of_another_browser_is_refused(desk):
    asked = desk.ask(severity="low")
    page = desk.call("GET", desk.path())
    desk.cookies.clear()
    assert desk.submit(page, decision="choose yes").status_code == 403
    assert desk.state(asked).state == "open"


def test_an_answer_never_lands_on_something_else(desk):
    asked = desk.ask(severity="low")
    page = desk.call("GET", desk.path())
    assert "is not what was shown" in desk.submit(page, decision="choose yes", seen="another").text
    assert desk.state(asked).state == "open"
    desk.submit(page, decision="choose yes")
    assert desk.state(asked).state == "decided"


def test_a_secret_question_shows_itself_to_the_code_only(desk):
    asked = desk.ask(sensitivity="secret", severity="low")
    page = desk.call("GET", desk.path())
    assert "A question waits for you." in page.text
    assert "production" not in page.text
    assert "production" not in desk.submit(page, act="show", code="").text
    wrong = f"{(int(desk.message.code) + 1) % 10_000:04d}"
    assert "production" not in desk.submit(page, act="show", code=wrong).text
    whole = desk.submit(page, act="show", code=desk.message.code)
    assert "Roll back production?" in whole.text
    assert desk.submit(whole, decision="choose yes", code="").status_code == 403
    desk.submit(whole, decision="choose yes", code=desk.message.code)
    assert desk.state(asked).state == "decided"


def test_whoever_is_disabled_answers_no_more(desk):
    asked = desk.ask()
    desk.admin.keys.create("person", "maria")
    desk.admin.keys.disable("maria", kind="person")
    refused = desk.submit(desk.call("GET", desk.path()), decision="choose yes", code=desk.message.code)
    assert refused.status_code == 403
    assert "is disabled" in refused.text
    assert desk.state(asked).state == "open"


def test_no_link_and_one_that_expired(desk):
    desk.ask()
    assert desk.call("GET", "/answer/" + "x" * 43).status_code == 404
    assert desk.call("GET", "/answer/x").status_code == 404
    desk.plane.clock.advance(5 * 3600)
    page = desk.call("GET", desk.path())
    assert "has expired" in page.text
    assert "<form class" not in page.text


def test_the_token_is_in_no_log_and_no_event(desk, caplog):
    caplog.set_level(logging.DEBUG)
    desk.ask()
    page = desk.call("GET", desk.path())
    desk.call("PUT", desk.path())
    desk.submit(page, decision="choose nothing", code=desk.message.code)
    desk.submit(page, decision="choose yes", code=desk.message.code)
    token = desk.path().rpartition("/")[2]
    assert len(token) == 43
    ours = [record.getMessage() for record in caplog.records if not record.name.startswith("httpx")]
    assert not any(token in text for text in ours)
    assert token not in str(list(desk.agent.audit.events()))


# Slack


def press(desk, option=0, **more):
    return desk.call("POST", "/slack/interactions", **pressed(desk, option, **more))


def pressed(desk, option=0, *, user=MEMBER, comment=None, at=None, secret=SECRET, alter=False):
    blocks = forms.slack(desk.message)["blocks"]
    (actions,) = [block for block in blocks if block["type"] == "actions"]
    button = actions["elements"][option]
    payload = {
        "type": "block_actions",
        "user": {"id": user},
        "actions": [{"action_id": button["action_id"], "value": button["value"]}],
        "state": {"values": {"comment": {"comment": {"value": comment}}}},
    }
    body = urlencode({"payload": json.dumps(payload)}).encode()
    at = desk.plane.clock.now_us() // 1_000_000 if at is None else at
    signature = hmac.digest(secret.encode(), f"v0:{at}:".encode() + body, "sha256").hex()
    headers = {"x-slack-request-timestamp": str(at), "x-slack-signature": f"v0={signature}"}
    return {"content": body + b"&" * alter, "headers": headers}


def test_a_button_decides_and_the_message_changes(desk):
    asked = desk.ask("slack", MEMBER)
    assert press(desk).status_code == 200
    answer = desk.state(asked).answer
    assert (answer.by, answer.choice, answer.via) == ("person:maria", "yes", "slack")
    desk.sender.send_due()
    (told,) = desk.outbox.updated
    assert (told.over.by, told.over.label) == ("person:maria", "Roll back")
    assert press(desk).status_code == 200, "pressed again it is told, and changes nothing"
    assert len(desk.links()) == 1


def test_slack_is_answered_in_time_and_the_work_goes_on(desk, monkeypatch):
    asked = desk.ask("slack", MEMBER)
    go_on = threading.Event()
    decide = desk.app._slack.decide

    def slowly(interaction):
        assert go_on.wait(SECONDS)
        return decide(interaction)

    monkeypatch.setattr(desk.app._slack, "decide", slowly)
    monkeypatch.setattr(slack, "PATIENCE_SECONDS", 0.01)

    async def both():
        transport = httpx.ASGITransport(app=desk.app)
        async with httpx.AsyncClient(transport=transport, base_url=PLACE) as client:
            answer = await client.post("/slack/interactions", **pressed(desk))
            assert desk.app._slack._working, "it answered before the work was done"
            go_on.set()
            await asyncio.wait(desk.app._slack._working)
        return answer.status_code

    assert asyncio.run(both()) == 200
    assert desk.state(asked).answer.via == "slack"


def test_what_slack_did_not_sign_now_decides_nothing(desk):
    asked = desk.ask("slack", MEMBER)
    now = desk.plane.clock.now_us() // 1_000_000
    assert press(desk, at=now - 301).status_code == 401
    assert press(desk, secret="another").status_code == 401
    assert press(desk, alter=True).status_code == 401
    assert desk.call("GET", "/slack/interactions").status_code == 405
    assert desk.state(asked).state == "open"


def test_nobody_decides_without_a_name(desk):
    asked = desk.ask("slack", "C0CHANNEL", person="team")
    assert press(desk).status_code == 200
    assert desk.state(asked).state == "open"
    desk.contact("maria", "slack", MEMBER)
    press(desk)
    assert desk.state(asked).answer.by == "person:maria"


def test_whoever_left_decides_no_more(desk):
    asked = desk.ask("slack", MEMBER)
    desk.contact("maria", "slack", "U0NEW")
    assert press(desk).status_code == 200
    assert desk.state(asked).state == "open"


def test_a_comment_goes_with_the_button(desk):
    asked = desk.ask("slack", MEMBER)
    labels = [option.label for option in desk.message.options]
    reject = labels.index("Reject")
    press(desk, reject)
    assert desk.state(asked).state == "open", "to reject needs a comment"
    press(desk, reject, comment="not now")
    assert (desk.state(asked).answer.decision, desk.state(asked).answer.comment) == ("reject", "not now")


def test_without_a_signing_secret_there_is_no_slack(desk, monkeypatch):
    monkeypatch.delenv("AGENTMEMO_SLACK_SIGNING_SECRET")
    desk.ask("slack", MEMBER)
    assert press(desk).status_code == 404


# what is told


def test_a_contact_says_where_and_how_much(desk):
    contact = {
        "channels": [
            {"kind": "email", "address": "ana@example.org"},
            {"kind": "ntfy", "address": "topic", "severities": ["critical"]},
        ],
        "sensitivity": "public",
    }
    desk.admin.policies.set("contact", "ana", contact)
    desk.agent.escalations.create(severity="high", reason="Roll back?", wait=False)
    desk.sender.send_due()
    assert [message.question for message in desk.outbox.sent] == ["A question waits for you."]
    desk.agent.escalations.create(severity="critical", reason="Stop it?", sensitivity="public", wait=False)
    desk.sender.send_due()
    assert [message.question for message in desk.outbox.sent[1:]] == ["Stop it?"] * 2


def test_a_thousand_equal_questions_are_one_message(desk):
    asked = desk.ask(collapse_key="credential")
    for number in range(1, 30):
        desk.agent.escalations.create(
            severity="high", reason="Roll back production?", collapse_key="credential", key=f"{number}", wait=False
        )
    desk.sender.send_due()
    assert desk.state(asked).occurrences == 30
    assert [message.occurrences for message in desk.outbox.sent] == [1, 30], "the first, and one that says how often"


def test_whoever_was_told_hears_of_every_end(desk):
    asked = desk.ask()
    desk.agent.escalations.withdraw(asked.id, "solved itself")
    desk.sender.send_due()
    assert desk.outbox.updated[-1].over.state == "withdrawn"
    (told,) = desk.state(asked).told
    assert (told.person, told.channel, told.state) == ("maria", "email", "expired")
    late = desk.ask(reason="And now?")
    desk.plane.advance(5 * 3600)
    desk.sender.send_due()
    assert desk.state(late).state == "defaulted"
    assert (desk.outbox.updated[-1].over.state, desk.outbox.updated[-1].over.by) == ("defaulted", "")
    assert desk.agent.audit.verify().intact


def test_an_action_is_shown_as_it_would_be_made(desk):
    desk.ask(
        kind="approval", suggested_actions=(),
        action={"tool": "deploy.rollback", "arguments": {"to": "v41"}, "revision": "abc"},
    )  # fmt: skip
    text = forms.plain_text(desk.message)
    for part in ('"to": "v41"', "deploy.rollback", "at revision abc", "- Approve. Not known whether it can be undone."):
        assert part in text
    assert desk.message.guarded
