"""The server killed under load: acknowledged writes survive, retries do not double, clients go on."""

from __future__ import annotations

import http.client
import json
import threading
import time

import checker
import pytest
from children import DEATH_SECONDS

import agentmemo
from agentmemo.testing.ports import ReservedPort

KILLS = 5
WRITERS = 3
LEASE_SECONDS = 1.0


class Server:
    """One port, and one server process after another behind it."""

    def __init__(self, crashing, port) -> None:
        self._crashing = crashing
        self.port = port
        self.address = f"http://127.0.0.1:{self.port}"
        self.start()
        self.key = next(crashing.directory.glob("**/agent.key")).read_text(encoding="ascii").strip()

    def start(self, point: str | None = None) -> None:
        self.child = self._crashing.start("serve", str(self.port), point=point, lease_seconds=LEASE_SECONDS)


class Writer(threading.Thread):
    """Sends each write under one Idempotency-Key of its own until it is answered."""

    def __init__(self, server: Server, name: str) -> None:
        super().__init__(name=name)
        self._server = server
        self.done = threading.Event()
        self.versions: list[int] = []
        self.retries = 0

    def run(self) -> None:
        while not self.done.is_set():
            self.versions.append(self._write(len(self.versions)))

    def _write(self, number: int) -> int:
        headers = {
            "Authorization": f"Bearer {self._server.key}",
            "Idempotency-Key": f"{self.name}-{number}",
            "Content-Type": "application/json",
        }
        body = json.dumps({"value": {"number": number}})
        while True:
            connection = http.client.HTTPConnection("127.0.0.1", self._server.port, timeout=10)
            try:
                connection.request("PUT", f"/v1/state/retried/{self.name}", body, headers)
                response = connection.getresponse()
                answer = json.loads(response.read())
                assert response.status == 200, answer
                return answer["version"]
            except (OSError, http.client.HTTPException):
                self.retries += 1
                time.sleep(0.01)
            finally:
                connection.close()


@pytest.fixture
def server(crashing):
    with ReservedPort() as port:
        yield Server(crashing, port.number)


@pytest.mark.parametrize("point", ["writer.after_commit", "writer.before_answer"])
def test_a_server_killed_under_load(crashing, server, chance, point):
    """Always just after a commit whose answer nobody will get."""
    writers = [Writer(server, f"writer-{number}") for number in range(WRITERS)]
    client = crashing.start("remote", lease_seconds=LEASE_SECONDS, address=server.address, key=server.key)
    for writer in writers:
        writer.start()
    for _ in range(KILLS):
        server.child.kill()
        server.start(f"{point}:{chance.randrange(20, 60)}")
        server.child.died_at_its_point()
        server.start()
    known = len(crashing.notes("cycle"))
    crashing.wait_for("cycle", known + 2)
    for writer in writers:
        writer.done.set()
    for writer in writers:
        writer.join(DEATH_SECONDS)
        assert not writer.is_alive()
    client.kill()
    server.child.kill()
    assert sum(writer.retries for writer in writers) > 0, "no kill met a request on its way"
    with agentmemo.connect(str(crashing.store), agent="reader") as agent:
        for writer in writers:
            # Acknowledged in order, each once: the n-th write is the n-th version, and there are no others.
            assert writer.versions == list(range(1, len(writer.versions) + 1))
            history = list(agent.state.history("retried", writer.name))
            assert [entry.value["number"] for entry in reversed(history)] == list(range(len(writer.versions)))
    checker.check(crashing.store, crashing.notes(), finished=False)
