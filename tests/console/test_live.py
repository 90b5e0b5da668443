"""A run's page follows its run, and keeps still where the reader is."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from agentmemo.model import runs as model


@pytest.fixture
def scan(world):
    run, claim, worker = world.open("scan", "9f31c02")
    world.step(claim, worker, "clone", {"commit": "9f31c02"})
    world.claimed = claim, worker
    return run.id


@pytest.fixture
def live(world, tab, scan):
    """The page of the run, following it."""
    with tab.page.expect_request(lambda request: "/live?" in request.url):
        tab.go(f"/runs/{scan}")
    tab.page.mouse.move(5, 5)
    return tab


def test_a_finished_step_appears_by_itself(world, live):
    expect(live.page.locator("#p-steps")).to_contain_text("1 of 1 done")
    world.step(*world.claimed, "trace")
    expect(live.page.locator("#p-steps")).to_contain_text("2 of 2 done")
    expect(live.page.locator("#p-steps")).to_contain_text("trace")
    expect(live.page.locator("#p-events")).to_contain_text("step.complete, step trace/1")
    expect(live.page.get_by_role("status")).to_have_text("1 new")


def test_the_question_appears_and_the_end_of_the_run_too(world, live, scan):
    world.ask(*world.claimed, "takeovers", "3 workers died on this run.", "x")
    expect(live.page.locator("#question")).to_contain_text("Let it go on?")
    world.admin.runs.cancel(scan, "enough")
    expect(live.page.locator(".crumb")).to_contain_text("Cancelled")
    expect(live.page.locator("#question form")).to_have_count(0)


def test_the_row_under_the_pointer_does_not_move(world, live):
    row = live.page.locator("#p-events tbody tr").first
    row.hover()
    before = row.inner_text(), row.bounding_box()
    world.step(*world.claimed, "trace")
    world.step(*world.claimed, "report")
    expect(live.page.get_by_role("status")).to_contain_text("2 new, shown when you move on")
    assert (row.inner_text(), row.bounding_box()) == before
    live.page.mouse.move(5, 5)
    expect(live.page.locator("#p-steps")).to_contain_text("report")
    expect(live.page.locator("#p-events")).to_contain_text("step report/1")


def test_focus_and_typed_words_stay(world, live):
    live.page.locator("#do-cancel summary").click()
    reason = live.page.locator("#do-cancel textarea")
    reason.fill("I am still wri")
    live.page.mouse.move(5, 5)
    world.step(*world.claimed, "trace")
    expect(live.page.get_by_role("status")).to_contain_text("1 new")
    reason.press_sequentially("ting")
    assert reason.input_value() == "I am still writing"
    assert live.page.locator(":focus").get_attribute("name") == "reason"
    live.page.evaluate("document.activeElement.blur()")
    expect(live.page.locator("#do-cancel textarea")).to_have_value("I am still writing")


def test_an_opened_result_stays_open(world, live):
    live.page.locator("#p-steps summary", has_text="clone").click()
    live.page.evaluate("document.activeElement.blur()")
    live.page.mouse.move(5, 5)
    world.step(*world.claimed, "trace")
    expect(live.page.locator("#p-steps")).to_contain_text("trace")
    expect(live.page.locator("#p-steps details[open]")).to_contain_text("9f31c02")


def test_following_is_no_activity_of_the_person(world, live):
    world.clock.advance(25 * 60)
    world.step(*world.claimed, "trace")
    expect(live.page.locator("#p-steps")).to_contain_text("trace")
    world.clock.advance(6 * 60)
    world.step(*world.claimed, "report")
    expect(live.page.get_by_role("status")).to_have_text("You are signed out")


def test_the_stream_is_refused_without_a_session(world, open_tab, scan):
    answer = open_tab().context.request.get(f"{world.url}/runs/{scan}/live?after=0")
    assert answer.status == 204


def test_a_finished_run_is_not_followed(world, tab, scan):
    claim, worker = world.claimed
    world.call("run.complete", model.CompleteRun(run=scan, result=1), claim, worker)
    tab.go(f"/runs/{scan}")
    assert tab.page.locator("main[data-live]").count() == 0
