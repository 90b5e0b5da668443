"""Tasks: code registered under a name, which any worker may start, wake and take over.

python examples/tasks.py
"""

import agentmemo


def register(agent: agentmemo.Connection) -> None:
    @agent.task("triage", version="1")
    def triage(run: agentmemo.Run, ticket: int) -> str:
        severity = run.step("classify", classify, ticket)
        if severity == "high":
            # The run is parked here. It holds no thread, no lease and no connection while it waits.
            answer = run.wait("approval", timeout_seconds=3600)
            return f"ticket {ticket}: {severity}, approved by {answer['by']}"
        return f"ticket {ticket}: {severity}"


def classify(ticket: int) -> str:
    return "high" if ticket % 2 else "low"


def main() -> None:
    with agentmemo.connect(agent="triage-bot") as agent:
        register(agent)
        runs = [agent.start("triage", {"ticket": ticket}, key=f"ticket-{ticket}") for ticket in (41, 42)]
        same = agent.start("triage", {"ticket": 41}, key="ticket-41")
        print("the same key is the same run:", same.id == runs[0].id)

        agent.work(concurrency=2, until_idle=True)  # a service calls agent.work() and stays
        for run in runs:
            print(f"ticket {run.inputs['ticket']}: {agent.runs.get(run.id).state}")

        if agent.runs.get(runs[0].id).state == "waiting":
            agent.runs.signal(runs[0].id, "approval", {"by": "ada"})
            agent.work(until_idle=True)
        for run in runs:
            print(agent.runs.get(run.id).result)

        nightly = agent.start("triage", {"ticket": 0}, cron="0 3 * * *")
        print("scheduled:", [schedule.cron for schedule in agent.runs.schedules() if schedule.id == nightly.id])
        agent.runs.unschedule(nightly.id)


if __name__ == "__main__":
    main()
