"""The whole way with real processes: asked, killed, told by mail, answered in the page, resumed with the answer."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
import time
from email import message_from_bytes, policy

import pytest
from aiosmtpd.controller import Controller

import agentmemo
from agentmemo.testing.ports import ReservedPort

SECONDS = 60.0
LEASE_SECONDS = "2"
AGENT = """
import sys
import agentmemo

with agentmemo.connect(sys.argv[1], key=sys.argv[2]) as agent, agent.run("deploy", "v42") as run:
    run.step("scan", lambda: open(sys.argv[3], "a").write("scanned\\n"))
    answer = agent.escalate(
        severity="high",
        reason="Security vulnerability found in production",
        context={"cve": "CVE-2026-1", "service": "acme/api"},
        suggested_actions=["Rollback deploy", "Patch immediately", "Notify team"],
    )
    run.step("act", lambda: open(sys.argv[3], "a").write(f"{answer.choice} by {answer.by}\\n"))
"""


class AnyPort(Controller):
    """Tells the port it was given before it looks whether it serves."""

    def _trigger_server(self):
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()


class Mailbox:
    """A real SMTP server that keeps what it gets."""

    def __init__(self):
        self.came = threading.Event()
        self.mails = []
        self.controller = AnyPort(self, hostname="127.0.0.1", port=0, ready_timeout=SECONDS)
        self.controller.start()

    async def handle_DATA(self, _server, _session, envelope):  # noqa: N802 - aiosmtpd's name
        self.mails.append(message_from_bytes(envelope.content, policy=policy.default))
        self.came.set()
        return "250 OK"


@pytest.fixture
def mailbox():
    made = Mailbox()
    yield made
    made.controller.stop()


@pytest.fixture
def port():
    """Known before the server starts: it is told under which address people find it."""
    with ReservedPort() as reserved:
        yield reserved.number


@pytest.fixture
def served(tmp_path, port, mailbox, monkeypatch):
    """`agentmemo up` as a process: (its address, an agent's key, a person's key)."""
    monkeypatch.setenv("AGENTMEMO_SMTP_URL", f"smtp+plain://127.0.0.1:{mailbox.controller.port}")
    monkeypatch.setenv("AGENTMEMO_SMTP_FROM", "plane@example.org")
    monkeypatch.setenv("AGENTMEMO_LEASE_SECONDS", LEASE_SECONDS)
    monkeypatch.setenv("AGENTMEMO_PUBLIC_URL", f"http://127.0.0.1:{port}")
    command = [sys.executable, "-u", "-m", "agentmemo", "up", "--data", str(tmp_path / "plane.db"), "--port", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    said = ""
    while "Ctrl-C" not in said:
        line = server.stdout.readline()
        assert line, said
        said += line
    keys = re.findall(r"am_(?:agent|person)_\S+", said)
    yield f"http://127.0.0.1:{port}", *keys
    server.send_signal(signal.SIGTERM)
    server.wait(SECONDS)
    server.stdout.close()


def until(found):
    end = time.monotonic() + SECONDS
    while not (value := found()):
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.05)
    return value


def test_asked_killed_told_by_mail_answered_in_the_page_and_resumed(tmp_path, served, mailbox, browser):
    address, agent_key, person_key = served
    person = agentmemo.connect(address, key=person_key)
    name = person.keys.whoami().actor.removeprefix("person:")
    person.policies.set("contact", name, {"channels": [{"kind": "email", "address": "ana@example.org"}]})
    done = tmp_path / "done"
    command = [sys.executable, "-c", AGENT, address, agent_key, str(done)]

    first = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    (asked,) = until(lambda: list(person.inbox.list()))
    first.kill()
    first.wait(SECONDS)
    assert done.read_text() == "scanned\n"

    assert mailbox.came.wait(SECONDS), person.inbox.get(asked.id).told
    mail = mailbox.mails[0].get_body(("plain",)).get_content()
    for words in (asked.reason, "CVE-2026-1", "acme/api", "Rollback deploy", "Patch immediately", "Notify team"):
        assert words in mail

    page = browser.new_page()
    page.set_default_timeout(SECONDS * 1000)
    page.goto(f"{address}/inbox/{asked.id}")
    page.get_by_label("Key").fill(person_key)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("radio", name="Rollback deploy").check()
    page.get_by_role("button", name="Answer as").click()
    until(lambda: person.inbox.get(asked.id).answer)
    page.close()

    def resume():
        # The dead one may have been about to go on: over HTTP its lease has to end first.
        return subprocess.run(command, stderr=subprocess.DEVNULL, timeout=SECONDS, check=False).returncode == 0

    until(resume)
    assert done.read_text() == f"scanned\nrollback-deploy by person:{name}\n"
    told = person.inbox.get(asked.id)
    assert [(waiter.state, waiter.run is not None) for waiter in told.waiters] == [("applied", True)]
    assert told.occurrences == 1
    person.close()
