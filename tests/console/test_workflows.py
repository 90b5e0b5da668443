"""Workflows in the console: documents, evidence, executions, savings, and what people do with them."""

from __future__ import annotations

import pytest
from axe_playwright_python.sync_playwright import Axe
from list_prices import CHEAP, SMART, ListPrices
from playwright.sync_api import expect

from agentmemo.model.access import Grant
from agentmemo.testing.models import ScriptedModels

PHONE = {"width": 390, "height": 844}
LADDER = [CHEAP, SMART]
REVIEW = {
    "name": "code-review",
    "designed_by": {"model": SMART, "cost_nanousd": 20_000_000},
    "description": "Reviews a pull request and posts one comment with ranked findings",
    "triggers": ["a pull request was opened"],
    "inputs": {
        "type": "object",
        "required": ["number"],
        "properties": {
            "number": {"type": "integer", "title": "Pull request"},
            "depth": {"enum": ["quick", "full"], "type": "string"},
        },
    },
    "steps": [
        {"id": "fetch", "kind": "tool", "tool": "fetch_diff", "input": {"number": "$inputs.number"}, "effect": "read"},
        {
            "id": "look",
            "title": "Find risks",
            "instruction": "Review {$steps.fetch.output}",
            "ladder": LADDER,
            "output_schema": {
                "type": "object",
                "required": ["risk"],
                "properties": {"risk": {"enum": ["low", "high"]}},
            },
        },
        {
            "id": "write",
            "title": "Write the comment",
            "instruction": "Say what the risk is",
            "ladder": LADDER,
            "checks": [{"kind": "expression", "expression": "size(output) > 3"}],
        },
    ],
    "edge_cases": [{"id": "locks", "when": "only lock files changed", "then": "check the names"}],
    "budget": {"run_nanousd": 500_000_000},
    "quality": {"min_runs": 5},
}
EVIL = "<script>alert(1)</script>"


class Flows:
    """A workflow with two versions, and executions of it by scripted models."""

    def __init__(self, world):
        self.world = world
        self.agent = world.other("code-review")
        world.plane.engine.prices = ListPrices()
        self.agent.workflows.add(REVIEW)
        self.models = ScriptedModels({name: self.say for name in LADDER})
        self.agent.workflows.use(self.models)
        self.agent.workflows.register(lambda number: f"diff of {number}", "fetch_diff", "read")
        self.bad = 0

    def say(self, step):
        self.world.clock.advance(1)
        if step.step == "write":
            return "The risk is low."
        self.bad -= 1
        return {"risk": "none" if self.bad >= 0 else "low"}

    def run(self, times=1, *, bad=0):
        done = None
        for number in range(times):
            self.bad = bad
            done = self.agent.workflows.execute("code-review", number=number)
            self.world.clock.advance(600)
        return done
