"""Two threads that decode into one type for the first time, as two requests of a new process do."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Annotated

import pytest

from agentmemo.model.values import decode_as

# In a process of its own: what it shows ends the process.
PROGRAM = """
import sys, threading
import msgspec
from agentmemo.api.operations import OPERATIONS
from agentmemo.model.kinds import described

CONTENT = b'{"id": "a", "name": "b", "run": {"id": "c"}, "items": [{"id": "d"}]}'
sys.setswitchinterval(1e-6)
for operation in OPERATIONS:
    together = threading.Barrier(4)

    def decode():
        together.wait()
        for kind in filter(None, (operation.response, operation.request)):
            try:
                msgspec.json.decode(CONTENT, type=described(kind))
            except msgspec.ValidationError:
                pass

    threads = [threading.Thread(target=decode) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
"""


def test_threads_may_be_the_first_to_decode_into_a_type():
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"ended with {done.returncode}\n{done.stderr}"


@pytest.mark.parametrize(
    ("kind", "content", "value"),
    [(Annotated[int, {"unit": "pages"}], b"3", 3), (list[Annotated[int, ["pages"]]], b"[3]", [3])],
)
def test_a_type_may_carry_what_has_no_hash(kind, content, value):
    """Annotations are the caller's: the codec passes over what is said in them to others."""
    assert decode_as(content, kind) == value
