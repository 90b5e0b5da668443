"""Webhooks against a real receiver on this machine: signatures, retries, and where they must not lead."""

from __future__ import annotations

import base64
import contextlib
import hmac
import ipaddress
import json
import socket
import threading

import pytest

from agentmemo import Grant, InvalidInput, NotFound, PermissionDenied
from agentmemo.clock import monotonic
from agentmemo.engine.upkeep import outbox
from agentmemo.model.webhooks import PAUSES_SECONDS
from agentmemo.notify import outgoing, webhooks
from agentmemo.notify.outgoing import Outcome, is_public, post
from agentmemo.settings import Settings
from agentmemo.testing import ManualPlane

# Nothing takes as long, on a busy machine too.
SECONDS = 60
SETTINGS = Settings(webhook_private_addresses=True, postgres_allow_lossy=True)


@pytest.fixture(params=["sqlite", "postgres"])
def plane(request, tmp_path):
    place = tmp_path / "plane.db" if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    made = ManualPlane(place, settings=SETTINGS)
    yield made
    made.close()


class Dripper:
    """Answers with a header that never ends, a byte at a time."""

    def __init__(self):
        self._server = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._server.getsockname()[1]}/"
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._drip)
        self._thread.start()

    def _drip(self):
        with contextlib.suppress(OSError):
            line, _ = self._server.accept()
            with line:
                line.sendall(b"HTTP/1.1 200 OK\r\nx: ")
                while not self._stop.wait(0.05):
                    line.sendall(b"x")

    def close(self):
        self._stop.set()
        self._server.shutdown(socket.SHUT_RDWR)  # nobody may have come
        self._thread.join()
        self._server.close()


def send(plane):
    """One round of upkeep, and everything that is due sent."""
    plane.upkeep()
    return plane.local.webhooks.send_due()


def verified(secret, headers, body):
    """As Standard Webhooks says: HMAC-SHA256 over id, time and body."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.digest(key, signed, "sha256")).decode()
    return hmac.compare_digest(headers["webhook-signature"], f"v1,{expected}")


def test_a_receiver_is_told_and_can_check_who_it_was(plane, receiver):
    agent, sender = plane.connect("receiver"), plane.connect("sender")
    hook = agent.webhooks.create(receiver.url, label="here")
    task = sender.handoff.create(to_agent="receiver", goal="mend it", context={"secret": "not sent"})
    assert send(plane) == 1
    ((path, headers, body),) = receiver.got
    assert path == "/hook?x=1"
    assert verified(hook.secret, headers, body)
    assert int(headers["webhook-timestamp"]) == plane.clock.now_us() // 1_000_000
    message = json.loads(body)
    assert message["type"] == "handoff.offered"
    assert (message["data"]["handoff"], message["data"]["goal"]) == (task.id, "mend it")
    assert b"not sent" not in body
    (delivery,) = agent.webhooks.deliveries()
    assert (delivery.state, delivery.status, delivery.attempts, delivery.next_at) == ("delivered", 200, 1, None)
    assert send(plane) == 0
    assert "webhook.deliver" in {event.operation for event in agent.audit.events()}
    assert agent.audit.verify().intact


def test_a_sender_is_told_of_ends_and_escalations(plane, receiver):
    sender, agent = plane.connect("sender"), plane.connect("receiver")
    sender.webhooks.create(receiver.url)
    task = sender.handoff.create(to_agent="receiver", pickup_by=plane.clock.now_us() + 1)
    plane.advance(1)
    send(plane)
    agent.handoff.complete(task.id, "done")
    send(plane)
    assert [body["type"] for body in receiver.bodies] == ["handoff.told", "handoff.told"]
    assert [body["data"]["state"] for body in receiver.bodies] == ["pending", "completed"]
    sender.handoff.result(task.id)
    assert send(plane) == 0


def test_who_asked_is_called_once_when_its_question_ends(plane, receiver):
    agent, ana, other = plane.connect("asker"), plane.connect(person="ana"), plane.connect("other")
    hook = agent.webhooks.create(receiver.url)
    other.webhooks.create(f"{receiver.base}/other")
    asked = agent.escalate(severity="high", reason="Which?", suggested_actions=["One", "Two"], wait=False)
    assert send(plane) == 0
    receiver.answers = [503]
    ana.inbox.answer(asked.id, "choose", choice="one", comment="a secret reason")
    assert send(plane) == 1
    plane.advance(10)
    assert send(plane) == 1
    (_, headers, body) = receiver.got[-1]
    assert verified(hook.secret, headers, body)
    assert b"a secret reason" not in body
    message = json.loads(body)
    assert message["type"] == "escalation.ended"
    told = {name: message["data"][name] for name in ("escalation", "state", "decision", "choice", "defaulted")}
    assert told == {
        "escalation": asked.id, "state": "decided", "decision": "choose", "choice": "one", "defaulted": False,
    }  # fmt: skip
    (delivery,) = agent.webhooks.deliveries(subject=asked.id)
    assert (delivery.state, delivery.attempts) == ("delivered", 2)
    ana.inbox.comment(asked.id, "and again")
    assert send(plane) == 0
    # Whoever joined is told as well, of other ends too, and a new webhook of answers that have not arrived.
    for connection in (agent, other):
        connection.escalate(severity="high", reason="Same?", collapse_key="same", deadline=None, wait=False)
    plane.advance(4 * 3600)
    send(plane)
    assert sorted(path for path, _, _ in receiver.got[2:]) == ["/hook?x=1", "/other"]
    assert {body["data"]["state"] for body in receiver.bodies[2:]} == {"defaulted"}
    taken = agent.escalate(severity="high", reason="Hm?", wait=False)
    agent.escalations.withdraw(taken.id, "found it")
    send(plane)
    assert receiver.bodies[-1]["data"]["state"] == "withdrawn"


def test_work_for_a_capability_is_told_to_whoever_announced_it_also_when_it_waited_before(plane, receiver):
    agent = plane.connect("receiver")
    agent.webhooks.create(receiver.url)
    waiting = plane.connect("sender").handoff.create(to_capability="translate")
    assert send(plane) == 0
    agent.handoff.announce(capabilities=["translate"])
    assert send(plane) == 1
    later = plane.connect("sender").handoff.create(to_capability="translate")
    assert send(plane) == 1
    assert [body["data"]["handoff"] for body in receiver.bodies] == [waiting.id, later.id]


def test_who_declined_is_not_told_when_it_is_offered_to_the_others_again(plane, receiver):
    first, second = plane.connect("first"), plane.connect("second")
    for name, agent in (("first", first), ("second", second)):
        agent.handoff.announce(capabilities=["translate"])
        agent.webhooks.create(f"{receiver.base}/{name}")
    assert send(plane) == 0
    task = plane.connect("sender").handoff.create(to_capability="translate")
    first.handoff.decline(task.id, "not me")
    assert send(plane) == 1
    second.handoff.claim(task.id)
    second.handoff.release(task.id, "later", attempted=False)
    assert send(plane) == 1
    first.webhooks.create(f"{receiver.base}/first/anew")
    assert send(plane) == 0
    assert [path for path, _, _ in receiver.got] == ["/second", "/second"]


def test_a_new_webhook_is_told_what_waits_already(plane, receiver):
    agent, sender = plane.connect("receiver"), plane.connect("sender")
    offered = sender.handoff.create(to_agent="receiver")
    done = agent.handoff.create(to_agent="sender")
    sender.handoff.complete(done.id)
    agent.webhooks.create(receiver.url)
    assert send(plane) == 2
    assert [(body["type"], body["data"]["handoff"]) for body in receiver.bodies] == [
        ("handoff.offered", offered.id),
        ("handoff.told", done.id),
    ]
    assert send(plane) == 0


def test_a_disabled_agent_is_told_nothing_until_it_is_enabled(plane, receiver):
    agent, sender, person = plane.connect("receiver"), plane.connect("sender"), plane.connect(person="admin")
    agent.webhooks.create(receiver.url)
    sender.handoff.create(to_agent="receiver", goal="before")
    plane.upkeep()  # it lies in the outbox
    person.keys.disable("receiver")
    sender.handoff.create(to_agent="receiver", goal="meanwhile")
    assert send(plane) == 0
    assert receiver.got == []
    person.keys.enable("receiver")
    send(plane)
    assert [body["data"]["goal"] for body in receiver.bodies] == ["before", "meanwhile"]


def test_who_is_far_behind_is_told_what_waits_now(plane, receiver, monkeypatch):
    monkeypatch.setattr(outbox, "FAR_BEHIND", 10)
    agent, sender = plane.connect("receiver"), plane.connect("sender")
    agent.webhooks.create(receiver.url)
    send(plane)
    first, second = (sender.handoff.create(to_agent="receiver") for _ in range(2))
    agent.handoff.complete(first.id)
    for number in range(20):
        sender.state.set("n", "k", number)
    assert send(plane) == 1
    assert receiver.bodies[0]["data"]["handoff"] == second.id


def test_the_trail_is_looked_through_once_and_the_writer_gets_only_what_was_found(plane, monkeypatch):
    """Webhooks that nothing was found for are moved on together, once they are far enough behind."""
    agents = [plane.connect(f"agent-{number}") for number in range(5)]
    for agent in agents:
        agent.webhooks.create("http://127.0.0.1:9/")
    plane.upkeep()
    written = []
    keep = outbox._keep
    monkeypatch.setattr(outbox, "_keep", lambda *given: written.append(given[1]) or keep(*given))
    agents[0].state.set("n", "k", 1)
    plane.upkeep()
    assert written == []
    agents[0].handoff.create(to_agent="agent-1")
    plane.upkeep()
    (look,) = written
    assert (len(look.messages), len(look.moves), look.all_to) == (1, 1, None)
    monkeypatch.setattr(outbox, "LOOKED_AT", 10)
    for number in range(25):
        agents[0].state.set("n", "k", number)
    written.clear()
    plane.upkeep()
    assert [look.all_to is not None for look in written] == [True, True]


def test_a_webhook_that_hangs_keeps_one_thread_from_the_others(plane, receiver, monkeypatch):
    begun, go_on, told = threading.Event(), threading.Event(), threading.Event()

    def post(url, *_, **__):
        if "slow" in url:
            begun.set()
            assert go_on.wait(SECONDS)
        else:
            told.set()
        return Outcome(200, "")

    monkeypatch.setattr(outgoing, "post", post)
    slow, quick, sender = plane.connect("slow"), plane.connect("quick"), plane.connect("sender")
    slow.webhooks.create("http://127.0.0.1:9/slow")
    quick.webhooks.create("http://127.0.0.1:9/quick")
    for _ in range(webhooks.BATCH + 10):
        sender.handoff.create(to_agent="slow")
    sender.handoff.create(to_agent="quick")
    plane.upkeep()
    try:
        plane.local.webhooks.start_due()
        assert begun.wait(SECONDS)
        assert told.wait(SECONDS)
    finally:
        plane.local.webhooks._closing = True
        go_on.set()


def test_a_server_that_drips_does_not_hold_the_sender():
    """Each byte comes in time, and the whole does not."""
    drip = Dripper()
    begun = monotonic()
    outcome = post(drip.url, b"{}", {}, private=True, seconds=2.0)
    drip.close()
    assert monotonic() - begun < SECONDS
    assert outcome.status is None
    assert "no answer" in outcome.error


def test_what_is_offered_again_is_told_again_and_nothing_twice(plane, receiver):
    agent, sender = plane.connect("receiver"), plane.connect("sender")
    agent.webhooks.create(receiver.url)
    task = sender.handoff.create(to_agent="receiver")
    send(plane)
    plane.upkeep()
    agent.handoff.claim()
    agent.handoff.release(task.id, "later", attempted=False)
    agent.state.set("n", "k", 1)
    send(plane)
    send(plane)
    assert [body["data"]["handoff"] for body in receiver.bodies] == [task.id, task.id]


def test_a_failing_receiver_is_tried_again_and_given_up(plane, receiver):
    agent, sender = plane.connect("receiver"), plane.connect("sender")
    hook = agent.webhooks.create(receiver.url)
    sender.handoff.create(to_agent="receiver")
    receiver.answers = [500, 302, 200]
    assert send(plane) == 1
    (waiting,) = agent.webhooks.deliveries(state="sending")
    assert (waiting.status, waiting.error, waiting.attempts) == (500, "answered 500", 1)
    assert send(plane) == 0, "it pauses first"
    plane.advance(PAUSES_SECONDS[1] * 1.5)
    assert send(plane) == 1
    plane.advance(PAUSES_SECONDS[2] * 1.5)
    assert send(plane) == 1
    ids = {headers["webhook-id"] for _, headers, _ in receiver.got}
    assert len(receiver.got) == 3
    assert len(ids) == 1, "it is the same message each time"
    assert next(iter(agent.webhooks.deliveries())).state == "delivered"
    receiver.answers = [503] * 100
    sender.handoff.create(to_agent="receiver")
    for _ in PAUSES_SECONDS:
        send(plane)
        plane.advance(PAUSES_SECONDS[-1] * 1.5)
    (failed,) = agent.webhooks.deliveries(state="failed")
    assert failed.attempts == len(PAUSES_SECONDS)
    assert send(plane) == 0
    assert agent.webhooks.list()[0].id == hook.id, "what comes later is told all the same"


def test_a_receiver_that_is_gone_is_called_no_more(plane, receiver):
    agent, sender = plane.connect("receiver"), plane.connect("sender")
    agent.webhooks.create(receiver.url)
    receiver.answers = [410]
    sender.handoff.create(to_agent="receiver")
    send(plane)
    assert list(agent.webhooks.list()) == []
    sender.handoff.create(to_agent="receiver")
    assert send(plane) == 0


def test_nobody_there_is_no_answer(plane, receiver):
    agent = plane.connect("receiver")
    agent.webhooks.create("http://127.0.0.1:9/")
    plane.connect("sender").handoff.create(to_agent="receiver")
    assert send(plane) == 1
    (waiting,) = agent.webhooks.deliveries()
    assert waiting.state == "sending"
    assert "not reached" in waiting.error


def test_a_process_that_dies_while_it_sends_leaves_the_message(plane, receiver):
    agent = plane.connect("receiver")
    agent.webhooks.create(receiver.url)
    plane.connect("sender").handoff.create(to_agent="receiver")
    plane.upkeep()
    sender = plane.local.webhooks
    (due,) = sender._due()
    plane.engine.database.write(lambda tx: sender._take(tx, due), lane=due.workspace)
    assert send(plane) == 0
    plane.advance(61)
    assert send(plane) == 1
    assert len(receiver.got) == 1


def test_private_addresses_are_refused_unless_allowed(tmp_path, receiver):
    closed = ManualPlane(tmp_path / "closed.db")
    agent = closed.connect("receiver")
    for url in (receiver.url, "http://localhost:1/", "http://10.0.0.1/", "http://169.254.169.254/", "http://[::1]/"):
        agent.webhooks.create(url)
    closed.connect("sender").handoff.create(to_agent="receiver")
    send(closed)
    found = list(agent.webhooks.deliveries())
    assert len(found) == 5
    assert all("private address" in delivery.error for delivery in found)
    assert receiver.got == []
    closed.close()


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True), ("2606:4700:4700::1111", True), ("64:ff9b::808:808", True),
        ("10.0.0.1", False), ("100.64.0.1", False), ("192.0.2.1", False), ("224.0.0.1", False), ("0.1.2.3", False),
        ("::", False), ("::1", False), ("fe80::1", False), ("fec0::1", False), ("fd00::1", False), ("ff0e::1", False),
        ("::ffff:10.0.0.1", False), ("::ffff:8.8.8.8", False), ("::8.8.8.8", False),
        ("64:ff9b::a00:1", False), ("64:ff9b::a9fe:a9fe", False), ("64:ff9b:1::1", False),
        ("2002:a00:1::", False), ("2002:808:808::", False), ("2001:0:808:808::1", False), ("2001:db8::1", False),
    ],
)  # fmt: skip
def test_an_address_is_public_only_where_nothing_private_hides_in_it(address, public):
    assert is_public(ipaddress.ip_address(address)) is public


def test_bad_addresses_and_strangers_are_refused(plane):
    agent = plane.connect("receiver")
    for url in ("", "ftp://x/", "http://", "https://user:word@x/", "https://x/#f", "https://x:99999/", "x" * 3000):
        with pytest.raises(InvalidInput) as refused:
            agent.webhooks.create(url)
        assert refused.value.next_call
    poor = plane.connect("other", grants=[Grant(permissions=("handoffs:read", "handoffs:write"))])
    with pytest.raises(PermissionDenied):
        poor.webhooks.create("https://example.org/", agent="receiver")
    mine = agent.webhooks.create("https://example.org/")
    with pytest.raises(NotFound):
        poor.webhooks.delete(mine.id)
    assert agent.webhooks.delete(mine.id).ended_at == plane.clock.now_us()


def test_the_secret_is_nowhere_but_in_the_answer(plane, receiver):
    agent = plane.connect("receiver")
    hook = agent.webhooks.create(receiver.url)
    key = base64.b64decode(hook.secret.removeprefix("whsec_"))
    assert len(key) == 32
    assert agent.webhooks.list()[0].secret is None
    other = agent.webhooks.create(receiver.url)
    assert other.secret != hook.secret
    tables = plane.engine.database.read(lambda tx: tx.all("webhook_list", workspace=1, after="", limit=10))
    assert hook.secret not in str(tables)
    assert key.hex() not in str(tables)
