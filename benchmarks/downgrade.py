"""Downgrade-150: how far a workflow's cheapest rungs go on CLINC150, and what that saves. No network.

    make bench-downgrade                 # BENCH_QUICK=1 for a smaller one, BENCH_SEED=n for another draw

Rung 0 asks no model: the nearest examples answer, where they agree and are like enough. Rung 1 is SmolLM2-135M behind
the server of llama.cpp. The top rung is "abstain to an expert": it is priced as one run by a smart model, and no
accuracy is ever made up for it.
"""

from __future__ import annotations

import gzip
import json
import os
import platform
import random
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import downgrade_figures as figures
from downgrade_figures import Routed

import agentmemo
from agentmemo.client.driving import agreed, calls_for_model
from agentmemo.client.workflow_files import document_in
from agentmemo.engine import rungs
from agentmemo.executor.model_steps import ModelSteps
from agentmemo.llm import config
from agentmemo.model.executions import NextStep
from agentmemo.model.nearest import Nearest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "tests" / "shared"))
import local_model  # noqa: E402 - beside the tests, which use it as well

QUICK = os.environ.get("BENCH_QUICK", "") not in ("", "0")
SEED = int(os.environ.get("BENCH_SEED", "20261"))
CALIBRATION, IN_SCOPE, OUT_OF_SCOPE = (300, 300, 100) if QUICK else (1000, 1000, 400)
MODEL_CASES, LADDER_CASES, REPEATED = (5, 6, 2) if QUICK else (12, 20, 2)
NEAREST = 5
GRID = [round(0.30 + 0.05 * place, 2) for place in range(9)]
# What the tokens are priced at: a small model's list price of November 2026, in dollars per million.
PRICE = {"input": 0.1, "output": 0.5}
MODELS = """
ladder = ["small"]
[models.small]
provider = "openai"
model = "{name}"
base_url = "{address}/v1"
constrain = "grammar"
price = {{input = {input}, output = {output}}}
options = {{top_k = {top_k}}}
"""
KILLED_AT = ("execution.after_begin", "execution.after_model", "execution.after_submit")


class Data(NamedTuple):
    """Texts with their domain, None where they are out of scope: a library, a split to calibrate on, one to test."""

    library: list[tuple[str, str]]
    calibration: list[tuple[str, str | None]]
    test: list[tuple[str, str | None]]


def read_data(rng: random.Random) -> Data:
    folder = HERE / "data" / "clinc150"
    splits = json.loads(gzip.decompress((folder / "data_full.json.gz").read_bytes()))
    domains = json.loads((folder / "domains.json").read_text())
    domain_of = {intent: domain for domain, intents in domains.items() for intent in intents}

    def named(rows: list[list[str]], count: int | None = None) -> list[tuple[str, Any]]:
        drawn = rows if count is None else rng.sample(rows, count)
        return [(text, domain_of.get(intent)) for text, intent in drawn]

    return Data(
        library=named(splits["train"]),
        calibration=named(splits["val"], CALIBRATION) + named(splits["oos_val"] + splits["oos_train"]),
        test=named(splits["test"], IN_SCOPE) + named(splits["oos_test"], OUT_OF_SCOPE),
    )


class Library:
    """The worked cases, looked up as the plane does."""

    def __init__(self, cases: list[tuple[str, str]]) -> None:
        self._cases = cases
        self._index = Nearest([text for text, _ in cases])

    def near(self, text: str) -> list[dict[str, Any]]:
        return [
            {"input": {"text": self._cases[place][0]}, "output": self._cases[place][1], "likeness": likeness}
            for place, likeness in self._index.top(text, NEAREST)
        ]

    def routed(self, rows: list[tuple[str, str | None]]) -> list[Routed]:
        return [Routed(wanted, [(e["output"], e["likeness"]) for e in self.near(text)]) for text, wanted in rows]

    def supported(self, output: str, input: dict[str, str]) -> dict[str, Any]:  # noqa: A002 - what checks are given
        """Whether most of the nearest cases have this domain, and they are cases of the same kind at all."""
        near = self.near(input["text"])
        same = [case["likeness"] for case in near if case["output"] == output]
        return {"passed": len(same) > NEAREST // 2 and sum(same) / len(same) >= self.likeness, "detail": "unlike them"}

    likeness = 0.0


@contextmanager
def small_model(top_k: int, address: str) -> Any:
    """Greedy with a `top_k` of 1; else it draws at the server's temperature of 0.8."""
    models = config.load(environ={"AGENTMEMO_MODELS": models_text(top_k, address)})
    steps = ModelSteps(models)
    try:
        yield steps
    finally:
        steps.close()


def models_text(top_k: int, address: str) -> str:
    return MODELS.format(name=local_model.NAME, address=address, top_k=top_k, **PRICE)


def arms(document: dict[str, Any], library: Library) -> dict[str, Any]:
    """What rung 1 is given: a bare question, the document's instruction, and that with the nearest cases."""
    route = document["steps"][0]
    bare = {"instruction": "Which domain?", "output_schema": route["output_schema"]}
    prose = {**bare, "instruction": route["instruction"]}
    return {
        "none": lambda text: NextStep(**STEP, **bare, input={"text": text}),
        "prose": lambda text: NextStep(**STEP, **prose, input={"text": text}),
        "prose and cases": lambda text: NextStep(**STEP, **prose, input={"text": text}, examples=library.near(text)),
    }


STEP = {"step": "route", "kind": "llm", "attempt": 1, "model": "small"}


def ask(steps: ModelSteps, step: NextStep) -> figures.Said:
    began = time.perf_counter()
    told = steps.ask(steps.prepare(step, []), calls_for_model([]))
    seconds = time.perf_counter() - began
    return figures.Said(told.output, told.input_tokens or 0, told.output_tokens or 0, seconds)


def measure_arms(data: Data, document: dict[str, Any], library: Library, address: str) -> figures.Said:
    """Rung 1 alone, on in-scope texts. Returns the mean call with cases, which is what is priced."""
    rows = [row for row in data.test if row[1] is not None][:MODEL_CASES]
    with small_model(1, address) as steps:
        for name, make in arms(document, library).items():
            said = [ask(steps, make(text)) for text, _ in rows]
            right = sum(one.output == wanted for one, (_, wanted) in zip(said, rows, strict=True))
            figures.say_share(f"rung 1, {name}: right", right, len(rows))
            mean = figures.mean_call(said)
            print(f"    {mean.input_tokens} + {mean.output_tokens} tokens, {mean.seconds:.1f} s a call")
    with small_model(40, address) as steps:
        make = arms(document, library)["prose and cases"]
        tries = [[ask(steps, make(text)).output == wanted for _ in range(4)] for text, wanted in rows[:REPEATED]]
    figures.say_share("rung 1 at temperature 0.8: pass^1", sum(map(sum, tries)), 4 * REPEATED)
    figures.say_share("rung 1 at temperature 0.8: pass^4", sum(map(all, tries)), REPEATED)
    print("rung 0 gives the same each time: its pass^4 is its pass^1")
    return mean


def open_plane(folder: str, address: str) -> agentmemo.Connection:
    os.environ["AGENTMEMO_MODELS"] = models_text(1, address)
    # A draft is done by the top of its ladder; here the ladder itself is what is measured.
    rungs.first = lambda *_: 0
    return agentmemo.connect(folder, agent="bench")


def prepare_plane(agent: agentmemo.Connection, document: dict[str, Any], data: Data, library: Library) -> None:
    examples = [{"step": "route", "input": {"text": text}, "output": domain} for text, domain in data.library]
    ladder = [{"model": "none", "likeness": library.likeness}, {"model": "small", "max_output_tokens": 16}]
    agent.workflows.add({**document, "ladder": ladder, "examples": examples})
    agent.workflows.register(library.supported, "supported", "read")


def execute(agent: agentmemo.Connection, text: str, key: str) -> Any:
    """Up the ladder; where a person is asked, the expert would do it, and it is left."""
    left = agent.workflows.start("route-request", {"text": text}, key=key, driver="plane")
    return agent.workflows.drive(agent.workflows.resume(left.id), wait=False)


def measure_ladder(agent: agentmemo.Connection, data: Data) -> figures.Shares:
    """The whole ladder through the plane. Of ten texts one is out of scope."""
    in_scope = [row for row in data.test if row[1] is not None][-LADDER_CASES * 9 // 10 :]
    strange = [row for row in data.test if row[1] is None][: LADDER_CASES - len(in_scope)]
    seen: list[figures.Climbed] = []
    began = time.perf_counter()
    for number, (text, wanted) in enumerate([*in_scope, *strange]):
        done = execute(agent, text, f"case-{number}")
        rows = list(agent.ledger.list(run=done.id))
        said = done.result["domain"] if done.state == "completed" else None
        seen.append(figures.Climbed(wanted, said, rung=1 if rows else 0))
    print(f"{len(seen)} executions through the plane, {(time.perf_counter() - began) / len(seen):.2f} s each")
    rows = list(agent.ledger.list(limit=500))
    print(f"ledger: {len(rows)} calls, {sum(row.nanousd or 0 for row in rows)} nano-dollars, all settled: "
          f"{all(row.state == 'settled' for row in rows)}")  # fmt: skip
    return figures.say_ladder(seen)


def measure_resumption(agent: agentmemo.Connection, data: Data, library: Library, folder: str, address: str) -> None:
    """Kill -9 around the model call, and go on in this process: the same output, and what the ledger says of it."""
    text = next(text for text, wanted in data.test if wanted and agreed(rung_0(library, text)).output is None)
    whole = execute(agent, text, "whole")
    paid = sum(row.nanousd or 0 for row in agent.ledger.list(run=whole.id))
    for point in KILLED_AT:
        environment = {**os.environ, "AGENTMEMO_TEST_CRASH": point}
        child = [sys.executable, __file__, "--child", folder, address, text, point]
        subprocess.run(child, env=environment, check=False)
        left = agent.workflows.start("route-request", {"text": text}, key=point, driver="plane")
        ended = (
            left
            if left.state in ("completed", "waiting")
            else agent.workflows.drive(agent.workflows.resume(left.id), wait=False)
        )
        rows = list(agent.ledger.list(run=left.id))
        settled = sum(row.nanousd or 0 for row in rows if row.state == "settled")
        print(f"killed at {point}: same end {(ended.state, ended.result) == (whole.state, whole.result)}, "
              f"settled {settled} of {paid} nano-dollars, other rows: "
              f"{[row.state for row in rows if row.state != 'settled']}")  # fmt: skip


def rung_0(library: Library, text: str) -> NextStep:
    return NextStep(**STEP, examples=library.near(text), likeness=library.likeness)


def main() -> None:
    rng, began = random.Random(SEED), time.perf_counter()
    print(f"downgrade-150, seed {SEED}, {platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    data = read_data(rng)
    document = document_in(HERE / "workflows" / "route-request.yaml")
    library = Library(data.library)
    calibration, test = library.routed(data.calibration), library.routed(data.test)
    library.likeness = figures.choose(calibration, GRID)
    figures.say_rung_0(test, library.likeness)
    figures.say_decisions(test, library.likeness, rng, replays=50 if QUICK else 200)
    figures.say_drift(test, library.likeness, rng)
    with tempfile.TemporaryDirectory() as folder, local_model.running(Path(folder) / "model") as address:
        mean = measure_arms(data, document, library, address)
        with open_plane(f"{folder}/plane", address) as agent:
            prepare_plane(agent, document, data, library)
            shares = measure_ladder(agent, data)
            measure_resumption(agent, data, library, f"{folder}/plane", address)
    figures.say_savings(mean, shares, PRICE)
    print(f"{time.perf_counter() - began:.0f} s in all, load at the end {os.getloadavg()[0]:.1f}")


def child(folder: str, address: str, text: str, key: str) -> None:
    """An execution in a process that is killed on the way."""
    library = Library(read_data(random.Random(SEED)).library)
    with open_plane(folder, address) as agent:
        agent.workflows.register(library.supported, "supported", "read")
        execute(agent, text, key)


if __name__ == "__main__":
    child(*sys.argv[2:]) if sys.argv[1:2] == ["--child"] else main()
