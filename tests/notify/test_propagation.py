"""A decision on one surface is on the others within three seconds, with real servers and real time."""

from __future__ import annotations

import queue
import threading

import pytest

from agentmemo.clock import SystemClock
from agentmemo.embedded import LocalPlane, connection_for
from agentmemo.model.access import EVERYTHING, Caller
from agentmemo.settings import Settings

SECONDS = 3.0
BEAT_SECONDS = 0.01
PATIENCE = 60.0


class Pulse(threading.Thread):
    """Counts seconds as this process had them: where others take the machine, its beats are further apart."""

    def __init__(self):
        super().__init__(daemon=True)
        self.seconds = 0.0
        self.over = threading.Event()

    def run(self):
        while not self.over.wait(BEAT_SECONDS):
            self.seconds += BEAT_SECONDS

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_error):
        self.over.set()
        self.join()


class Arrivals(list):
    """A list that somebody else can wait for to grow."""

    def __init__(self):
        super().__init__()
        self.line = queue.Queue()

    def append(self, item):
        super().append(item)
        self.line.put(item)


@pytest.fixture
def plane(tmp_path, receiver, mail_server, monkeypatch):
    monkeypatch.setenv("AGENTMEMO_SLACK_TOKEN", "xoxb-1")
    settings = Settings(
        smtp_url=f"smtp+plain://127.0.0.1:{mail_server.port}",
        smtp_from="memo@example.org",
        slack_url=receiver.base + "/api",
        ntfy_url=receiver.base + "/ntfy",
        webhook_private_addresses=True,
    )
    made = LocalPlane(str(tmp_path / "plane.db"), SystemClock(), settings)
    made.users, made.kept = 1, True
    yield made
    made.close()


def test_everywhere_within_three_seconds(plane, receiver, mail_server):
    receiver.got, mail_server.got = Arrivals(), Arrivals()
    receiver.standing_answer = (200, b'{"ok":true,"channel":"C1","ts":"17.1"}')
    agent = connection_for(plane, Caller(kind="agent", name="deployer", grants=(EVERYTHING,)))
    maria = connection_for(plane, Caller(kind="person", name="maria", grants=(EVERYTHING,)))
    maria.policies.set("contact", "maria", {"channels": [{"kind": "email", "address": "maria@example.org"}]})
    elsewhere = {"slack": "U0OTTO", "ntfy": "topic", "webhook": receiver.base + "/hook"}
    maria.policies.set(
        "contact", "otto", {"channels": [{"kind": kind, "address": place} for kind, place in elsewhere.items()]}
    )
    asked = agent.escalations.create(
        severity="high", reason="Roll back?", suggested_actions=[{"id": "yes", "label": "Yes"}], wait=False
    )
    mail_server.got.line.get(timeout=PATIENCE)
    for _ in range(3):
        receiver.got.line.get(timeout=PATIENCE)
    with Pulse() as pulse:
        maria.inbox.answer(asked.id, "choose", choice="yes")
        _, mail = mail_server.got.line.get(timeout=PATIENCE)
        told = [receiver.got.line.get(timeout=PATIENCE) for _ in range(3)]
    assert pulse.seconds < SECONDS
    assert mail["Subject"] == "Decided: Roll back?"
    assert sorted(path for path, _, _ in told) == ["/api/chat.update", "/hook", "/ntfy"]
    assert all(b"person:maria" in body for _, _, body in told)
    maria.close()
    agent.close()
