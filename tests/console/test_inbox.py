"""Questions in the console: the list, one question whole, and what a person does with it, by mouse and by keyboard."""

from __future__ import annotations

import re

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from agentmemo.embedded import connection_for
from agentmemo.model import escalations as model
from agentmemo.model.access import EVERYTHING, Caller, Grant
from agentmemo.model.runs import ReleaseRun

ACTIONS = [
    {"id": "rollback", "label": "Roll back", "effect": "v413 to v412 in 38 s.", "reversible": True},
    {"id": "notify", "label": "Notify the team", "effect": "Changes nothing.", "reversible": False, "cost": "$0.01"},
]
ACTION = {"tool": "deploy.rollback", "arguments": {"image": "acme/api:v412"}, "revision": "deploy-8841"}
FORM = {
    "type": "object",
    "properties": {
        "word": {"type": "string", "enum": ["workspace", "project"], "title": "Which word"},
        "pages": {"type": "integer", "description": "How many to change"},
        "now": {"type": "boolean"},
    },
    "required": ["word"],
}
AXE = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}


@pytest.fixture(scope="module")
def world(make_world, tmp_path_factory):
    """One plane for the file: each test asks questions of its own."""
    made = make_world(tmp_path_factory.mktemp("inbox") / "plane.db")
    made.admin.keys.create("person", "ben")
    made.people = {
        name: connection_for(made.plane, Caller(kind="person", name=name, grants=(EVERYTHING,)))
        for name in ("ada", "ben")
    }
    made.ben = made.people["ben"]
    yield made
    for connection in made.people.values():
        connection.close()
    made.close()


@pytest.fixture(scope="module")
def tabs(browser, make_tab, world):
    """ada with and without script, signed in once."""
    made = {script: make_tab(browser, world, java_script_enabled=script).sign_in() for script in (True, False)}
    made[True].way, made[False].way = "script", "plain"
    yield made
    for tab in made.values():
        tab.close()
    assert [complaint for tab in made.values() for complaint in tab.complaints] == []


@pytest.fixture
def ada(tabs):
    return tabs[True]


@pytest.fixture
def plain(tabs):
    return tabs[False]


@pytest.fixture(params=[True, False], ids=["script", "no script"])
def person(request, tabs):
    return tabs[request.param]


def ask(world, reason, *, severity="medium", agent="release", **question):
    """A question outside a run."""
    return world.other(agent).escalations.create(severity=severity, reason=reason, wait=False, **question).id


def ask_in_run(world, reason, name, *, severity="high", **question):
    """A run that waits for the answer: (escalation, run)."""
    run, claim, worker = world.open(name, "1")
    world.step(claim, worker, "look", 1)
    request = model.CreateEscalation(run=run.id, name="ask", key="1", severity=severity, reason=reason, **question)
    return world.call("escalation.create", request, claim, worker).id, run.id


def actions():
    return [model.SuggestedAction(**each) for each in ACTIONS]


def answer_of(world, handle):
    found = world.ben.inbox.get(handle)
    return found.answer and (found.answer.decision, found.answer.choice, found.answer.comment, found.answer.by)


def row(tab, reason):
    return " ".join(tab.page.locator(".rows li", has_text=reason).first.inner_text().split())


def sections(tab):
    """Heading -> the questions below it."""
    found = tab.page.locator("main section:has(.rows)").all()
    return {each.locator("h2").inner_text(): each.locator(".q").all_inner_texts() for each in found}


def send(tab):
    tab.page.get_by_role("button", name="Answer as ada").click()


def focused(tab):
    return tab.page.evaluate("[document.activeElement.value, document.activeElement.checked]")


def test_the_list_puts_every_question_into_one_section(world, person):
    way = person.way
    mine = ask(world, f"Mine {way}?", severity="low", kind="approval", context={"a": 1})
    snoozed, done = ask(world, f"Later {way}?", severity="low"), ask(world, f"Done {way}?", severity="low")
    free = ask(world, f"Free {way}?", severity="critical", kind="stuck", default="abort")
    lost, run = ask_in_run(world, f"Lost {way}?", f"lost-{way}", severity="low")
    world.people["ada"].inbox.acknowledge(mine)
    world.people["ada"].inbox.snooze(snoozed, world.at(3600))
    world.ben.inbox.answer(done, "reject", comment="the load test uses it")
    world.ben.inbox.answer(lost, "answer", comment="go")
    _, claim, worker = world.open(f"lost-{way}", "1")
    world.call("run.release", ReleaseRun(run=run, error="broken"), claim, worker)
    person.go("/inbox")
    found = sections(person)
    assert (f"Mine {way}?" in found["Needs you"], f"Free {way}?" in found["Open"]) == (True, True)
    assert (f"Lost {way}?" in found["Waiting on resume"], f"Later {way}?" in found["Snoozed"]) == (True, True)
    assert f"Done {way}?" in found["Done"]
    every = [reason for reasons in found.values() for reason in reasons]
    assert len(every) == len(set(every))
    assert "Approval, from release. Nobody waits for it. ada is on it until" in row(person, f"Mine {way}?")
    assert re.search(r"Critical .* then: stop what asked$", row(person, f"Free {way}?"))
    assert "Rejected by ben: “the load test uses it”" in row(person, f"Done {way}?")
    assert re.search("Not resumed .* two tries so far. “broken”", row(person, f"Lost {way}?"))
    person.page.locator("li", has_text=f"Lost {way}?").get_by_role("button", name="Retry").click()
    assert world.ben.inbox.get(lost).waiters[0].state == "ready"
    assert person.page.url == f"{world.url}/inbox"
    world.ben.inbox.answer(free, "abort", comment="over")


def test_filters_are_in_the_address(world, plain):
    ask(world, "Filtered?", severity="low", kind="failure", agent="docs")
    ask(world, "Not filtered?", severity="medium", agent="docs")
    plain.go("/inbox")
    plain.page.get_by_label("Severity").select_option("low")
    plain.page.get_by_label("Kind").select_option("failure")
    plain.page.get_by_role("button", name="Filter").click()
    assert sections(plain) == {"Open": ["Filtered?"]}
    plain.page.get_by_role("link", name="Done", exact=True).click()
    assert "severity=low" in plain.page.url
    assert "kind=failure" in plain.page.url
    assert "Nothing fits." in plain.text()
    plain.page.get_by_role("link", name="Clear the filter").click()
    assert plain.page.url == f"{world.url}/inbox"
    found = plain.json("/inbox.json?asker=agent:docs&severity=low")
    assert [each["reason"] for each in found["sections"]["open"]] == ["Filtered?"]
    assert found["counters"]["open"]["low"] >= 1
    assert plain.go("/inbox?severity=loud").status == 400
    assert plain.go("/inbox?section=attic").status == 400
    plain.go("/inbox?asker=agent:nobody-of-this-name")
    assert plain.text("h1") == "No question fits this filter."


def test_a_long_section_goes_on_behind_a_cursor(world, plain):
    for number in range(52):
        ask(world, f"Part {number:02}?", severity="low", agent="many")
    plain.go("/inbox?section=open&asker=agent:many")
    plain.page.get_by_role("link", name="Further").click()
    assert sections(plain) == {"Open": ["Part 50?", "Part 51?"]}
    for found in world.ben.inbox.list(asker="agent:many"):
        world.other("many").escalations.withdraw(found.id, "enough")


def test_the_item_is_answered_by_mouse(world, person):
    reason = f"Roll back acme/api, {person.way}?"
    asked, run = ask_in_run(
        world,
        reason,
        f"scan-{person.way}",
        kind="risk",
        context={"finding": "answers without a token", "pods": 6, "evidence": ["step 6"]},
        suggested_actions=actions(),
        action=model.Action(**ACTION | {"revision": f"deploy of {person.way}"}, reversible=True),
    )
    person.go("/")
    person.page.locator(".q", has_text=reason).click()
    shown = person.text()
    for words in (
        "High Risk nobody is on it one waits",
        "code-review, agent; agent's words, not verified",
        "deploy.rollback reversible",
        f"deploy of {person.way}",
        '"image": "acme/api:v412"',
        world.ben.inbox.get(asked).digest,
        "answers without a token",
        "Changes nothing. Cannot be undone. Costs $0.01.",
        "if nobody answers: refuse.",
        f"scan-{person.way}, 1 asks, at step ask/1.",
        "code-review asked",
        "nobody has answered: refuse",
    ):
        assert words in shown, words
    assert person.page.locator("#decide [name=act]:checked").count() == 0
    box = person.page.get_by_role("button", name="Answer as ada").bounding_box()
    assert box["y"] + box["height"] <= 720
    person.page.get_by_role("radio", name="Roll back v413").check()
    person.page.get_by_label("Comment; the reason").fill("Confirmed.")
    person.page.get_by_label("Holds for").select_option("run")
    send(person)
    expect(person.page.locator("#p-head .note")).to_contain_text("Roll back by ada at")
    assert "Confirmed." in person.text("#p-head .said.verified")
    assert answer_of(world, asked) == ("choose", "rollback", "Confirmed.", "person:ada")
    assert world.ben.inbox.get(asked).answer.scope == "run"
    assert person.page.locator("#decide").count() == 0
    person.go(f"/runs/{run}")
    assert f"{reason} code-review, agent; agent's words, not verified Roll back by ada." in person.text("#question")


def test_the_run_that_asks_leads_to_its_question(world, plain):
    asked, run = ask_in_run(world, "Which way from here?", "wayfarer")
    plain.go(f"/runs/{run}")
    assert "until the question below is answered or its time is over" in plain.text("#p-head")
    assert plain.page.locator("#question form").count() == 0
    token = plain.page.locator("#do-cancel [name=token]").get_attribute("value")
    refused = plain.context.request.post(
        f"{world.url}/runs/{run}/answer", form={"token": token, "asked": "1", "decision": "continue"}
    )
    assert refused.status == 409
    assert "it waits for an answer from the inbox" in refused.text()
    plain.page.get_by_role("link", name="Answer it").click()
    assert plain.page.url == f"{world.url}/inbox/{asked}"
    plain.go("/runs")
    plain.page.get_by_role("link", name="an answer of the inbox").first.click()
    assert "/inbox/esc_" in plain.page.url


def test_approved_by_two_keys_and_never_by_one(world, ada):
    asked = ask(world, "Publish?", severity="high", kind="approval", context="notes", action=ACTION)
    ada.go(f"/inbox/{asked}")
    for _ in range(3):
        ada.page.keyboard.press("a")
    assert focused(ada) == ["approve", True]
    assert answer_of(world, asked) is None
    ada.page.keyboard.press("Enter")
    ada.page.locator("#decide").wait_for(state="detached")
    assert answer_of(world, asked)[0] == "approve"


def test_from_the_list_to_a_chosen_action_by_keyboard(world, ada):
    ask(world, "By keys?", severity="low", agent="keys", suggested_actions=ACTIONS)
    ask(world, "By other keys?", severity="low", agent="keys")
    ada.go("/inbox?asker=agent:keys")
    for key in ("j", "j", "k"):
        ada.page.keyboard.press(key)
    ada.page.keyboard.press("Enter")
    ada.page.locator("#decide").wait_for()
    assert ada.text("h1") == "By keys?"
    ada.page.keyboard.press("1")
    ada.page.keyboard.press("2")
    assert focused(ada) == ["choose:notify", True]
    ada.page.keyboard.press("u")
    ada.page.wait_for_url(f"{world.url}/inbox")


def test_rejected_by_keyboard_with_the_reason(world, ada):
    asked = ask(world, "Delete the environments?", severity="critical", suggested_actions=ACTIONS)
    ada.go(f"/inbox/{asked}")
    ada.page.keyboard.press("r")
    ada.page.keyboard.press("Control+Enter")
    assert answer_of(world, asked) is None
    ada.page.keyboard.type("are three of them in use?")
    ada.page.keyboard.press("Control+Enter")
    ada.page.locator("#decide").wait_for(state="detached")
    assert answer_of(world, asked) == ("reject", None, "are three of them in use?", "person:ada")


def test_single_keys_can_be_turned_off_and_never_take_what_is_typed(world, ada):
    asked = ask(world, "Keys?", severity="low", suggested_actions=ACTIONS)
    ada.go(f"/inbox/{asked}")
    ada.page.get_by_label("Comment; the reason").press_sequentially("a1e")
    assert ada.page.locator("#decide [name=act]:checked").count() == 0
    ada.page.evaluate("document.activeElement.blur()")
    ada.page.keyboard.press("?")
    ada.page.get_by_label("Single keys work").uncheck()
    ada.page.evaluate("document.activeElement.blur()")
    ada.page.keyboard.press("1")
    assert ada.page.locator("#decide [name=act]:checked").count() == 0
    ada.page.reload()
    assert ada.page.locator("kbd.hint:visible").count() == 0
    ada.page.locator("#keys summary").click()
    ada.page.get_by_label("Single keys work").check()
    ada.page.keyboard.press("h")
    assert ada.page.locator(":focus").get_attribute("name") == "until"


def test_who_comes_too_late_learns_who_when_and_what(world, person):
    asked = ask(world, f"Who is first, {person.way}?", severity="high", suggested_actions=ACTIONS)
    person.go(f"/inbox/{asked}")
    if person.way == "script":
        person.page.locator("#p-head").hover()
    person.page.get_by_role("radio", name="Notify the team").check()
    person.page.get_by_label("Comment; the reason").fill("I saw it.")
    world.ben.inbox.answer(asked, "choose", choice="rollback")
    send(person)
    person.page.get_by_text("What you sent was not saved.").wait_for()
    assert re.fullmatch(r"ben answered before you, at \d\d:\d\d:\d\d UTC: Roll back.", person.text("h1"))
    assert "I saw it." in person.text(".said")
    person.page.get_by_role("link", name="Go to the question").click()
    assert person.page.url == f"{world.url}/inbox/{asked}"
    assert answer_of(world, asked)[:2] == ("choose", "rollback")


def test_of_two_who_must_agree_each_sees_the_other(world, plain):
    asked = ask(world, "Two of us?", severity="high", needs={"count": 2}, suggested_actions=ACTIONS)
    plain.go(f"/inbox/{asked}")
    plain.page.get_by_role("radio", name="Roll back").check()
    send(plain)
    assert "Two persons must say the same; one refusal ends it. So far: 1. You have said yours" in plain.text("#answer")
    assert "ada: Roll back" in plain.text("#answer")
    world.ben.inbox.answer(asked, "choose", choice="rollback")
    plain.go(f"/inbox/{asked}")
    assert "Roll back by ben" in plain.text("#p-head .note")
    assert "ada: Roll back" in plain.text("#p-more")


def test_whoever_is_excluded_is_told_and_may_hand_it_on(world, plain):
    asked = ask(world, "Four eyes?", needs={"exclude": ["person:ada"]})
    plain.go(f"/inbox/{asked}")
    assert "You may not answer this." in plain.text("#answer")
    assert plain.page.locator("#decide").count() == 0
    plain.page.locator("#do-delegate summary").click()
    plain.page.get_by_label("To whom").select_option("ben")
    plain.page.get_by_label("What they should know").fill("Yours.")
    plain.page.get_by_role("button", name="Hand it on").click()
    assert "handed to ben" in plain.text(".crumb")
    assert "ada handed it to ben “Yours.”" in plain.text("#p-more")


def test_it_is_taken_snoozed_extended_and_given_back(world, plain):
    asked = ask(world, "Later?", severity="medium")
    plain.go(f"/inbox/{asked}")
    plain.page.get_by_role("button", name="I am on it").click()
    assert "You are on it until" in plain.text(".crumb")
    plain.page.locator("#do-snooze summary").click()
    plain.page.get_by_label("Until, UTC").select_option(
        label=plain.page.locator("#do-snooze option").nth(1).inner_text()
    )
    plain.page.get_by_role("button", name="Snooze it").click()
    assert "You are looking at it later, from" in plain.text(".crumb")
    found = world.ben.inbox.get(asked)
    assert (found.snoozed, found.hold_until - world.clock.now_us() > 4 * 3600e6 - 60e6) == (True, True)
    plain.page.locator("#do-extend summary").click()
    plain.page.locator("#do-extend textarea").fill("the owner is on a train")
    plain.page.get_by_role("button", name="Move the deadline, once").click()
    assert world.ben.inbox.get(asked).deadline > found.deadline
    assert plain.page.locator("#do-extend").count() == 0
    plain.page.locator("#do-comment summary").click()
    plain.page.get_by_label("For everybody").fill("Asked them.")
    plain.page.get_by_role("button", name="Say it").click()
    assert "ada said “Asked them.”" in plain.text("#p-more")
    plain.page.locator("#do-release summary").click()
    plain.page.get_by_role("button", name="Give it back").click()
    assert "nobody is on it" in plain.text(".crumb")
    assert [each.id for each in world.ben.inbox.list(section="snoozed") if each.id == asked] == []


def test_the_form_of_a_response_schema(world, person):
    asked = ask(world, f"Which words, {person.way}?", severity="low", response_schema=FORM)
    person.go(f"/inbox/{asked}")
    person.page.get_by_role("radio", name="Answer").check()
    person.page.get_by_label("Which word (needed)").select_option("project")
    person.page.get_by_label("pages").fill("many")
    send(person)
    assert person.text("h1") == "pages is 'many', which is no integer."
    person.go(f"/inbox/{asked}")
    person.page.get_by_role("radio", name="Answer").check()
    send(person)
    assert person.text("h1") == "values lacks word."
    person.page.get_by_role("link", name="Back to it").click()
    person.page.get_by_role("radio", name="Answer").check()
    person.page.get_by_label("Which word (needed)").select_option("project")
    person.page.get_by_label("pages").fill("4")
    person.page.locator("[name='field.now']").select_option("no")
    send(person)
    person.page.locator("#p-head .note").wait_for()
    assert world.ben.inbox.get(asked).answer.values == {"word": "project", "pages": 4, "now": False}


def test_approved_with_changes(world, plain):
    asked = ask(world, "Deploy so?", severity="high", action=ACTION)
    plain.go(f"/inbox/{asked}")
    plain.page.get_by_role("radio", name="Approve with changes").check()
    plain.page.locator("#do-edit summary").click()
    plain.page.get_by_label("As JSON").fill('{"image": ')
    send(plain)
    assert plain.text("h1") == "The arguments are no JSON."
    plain.page.get_by_role("link", name="Back to it").click()
    plain.page.get_by_role("radio", name="Approve with changes").check()
    plain.page.locator("#do-edit summary").click()
    plain.page.get_by_label("As JSON").fill('{"image": "acme/api:v411"}')
    send(plain)
    assert "Approved with changes by ada" in plain.text("#p-head .note")
    assert "acme/api:v411" in plain.text("#p-head .note")
    found = world.ben.inbox.get(asked).answer
    assert (found.decision, found.values) == ("edit", {"image": "acme/api:v411"})


def test_a_rejection_without_a_reason_is_refused(world, plain):
    asked = ask(world, "No reason?")
    plain.go(f"/inbox/{asked}")
    plain.page.get_by_role("radio", name="Reject").check()
    send(plain)
    assert plain.text("h1") == "To reject needs a comment."
    token = plain.context.request.get(f"{world.url}/inbox/{asked}").text()
    token = re.search(r'name="token" value="([^"]+)"', token)[1]
    for form, status in (({}, 403), ({"token": token}, 400), ({"token": token, "act": "approve", "seen": "x"}, 409)):
        assert plain.context.request.post(f"{world.url}/inbox/{asked}/answer", form=form).status == status
    assert answer_of(world, asked) is None


def test_an_ended_question_says_how(world, plain):
    taken = ask(world, "Taken back?")
    world.other("release").escalations.withdraw(taken, "solved")
    plain.go(f"/inbox/{taken}")
    assert "Withdrawn at" in plain.text("#p-head .note")
    assert "It was taken back “solved”" in plain.text("#p-more")
    assert plain.json(f"/inbox/{taken}.json")["escalation"]["state"] == "withdrawn"
    assert plain.go("/inbox/esc_nothing").status == 404


def test_the_question_follows_what_others_do_and_keeps_still(world, ada):
    asked = ask(world, "Live?", severity="high", needs={"count": 2}, suggested_actions=ACTIONS)
    with ada.page.expect_request(lambda request: "/live?" in request.url):
        ada.go(f"/inbox/{asked}")
    ada.page.mouse.move(5, 5)
    ada.page.keyboard.press("2")
    world.ben.inbox.answer(asked, "choose", choice="rollback")
    expect(ada.page.locator("#p-more")).to_contain_text("ben: Roll back")
    assert focused(ada) == ["choose:notify", True]
    ada.page.locator("#decide [name=act]").first.evaluate("each => each.form.reset()")
    ada.page.evaluate("document.activeElement.blur()")
    expect(ada.page.locator("#answer")).to_contain_text("ben: Roll back")


def test_the_list_takes_up_new_questions_and_keeps_the_row_in_hand(world, ada):
    ask(world, "First live?", agent="live")
    with ada.page.expect_request(lambda request: "/live?" in request.url):
        ada.go("/inbox?asker=agent:live")
    ada.page.mouse.move(5, 5)
    ada.page.keyboard.press("j")
    ask(world, "Second live?", agent="live", severity="critical")
    expect(ada.page.get_by_role("status")).to_contain_text("shown when you move on")
    assert ada.page.locator(":focus").inner_text() == "First live?"
    ada.page.evaluate("document.activeElement.blur()")
    expect(ada.page.locator(".q").first).to_have_text("Second live?")


def test_equal_questions_are_answered_together_and_grave_ones_are_not(world, person):
    sweeper, words = f"sweeper-{person.way}", f"Delete it, {person.way}?"
    equal = [ask(world, words, severity="low", agent=sweeper, context={"branch": number}) for number in range(3)]
    grave = ask(world, words, severity="high", agent=sweeper, context={"branch": 9})
    final = {"tool": "rm", "arguments": {}, "reversible": False}
    lasting = ask(world, words, severity="low", agent=sweeper, context=1, kind="approval", action=final)
    person.go(f"/inbox?asker=agent:{sweeper}")
    boxes = person.page.get_by_role("checkbox", name="Answer it together")
    assert [boxes.nth(number).get_attribute("value") for number in range(boxes.count())] == equal
    for number in (0, 1):
        boxes.nth(number).check()
    person.page.get_by_role("button", name="Answer the chosen ones together").click()
    assert person.text("h1") == "One answer for two questions? " + words
    assert '{"branch":1}' in person.text()
    world.ben.inbox.answer(equal[0], "reject", comment="mine")
    person.page.get_by_role("radio", name="Approve").check()
    person.page.get_by_role("button", name="Answer two questions as ada").click()
    assert person.text("h1") == "Two questions are answered. " + words
    assert "Rejected by ben" in person.text()
    assert [answer_of(world, each) and answer_of(world, each)[0] for each in equal] == ["reject", "approve", None]
    for ids, why in (
        ((equal[2], grave), "answered by itself"),
        ((equal[2], lasting), "answered by itself"),
        ((equal[2], ask(world, f"Rename it, {person.way}?", severity="low", agent=sweeper)), "not equal"),
        ((), "No question was chosen"),
    ):
        assert person.go("/inbox/together?" + "&".join(f"id={each}" for each in ids)).status == 400
        assert why in person.text()


def test_the_countdown_is_spoken_at_half_and_at_80_percent(browser, make_tab, world):
    asked = ask(world, "In time?", deadline=world.at(1000))
    tab = make_tab(browser, world).sign_in()
    tab.page.clock.install()
    tab.go(f"/inbox/{asked}")
    spoken = tab.page.locator("p.vh[role=status]")
    heard = []
    for _ in range(11):
        tab.page.clock.run_for(100_000)
        heard.append(spoken.inner_text())
    words = [re.sub(r" \d+ s left", "", each) for each in dict.fromkeys(heard)]
    assert words == ["", "Half of the time is over, 8 min.", "80 % of the time is over, 3 min.", "The time is over."]
    tab.close()


def test_rights(browser, make_tab, world):
    asked = ask(world, "May I?")
    reader = world.admin.keys.create(
        "person", "eve", grants=[Grant(permissions=("escalations:read", "runs:read"))]
    ).secret
    stranger = world.admin.keys.create("person", "mallory", grants=[Grant(permissions=("runs:read",))]).secret
    tab = make_tab(browser, world, java_script_enabled=False).sign_in(reader)
    tab.go(f"/inbox/{asked}")
    assert "Your key may not answer." in tab.text("#answer")
    assert tab.page.locator("#answer form").count() == 0
    assert "release asked" in tab.text("#p-more")
    tab.go("/inbox")
    assert "May I?" in tab.text()
    tab.page.get_by_role("button", name="Sign out").click()
    tab.sign_in(stranger)
    assert tab.go("/inbox").status == 403
    assert tab.go("/").status == 200
    assert "May I?" not in tab.text()
    tab.close()


@pytest.mark.parametrize(
    "options", [{}, {"color_scheme": "dark", "viewport": {"width": 390, "height": 844}}], ids=["light", "dark phone"]
)
def test_axe_finds_nothing(browser, make_tab, world, options):
    shown = ask(
        world, f"Accessible {options}?", severity="critical", response_schema=FORM, action=ACTION, context={"a": ["b"]}
    )
    ended = ask(world, f"Ended {options}?", severity="low")
    world.ben.inbox.answer(ended, "reject", comment="no")
    tab = make_tab(browser, world, **options).sign_in()
    equal = [ask(world, f"Equal {options}?", severity="low", context=number) for number in range(2)]
    together = "/inbox/together?" + "&".join(f"id={each}" for each in equal)
    for path in ("/inbox", "/inbox?kind=handoff", f"/inbox/{shown}", f"/inbox/{ended}", together, "/"):
        tab.go(path)
        for details in tab.page.locator("details").all():
            details.evaluate("each => { each.open = true; }")
        found = Axe().run(tab.page, options=AXE).response["violations"]
        assert [(each["id"], [node["html"] for node in each["nodes"]]) for each in found] == [], path
        wider = tab.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wider == 0, path
    assert tab.complaints == []
    tab.close()
