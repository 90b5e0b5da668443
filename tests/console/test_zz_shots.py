import pytest
import sys; sys.path.insert(0, "tests/console")
from test_workflows import *
@pytest.fixture(scope="module")
def chromium_(): pass
def test_shots(world, open_tab, monkeypatch):
    flows = Flows(world)
    monkeypatch.setattr("agentmemo.engine.rungs.first", lambda *_: 0, raising=False)
    for n in range(12):
        flows.run(1, bad=0 if n % 4 else 1)
    changed = dict(REVIEW, changes="One edge case from failed runs", edge_cases=[*REVIEW["edge_cases"], {"id":"auth","when":"the diff touches authentication","then":"ask a person","matches":"inputs.number > 100","action":"escalate"}])
    flows.agent.workflows.add(changed)
    done = flows.run(1, bad=3)
    left = flows.agent.workflows.start("code-review", {"number": 5}, driver="plane", key="pr-5")
    for name, opt in (("light", {}), ("phone", {"viewport": PHONE, "color_scheme": "dark"})):
        tab = open_tab(**opt).sign_in()
        for i, path in enumerate(["/", "/workflows", "/workflows/code-review", "/workflows/code-review?version=1", f"/executions/{done.id}", f"/executions/{left.id}", "/savings", "/savings/code-review", "/workflows/code-review/move?version=1&to=shadow", "/workflows/code-review/compare?before=1&after=2"]):
            tab.go(path)
            tab.page.screenshot(path=f"/tmp/w6shots/{name}-{i}.png", full_page=True)
            bad = Axe().run(tab.page).response["violations"]
            print(name, path, tab.text("h1"), [(b["id"], [n["html"][:150] for n in b["nodes"]][:2]) for b in bad], tab.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))
