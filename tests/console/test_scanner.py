"""A program that opens the link of a message in a real browser, runs its script and sends every form it finds."""

from __future__ import annotations

import pytest

from agentmemo.notify.people import PeopleSender
from agentmemo.settings import Settings

PLACE = "https://memo.example.org"
# Sends the first form as a person would who filled in this: past what the browser itself would refuse.
SEND = """([decision, text]) => {
    const form = document.querySelector("main form");
    if (!form) return false;
    for (const field of form.querySelectorAll("input:not([type=hidden], [type=radio]), textarea")) field.value = text;
    for (const radio of form.querySelectorAll("[type=radio]")) radio.checked = radio.value === decision;
    form.submit();
    return true;
}"""


class Outbox:
    """A channel that keeps what it is given."""

    def __init__(self):
        self.sent = []

    def send(self, message, _address):
        self.sent.append(message)
        return message.id

    def update(self, provider, _message, _address):
        return provider


@pytest.fixture(scope="module")
def world(make_world, tmp_path_factory):
    made = make_world(tmp_path_factory.mktemp("scanner") / "plane.db", settings=Settings(public_url=PLACE))
    made.outbox = Outbox()
    made.sender = PeopleSender(made.plane.engine, made.plane.people._compose)
    made.sender.channels = dict.fromkeys(made.sender.channels, made.outbox)
    made.admin.policies.set("contact", "ada", {"channels": [{"kind": "email", "address": "ada@example.org"}]})
    yield made
    made.sender.close()
    made.close()


@pytest.mark.parametrize("severity", ["critical", "high"])
def test_a_browser_that_sends_every_form_decides_nothing(world, open_tab, severity):
    asked = world.agent.escalations.create(
        severity=severity, reason=f"Roll back, {severity}?", suggested_actions=["Roll back", "Wait"], wait=False
    )
    world.sender.send_due()
    message = world.outbox.sent[-1]
    path = message.answer_url.removeprefix(PLACE)
    wrong = "0000" if message.code != "0000" else "1111"
    tab = open_tab()
    tab.context.request.head(world.url + path)
    for _ in range(3):
        tab.go(path)
    choices = tab.page.locator("[name=decision]").evaluate_all("all => all.map(each => each.value)")
    assert len(choices) >= 2
    for decision in ("", *choices):
        for text in ("", wrong):
            tab.go(path)
            with tab.page.expect_navigation():
                assert tab.page.evaluate(SEND, [decision, text])
    tab.go(path)
    tab.page.get_by_role("button", name="Send the answer").click()
    assert tab.page.url == world.url + path, "the browser itself sends no form that lacks the code"
    found = world.admin.inbox.get(asked.id)
    assert (found.state, found.answer, found.votes) == ("open", None, [])
    # The link was not used up by it: the person whose it is still answers from it.
    tab.page.get_by_role("radio", name="Wait").check()
    tab.page.get_by_label("Code, from the message").fill(message.code)
    tab.page.get_by_role("button", name="Send the answer").click()
    assert world.admin.inbox.get(asked.id).answer.by == "person:ada"
