"""Both transports of the client against a real server."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import math
import select
import socket
import ssl
import threading

import pytest
from certificates import write_certificate
from served import SECONDS

import agentmemo
from agentmemo.api.lookup import operation_of
from agentmemo.api.operations import BY_NAME
from agentmemo.client import http_async, http_sync, http_wire
from agentmemo.client.http_async import AsyncHttpTransport
from agentmemo.client.http_sync import HttpTransport
from agentmemo.client.http_wire import PIECE_BYTES, Wire
from agentmemo.model.access import Claim
from agentmemo.model.audit import ListEvents
from agentmemo.model.runs import CompleteStep, FindStep, Heartbeat, RegisterWorker, StartRun
from agentmemo.model.state import GetEntry, SetEntry, WatchNamespace
from agentmemo.testing.ports import ReservedPort

SET, GET = BY_NAME["state.set"], BY_NAME["state.get"]
VALUES = [
    None, True, 0, -1, 10**40, 0.1, 1.0, "", "ä€😀\u0000", [], {}, [1, [2, [3]]], {"": {"a/b": None}}, (1, 2),
    "x" * 100_000,
]  # fmt: skip


class Blocking:
    """The asyncio transport, called as the synchronous one."""

    def __init__(self, runner, *where):
        self._runner, self._transport = runner, AsyncHttpTransport(*where)

    def call(self, *args, **options):
        return self._runner.run(self._transport.call(*args, **options))

    def close(self):
        self._runner.run(self._transport.close())


@pytest.fixture(params=["sync", "async"])
def reach(request):
    """`reach(url, key)` makes a transport of either colour."""
    with asyncio.Runner() as runner:
        made = []

        def connect(url, key="am_x", limit=1 << 27):
            made.append(
                HttpTransport(url, key, limit) if request.param == "sync" else Blocking(runner, url, key, limit)
            )
            return made[-1]

        yield connect
        for transport in made:
            transport.close()


@pytest.mark.parametrize("value", VALUES, ids=lambda value: repr(value)[:20])
def test_values_cross_exactly(server, reach, value):
    transport = reach(server.url, server.key)
    transport.call(SET, SetEntry(namespace="ns", key="k", value=value))
    found = transport.call(GET, GetEntry(namespace="ns", key="k")).value
    assert found == (list(value) if isinstance(value, tuple) else value)
    assert type(found) is (list if isinstance(value, tuple) else type(value))


@pytest.mark.parametrize("key", ["a/b", "..", ".", "a b+c", "%2F", "?#&=", "ä😀", "~'\"\\"])
def test_keys_cross_exactly(server, reach, key):
    transport = reach(server.url, server.key)
    assert transport.call(SET, SetEntry(namespace="n/s", key=key, value=1)).key == key
    assert transport.call(GET, GetEntry(namespace="n/s", key=key)).key == key


@pytest.mark.parametrize(
    "value",
    [math.nan, math.inf, "\ud800", {"a": ["\udfff"]}, {1: 2}, object(), {"deep": math.nan}],
    ids=["nan", "inf", "surrogate", "deep-surrogate", "number-key", "object", "deep-nan"],
)
def test_what_json_cannot_say_never_leaves(server, reach, value):
    transport = reach(server.url, server.key)
    with pytest.raises(agentmemo.InvalidInput) as caught:
        transport.call(SET, SetEntry(namespace="ns", key="never", value=value))
    assert caught.value.next_call
    with pytest.raises(agentmemo.NotFound):
        transport.call(GET, GetEntry(namespace="ns", key="never"))


@pytest.mark.parametrize(
    ("operation", "request_"),
    [
        ("state.set", SetEntry(namespace="\ud800", key="k", value=1)),
        ("state.set", SetEntry(namespace="ns", key="k", value=1, origin="\ud800")),
        ("state.set", SetEntry(namespace="ns", key="k", value=1, ttl_seconds=math.nan)),
        ("state.watch", WatchNamespace(namespace="ns", wait_seconds=math.inf)),
        ("audit.events", ListEvents(text="\ud800")),
    ],
)
def test_bad_arguments_never_leave(server, reach, operation, request_):
    with pytest.raises(agentmemo.InvalidInput):
        reach(server.url, server.key).call(BY_NAME[operation], request_)


def test_arguments_cross_in_the_query(server, reach):
    transport = reach(server.url, server.key)
    transport.call(SET, SetEntry(namespace="q", key="k", value=1))
    page = transport.call(
        BY_NAME["audit.events"], ListEvents(namespace="q", type="state.set", newest_first=True, limit=1, since=0)
    )
    assert [item["operation"] for item in page.items] == ["state.set"]


def test_errors_come_back_as_themselves(server, reach):
    transport = reach(server.url, server.key)
    version = transport.call(SET, SetEntry(namespace="e", key="k", value=1)).version
    with pytest.raises(agentmemo.VersionConflict) as caught:
        transport.call(SET, SetEntry(namespace="e", key="k", value=2, if_version=0))
    assert caught.value.details == {"expected": 0, "current": version}
    with pytest.raises(agentmemo.NotAuthenticated):
        reach(server.url, "am_wrong").call(GET, GetEntry(namespace="e", key="k"))
    with pytest.raises(agentmemo.NotFound):
        transport.call(SET, SetEntry(namespace="e", key="k", value=3), claim=Claim(run="run_0000000000000000", epoch=1))


def test_the_claim_and_the_worker_travel(server, reach):
    transport = reach(server.url, server.key)
    worker = transport.call(BY_NAME["worker.register"], RegisterWorker()).id
    opening = StartRun(name="r", key=worker, worker=worker)
    run = transport.call(BY_NAME["run.start"], opening, worker=worker).run
    claim = Claim(run=run.id, epoch=run.epoch, step="s/1")
    done = CompleteStep(run=run.id, name="s", key="1", result={"n": 1})
    transport.call(BY_NAME["step.complete"], done, claim=claim, worker=worker)
    found = transport.call(BY_NAME["step.find"], FindStep(run=run.id, name="s", key="1"))
    assert (found.state, found.result) == ("completed", {"n": 1})


def test_too_large_is_refused_here(server, reach):
    with pytest.raises(agentmemo.LimitExceeded):
        reach(server.url, server.key, 1000).call(SET, SetEntry(namespace="ns", key="k", value="x" * 1000))


def test_nothing_there_is_unavailable_and_safe_to_repeat(reach):
    with ReservedPort() as port, pytest.raises(agentmemo.Unavailable) as caught:
        reach(f"http://127.0.0.1:{port.number}").call(SET, SetEntry(namespace="ns", key="k", value=1))
    assert caught.value.retry_safe
    assert "agentmemo up" in caught.value.next_call


def test_a_closed_transport_says_so(server, reach):
    transport = reach(server.url, server.key)
    transport.close()
    with pytest.raises(agentmemo.Unavailable) as caught:
        transport.call(GET, GetEntry(namespace="ns", key="k"))
    assert not caught.value.retry_safe


@pytest.mark.parametrize(
    "address",
    [
        "http://",
        "http://host:port",
        "ftp://host",
        "http://key@host",
        "http://host?x=1",
        "http://a..b",
        "http://ä..b",
        "http://[::1]x:1",
        "http://:secret@host",
        "http://a b",
        "http://a\0b",
    ],
)
def test_odd_addresses_are_refused(address):
    with pytest.raises(agentmemo.InvalidInput):
        Wire(address, "am_x", 1)


def test_an_address_is_asked_for_as_it_is_written():
    assert (Wire("http://host:0", "am_x", 1).port, Wire("https://host", "am_x", 1).port) == (0, 443)
    sending = Wire("http://[fe80::1%eth0]:9", "am_x", 1000).sending(GET, GetEntry(namespace="n", key="k"), None, None)
    assert b"\r\nHost: [fe80::1]:9\r\n" in sending.head  # what an interface is called here is no matter there


def test_a_large_body_has_time_for_each_piece():
    """`sendall` takes a timeout for all that it is given, and a slow line needs longer for the whole."""
    value = "x" * 3 * PIECE_BYTES
    sending = Wire("http://host", "am_x", 1 << 27).sending(
        SET, SetEntry(namespace="n", key="k", value=value), None, None
    )
    assert max(map(len, sending.pieces())) == PIECE_BYTES
    assert b"".join(sending.pieces()) == sending.head + sending.body


def test_a_path_before_v1_is_kept():
    wire = Wire("https://example.com/memo/v1/", "am_x", 1000)
    sending = wire.sending(GET, GetEntry(namespace="n", key="k"), None, None)
    assert (wire.address, sending.target) == ("https://example.com", "/memo/v1/state/n/k")


class Scripted:
    """A server that does what it is told with each connection: answers bytes, or hangs up."""

    def __init__(self, *answers, tls=None):
        self.requests = []
        self._answers = list(answers)
        self._tls = tls
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        for answers in self._answers:
            connection, _ = self._socket.accept()
            if self._tls is not None:
                connection = self._tls.wrap_socket(connection, server_side=True)
            with connection:
                for answer in answers:
                    self.requests.append(self._read(connection))
                    if answer is None:
                        break
                    connection.sendall(answer)

    @staticmethod
    def _read(connection):
        data = b""
        while b"\r\n\r\n" not in data:
            data += connection.recv(65536)
        head, _, body = data.partition(b"\r\n\r\n")
        headers = dict(line.lower().split(": ", 1) for line in head.decode().split("\r\n")[1:])
        while len(body) < int(headers.get("content-length", 0)):
            body += connection.recv(65536)
        return head.decode().split(" ")[0], headers, body

    def close(self):
        self._thread.join(SECONDS)
        self._socket.close()
        assert not self._thread.is_alive()


def answer(status, body, kind="application/json"):
    return f"HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode()


ENTRY = (
    '{"namespace":"ns","key":"k","value":1,"version":1,"revision":1,"author":"agent:a","written_at":1,'
    '"origin":"agent","trust":"agent","of_a_newer_server":true}'
)


@pytest.fixture
def scripted():
    made = []

    def script(*answers, tls=None):
        made.append(Scripted(*answers, tls=tls))
        return made[-1]

    yield script
    for each in made:
        each.close()


def test_a_stale_connection_is_replaced_and_the_request_repeated_with_its_key(reach, scripted):
    there = scripted([answer(200, ENTRY), None], [answer(200, ENTRY)])
    transport = reach(there.url)
    transport.call(SET, SetEntry(namespace="ns", key="k", value=0))
    assert transport.call(SET, SetEntry(namespace="ns", key="k", value=1)).version == 1
    first, lost, repeated = there.requests
    assert lost == repeated
    assert first[1]["idempotency-key"] != lost[1]["idempotency-key"]
    assert lost[1]["idempotency-key"].startswith("req_")


@pytest.mark.parametrize(
    ("request_", "safe"),
    [
        (SetEntry(namespace="ns", key="k", value=0), False),
        (RegisterWorker(), False),
        (Heartbeat(worker="wrk_x"), True),
        (GetEntry(namespace="ns", key="k"), True),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_lost_twice_is_unavailable(reach, scripted, request_, safe):
    there = scripted([None], [None])
    with pytest.raises(agentmemo.Unavailable) as caught:
        reach(there.url).call(operation_of(type(request_)), request_)
    assert caught.value.retry_safe is safe
    first, second = there.requests
    assert first == second


@pytest.mark.parametrize(
    ("reply", "retry_safe"),
    [
        (answer(502, "<h1>Bad gateway</h1>", "text/html"), True),
        (answer(200, "<h1>Welcome</h1>", "text/html"), False),
        (answer(200, '{"key": 1}'), False),
        (answer(302, ""), False),
        (answer(404, "[]"), False),
    ],
)
def test_something_else_that_answers_is_unavailable(reach, scripted, reply, retry_safe):
    there = scripted([reply])
    with pytest.raises(agentmemo.Unavailable) as caught:
        reach(there.url).call(GET, GetEntry(namespace="ns", key="k"))
    assert caught.value.retry_safe is retry_safe


@pytest.mark.parametrize(
    ("reply", "kept"),
    [
        (b"HTTP/1.1 100 Continue\r\n\r\n" + answer(200, ENTRY), True),
        (
            b"HTTP/1.1 200 X\r\ntransfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(ENTRY), ENTRY.encode()),
            True,
        ),
        (answer(200, ENTRY).replace(b"1.1", b"1.0"), False),
        (b"HTTP/1.1 200 X\r\n\r\n" + ENTRY.encode(), False),
        (answer(200, ENTRY) + answer(200, "{}"), False),
    ],
    ids=["100", "chunks", "1.0", "no length", "two answers"],
)
def test_whatever_stands_in_between_may_answer_in_its_own_way(reach, scripted, reply, kept):
    last = answer(200, ENTRY)
    there = scripted([reply, last] if kept else [reply], *([] if kept else [[last]]))
    transport = reach(there.url)
    for _ in range(2):
        assert transport.call(GET, GetEntry(namespace="ns", key="k")).version == 1


def test_what_speaks_no_http_is_unavailable(reach, scripted):
    there = scripted([b"220 mail ready\r\n\r\n"], [b"220 mail ready\r\n\r\n"])
    with pytest.raises(agentmemo.Unavailable):
        reach(there.url).call(GET, GetEntry(namespace="ns", key="k"))


def test_a_name_is_reached_by_whichever_of_its_addresses_answers(reach, scripted, monkeypatch):
    """As where a network knows of IPv6, and drops it."""
    for module in (http_sync, http_async):
        # Enough for the second, however slow this machine is just now.
        monkeypatch.setattr(module, "CONNECT_SECONDS", 2.0)
    there = scripted([answer(200, ENTRY)])
    port = int(there.url.rpartition(":")[2])
    with socket.socket() as silent, socket.socket() as first, socket.socket() as second:
        silent.bind(("127.0.0.1", 0))
        silent.listen(0)
        for each in (first, second):  # no more are taken then
            each.setblocking(False)
            each.connect_ex(silent.getsockname())
        addresses = [silent.getsockname(), ("127.0.0.1", port)]
        found = [(socket.AF_INET, socket.SOCK_STREAM, 0, "", address) for address in addresses]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_options: found)
        transport = reach(there.url.replace("127.0.0.1", "both.test"))
        assert transport.call(GET, GetEntry(namespace="ns", key="k")).version == 1


def test_who_does_not_answer_in_time_is_unavailable(reach, monkeypatch):
    monkeypatch.setattr(http_wire, "ANSWER_SECONDS", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(agentmemo.Unavailable, match="did not answer"):
            reach(url).call(GET, GetEntry(namespace="ns", key="k"))


def test_over_tls_and_only_with_who_is_known(reach, scripted, tmp_path, monkeypatch):
    place = write_certificate(tmp_path / "both.pem")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(place)
    there = scripted([answer(200, ENTRY), answer(200, ENTRY)], tls=context)
    monkeypatch.setenv("SSL_CERT_FILE", str(place))
    transport = reach(there.url.replace("http://127.0.0.1", "https://localhost"))
    for _ in range(2):
        assert transport.call(GET, GetEntry(namespace="ns", key="k")).version == 1


def test_a_large_value_goes_and_comes(server, reach):
    value = "x" * 5_000_000
    transport = reach(server.url, server.key)
    transport.call(SET, SetEntry(namespace="large", key="k", value=value))
    assert transport.call(GET, GetEntry(namespace="large", key="k")).value == value


def test_a_connection_that_still_waits_for_the_rest_of_a_body_is_not_used_again():
    """The next request would be read as that rest."""

    async def scenario():
        heads = []

        async def serve(reader, writer):
            heads.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(answer(401, "{}") if len(heads) == 1 else answer(200, ENTRY))
            try:
                while await reader.read(1 << 20):
                    pass
            finally:
                writer.transport.abort()

        async with asyncio.timeout(SECONDS), await asyncio.start_server(serve, "127.0.0.1", 0) as there:
            transport = AsyncHttpTransport(f"http://127.0.0.1:{there.sockets[0].getsockname()[1]}", "am_x", 1 << 27)
            with pytest.raises(agentmemo.Unavailable, match="401"):
                await transport.call(SET, SetEntry(namespace="ns", key="k", value="x" * 20_000_000))
            assert (await transport.call(GET, GetEntry(namespace="ns", key="k"))).version == 1
            await transport.close()
        assert len(heads) == 2

    asyncio.run(scenario())


def test_what_came_before_a_call_is_not_its_answer():
    """Such as a second answer to the request before, or what a proxy says of a connection that was silent for long."""
    with socket.create_server(("127.0.0.1", 0)) as there:
        transport = HttpTransport(f"http://127.0.0.1:{there.getsockname()[1]}", "am_x", 1000)
        asked = threading.Thread(target=lambda: transport.call(GET, GetEntry(namespace="ns", key="k")))
        asked.start()
        first, _ = there.accept()
        first.recv(65536)
        first.sendall(answer(200, ENTRY))
        asked.join(SECONDS)
        first.sendall(answer(408, "{}"))
        (kept,) = transport._idle
        assert select.select([kept], [], [], SECONDS)[0], "what is still on its way nobody can know of"
        found = []
        asked = threading.Thread(target=lambda: found.append(transport.call(GET, GetEntry(namespace="ns", key="k"))))
        asked.start()
        there.settimeout(SECONDS)
        second, _ = there.accept()
        second.recv(65536)
        second.sendall(answer(200, ENTRY))
        asked.join(SECONDS)
        first.close()
        second.close()
        transport.close()
    assert found[0].version == 1


@pytest.mark.parametrize("how", ["closed", "cancelled"])
def test_an_asyncio_call_that_is_given_up_leaves_no_connection_behind(how):
    async def scenario():
        asked, gone = asyncio.Event(), asyncio.Event()

        async def serve(reader, writer):
            await reader.readuntil(b"\r\n\r\n")
            asked.set()
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
            writer.close()
            gone.set()

        async with asyncio.timeout(SECONDS), await asyncio.start_server(serve, "127.0.0.1", 0) as there:
            url = f"http://127.0.0.1:{there.sockets[0].getsockname()[1]}"
            transport = AsyncHttpTransport(url, "am_x", 1000)
            call = asyncio.ensure_future(transport.call(GET, GetEntry(namespace="ns", key="k")))
            await asked.wait()
            if how == "closed":
                await transport.close()
            else:
                call.cancel()
            with pytest.raises(agentmemo.Unavailable if how == "closed" else asyncio.CancelledError):
                await call
            await gone.wait()

    asyncio.run(scenario())


def test_an_asyncio_transport_serves_each_loop_that_calls_it(server):
    transport = AsyncHttpTransport(server.url, server.key, 1000)
    with asyncio.Runner() as one, asyncio.Runner() as other:
        for runner in (one, other, one, other):
            runner.run(transport.call(SET, SetEntry(namespace="loops", key="k", value=1)))
        pools = list(transport._pools.values())
        connections = [connection for pool in pools for connection in pool.open]
        assert len(connections) == len(pools) == 2
        one.run(transport.close())
    assert all(connection.lost for connection in connections)


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_what_a_loop_left_open_is_not_used_by_the_next(server):
    transport = AsyncHttpTransport(server.url, server.key, 1000)
    for _ in range(2):
        asyncio.run(transport.call(SET, SetEntry(namespace="loops", key="k", value=1)))
    assert len(transport._pools) == 1
    asyncio.run(transport.close())
    del transport
    gc.collect()


def test_threads_share_a_transport(server):
    transport = HttpTransport(server.url, server.key, 1 << 20)
    failures = []

    def work(number):
        try:
            for turn in range(20):
                transport.call(SET, SetEntry(namespace="threads", key=str(number), value=[number, turn]))
                found = transport.call(GET, GetEntry(namespace="threads", key=str(number)))
                assert found.value == [number, turn]
        except BaseException as error:  # noqa: BLE001 - shown by the assertion below
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    transport.close()
    assert failures == []


def test_a_run_over_http(server):
    with agentmemo.connect(server.url, key=server.key) as agent:
        with agent.run("over-http", "1") as run:
            assert run.step("twice", lambda: 21 * 2) == 42
            agent.state.set("ns", "in-run", {"n": 10**30})
            run.finding("It works.")
            run.complete("done")
        found = agent.runs.find("over-http", "1")
        assert (found.state, found.result) == ("completed", "done")
        assert agent.state.entry("ns", "in-run").run == found.id
        assert agent.audit.verify().intact


def test_a_run_over_http_async(server):
    async def scenario():
        async with await agentmemo.connect_async(server.url, key=server.key) as agent:
            async with agent.run("over-http-async", "1") as run:
                assert await run.step("twice", lambda: 21 * 2) == 42
                await run.complete("done")
            assert (await agent.runs.find("over-http-async", "1")).state == "completed"
            assert [entry.key async for entry in await agent.state.list("none-here")] == []

    asyncio.run(scenario())
