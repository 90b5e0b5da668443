"""A process that stops inside its turn, to be frozen there by a test.

    python zombie.py set|step URL

It says `turn` on its standard output once its transaction has done everything but COMMIT, and goes on when a line comes
on its standard input. Then it says what its call was answered.
"""

from __future__ import annotations

import contextlib
import os
import sys

from agentmemo.client import heart
from agentmemo.clock import SystemClock
from agentmemo.embedded import LocalPlane, connection_for, local_caller
from agentmemo.errors import Error
from agentmemo.settings import from_environment
from agentmemo.store import postgres_lanes

IDLE_SECONDS = "1"
POINT = "writer.before_commit"


def say(text: str) -> None:
    os.write(1, text.encode() + b"\n")


def stop_at_the_next_commit() -> None:
    """Once: what runs again runs through."""
    whole = postgres_lanes.reach

    def reach(name: str) -> None:
        if name == POINT:
            postgres_lanes.reach = whole
            say("turn")
            sys.stdin.readline()

    postgres_lanes.reach = reach


def main() -> None:
    mode, url = sys.argv[1:]
    os.environ["AGENTMEMO_POSTGRES_IDLE_SECONDS"] = IDLE_SECONDS
    # Nothing but the call under test may write here: what stopped in its place would let it pass.
    heart.BEATS_PER_LEASE = 1 / 3600
    plane = LocalPlane(url, SystemClock(), from_environment(), upkeep=False)
    agent = connection_for(plane, local_caller("zombie", None, "default"))
    answer = "kept"
    try:
        if mode == "set":
            agent.state.set("zombie", "first", 0)
            stop_at_the_next_commit()
            answer = f"version {agent.state.set('zombie', 'counter', 1).version}"
        else:
            with agent.run("held", "1", max_attempts=10) as run:
                stop_at_the_next_commit()
                run.step("late", lambda: "stale")
    except Error as error:
        answer = error.code
    say(answer)
    with contextlib.suppress(Error):
        agent.close()
    plane.close()


if __name__ == "__main__":
    main()
