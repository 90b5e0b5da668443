"""A LangGraph graph that finds out what is wrong, hands the repair over, and goes on when the result is back.

python examples/frameworks/researcher.py

Each node keeps what it found as a step of the run. Killed and started again, the graph begins anew, but what is kept
is not asked again. The model is a script: no key and no network are needed.
"""

import os
from typing import Any, TypedDict

from langchain_core.language_models.fake_chat_models import FakeListChatModel
from langgraph.graph import END, START, StateGraph

import agentmemo

REPORT = "average([]) ends with an error; it should be 0.0."
SOURCE = "def average(values):\n    return sum(values) / len(values)\n"
CASE = "case-1"
SCRIPT = {
    "read": "An empty list of values raises ZeroDivisionError.",
    "locate": "    return sum(values) / len(values)",
    "conclude": "Repaired and approved: average([]) is 0.0.",
}


class Case(TypedDict, total=False):
    report: str
    symptom: str
    line: str
    repair: dict[str, Any]
    conclusion: str


def ask(question: str, text: str) -> str:
    print(f"researcher: {question}", flush=True)
    model = FakeListChatModel(responses=[SCRIPT[question]])
    return str(model.invoke(f"{question}: {text}").content)


def hand_over(case: Case) -> None:
    """The handoff is made with the result of this step, or not at all."""
    print("researcher: hand over", flush=True)
    agentmemo.current_step().handoff.create(
        to_agent="engineer",
        goal="Make average() right for an empty list.",
        context={"source": SOURCE, "symptom": case["symptom"], "line": case["line"], "call": "average([])"},
        key=CASE,
    )


def analysis(agent: agentmemo.Connection, run: agentmemo.Run) -> Any:
    def read(case: Case) -> Case:
        return {"symptom": run.step("read", ask, "read", case["report"])}

    def locate(case: Case) -> Case:
        return {"line": run.step("locate", ask, "locate", f"{case['symptom']}\n{SOURCE}")}

    def repair(case: Case) -> Case:
        run.step("hand over", hand_over, case)
        handoff = next(each for each in agent.handoff.list(sender="researcher") if each.key == CASE)
        told = run.wait(handoff.id)  # the plane signals under this name when the handoff ends
        agent.handoff.result(handoff.id)  # received: nobody has to tell it again
        if told["state"] != "completed":
            raise RuntimeError(f"the repair is {told['state']}: {told['reason']}")
        return {"repair": told["result"]}

    def conclude(case: Case) -> Case:
        return {"conclusion": run.step("conclude", ask, "conclude", str(case["repair"]))}

    graph = StateGraph(Case)
    nodes = {"read": read, "locate": locate, "repair": repair, "conclude": conclude}
    for before, (name, node) in zip([START, *nodes], nodes.items(), strict=False):
        graph.add_node(name, node)
        graph.add_edge(before, name)
    graph.add_edge("conclude", END)
    return graph.compile()


def main() -> None:
    os.environ["LANGSMITH_TRACING"] = "false"
    with agentmemo.connect(agent="researcher") as agent, agent.run("analysis", key=CASE) as run:
        case = analysis(agent, run).invoke({"report": REPORT})
        run.complete({"conclusion": case["conclusion"], "repair": case["repair"]})


if __name__ == "__main__":
    main()
