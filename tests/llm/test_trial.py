"""A trial by a real model, small as it is: a step that chooses a label, with retrieved examples."""

from __future__ import annotations

import local_model as served

from agentmemo.executor.model_steps import ModelSteps
from agentmemo.llm import config
from agentmemo.testing import ManualPlane

EXAMPLES = {
    "card": ["I lost my card", "my card was stolen", "my card does not arrive"],
    "transfer": ["send money to my sister", "my transfer is late", "send a transfer abroad"],
}
CASES = {"my new card does not arrive yet": "card", "the transfer of yesterday is late": "transfer"}


def test_a_small_model_chooses_labels_by_the_nearest_examples(local_model, tmp_path):
    place = tmp_path / "models.toml"
    place.write_text(
        f"""
ladder = ["tiny"]
[models.tiny]
provider = "openai"
model = "{served.NAME}"
base_url = "{local_model}/v1"
constrain = "grammar"
"""
    )
    plane = ManualPlane(tmp_path / "plane.db")
    agent = plane.connect("bot")
    models = ModelSteps(config.load(place))
    agent.workflows.use(models)
    step = {
        "id": "route",
        "instruction": "Which is it, card or transfer?",
        "input": {"text": "$inputs.text"},
        "output_schema": {"enum": list(EXAMPLES)},
        "context": {"examples": 2},
    }
    examples = [
        {"step": "route", "input": {"text": text}, "output": label}
        for label, texts in EXAMPLES.items()
        for text in texts
    ]
    agent.workflows.create(name="route", designed_by="person:ana", steps=[step], examples=examples)
    cases = [{"step": "route", "input": {"inputs": {"text": text}}, "expected": label} for text, label in CASES.items()]
    trial = agent.workflows.trial("route", cases, models=["tiny"], thorough=True)
    (tiny,) = trial.tried
    assert (tiny.n, tiny.abstained, trial.state) == (2, 0, "completed")
    # Right or wrong is its own affair; what it says is one of the labels, and is compared with what was expected.
    wrong = [failed.problems[0] for failed in tiny.failed]
    assert tiny.successes + len(wrong) == 2
    assert all("was expected" in problem for problem in wrong)
    rows = list(agent.ledger.list(run=trial.id))
    assert {(row.role, row.model_served, row.state) for row in rows} == {("verify", served.NAME, "settled")}
    models.close()
    plane.close()
