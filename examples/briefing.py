"""What an agent is told when it starts again: done, found, tried in vain, decided, and the next call.

python examples/briefing.py
"""

import contextlib

import agentmemo


class ModelStopped(Exception):
    """The model ran out of context in the middle of its work."""


def list_endpoints() -> list[str]:
    print("listing endpoints")
    return ["/login", "/export", "/admin"]


def first_attempt(agent: agentmemo.Connection, key: str) -> None:
    with agent.run("audit-api", key=key, inputs={"goal": "find unprotected endpoints"}, budget={"steps": 20}) as run:
        run.step("list-endpoints", list_endpoints)
        run.finding("/export answers without a session.")
        run.tried("Read the routes from the OpenAPI file.", why_failed="the file is two releases old")
        run.decide("Test /admin last.", because="it locks accounts after five failures")
        raise ModelStopped


def second_attempt(agent: agentmemo.Connection, key: str) -> None:
    with agent.run("audit-api", key=key, inputs={"goal": "find unprotected endpoints"}) as run:
        endpoints = run.step("list-endpoints", list_endpoints)  # from the store: it does not run again
        run.complete({"checked": len(endpoints)})


def main() -> None:
    with agentmemo.connect(agent="auditor") as agent:
        key = f"revision-{agent.status().revision}"  # a new run each time this example is started
        with contextlib.suppress(ModelStopped):
            first_attempt(agent, key)

    with agentmemo.connect(agent="auditor") as agent:
        briefing = agent.briefing()
        print(briefing)  # about 300 tokens: put it at the top of the prompt
        print("steps done:", briefing.data["runs"][0]["steps_done"])
        second_attempt(agent, key)


if __name__ == "__main__":
    main()
