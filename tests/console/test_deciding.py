"""What a person does to a run: answer its question, by mouse and by keyboard, cancel it, fork it."""

from __future__ import annotations

import pytest

from agentmemo.model import runs as model


@pytest.fixture(params=[True, False], ids=["script", "no script"])
def person(request, open_tab):
    return open_tab(java_script_enabled=request.param).sign_in()


def resolution(world, run):
    """(decision, who, comment) of the last answer."""
    event = world.admin.audit.events(run=run, type="run.resolve", newest_first=True).items[0]
    return event.subject["decision"], event.actor, event.reason


def test_it_happened_by_mouse(world, person):
    run = world.doubtful()
    person.go("/")
    person.page.get_by_role("link", name="review, pr-1287: Did it happen?").click()
    assert "Did post/1 happen?" in person.text("#question")
    assert f"{run}/post/1" in person.text("#question")
    person.page.get_by_label("what it returned").fill('{"comment": 7}')
    person.page.get_by_label("Comment, for the trail").fill("It is there.")
    person.page.get_by_role("button", name="It happened, go on").click()
    assert person.page.url == f"{world.url}/runs/{run}"
    assert person.page.locator("#question form").count() == 0
    assert resolution(world, run) == ("happened", "person:ada", "It is there.")
    step = world.agent.runs.steps(run).items[1]
    assert (step.state, step.result) == ("completed", {"comment": 7})
    calls = []
    with world.agent.run("review", key="pr-1287") as again:
        again.step("fetch", lambda: calls.append("fetch"))
        assert again.step("post", lambda: calls.append("post"), effect="write") == {"comment": 7}
    assert calls == []


def test_send_once_more_by_keyboard_alone(world, person):
    run = world.doubtful()
    person.go(f"/runs/{run}")
    keyboard = person.page.keyboard
    for _ in range(40):
        keyboard.press("Tab")
        focused = person.page.locator(":focus")
        if focused.count() and focused.get_attribute("value") == "retry":
            break
    else:
        pytest.fail("Tab never reached the answer")
    keyboard.press("Enter")
    person.page.wait_for_url(f"{world.url}/runs/{run}")
    person.page.locator("#question form").wait_for(state="detached")
    assert resolution(world, run)[:2] == ("retry", "person:ada")
    assert world.agent.runs.steps(run).items[1].decision == "retry"


def test_enter_in_a_text_field_decides_nothing(world, person):
    run = world.doubtful()
    person.go(f"/runs/{run}")
    for label in ("what it returned", "Comment, for the trail"):
        person.page.get_by_label(label).press("Enter")
    assert world.agent.runs.get(run).wake == "person"
    assert not world.admin.audit.events(run=run, type="run.resolve").items


def test_a_result_that_is_no_json_is_kept_for_correction(world, person):
    run = world.doubtful()
    person.go(f"/runs/{run}")
    person.page.get_by_label("what it returned").fill('{"comment": ')
    person.page.get_by_role("button", name="It happened, go on").click()
    assert person.text("h1") == "What it returned is not valid JSON."
    assert '{"comment":' in person.text(".said")
    assert world.agent.runs.get(run).wake == "person"


def test_an_answer_that_comes_too_late_says_who_was_first(world, open_tab):
    run = world.doubtful()
    tab = open_tab(java_script_enabled=False).sign_in()
    tab.go(f"/runs/{run}")
    world.admin.runs.resolve(run, "retry", comment="It is not there.")
    tab.page.get_by_label("Comment, for the trail").fill("I saw it.")
    tab.page.get_by_role("button", name="It happened, go on").click()
    assert tab.text("h1") == "root answered before you: retry."
    assert "I saw it." in tab.text(".said")
    tab.page.get_by_role("link", name="Go to the run").click()
    assert tab.page.url == f"{world.url}/runs/{run}"
    assert resolution(world, run)[0] == "retry"


def test_a_changed_question_is_not_answered_by_mistake(world, open_tab):
    run = world.doubtful()
    tab = open_tab(java_script_enabled=False).sign_in()
    tab.go(f"/runs/{run}")
    world.admin.runs.resolve(run, "retry")
    world.clock.advance(5)
    _, claim, worker = world.open("review", "pr-1287")
    world.ask(claim, worker, "in_doubt", "write step other/1 may or may not have happened.", "post")
    tab.page.get_by_role("button", name="It happened, go on").click()
    assert "root answered before you" in tab.text("h1")
    assert world.agent.runs.get(run).wake == "person"


@pytest.mark.parametrize(("button", "decision"), [("Keep the stored result", "reuse"), ("Do the step again", "rerun")])
def test_a_mismatch(world, open_tab, button, decision):
    run, claim, worker = world.open("build", "1")
    world.step(claim, worker, "post", "ok", effect="write")
    world.ask(claim, worker, "mismatch", "Its inputs are not those of the stored result.")
    tab = open_tab().sign_in()
    tab.go(f"/runs/{run.id}")
    assert "Keep the stored result, or do it again?" in tab.text("#question")
    assert "Step post/1 has a stored result." in tab.text("#question")
    assert "Its inputs are not those of the stored result. code-review, agent; agent's words" in tab.text("#question")
    tab.page.get_by_role("button", name=button).click()
    tab.page.locator("#question form").wait_for(state="detached")
    assert resolution(world, run.id)[0] == decision


def test_a_spent_budget_is_raised(world, person):
    run, claim, worker = world.open("build", "1", budget=model.Budget(steps=1, nanousd=500_000_000))
    for name in ("one", "two"):
        world.step(claim, worker, name)
    person.go(f"/runs/{run.id}")
    assert "Raise the budget?" in person.text("#question")
    assert "The budget is spent: steps 2 of 1." in person.text("#question")
    person.page.get_by_label("Steps, spent").fill("2")
    person.page.get_by_role("button", name="Raise it and go on").click()
    assert "must lie above what is spent" in person.text("h1")
    person.go(f"/runs/{run.id}")
    person.page.get_by_label("Steps, spent").fill("10")
    person.page.get_by_label("Dollars, spent").fill("$0.75")
    person.page.get_by_role("button", name="Raise it and go on").click()
    person.page.locator("#question form").wait_for(state="detached")
    found = world.agent.runs.get(run.id)
    assert (found.budget.steps, found.budget.nanousd, found.state) == (10, 750_000_000, "pending")


def test_takeovers_go_on(world, person):
    run, claim, worker = world.open("build", "1")
    world.ask(claim, worker, "takeovers", "3 workers died on this run without finishing a step.")
    person.go(f"/runs/{run.id}")
    assert "Let it go on?" in person.text("#question")
    person.page.get_by_role("button", name="Let it go on").click()
    person.page.locator("#question form").wait_for(state="detached")
    assert world.agent.runs.get(run.id).wake == "caller"


def test_cancel_needs_a_reason(world, person):
    run, _, _ = world.open("build", "1")
    person.go(f"/runs/{run.id}")
    person.page.locator("#do-cancel summary").click()
    person.page.get_by_label("Reason").first.fill("   ")
    person.page.get_by_role("button", name="Cancel the run").click()
    assert person.text("h1") == "A run is cancelled with a reason."
    person.go(f"/runs/{run.id}")
    person.page.locator("#do-cancel summary").click()
    person.page.get_by_label("Reason").first.fill("Wrong branch.")
    person.page.get_by_role("button", name="Cancel the run").click()
    assert "Cancelled" in person.text(".crumb")
    assert "Wrong branch. ada, person; verified" in person.text("#p-head .said.verified")
    found = world.agent.runs.get(run.id)
    assert (found.state, found.reason) == ("cancelled", "Wrong branch.")


def test_fork_before_a_step(world, person):
    run, claim, worker = world.open("build", "1")
    for name in ("one", "two", "three"):
        world.step(claim, worker, name, name)
    person.go(f"/runs/{run.id}")
    person.page.locator("#do-fork summary").click()
    person.page.get_by_label("Keep the finished steps before").select_option("two/1")
    person.page.get_by_role("button", name="Fork the run").click()
    person.page.wait_for_url(lambda url: "/runs/run_" in url and run.id not in url)
    made = person.page.url.rpartition("/")[2]
    assert [step.name for step in world.agent.runs.steps(made).items] == ["one"]
    assert world.agent.runs.get(made).forked_from == run.id
