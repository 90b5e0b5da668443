"""What each page says, that it is whole without JavaScript, and that its JSON twin says the same."""

from __future__ import annotations

import pytest

from agentmemo.model import runs as model
from agentmemo.model.access import Grant


@pytest.fixture
def busy(world):
    """A completed run, a running one, a question; some state."""
    agent = world.agent
    with agent.run("triage", key="monday") as run:
        run.step("list", lambda: [1, 2, 3])
        run.complete({"issues": 3})
    for number in (1, 2, 3):
        agent.state.set("review/pr", "findings", {"round": number})
        world.clock.advance(60)
    agent.state.set("review/pr", "issue", "please", origin="external")
    world.admin.state.set("policies", "merge", "two reviews", origin="human")
    world.asking = world.doubtful()
    world.clock.advance(300)
    run, claim, worker = world.open("scan", "9f31c02", budget=model.Budget(steps=9))
    world.step(claim, worker, "clone", {"commit": "9f31c02"}, seconds=12)
    world.call("run.progress", model.SetProgress(run=run.id, percent=40.0, text="2 of 5"), claim, worker)
    note = model.AddNote(run=run.id, kind="tried", text="the sandbox clock", because="it has no network time")
    world.call("run.note", note, claim, worker)
    world.working = run.id
    return world


@pytest.fixture(params=[True, False], ids=["script", "no script"])
def reader(request, open_tab):
    """The same pages with JavaScript on and off."""
    return open_tab(java_script_enabled=request.param).sign_in()


def test_home_says_what_matters_now(busy, reader):
    assert reader.text("h1") == "One run waits for you. One run is working, no other is stuck."
    assert "In all: one run completed, no failed." in reader.text()
    assert "review, pr-1287: Did it happen?" in reader.text("section[aria-labelledby=h-wait]")
    assert "5 min 12 s since 14:06" in reader.text("section[aria-labelledby=h-wait]")
    working = reader.text("section[aria-labelledby=h-work]")
    assert "scan, 9f31c02" in working
    assert "“2 of 5”" in working
    assert "note.tried scan, 9f31c02, code-review" in reader.text("aside")


def test_home_names_overdue_runs(world, tab):
    with world.agent.run("parked", key="1") as run:
        waiting = run.id
        worker = world.agent._plane.worker()
        park = model.ParkRun(run=waiting, name="wait", key="1", kind="signal", signal="go")
        world.call("run.park", park, run._hold().claim(), worker)
        run._finished = True
    tab.go("/")
    assert tab.text("h1") == "Nobody waits for you. No runs are working, none is stuck."
    world.clock.advance(25 * 3600)
    tab.page.reload()
    tab.sign_in()
    assert tab.text("h1") == "Nobody waits for you. No runs are working, one is overdue."
    assert "parked, 1 Waits for a signal." in tab.text("section[aria-labelledby=h-stuck]")


def test_runs_are_listed_filtered_and_walked(busy, reader):
    reader.go("/runs")
    assert reader.text("h1") == "Three runs."
    rows = reader.page.locator("tbody tr")
    assert [row.split("\n")[0] for row in rows.all_inner_texts()] == [
        "scan, 9f31c02",
        "review, pr-1287",
        "triage, monday",
    ]
    reader.page.get_by_role("link", name="Completed", exact=True).click()
    assert reader.text("h1") == "One completed run."
    reader.go("/runs?state=failed")
    assert reader.text("h1") == "No run fits this filter."
    reader.page.get_by_role("link", name="See every run").click()
    assert reader.page.url.endswith("/runs")


def test_long_lists_go_on_behind_a_cursor(world, tab):
    for number in range(53):
        with world.agent.run("many", key=f"{number:03}"):
            pass
    tab.go("/runs?name=many")
    assert tab.text("h1") == "The 50 newest runs of this list."
    tab.page.get_by_role("link", name="Older").click()
    assert tab.page.locator("tbody tr th a").all_inner_texts() == ["many, 002", "many, 001", "many, 000"]
    tab.go("/events")
    first = tab.page.locator("tbody tr").count()
    tab.page.get_by_role("link", name="Older").click()
    assert (first, tab.page.locator("tbody tr").count()) == (50, 50)


def test_a_running_run_shows_steps_notes_events_and_why(busy, reader):
    reader.go(f"/runs/{busy.working}")
    assert reader.text("h1") == "scan 9f31c02"
    assert "It is held by agent:code-review, process 880 on build-3" in reader.text(".sub >> nth=0")
    assert "40 % done “2 of 5”" in reader.text("#p-head")
    steps = reader.text("#p-steps")
    assert "1 of 1 done" in steps
    assert "Completed" in steps
    assert "12 s" in steps
    notes = reader.text("#p-notes")
    assert "Tried, failed: the sandbox clock it has no network time" in notes
    assert "code-review, agent; agent's words, not verified" in notes
    assert reader.page.locator("#p-events tbody tr").first.inner_text().split()[2:] == [
        *("note.tried,", "epoch", "1", "code-review")
    ]
    assert "1 of 9 steps" in reader.text("#p-about")


def test_a_step_shows_its_result_on_demand(busy, reader):
    reader.go(f"/runs/{busy.working}")
    reader.page.locator("summary", has_text="clone").click()
    assert '"commit": "9f31c02"' in reader.text("#p-steps details[open]")


def test_a_finished_run_shows_its_result(busy, reader):
    reader.go("/runs?state=completed")
    reader.page.get_by_role("link", name="triage, monday").click()
    assert '"issues": 3' in reader.text("#p-value-2")
    assert reader.page.locator("#do-cancel").count() == 0


def test_an_error_is_quoted_with_its_author(world, reader):
    run, claim, worker = world.open("build", "1")
    world.call("run.fail", model.FailRun(run=run.id, reason="The linker found no -lssl."), claim, worker)
    reader.go(f"/runs/{run.id}")
    assert reader.text(".sub") == "It is failed. Since 14:02:00 UTC."
    assert "The linker found no -lssl. code-review, agent; agent's words, not verified" in reader.text(".said.agent")


def test_a_takeover_is_shown_between_the_steps(busy, reader):
    reader.go(f"/runs/{busy.asking}")
    rows = reader.page.locator("#p-steps tbody tr").all_inner_texts()
    assert [row.split()[1] if "took" not in row else "takeover" for row in rows] == ["fetch", "post", "takeover"]
    assert "another worker took the run over" in rows[2]
    assert "One finished step came from the store." in rows[2]


def test_state_from_namespaces_to_a_difference(busy, reader):
    reader.go("/state")
    assert reader.text("h1") == "Three entries in two namespaces."
    reader.page.get_by_role("link", name="review/pr").click()
    assert reader.text("h1") == "review/pr Two keys."
    reader.page.get_by_label("Keys that begin with").fill("fin")
    reader.page.get_by_role("button", name="Filter").click()
    assert reader.text("h1") == "review/pr One key."
    reader.page.get_by_role("link", name="findings").click()
    assert reader.text("h1") == "findings"
    assert "code-review wrote version 3 at 14:04:00 UTC." in reader.text(".sub")
    assert '"round": 3' in reader.text("pre")
    reader.page.get_by_role("link", name="with 2").click()
    difference = reader.page.get_by_role("region", name="Difference").inner_text()
    assert '-  "round": 2' in difference
    assert '+  "round": 3' in difference


def test_state_as_it_was(busy, reader):
    revisions = [entry.revision for entry in busy.agent.state.history("review/pr", "findings").items]
    reader.go("/state/entry?namespace=review%2Fpr&key=findings")
    reader.page.get_by_label("At revision").fill(str(revisions[-1]))
    reader.page.get_by_role("button", name="Show").click()
    assert '"round": 1' in reader.text("pre")
    assert "findings as it was." in reader.text("h1")


def test_trust_and_origin_stand_beside_every_value(busy, reader):
    reader.go("/state/entry?namespace=review%2Fpr&key=issue")
    assert "code-review, agent; from outside, not verified" in reader.text(".said.external")
    reader.go("/state/entry?namespace=policies&key=merge")
    assert "root, person; verified" in reader.text(".said.verified")


def test_a_deleted_entry_keeps_its_history(busy, reader):
    busy.agent.state.delete("review/pr", "issue")
    reader.go("/state/entry?namespace=review%2Fpr&key=issue")
    assert reader.text("h1") == "issue was deleted."
    reader.page.get_by_role("link", name="1", exact=True).click()
    assert "please" in reader.text("pre")


def test_events_are_filtered(busy, reader):
    reader.go("/events")
    reader.page.get_by_label("Operation").fill("state.*")
    reader.page.get_by_label("Actor").fill("code-review")
    reader.page.get_by_label("Since, UTC").fill("2026-11-23T14:04")
    reader.page.get_by_role("button", name="Filter").click()
    assert reader.text("h1") == "Two events fit."
    assert "review/pr findings" in reader.text("tbody")
    reader.page.locator("tbody a").first.click()
    assert reader.text("h1") == "state.set by code-review"
    assert "Commits to value" in reader.text()
    reader.go("/events?text=nothing-like-this")
    assert reader.text("h1") == "No event fits this filter."
    reader.page.get_by_role("link", name="Clear the filter").click()
    assert reader.page.url.endswith("/events")


def test_empty_pages_say_what_comes_first(world, reader):
    assert reader.text("h1") == "Nothing has run here yet. Your first run takes a minute."
    assert "agentmemo demo" in reader.text()
    reader.go("/runs")
    assert reader.text("h1") == "Nothing has run here yet."
    reader.go("/state")
    assert reader.text("h1") == "Nothing is remembered here yet."
    reader.go("/inbox")
    assert reader.text("h1") == "Nobody asks anything. No agent has asked yet."
    assert "agent.escalate(" in reader.text()
    asked = world.agent.escalations.create(severity="low", reason="Ready?", wait=False)
    world.admin.inbox.answer(asked.id, "answer", comment="yes")
    world.clock.advance(1200)
    reader.page.reload()
    assert reader.text("h1") == "Nobody asks anything. The last question ended 20 min ago."


def test_errors_say_what_happened_and_what_next(world, tab):
    answer = tab.go("/runs/run_06zzzzzz")
    assert answer.status == 404
    assert "run_06zzzzzz" in tab.text("h1")
    assert "not_found, 404" in tab.text(".crumb")
    assert tab.go("/nowhere").status == 404
    assert tab.text("h1") == "There is no page /nowhere."
    assert tab.go("/runs?state=sleepy").status == 400
    assert "Unknown state 'sleepy'." in tab.text("h1")
    assert tab.go("/runs/run_06zzzzzz/cancel").status == 405
    assert tab.go("/state/entry?namespace=a&key=b&version=x").status == 400
    assert tab.go("/events?cursor=x").status == 400


def test_twins_equal_the_data_of_their_pages(busy, tab):
    for path in (
        "/",
        "/runs",
        f"/runs/{busy.working}",
        f"/runs/{busy.asking}",
        "/state",
        "/state?namespace=review%2Fpr",
        "/state/entry?namespace=review%2Fpr&key=findings&version=3&against=1",
        "/events?type=run.*",
    ):
        tab.go(path)
        address = tab.page.get_by_role("link", name="This page as JSON").get_attribute("href")
        data = tab.json(address)
        shown = tab.text()
        for said in ("headline", "context", "why"):
            if data.get(said) and not data.get("question"):
                assert " ".join(data[said].split())[:40] in shown, path
        for event in data.get("events") or []:
            assert event["operation"] in shown
        for run in data.get("runs", []):
            assert run["key"] in shown
        for entry in data.get("entries", []):
            assert entry["key"] in shown
        for row in data.get("steps", []):
            assert row["step"]["name"] in shown
        for row in data.get("notes", []):
            assert row["note"]["text"] in shown
        for entry in data.get("versions", []):
            assert str(entry["revision"]) in shown


def test_the_twin_of_a_run_is_the_run(busy, tab):
    data = tab.json(f"/runs/{busy.asking}.json")
    run = busy.agent.runs.get(busy.asking)
    assert data["run"]["id"] == run.id
    assert data["run"]["state"] == run.state
    assert data["run"]["updated_at"] == run.updated_at
    assert data["question"]["named"] == "post/1"
    assert [row["step"]["name"] for row in data["steps"]] == ["fetch", "post"]


def test_a_person_with_few_rights_sees_what_these_allow(busy, open_tab):
    grants = [Grant(permissions=("runs:read", "state:read"), namespaces=("policies",))]
    key = busy.admin.keys.create("person", "eve", grants=grants)
    tab = open_tab().sign_in(key.secret)
    assert "Your key does not let you read the trail." in tab.text("aside")
    tab.go("/state")
    assert tab.text("h1") == "One entry in one namespace."
    tab.go(f"/runs/{busy.asking}")
    assert "Your key may not decide this." in tab.text("#question")
    assert tab.page.get_by_role("button", name="It happened, go on").count() == 0
    assert tab.go("/events").status == 403
    denials = busy.admin.audit.events(outcome="denied", actor="person:eve").items
    assert [event.operation for event in denials] == ["audit.events"]


def test_one_click_suspends_a_rule_that_decided_wrongly(world, tab):
    person, agent = world.admin, world.agent
    with agent.run("triage", "1"):
        pass
    for number in (1, 2, 3):
        decided = agent.guards.check("label", {"issue": number}, annotations={"reversible": True})
        asked = agent.escalations.create(
            severity="low",
            reason="Label it?",
            context="triage",
            action={"tool": "label", "arguments": {"issue": number}},
            guard=decided.revision,
            wait=False,
        )
        person.inbox.answer(asked.id, "approve")
    (found,) = person.guards.precedents()
    person.guards.promote(found.id)
    while not list(person.guards.reviews()):
        agent.guards.check("label", {"issue": 1}, annotations={"reversible": True})
    tab.go("/")
    tab.page.get_by_role("link", name="One decision to look at").click()
    tab.page.get_by_role("button", name="Object to label").click()
    assert tab.page.url == f"{world.url}/reviews"
    assert tab.page.get_by_role("button", name="Object").count() == 0
    assert agent.guards.check("label", {"issue": 1}, annotations={"reversible": True}).verdict == "ask"
    (review,) = person.guards.reviews()
    assert review.objected_by == "person:ada"
