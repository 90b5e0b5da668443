"""A provider on this machine that answers what a test wrote down for it, and keeps what it was sent."""

from __future__ import annotations

import json
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SILENT_SECONDS = 60


class Provider:
    """`answers` are (status, headers, body) in turn; a body that is a list is sent as a stream of events.

    None in place of an answer hangs up; until the test is over "silence" says nothing, and "drops" a byte now and then.
    """

    def __init__(self):
        self.answers = []
        self.got = []
        self.over = threading.Event()
        provider = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                provider.got.append((self.path, {name.lower(): text for name, text in self.headers.items()}, body))
                self.close_connection = True
                provider.reply(self, provider.answers.pop(0))

            def log_message(self, *_):
                """Nothing is said."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_port}/v1"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def reply(self, handler, answer):
        if answer == "silence":
            self.over.wait(SILENT_SECONDS)
        elif answer == "drops":
            send(handler, 200, {}, b"")
            with suppress(OSError):
                while not self.over.wait(0.02):
                    handler.wfile.write(b" ")
        elif answer is not None:
            send(handler, *answer)

    def answer(self, body, status=200, **headers):
        self.answers.append((status, {name.replace("_", "-"): text for name, text in headers.items()}, body))

    @property
    def bodies(self):
        return [body for _, _, body in self.got]

    def close(self):
        self.over.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def send(handler, status, headers, body):
    stream = isinstance(body, list)
    handler.send_response(status)
    handler.send_header("content-type", "text/event-stream" if stream else "application/json")
    for name, text in headers.items():
        handler.send_header(name, text)
    handler.send_header("connection", "close")
    handler.end_headers()
    if stream:
        for event in body:
            text = event if isinstance(event, str) else json.dumps(event, ensure_ascii=False)
            handler.wfile.write(f"data: {text}\n\n".encode())
    else:
        handler.wfile.write(body if isinstance(body, bytes) else json.dumps(body).encode())
