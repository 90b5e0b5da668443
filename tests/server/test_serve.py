"""The server as a process: its start, its keys, its neighbours and its end."""

from __future__ import annotations

import re
import signal
import socket
import stat
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path

import pytest
from served import SECONDS

import agentmemo
from agentmemo.client.transport import at_once
from agentmemo.errors import InvalidInput, Unavailable
from agentmemo.server.serve import bind, check_exposure, serve, url_of

MIB = 1024


def get(url, key=None, **headers):
    headers |= {"authorization": f"Bearer {key}"} if key else {}
    return urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=SECONDS)  # noqa: S310 - our own server


def test_the_first_start_makes_keys_and_later_ones_only_say_where(start, tmp_path):
    first = start()
    file = tmp_path / "keys" / "agent.key"
    assert first.started["agent_key_file"] == str(file)
    assert file.read_text(encoding="ascii").strip() == first.started["agent_key"]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    person = first.started["person_key"]
    assert person.startswith("am_person_")
    with agentmemo.connect(first.url, key=person) as connection:
        connection.state.set("ns", "k", 1)
    assert first.stop() == (-signal.SIGTERM, "")
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or person.encode() not in path.read_bytes()
    second = start()
    assert (second.started["agent_key"], second.started["person_key"]) == (None, None)
    for key in (second.key, person):
        with agentmemo.connect(second.url, key=key) as connection:
            assert connection.state.get("ns", "k") == 1


def test_a_key_file_of_another_store_is_replaced_and_a_revoked_one_is_not(start, tmp_path):
    first = start()
    old = first.key
    first.stop()
    for path in tmp_path.glob("agentmemo.db*"):
        path.rmdir() if path.is_dir() and not list(path.iterdir()) else path.is_file() and path.unlink()
    second = start()
    assert second.key == second.started["agent_key"] != old
    with agentmemo.connect(second.url, key=second.started["person_key"]) as person:
        person.keys.revoke(second.key.split("_")[2])
    second.stop()
    third = start()
    assert (third.started["agent_key"], third.key) == (None, second.key)


def test_two_servers_and_an_embedded_user_share_a_store(start, tmp_path):
    one, two = start(), start()
    assert one.key == two.key
    with (
        agentmemo.connect(one.url, key=one.key) as a,
        agentmemo.connect(two.url, key=two.key) as b,
        agentmemo.connect(tmp_path / "agentmemo.db", agent="here") as c,
    ):
        a.state.set("ns", "k", "one")
        assert (b.state.get("ns", "k"), c.state.get("ns", "k")) == ("one", "one")
        revision = c.state.set("ns", "k", "embedded").revision
        b.state.set("ns", "k", "two")
        seen = []
        for change in a.state.watch("ns", after=revision - 1):
            seen.append(change.entry.value)
            if len(seen) == 2:
                break
        assert seen == ["embedded", "two"]
        assert c.audit.verify().intact


def test_a_watch_hears_another_process(start):
    one, two = start(), start()
    with agentmemo.connect(one.url, key=one.key) as a, agentmemo.connect(two.url, key=two.key) as b:
        after = a.state.set("ns", "k", 0).revision
        got = []
        listener = threading.Thread(target=lambda: got.append(next(b.state.watch("ns", after=after))))
        listener.start()
        a.state.set("ns", "k", 1)
        listener.join(SECONDS)
        assert [change.entry.value for change in got] == [1]


def test_a_stopped_server_ends_its_streams_and_keeps_what_it_acknowledged(start):
    server = start()
    with agentmemo.connect(server.url, key=server.key) as agent:
        agent.state.set("ns", "k", 1)
        stream = get(f"{server.url}/v1/changes/ns?after=0", server.key, accept="text/event-stream")
        while not stream.readline().startswith(b"data: "):
            pass
        server.process.send_signal(signal.SIGINT)
        assert stream.read().strip() == b""
        code, said = server.stop()
        assert code != 0  # KeyboardInterrupt, as of any Python program
        assert "graceful shutdown exceeded" not in said  # as it would say after the time that requests have
    again = start()
    with agentmemo.connect(again.url, key=again.key) as agent:
        assert agent.state.get("ns", "k") == 1
        assert agent.audit.verify().intact


def test_a_killed_server_loses_nothing(start):
    server = start()
    with agentmemo.connect(server.url, key=server.key) as agent:
        for number in range(20):
            agent.state.set("ns", str(number), number)
        server.stop(signal.SIGKILL)
        with at_once(), pytest.raises(Unavailable):
            agent.state.set("ns", "k", 1)
    again = start()
    with agentmemo.connect(again.url, key=again.key) as agent:
        assert [entry.value for entry in agent.state.list("ns", limit=7)] == sorted(range(20), key=str)


def test_it_is_small(start):
    server = start()
    with get(f"{server.url}/healthz") as answer:
        assert answer.status == 200
    status = Path(f"/proc/{server.process.pid}/status").read_text(encoding="ascii")
    resident = int(re.search(r"VmRSS:\s+(\d+) kB", status)[1])
    assert resident < 80 * MIB


def test_the_server_starts_without_what_only_clients_and_websockets_need():
    names = ("agentmemo.client.http_async", "agentmemo.client.http_sync", "websockets")
    code = f"import sys, agentmemo.server; print([name for name in {names} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_health_readiness_and_metrics(server):
    with get(f"{server.url}/healthz") as answer:
        assert answer.read() == b'{"status":"ok"}'
    with get(f"{server.url}/readyz") as answer:
        assert answer.read() == b'{"status":"ready"}'
    with get(f"{server.url}/v1/whoami", server.key):
        pass
    with get(f"{server.url}/metrics") as answer:
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
        page = answer.read().decode()
    assert re.search(r'^agentmemo_requests_total\{operation="access.whoami",code="ok"\} [1-9]', page, re.MULTILINE)
    assert re.search(r"^agentmemo_commits_total [1-9]", page, re.MULTILINE)
    assert re.search(r"^agentmemo_upkeep_leader [01]$", page, re.MULTILINE)
    assert "am_" not in page
    for line in page.splitlines():
        assert line.startswith("# ") or re.fullmatch(
            r'[a-z_]+(\{[a-z_]+="[^"]*"(,[a-z_]+="[^"]*")*\})? [0-9.e+-]+', line
        )


def test_metrics_from_elsewhere_take_a_key(http):
    assert http.get("/metrics", key=None).status == 200
    assert http.get("/metrics", key=None, client=("10.0.0.9", 1)).status == 401
    assert http.get("/metrics", key=None, headers={"x-forwarded-for": "10.0.0.9"}).status == 401
    assert http.get("/metrics", client=("10.0.0.9", 1)).status == 200


def test_a_store_that_cannot_be_written_is_not_ready(http, plane, monkeypatch):
    def full(_work):
        raise Unavailable("The disk is full.")

    monkeypatch.setattr(plane.engine.database, "write", full)
    answer = http.get("/readyz", key=None)
    assert (answer.status, answer.code) == (503, "unavailable")


def test_the_console_answers_everything_else(http):
    answer = http.get("/", key=None)
    assert answer.status in {200, 303}
    assert http.get("/no/such/page", key=None).status == 404


def test_a_console_that_could_not_be_loaded_is_loaded_by_the_next_page(http, monkeypatch):
    def full(*_args, **_options):
        raise OSError("Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr("agentmemo.console.app.create_console", full)
        with pytest.raises(OSError, match="open files"):
            http.get("/", key=None)
    assert http.get("/", key=None).status in {200, 303}


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "[::1]", "localhost", "127.8.8.8"])
def test_this_machine_needs_no_tls(host):
    check_exposure(host, tls=False, allow_insecure=False)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])  # noqa: S104 - refused, which is the point
def test_other_machines_need_tls_or_a_flag(host, tmp_path):
    with pytest.raises(InvalidInput, match="clear text"):
        serve(data=str(tmp_path / "a.db"), host=host, port=0, announce=print)
    assert not (tmp_path / "a.db").exists()
    check_exposure(host, tls=True, allow_insecure=False)
    check_exposure(host, tls=False, allow_insecure=True)


def test_half_of_tls_is_refused(tmp_path):
    with pytest.raises(InvalidInput, match="both"):
        serve(data=str(tmp_path / "a.db"), port=0, tls_certificate="cert.pem", announce=print)
    with pytest.raises(InvalidInput, match="cannot be used"):
        serve(data=str(tmp_path / "a.db"), port=0, tls_certificate="no.pem", tls_key="no.pem", announce=print)


def test_a_taken_port_names_the_way_out():
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(Unavailable, match="taken") as caught:
        bind("127.0.0.1", taken.getsockname()[1])
    assert "--port 0" in caught.value.next_call


def test_urls():
    assert url_of("http", "::1", 1) == url_of("http", "[::1]", 1) == "http://[::1]:1"
    assert url_of("https", "localhost", 7707) == "https://localhost:7707"
