"""A real server process on a store."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

# Nothing takes as long, on a busy machine too.
SECONDS = 60
SCRIPT = """
import msgspec, sys
from agentmemo.server import serve

def announce(started):
    print(msgspec.json.encode(started, enc_hook=str).decode(), flush=True)

serve(data=sys.argv[1], port=int(sys.argv[2]), announce=announce)
"""


class Server:
    """Started with the environment of the test, without its settings and with those given."""

    def __init__(self, path, port=0, **environment):
        kept = {name: value for name, value in os.environ.items() if not name.startswith("AGENTMEMO_")}
        self.process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(path), str(port)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, env=kept | environment,
        )  # fmt: skip
        line = self.process.stdout.readline()
        assert line, self.process.stderr.read()
        self.started = json.loads(line)
        self.url = self.started["url"]

    @property
    def key(self):
        return Path(self.started["agent_key_file"]).read_text(encoding="ascii").strip()

    def stop(self, how=signal.SIGTERM):
        """Its exit code and what it said on its error output."""
        if self.process.poll() is None:
            self.process.send_signal(how)
        _, errors = self.process.communicate(timeout=SECONDS)
        return self.process.returncode, errors
