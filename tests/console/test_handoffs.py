"""Handoffs in the console: what waits for whom, one handoff whole, and what a person decides about it."""

from __future__ import annotations

import msgspec
import pytest
from playwright.sync_api import expect

from agentmemo import current_step
from agentmemo.engine.upkeep.outbox import fill_outbox
from agentmemo.model.access import Grant

GOAL = "Is the signature reuse exploitable?"


@pytest.fixture(params=[True, False], ids=["script", "no script"])
def person(request, open_tab):
    return open_tab(java_script_enabled=request.param).sign_in()


@pytest.fixture
def busy(world):
    """A dead handoff, an unclaimed one, one that waits with its run, and two that came of it."""
    world.agent.state.set("review/pr-1287", "findings", {"round": 3})
    dead = world.other("triage").handoff.create(to_agent="docs", goal="Describe the search", max_attempts=2)
    for words in ("no page builder", "out of memory"):
        world.other("docs").handoff.claim(dead.id)
        world.later(40)
        world.other("docs").handoff.release(dead.id, words)
        world.later(300)
    ladder = [{"after_seconds": 60, "to_agent": "ci"}]
    tests = world.other("triage").handoff.create(
        to_queue="browser-tests", goal="Run the browser tests", ladder=ladder, pickup_by=world.at(120)
    )
    world.later(150)
    first = world.other("release").handoff.create(to_agent="code-review", goal="Review the branch", key="release-2.9")

    def review(_, run):
        world.asked = hand_over(world)
        found = world.agent.handoff.create(to_agent="search", goal="Find its users")
        world.found = found.id
        run.sleep(seconds=3600)

    world.agent.handoff.work(review, until_idle=True)
    world.other("search").handoff.claim(world.found)
    world.other("search").handoff.complete(world.found, {"users": 4})
    world.later(60)
    world.other("security").handoff.claim(world.asked)
    world.other("security").handoff.progress(world.asked, 40, "4 of 10 call sites")
    world.later(180)
    world.dead, world.tests, world.first = dead.id, tests.id, first.id
    return world


def hand_over(world):
    made = world.agent.handoff.create(
        to_agent="security",
        goal=GOAL,
        workflow="scan",
        workflow_version="7",
        context={"line": 71},
        references=[("review/pr-1287", "findings")],
        artifacts=[{"name": "trace.har"}],
        constraints=["Do not touch production"],
        acceptance={"schema": {"required": ["proof"]}, "checks": ["result.proof != ''"], "verifier": "judge"},
        tried=[("the sandbox clock", "it has no network time")],
        unverified=["receivers refuse after 5 min"],
        progress_seconds=900,
        budget={"steps": 30, "nanousd": 500_000_000},
    )
    return made.id


def titles(tab):
    return tab.page.locator("section[aria-labelledby=h2] tbody th a").all_inner_texts()


def test_the_list_says_what_waits_for_whom_since_when(busy, person):
    person.page.get_by_role("link", name="Handoffs", exact=True).click()
    assert person.text("h1") == "One handoff was not claimed in time. Two others are under way and claimed."
    assert "Nobody waits in a circle." in person.text(".sub")
    assert titles(person) == [GOAL, "Review the branch", "Run the browser tests"]
    rows = [" ".join(text.split()) for text in person.page.locator("tbody tr").all_inner_texts()]
    assert "code-review to security Claimed security, epoch 1, 40 % 3 min since 14:16" in rows[0]
    assert "14:31: without progress it counts as silent, and people are told" in rows[0]
    assert rows[0].endswith("Review the branch one hop on")
    assert "release to code-review Parked" in rows[1]
    assert "triage to ci Unclaimed" in rows[2]
    drawing = person.page.get_by_role("region", name="Diagram: who waits for whom")
    assert "code-review waits for security, one handoff." in drawing.locator("title").text_content()
    assert drawing.locator("rect").count() == 5
    assert drawing.locator("path.c-line[stroke-dasharray]").count() == 1


def test_the_list_is_filtered(busy, person):
    person.go("/handoffs")
    person.page.get_by_role("link", name="Dead 1").click()
    assert (person.text("h1"), titles(person)) == ("One dead handoff.", ["Describe the search"])
    person.page.get_by_role("link", name="All 5").click()
    assert person.text("h1") == "Five handoffs."
    person.page.get_by_label("For").fill("ci")
    person.page.get_by_role("button", name="Filter").click()
    assert titles(person) == ["Run the browser tests"]
    person.page.get_by_label("For").fill("queue:browser-tests")
    person.page.get_by_role("button", name="Filter").click()
    assert person.text("h1") == "No handoff fits this filter."
    person.page.get_by_role("link", name="Clear the filter").click()
    assert len(titles(person)) == 3
    person.page.get_by_label("From").fill("triage")
    person.page.get_by_role("button", name="Filter").click()
    assert titles(person) == ["Run the browser tests"]
    person.go(f"/handoffs?state=all&root={busy.first}")
    assert titles(person) == ["Find its users", GOAL, "Review the branch"]
    assert person.go("/handoffs?state=sleepy").status == 400
    assert person.go("/handoffs?to=house:x").status == 400
    assert person.text("h1") == "Unknown kind of receiver 'house'."


def test_a_long_list_goes_on_behind_a_cursor(world, tab):
    for number in range(53):
        world.agent.handoff.create(to_agent=f"worker-{number}", goal=f"Part {number:02}")
    tab.go("/handoffs")
    assert tab.text("h1") == "53 handoffs are under way. None is claimed yet."
    assert "shorter waits are not drawn" in tab.text("section[aria-labelledby=h1]")
    tab.page.get_by_role("link", name="Older").click()
    assert titles(tab) == ["Part 02", "Part 01", "Part 00"]


def test_what_is_beyond_sight_is_said(world, tab, monkeypatch):
    monkeypatch.setattr("agentmemo.console.handoffs.LOOKED_AT", 51)
    monkeypatch.setattr("agentmemo.console.home.LOOKED_AT", 51)
    for number in range(52):
        world.agent.handoff.create(to_agent="docs", goal=f"Part {number:02}")
    tab.go("/handoffs")
    assert tab.text("h1").startswith("More than 51 handoffs are under way.")
    assert "Only the 51 newest unfinished handoffs are counted here." in tab.text(".sub")
    world.later(4000)
    tab.sign_in()
    assert "newest handoffs that need a look are shown." in tab.text(".sub")


def test_without_handoffs_it_says_how_to_make_one(world, person):
    person.go("/handoffs")
    assert person.text("h1") == "Nobody waits for anybody. What agents hand to each other appears here."
    assert "agent.handoff.create(" in person.text()
    person.go("/handoffs/hof_06zzzzzz")
    assert "not_found, 404" in person.text(".crumb")


def test_everything_that_has_ended_is_not_nothing(world, person):
    made = world.agent.handoff.create(to_agent="docs", goal="Write it")
    world.other("docs").handoff.complete(made.id, "written")
    person.go("/handoffs")
    assert "Everything that was handed over has ended." in person.text()
    person.page.get_by_role("link", name="See every handoff").click()
    assert titles(person) == ["Write it"]


def test_a_circle_is_named(world, tab):
    for sender, to in (("a", "b"), ("b", "c"), ("c", "a"), ("d", "d")):
        world.other(sender).handoff.create(to_agent=to, goal="Yours")
    tab.go("/handoffs")
    assert "a waits for b, and b waits for c, and c waits for a: a circle." in tab.text(".sub")
    assert tab.json("/handoffs.json")["around"] == ["agent:a", "agent:b", "agent:c"]


def test_one_handoff_shows_its_package(busy, person):
    person.go("/handoffs")
    person.page.get_by_role("link", name=GOAL).click()
    assert person.text("h1") == GOAL
    assert "It is held by security since 14:16:50 UTC." in person.text(".sub >> nth=0")
    assert "Next at 14:31:50 UTC: without progress it counts as silent" in person.text(".sub >> nth=0")
    assert "40 % done “4 of 10 call sites”" in person.text("#p-head")
    package = person.text("#p-package")
    for words in (
        f"Goal {GOAL}",
        "Workflow scan, version 7",
        "review/pr-1287 findings version 1",
        "Constraints Do not touch production",
        "result.proof != '' is true",
        "judge accepts it",
        "the sandbox clock it has no network time",
        "“receivers refuse after 5 min”",
        '"line": 71',
        "trace.har",
        "code-review, agent; agent's words, not verified",
    ):
        assert words in package
    about = person.text("#p-about")
    assert "Held by agent:security, epoch 1, since 14:16:50 UTC" in about
    assert "On behalf of release, code-review" in about
    assert "Budget 30 steps, $0.500" in about
    person.page.locator("summary", has_text="it fits a schema").click()
    assert '"proof"' in person.text("#d-schema")
    person.page.get_by_role("link", name="review/pr-1287 findings").click()
    assert person.text("h1") == "findings"


def test_one_handoff_shows_its_lineage_run_and_events(busy, person):
    person.go(f"/handoffs/{busy.asked}")
    tree = person.page.locator("ul.tree")
    assert person.text("#p-lineage .stay") == "three handoffs that came of the same first one"
    assert [" ".join(item.split()) for item in tree.locator("ul > li").all_inner_texts()] == [
        f"{GOAL} Claimed code-review to security, for 4 min",
        "Find its users Completed code-review to search, after 0.0 s",
    ]
    assert tree.locator("[aria-current]").inner_text() == GOAL
    events = person.page.locator("#p-events tbody tr").all_inner_texts()
    assert [event.split()[2].rstrip(",") for event in events] == [
        *("handoff.progress", "handoff.claim", "handoff.create"),
    ]
    assert person.text("#p-way li >> nth=0") == "14:15 code-review handed it to security"
    tree.get_by_role("link", name="Review the branch").click()
    assert "It is held by code-review since 14:15:50 UTC; its run waits" in person.text(".sub >> nth=0")
    assert "Its run waits" in person.text("#p-way")
    person.page.get_by_role("link", name="the run that works on it").click()
    assert person.text("h1").startswith("handoff hof_")
    person.page.get_by_role("link", name="the handoff of its key").click()
    assert person.page.url == f"{busy.url}/handoffs/{busy.first}"
    person.page.get_by_role("link", name="All in the trail").click()
    assert "Review the branch" in person.text("tbody")
    person.page.locator("tbody td.n a").first.click()
    assert "It belongs to a handoff and a run." in person.text(".sub")


def test_the_ladder_is_told_step_by_step(busy, person):
    person.go(f"/handoffs/{busy.tests}")
    assert "now to ci, and nobody has claimed it. People were told at" in person.text(".sub >> nth=0")
    assert "agentmemo, service; verified" in person.text("#p-head .said.verified")
    way = [" ".join(text.split()[1:]) for text in person.page.locator("#p-way li").all_inner_texts()]
    assert way[0] == "triage handed it to queue browser-tests"
    assert way[1].startswith("ci was asked instead")
    assert way[2].startswith("People were told that nobody came")
    assert way[3] == "Only a claim moves it, as its ladder is at its end"
    person.go(f"/handoffs/{busy.found}")
    assert "It was completed by search at 14:15:50 UTC, after 0.0 s." in person.text(".sub >> nth=0")
    assert "not yet received by code-review" in person.text("#p-result")
    assert '"users": 4' in person.text("#p-result")
    assert person.page.locator("#p-do").count() == 0


def test_what_waits_for_its_time_says_when(world, person):
    made = world.agent.handoff.create(to_capability="summary", not_before=world.at(600), complete_by=world.at(900))
    person.go(f"/handoffs/{made.id}")
    assert person.text("h1") == "Work for capability summary"
    sub = person.text(".sub >> nth=0")
    assert "is offered from 14:12:00 UTC on. Next at 14:12:00 UTC: it is offered to capability summary." in sub
    assert "Scheduled" in person.text(".crumb")
    world.later(700)
    person.page.reload()
    assert "Next at 14:17:00 UTC: if not completed, it expires." in person.text(".sub >> nth=0")


def test_a_verification_is_a_handoff_of_its_own(world, person):
    made = world.other("release").handoff.create(
        to_agent="code-review", goal="Review it", acceptance={"verifier": "judge"}
    )
    world.agent.handoff.complete(made.id, {"verdict": "fine"})
    person.go(f"/handoffs/{made.id}")
    assert "Being verified" in person.text(".crumb")
    assert "Its result, by code-review, waits for judge" in person.text(".sub >> nth=0")
    assert "not accepted yet" in person.text("#p-result")
    person.page.get_by_role("link", name="Its verification").click()
    assert person.text("h1") == "Verify: Review it"
    assert "Verifies another handoff" in person.text("#p-about")
    judged = world.other("judge").handoff.list_pending().items[0]
    world.other("judge").handoff.complete(judged.id, {"accepted": False, "reason": "no proof"})
    person.go(f"/handoffs/{made.id}")
    assert "Rejected rejected by agent:judge: no proof" in person.text("#p-attempts")


def test_the_way_down_to_a_late_child_is_in_a_large_family(world, tab):
    root = world.other("a").handoff.create(to_agent="planner", goal="Everything")

    def plan(_):
        for number in range(103):
            world.other("planner").handoff.create(to_agent="worker", goal=f"Part {number:03}")

    world.other("planner").handoff.work(plan, until_idle=True)
    last = world.admin.handoff.list(root=root.id, limit=1).items[0]
    tab.go(f"/handoffs/{last.id}")
    assert tab.text("#p-lineage .stay") == "101 handoffs shown that came of the same first one"
    assert tab.text("ul.tree [aria-current]") == "Part 102"
    tab.page.get_by_role("link", name="All of them").click()
    assert titles(tab)[:2] == ["Part 102", "Part 101"]


def test_home_names_what_people_were_told(busy, person):
    assert person.text("h1") == "Nobody waits for you. No runs are working, none is stuck. Two handoffs need a look."
    told = person.text("section[aria-labelledby=h-told]")
    assert "Dead Describe the search triage to docs. “2 attempts failed; the last: out of memory”" in told
    assert "Unclaimed Run the browser tests triage to ci. “nobody at agent:ci claimed it within 120 s”" in told
    assert "security" in person.text("aside")
    person.page.get_by_role("link", name="Run the browser tests").first.click()
    busy.other("ci").handoff.claim(busy.tests)
    busy.admin.handoff.requeue(busy.dead)
    person.go("/")
    assert person.page.locator("section[aria-labelledby=h-told]").count() == 0


def test_home_keeps_its_length(world, tab):
    for number in range(22):
        made = world.agent.handoff.create(to_agent="docs", goal=f"Part {number:02}", max_attempts=1)
        world.other("docs").handoff.claim(made.id)
        world.other("docs").handoff.release(made.id, "no page builder")
        world.later(1)
    tab.go("/")
    assert "22 handoffs need a look." in tab.text("h1")
    told = tab.page.locator("section[aria-labelledby=h-told]")
    assert told.locator("li .q").first.inner_text() == "Part 00"
    assert told.locator("li").count() == 20
    assert "Two more need a look" in told.inner_text()
    told.get_by_role("link", name="dead").click()
    assert tab.text("h1") == "22 dead handoffs."


def test_late_and_silent_ones_are_told_apart(world, tab):
    silent = world.agent.handoff.create(to_agent="docs", goal="Silent", progress_seconds=60)
    late = world.agent.handoff.create(to_agent="docs", goal="Overdue", complete_by=world.at(90))
    for handoff in (silent, late):
        world.other("docs").handoff.claim(handoff.id)
    world.later(100)
    tab.go("/handoffs")
    assert tab.text("h1") == "Two handoffs need a look. No other is under way."
    assert [row.split("\n")[-1].strip() for row in tab.page.locator("tbody .st").all_inner_texts()] == [
        *("Late", "Silent"),
    ]
    world.other("docs").handoff.progress(silent.id, 10, "still here")
    tab.go("/handoffs")
    assert tab.text("h1") == "One handoff needs a look. One other is under way and claimed."


def test_a_dead_one_is_offered_again(busy, person):
    person.go(f"/handoffs/{busy.dead}")
    assert "Its sender has not yet received word of it." in person.text(".sub >> nth=0")
    quote = person.text("#p-head .said.agent")
    assert quote == "2 attempts failed; the last: out of memory docs, agent; agent's words, not verified"
    attempts = [" ".join(row.split()) for row in person.page.locator("#p-attempts tbody tr").all_inner_texts()]
    assert attempts == ["1 docs Released no page builder 14:02:00 40 s", "2 docs Released out of memory 14:07:40 40 s"]
    person.page.get_by_label("To whom, if not docs as before").fill("queue:writers")
    person.page.get_by_label("Reason, for the trail").fill("The builder is back.")
    person.page.get_by_role("button", name="Offer it again").click()
    assert person.page.url == f"{busy.url}/handoffs/{busy.dead}"
    assert "Not claimed yet" in person.text(".crumb")
    assert person.text("#p-head .said.verified") == "The builder is back. ada, person; verified"
    assert person.page.locator("#question form").count() == 0
    found = busy.admin.handoff.get(busy.dead)
    assert (found.state, found.to, found.attempt) == ("pending", "queue:writers", 1)
    event = busy.admin.audit.events(run=busy.dead, type="handoff.requeue").items[0]
    assert (event.actor, event.reason) == ("person:ada", "The builder is back.")


@pytest.mark.parametrize("state", ["declined", "failed", "expired"])
def test_what_ended_without_a_result_is_offered_again(world, tab, state):
    made = world.agent.handoff.create(to_agent="docs", goal="Write it", complete_by=world.at(60))
    if state == "declined":
        world.other("docs").handoff.decline(made.id, "not mine")
    elif state == "failed":
        world.other("docs").handoff.claim(made.id)
        world.other("docs").handoff.fail(made.id, "cannot be done")
    else:
        world.later(61)
    tab.go(f"/handoffs/{made.id}")
    assert state.capitalize() in tab.text(".crumb")
    assert ("offered again, it has no such time" in tab.text("#question")) is (state == "expired")
    tab.page.get_by_role("button", name="Offer it again").click()
    tab.page.locator("#question form").wait_for(state="detached")
    assert world.admin.handoff.get(made.id).state == "pending"


def test_a_decision_about_what_has_moved_on_is_refused(busy, open_tab):
    tab = open_tab(java_script_enabled=False).sign_in()
    tab.go(f"/handoffs/{busy.dead}")
    busy.later(5)
    busy.admin.handoff.requeue(busy.dead, reason="I was faster")
    tab.page.get_by_label("Reason, for the trail").fill("Once more.")
    tab.page.get_by_role("button", name="Offer it again").click()
    assert tab.text("h1") == "The handoff has moved on since you looked at it: it is pending."
    assert "Once more." in tab.text(".said")
    tab.page.get_by_role("link", name="Go to the handoff").click()
    assert tab.page.url == f"{busy.url}/handoffs/{busy.dead}"
    assert len(busy.admin.audit.events(run=busy.dead, type="handoff.requeue").items) == 1


def test_a_receiver_that_is_none_is_kept_for_correction(busy, person):
    person.go(f"/handoffs/{busy.dead}")
    person.page.get_by_label("To whom, if not docs as before").fill("house:docs")
    person.page.get_by_role("button", name="Offer it again").click()
    assert person.text("h1") == "Unknown kind of receiver 'house'."
    assert "house:docs" in person.text(".said")
    assert busy.admin.handoff.get(busy.dead).state == "dead"


def test_offering_again_by_keyboard_alone(busy, person):
    person.go(f"/handoffs/{busy.dead}")
    person.page.get_by_label("To whom, if not docs as before").press("Enter")
    assert busy.admin.handoff.get(busy.dead).state == "dead"
    for _ in range(5):
        person.page.keyboard.press("Tab")
        if person.page.locator(":focus").inner_text() == "Offer it again":
            break
    person.page.keyboard.press("Enter")
    person.page.locator("#question form").wait_for(state="detached")
    assert busy.admin.handoff.get(busy.dead).state == "pending"


def test_cancel_needs_a_reason(busy, person):
    person.go(f"/handoffs/{busy.first}")
    for reason in ("   ", "The release is off."):
        person.page.locator("#do-cancel summary").click()
        person.page.get_by_label("Reason").fill(reason)
        person.page.get_by_role("button", name="Cancel the handoff").click()
        if not reason.strip():
            assert person.text("h1") == "A handoff is cancelled with a reason."
            person.go(f"/handoffs/{busy.first}")
    assert "Cancelled" in person.text(".crumb")
    assert person.text("#p-head .said.verified") == "The release is off. ada, person; verified"
    assert person.page.locator("#p-do, #question form").count() == 0
    found = busy.admin.handoff.get(busy.first)
    assert (found.state, found.reason) == ("cancelled", "The release is off.")


def test_cancelling_what_ended_meanwhile_says_so(world, open_tab):
    made = world.agent.handoff.create(to_agent="docs", goal="Write it")
    tab = open_tab(java_script_enabled=False).sign_in()
    tab.go(f"/handoffs/{made.id}")
    world.other("docs").handoff.complete(made.id, "written")
    tab.page.locator("#do-cancel summary").click()
    tab.page.get_by_label("Reason").fill("Too late?")
    tab.page.get_by_role("button", name="Cancel the handoff").click()
    assert f"Handoff {made.id} is completed" in tab.text("h1")
    assert tab.page.get_by_role("link", name="Go to the handoff").count() == 1


def test_forms_without_their_token_do_nothing(busy, tab):
    asked = str(busy.admin.handoff.get(busy.dead).updated_at)
    for token in ("", "x"):
        for act, handoff in (("requeue", busy.dead), ("cancel", busy.first)):
            form = {"token": token, "reason": "x", "asked": asked}
            answer = tab.context.request.post(f"{busy.url}/handoffs/{handoff}/{act}", form=form)
            assert answer.status == 403
            assert "This form does not come from your session." in answer.text()
    assert tab.context.request.get(f"{busy.url}/handoffs/{busy.dead}/requeue").status == 405
    assert busy.admin.handoff.get(busy.dead).state == "dead"
    assert busy.admin.handoff.get(busy.first).state == "claimed"


def test_a_person_with_few_rights_sees_what_these_allow(busy, open_tab):
    reads = [Grant(permissions=("handoffs:read", "runs:read"))]
    tab = open_tab().sign_in(busy.admin.keys.create("person", "eve", grants=reads).secret)
    tab.go("/handoffs")
    assert titles(tab) == [GOAL, "Review the branch", "Run the browser tests"]
    tab.go(f"/handoffs/{busy.first}")
    assert "Your key does not let you read the trail." in tab.text("#p-events")
    assert "lacks the right handoffs:write" in tab.text("#p-do")
    assert tab.page.locator("main[data-live]").count() == 0
    tab.go(f"/handoffs/{busy.dead}")
    assert "Your key may not decide this." in tab.text("#question")
    assert tab.text("#p-head .said").endswith("docs, agent; agent's words, not verified")
    assert tab.page.get_by_role("button", name="Offer it again").count() == 0
    runs = [Grant(permissions=("runs:read",))]
    tab = open_tab().sign_in(busy.admin.keys.create("person", "joe", grants=runs).secret)
    assert tab.page.locator("section[aria-labelledby=h-told]").count() == 0
    assert tab.go("/handoffs").status == 403
    denials = busy.admin.audit.events(outcome="denied").items
    assert [(event.actor, event.operation) for event in denials] == [("person:joe", "handoff.list")]


def test_twins_equal_the_data_of_their_pages(busy, tab):
    for path in ("/handoffs", "/handoffs?state=all&to=docs", f"/handoffs/{busy.asked}", f"/handoffs/{busy.dead}"):
        tab.go(path)
        data = tab.json(tab.page.get_by_role("link", name="This page as JSON").get_attribute("href"))
        shown = tab.text()
        for row in data.get("handoffs", []):
            assert row["title"] in shown
            assert "context" not in row
        for event in data.get("events") or []:
            assert event["operation"] in shown
        if "handoff" in data:
            assert data["handoff"] == as_told(busy, data["handoff"]["id"])
            assert data["next"]["what"].lower() in shown.lower()
    assert tab.json("/home.json")["told"][0]["title"] == "Describe the search"


def as_told(world, handle):
    """The handoff as the API tells it."""
    return msgspec.json.decode(msgspec.json.encode(world.admin.handoff.get(handle)))


@pytest.fixture
def live(busy, tab):
    """The page of a claimed handoff, following it."""
    with tab.page.expect_request(lambda request: "/live?" in request.url):
        tab.go(f"/handoffs/{busy.asked}")
    tab.page.mouse.move(5, 5)
    return tab


def test_progress_and_the_end_appear_by_themselves(busy, live):
    busy.other("security").handoff.progress(busy.asked, 80, "8 of 10 call sites")
    expect(live.page.locator("#p-head")).to_contain_text("80 % done “8 of 10 call sites”")
    expect(live.page.get_by_role("status")).to_have_text("1 new")
    busy.other("security").handoff.fail(busy.asked, "the sandbox is gone")
    expect(live.page.locator(".crumb")).to_contain_text("Failed")
    expect(live.page.locator("#question")).to_contain_text("Offer it again?")
    expect(live.page.locator("#p-events")).to_contain_text("handoff.fail")


def test_typed_words_stay_when_something_happens(busy, live):
    live.page.locator("#do-cancel summary").click()
    reason = live.page.locator("#do-cancel textarea")
    reason.fill("I am still wri")
    live.page.mouse.move(5, 5)
    busy.other("security").handoff.progress(busy.asked, 90, "9 of 10")
    expect(live.page.locator("#p-head")).to_contain_text("90 % done")
    reason.press_sequentially("ting")
    live.page.evaluate("document.activeElement.blur()")
    expect(live.page.locator("#do-cancel textarea")).to_have_value("I am still writing")


def test_the_stream_is_refused_without_a_session(busy, open_tab):
    answer = open_tab().context.request.get(f"{busy.url}/handoffs/{busy.asked}/live?after=0")
    assert answer.status == 204


def ladder(tab):
    return [" ".join(row.split()) for row in tab.page.locator("#p-ladder tbody tr").all_inner_texts()]


def test_the_ladder_of_pickup_is_drawn_and_told(busy, person):
    person.go(f"/handoffs/{busy.tests}")
    assert ladder(person) == [
        "Announced in the briefing of queue browser-tests 14:13:20 yes",
        "Waiters of queue browser-tests are answered 14:13:20 yes",
        "Webhook none was told never no",
        "Fallback ci 14:14:20 yes",
        "Escalated its sender and the people 14:15:20 yes",
    ]
    drawing = person.page.get_by_role("region", name="Diagram: pickup ladder")
    assert "Reached: announced, waiters, fallback, escalated." in drawing.locator("title").text_content()
    assert (drawing.locator("circle.c-1").count(), drawing.locator("circle.c-open").count()) == (4, 1)
    person.go(f"/handoffs/{busy.asked}")
    assert "claimed after 1 min" in person.text("#p-ladder .stay")
    assert [row.rsplit(" ", 1)[1] for row in ladder(person)] == ["yes", "yes", "needed", "needed"]


def test_the_webhook_stands_on_the_ladder(world, tab):
    world.other("docs").webhooks.create("http://127.0.0.1:9/")
    made = world.agent.handoff.create(to_agent="docs", goal="Write it")
    world.later(1)
    fill_outbox(world.plane.engine)
    tab.go(f"/handoffs/{made.id}")
    assert "Webhook is tried again 14:02:01 no" in ladder(tab)
    (sent,) = world.admin.webhooks.deliveries(subject=made.id)
    world.plane.engine.database.write(
        lambda tx: tx.write("delivery_end", id=sent.id, state="delivered", status=200, error="", now=tx.now), lane=1
    )
    tab.go(f"/handoffs/{made.id}")
    assert "Webhook answered 14:02:01 yes" in ladder(tab)
    other = world.agent.handoff.create(to_agent="other", goal="Another")
    assert list(world.admin.webhooks.deliveries(subject=other.id)) == []


def test_what_was_spent_under_it_is_told(world, tab):
    budget = {"nanousd": 500_000_000}
    made = world.agent.handoff.create(to_agent="docs", goal="Write it", budget=budget)

    def write(_, run):
        run.step("ask", lambda: current_step().charge(tokens=1200, nanousd=37_000_000))

    world.other("docs").handoff.work(write, until_idle=True)
    tab.go(f"/handoffs/{made.id}")
    assert "Spent $0.037 of $0.500, 1,200 tokens, one step" in " ".join(tab.text("#p-about").split())
