"""A connection of the server, in one process with its client: what of an answer has left, and what has not."""

from __future__ import annotations

import asyncio
import socket

from served import SECONDS
from uvicorn.config import Config
from uvicorn.server import ServerState

from agentmemo.server.protocol import Bounds, Protocol

SOON = 0.05
BODY = b"x" * 4096


def test_who_leaves_the_end_of_an_answer_unread_is_cut_off():
    """Too little for the transport to pause, and yet what a closing connection would wait for."""
    asked = answered = 0
    state = ServerState()

    async def application(_scope, _receive, send):
        nonlocal answered
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4096")]})
        await send({"type": "http.response.body", "body": BODY})
        answered += 1

    def protocol():
        bounds = Bounds(8000, SECONDS, SECONDS, SOON, 1)
        return Protocol(bounds, config=config, server_state=state, app_state={})

    def unsent():
        return sum(each.transport.get_write_buffer_size() for each in state.connections)

    async def scenario():
        nonlocal asked
        loop = asyncio.get_running_loop()
        there = await loop.create_server(protocol, "127.0.0.1", 0)
        there.sockets[0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.setblocking(False)
            async with there, asyncio.timeout(SECONDS):
                await loop.sock_connect(client, there.sockets[0].getsockname())
                while not unsent():
                    await loop.sock_sendall(client, b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
                    asked += 1
                    while answered < asked:  # noqa: ASYNC110 - as there is no event for it
                        await asyncio.sleep(0)
                assert not any(each.writing_paused for each in state.connections)
                # Not by its silence: on a busy machine that may be over between two requests of this test.
                for each in list(state.connections):
                    each.shutdown()
                while state.connections:  # noqa: ASYNC110
                    await asyncio.sleep(0)

    config = Config(application, timeout_keep_alive=SECONDS, lifespan="off", log_config=None)
    config.load()
    config.loaded_app = application
    asyncio.run(scenario())
