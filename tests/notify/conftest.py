"""Receivers on this machine: one for HTTP, one for mail."""

from __future__ import annotations

import json
import threading
from email import message_from_bytes, policy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult


class Receiver:
    """Keeps what it is sent and answers as told, with one of `answers` a call or the standing one: a status, or
    (status, body)."""

    def __init__(self):
        self.answers = []
        self.standing_answer = 200
        self.headers = {}
        self.got = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                receiver.got.append((self.path, {name.lower(): text for name, text in self.headers.items()}, body))
                answer = receiver.answers.pop(0) if receiver.answers else receiver.standing_answer
                status, content = answer if isinstance(answer, tuple) else (answer, b"")
                self.send_response(status)
                self.send_header("location", "http://127.0.0.1:9/elsewhere")
                for name, text in receiver.headers.items():
                    self.send_header(name, text)
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_):
                """Nothing is said."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.base = f"http://127.0.0.1:{self._server.server_port}"
        self.url = f"{self.base}/hook?x=1"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    @property
    def bodies(self):
        return [json.loads(body) for _, _, body in self.got]

    def close(self):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def receiver():
    made = Receiver()
    yield made
    made.close()


class AnyPort(Controller):
    """Tells the port it was given before it looks whether it serves."""

    def _trigger_server(self):
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()


class MailServer:
    """A real SMTP server. `refusal` is what it says to the next recipient, `logins` what it was given as passwords."""

    def __init__(self, **options):
        self.refusal = None
        self.logins = []
        self.got = []
        self._controller = AnyPort(
            self, hostname="127.0.0.1", port=0, ready_timeout=60, authenticator=self._log_in, **options
        )
        self._controller.start()

    @property
    def port(self):
        return self._controller.port

    def _log_in(self, _server, _session, _envelope, _mechanism, data):
        self.logins.append((data.login.decode(), data.password.decode()))
        return AuthResult(success=data.password == b"pass word", handled=False)

    async def handle_RCPT(self, _server, _session, envelope, address, _options):  # noqa: N802 - aiosmtpd's name
        if self.refusal:
            refusal, self.refusal = self.refusal, None
            return refusal
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server, _session, envelope):  # noqa: N802 - aiosmtpd's name
        self.got.append((envelope.rcpt_tos, message_from_bytes(envelope.content, policy=policy.default)))
        return "250 OK"

    def close(self):
        self._controller.stop()


@pytest.fixture
def mail_server():
    """Without TLS, as a relay on the same machine."""
    made = MailServer(auth_require_tls=False)
    yield made
    made.close()


@pytest.fixture
def mail_server_of():
    """Makes mail servers with options of the controller."""
    made = []

    def make(**options):
        made.append(MailServer(**options))
        return made[-1]

    yield make
    for server in made:
        server.close()
