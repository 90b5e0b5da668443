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
        self.models = ScriptedModels(dict.fromkeys(LADDER, self.say))
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


@pytest.fixture(scope="module")
def flows(make_world, tmp_path_factory):
    """Five executions of the first version, one of which needed the stronger model; a second version; one left."""
    world = make_world(tmp_path_factory.mktemp("flows") / "plane.db")
    made = Flows(world)
    with pytest.MonkeyPatch.context() as patched:  # as if the cheap model were good enough
        patched.setattr("agentmemo.engine.rungs.first", lambda *_: 0)
        made.run(4)
        made.last = made.run(1, bad=2)
    case = {"id": "auth", "when": "the diff touches authentication", "then": "ask a person"}
    made.agent.workflows.add(
        REVIEW | {"changes": "One edge case from a failed run", "edge_cases": [*REVIEW["edge_cases"], case]}
    )
    made.left = made.agent.workflows.start("code-review", {"number": 5}, driver="plane", key="pr-5")
    made.agent.workflows.add(
        {"name": "copied", "designed_by": EVIL, "description": EVIL, "steps": [{"id": "say", "instruction": EVIL}]},
        untrusted=True,
    )
    yield made
    world.close()


@pytest.fixture
def tab(browser, flows, make_tab):
    opened = make_tab(browser, flows.world).sign_in()
    yield opened
    opened.close()
    assert (opened.complaints, opened.dialogs) == ([], [])


def test_the_list_says_how_each_fares_and_finds_by_words(flows, tab):
    tab.go("/workflows")
    assert tab.text("h1") == "Two workflows, none proven."
    row = tab.text("#p-list tbody tr:has-text('code-review')")
    assert "number 2 of 2 unproven" in row
    assert "6 1 unfinished" in row
    assert "100.0 % 5 of 5" in row
    assert "untrusted" in tab.text("#p-list tbody tr:has-text('copied')")
    tab.page.get_by_label("What do you want done?").fill("look at a pull request")
    tab.page.get_by_role("button", name="Search").click()
    assert tab.text("h1") == "One workflow fits “look at a pull request”."
    tab.go("/")
    assert "Two workflows, none active. One execution is unfinished. One is untrusted." in tab.text("aside")


def test_a_workflow_shows_document_evidence_executions_trials_and_cost(flows, browser, make_tab):
    tab = make_tab(browser, flows.world, java_script_enabled=False).sign_in()
    tab.go("/workflows/code-review?version=1")
    assert tab.text("h1").startswith("code-review Reviews a pull request")
    assert "Of six executions, five were completed, at $0.00" in tab.text(".sub >> nth=0")
    steps = tab.text("#p-document")
    for said in (
        "fetch_diff tool read",
        "Find risks",
        "ladder: cheap-1, smart-1",
        "size(output) > 3",
        "only lock files",
    ):
        assert said in steps
    evidence = tab.text("#p-evidence")
    assert "2. Find risks" in evidence
    assert f"{SMART} does it" in evidence
    assert tab.page.locator("#p-evidence svg.ci").count() > 2
    assert tab.page.locator("#p-rates svg title").count() >= 2
    assert "pr-5" in tab.text("#p-executions")
    assert "Nothing was tried on cases yet." in tab.text("#p-trials")
    assert "Estimated at list prices" in tab.text("#p-savings")
    assert "no run was done by the smart model too" in tab.text("#p-savings")
    tab.page.get_by_role("button", name="Compare").click()
    assert tab.text("h1") == "Two changes from 1 to 2. One step keeps its evidence."
    assert "auth" in tab.text()
    twin = tab.json("/workflows/code-review.json?version=1")
    assert twin["document"]["steps"][1]["id"] == "look"
    rungs = {each["model"]: each for each in twin["evidence"]["groups"][0]["rungs"]}
    assert (rungs[CHEAP]["successes"], rungs[CHEAP]["failures"], rungs[SMART]["used"]) == (4, 1, True)
    tab.close()


def test_an_execution_shows_every_attempt_with_its_cost(flows, tab):
    tab.go("/workflows/code-review")
    tab.go(f"/executions/{flows.last.id}")
    rows = tab.text("#p-attempts")
    assert "Failed its checks" in rows
    assert "not one of" in rows
    assert "It is completed; three steps were done." in tab.text()
    tab.page.get_by_role("link", name="steps, notes and events of its run").click()
    assert tab.page.url.endswith(f"/runs/{flows.last.id}")
    tab.go(f"/executions/{flows.left.id}")
    assert "It waits for a worker that drives workflows" in tab.text(".sub >> nth=0")
    assert tab.json(f"/executions/{flows.left.id}.json")["execution"]["state"] == "pending"


def test_savings_keep_what_was_measured_and_what_is_estimated_apart(flows, tab):
    tab.go("/savings")
    assert tab.text("h1") == "Savings of 1 workflow: 1 estimated."
    tab.page.get_by_role("link", name="code-review").click()
    assert "saved, by estimate. At the list price of smart-1; 20 more audited runs would measure it." in tab.text("h1")
    title = tab.page.locator("svg.chart title").text_content()
    assert "estimated at list prices. It pays from run" in title
    assert "Measured no run was done by the smart model too not measured" in tab.text("table >> nth=0")
    assert tab.json("/savings/code-review.json")["figures"]["headline"] == "list"


def test_people_start_executions_from_the_page(flows, tab):
    tab.go("/workflows/code-review")
    tab.page.get_by_label("Pull request (needed)").fill("twelve")
    tab.page.get_by_role("button", name="Execute number 2").click()
    assert tab.text("h1") == "number is 'twelve', which is no integer."
    tab.go("/workflows/code-review")
    tab.page.get_by_label("Pull request (needed)").fill("12")
    tab.page.get_by_label("depth").select_option("quick")
    tab.page.get_by_label("Key; the same again").fill("by-ada")
    tab.page.get_by_role("button", name="Execute number 2").click()
    tab.page.wait_for_url("**/executions/*")
    made = flows.agent.workflows.execution(tab.page.url.rpartition("/")[2])
    assert (made.driver, made.state) == ("plane", "pending")
    assert flows.agent.runs.get(made.id).inputs == {"number": 12, "depth": "quick"}
    flows.agent.runs.cancel(made.id, "done here")


def test_people_move_versions_with_a_reason_after_a_look_at_the_evidence(make_world, tmp_path, browser, make_tab):
    world = make_world(tmp_path / "plane.db")
    made = Flows(world)
    made.run(1)
    tab = make_tab(browser, world).sign_in()
    tab.go("/workflows/code-review")
    tab.page.get_by_role("link", name="Make it active").click()
    assert "Of one execution of this version, one was completed" in tab.text()
    assert "2. Find risks" in tab.text()
    tab.page.get_by_label("Reason, for the trail").fill("It looks good.")
    tab.page.get_by_role("button", name="Make it active, as ada").click()
    assert "It looks good." in tab.text(".said")  # refused for want of evidence, with the reason kept to be copied
    assert made.agent.workflows.get("code-review").state == "draft"

    tab.go("/workflows/code-review")
    tab.page.get_by_role("link", name="Try it beside the others").click()
    stale = tab.page.url
    tab.page.get_by_label("Reason, for the trail").fill("See what it does.")
    tab.page.get_by_role("button", name="Try it beside the others, as ada").click()
    tab.page.wait_for_url("**/workflows/code-review?version=*")
    assert made.agent.workflows.get("code-review").state == "shadow"
    event = world.admin.audit.events(type="workflow.move", newest_first=True).items[0]
    assert (event.actor, event.reason, event.subject["to"]) == ("person:ada", "See what it does.", "shadow")
    tab.go(stale.removeprefix(world.url))
    assert "is shadow; it cannot become shadow" in tab.text("h1")

    version = made.agent.workflows.get("code-review").version
    form = {"version": version, "to": "retired", "seen": "shadow", "reason": "x"}
    answer = tab.context.request.post(f"{world.url}/workflows/code-review/move", form=form)
    assert answer.status == 403
    answer = tab.context.request.post(f"{world.url}/workflows/code-review/start", form={"inputs": "{}"})
    assert answer.status == 403
    assert made.agent.workflows.get("code-review").state == "shadow"
    tab.close()
    world.close()


def test_whoever_may_not_sees_and_does_nothing(flows, browser, make_tab):
    world = flows.world
    blind = world.admin.keys.create("person", "blind", grants=[Grant(permissions=("runs:read",))])
    tab = make_tab(browser, world).sign_in(blind.secret)
    for path in ("/workflows", "/workflows/code-review", f"/executions/{flows.last.id}", "/savings"):
        assert tab.go(path).status == 403
        assert "code-review" not in tab.text("h1")
    tab.close()
    reader = world.admin.keys.create("person", "reader", grants=[Grant(permissions=("workflows:read",))])
    tab = make_tab(browser, world).sign_in(reader.secret)
    tab.go("/workflows/code-review")
    assert "Your key may not move versions." in tab.text("#p-moves")
    assert tab.page.locator("#do-start").count() == 0
    assert "not yours to read" in tab.text("#p-executions")
    assert tab.go("/workflows/code-review/move?version=1&to=shadow").status == 403
    assert tab.go(f"/executions/{flows.last.id}").status == 200
    token = tab.page.locator("[name=token]").first.get_attribute("value")
    form = {"token": token, "version": "1", "to": "shadow", "seen": "draft", "reason": "x"}
    assert tab.context.request.post(f"{world.url}/workflows/code-review/move", form=form).status == 403
    assert tab.context.request.post(f"{world.url}/workflows/code-review/start", form={"token": token}).status == 403
    assert world.agent.workflows.get("code-review", version=1).state == "draft"
    tab.close()


def test_a_page_follows_what_happens_to_its_workflow(flows, tab):
    tab.go("/workflows/code-review")
    made = flows.agent.workflows.start("code-review", {"number": 77}, driver="plane", key="live")
    expect(tab.page.locator("#p-executions")).to_contain_text("live")
    tab.go(f"/executions/{made.id}")
    flows.agent.runs.cancel(made.id, "not needed")
    expect(tab.page.locator("#p-head")).to_contain_text("Cancelled")


def test_an_empty_plane_says_how_to_begin(tab, world, open_tab):
    del tab
    fresh = open_tab().sign_in()
    fresh.go("/workflows")
    assert fresh.text("h1") == "Nothing was designed yet."
    assert "agent.workflows.create(" in fresh.text()
    fresh.go("/savings")
    assert "agent.workflows.execute" in fresh.text()


@pytest.mark.parametrize("options", [{}, {"viewport": PHONE, "color_scheme": "dark"}], ids=["light", "dark phone"])
def test_axe_finds_nothing(flows, browser, make_tab, options):
    tab = make_tab(browser, flows.world, **options).sign_in()
    for path in (
        "/workflows",
        "/workflows/code-review?version=1",
        "/workflows/code-review/compare?before=1&after=2",
        "/workflows/code-review/move?version=1&to=active",
        f"/executions/{flows.last.id}",
        "/savings/code-review",
    ):
        tab.go(path)
        assert tab.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0
        found = Axe().run(tab.page).response["violations"]
        assert [(each["id"], each["nodes"][0]["html"]) for each in found] == [], path
        assert tab.page.locator("script:not([src])").count() == 0
    assert (tab.complaints, tab.dialogs) == ([], [])
    tab.close()
