"""Words of agents stay words, forms are the person's own, and nothing leaves the console."""

from __future__ import annotations

import http.client
import logging
from urllib.parse import urlencode

import pytest
from playwright.sync_api import expect

from agentmemo.console.app import POLICY
from agentmemo.model import runs as model

SCRIPT = "<script>alert(1)</script>"
IMAGE = '"><img src=x onerror=alert(2)>'
TEMPLATE = "{{ 7*7 }}${7*7}"
CLOSING = "</pre></textarea></title><svg onload=alert(3)>"
EVIL = f"{SCRIPT}{IMAGE}' onfocus='alert(4)' {TEMPLATE} javascript:alert(5)"
REVERSED = "safe\u202egnp.exe"
PHONE = {"width": 390, "height": 844}


@pytest.fixture
def hostile(world):
    """Every text that an agent can put anywhere is an attempt."""
    agent = world.agent
    agent.state.set(f"ns{SCRIPT}", f"key{IMAGE}", {EVIL: [CLOSING, REVERSED]})
    agent.state.set(f"ns{SCRIPT}", f"key{IMAGE}", {EVIL: [REVERSED]}, origin="external")
    run, claim, worker = world.open(f"name{IMAGE}", f"key{SCRIPT}", inputs={EVIL: CLOSING})
    step = model.CompleteStep(run=run.id, name=f"step{IMAGE}", key=SCRIPT, result=CLOSING)
    world.call("step.complete", step, claim, worker)
    failed = model.FailStep(run=run.id, name=f"bad{SCRIPT}", key="1", error=EVIL)
    world.call("step.fail", failed, claim, worker)
    for kind in ("decision", "finding", "tried"):
        note = model.AddNote(run=run.id, kind=kind, text=f"{EVIL}{REVERSED}", because=CLOSING)
        world.call("run.note", note, claim, worker)
    progress = model.SetProgress(run=run.id, percent=10.0, text=EVIL, current_step=IMAGE)
    world.call("run.progress", progress, claim, worker)
    started = model.StartStep(run=run.id, name=f"post{IMAGE}", key="1", effect="write")
    world.call("step.start", started, claim, worker)
    world.hostile_claim = claim, worker
    return run.id


@pytest.fixture
def hostile_handoff(world):
    """A dead one and an unfinished one that hold an attempt wherever an agent can put words."""
    sender, receiver = world.agent, f"q{IMAGE}{TEMPLATE}"
    sender.state.set(f"ns{SCRIPT}", f"key{IMAGE}", EVIL)
    package = {
        "goal": f"{EVIL}{REVERSED}{CLOSING}",
        "workflow": f"flow{SCRIPT}",
        "workflow_version": IMAGE,
        "context": {EVIL: [CLOSING, REVERSED]},
        "references": [(f"ns{SCRIPT}", f"key{IMAGE}")],
        "artifacts": [CLOSING],
        "constraints": [f"{EVIL}{REVERSED}"],
        "acceptance": {"schema": {"description": CLOSING}, "checks": [f"result != {SCRIPT!r}"], "verifier": IMAGE},
        "tried": [(EVIL, CLOSING)],
        "unverified": [f"{IMAGE}{REVERSED}"],
        "to_queue": receiver,
    }
    worker = world.other("docs")
    worker.handoff.announce(queues=[receiver])
    dead = sender.handoff.create(**package, key=f"key{SCRIPT}", max_attempts=1)
    worker.handoff.claim(dead.id)
    worker.handoff.progress(dead.id, 10, f"{EVIL}{REVERSED}")
    worker.handoff.release(dead.id, f"{CLOSING}{EVIL}")
    held = sender.handoff.create(**package)
    for _ in range(2):
        worker.handoff.claim(held.id)
        worker.handoff.release(held.id, f"{SCRIPT}{REVERSED}", attempted=False)
    worker.handoff.claim(held.id)
    worker.handoff.progress(held.id, 10, f"{EVIL}{REVERSED}")
    named = sender.handoff.create(to_capability="2026-99-99T99:99:99Z", goal="x" * 300)
    return dead.id, held.id, named.id


@pytest.fixture
def hostile_question(world):
    """An open and an answered one that hold an attempt wherever an agent or a person can put words."""
    asked = world.agent.escalations.create(
        severity="high",
        kind="approval",
        reason=f"{EVIL}{REVERSED}{CLOSING}",
        context={EVIL: CLOSING, IMAGE: [REVERSED], SCRIPT: 1},
        suggested_actions=[{"id": f"id{IMAGE}", "label": SCRIPT, "effect": CLOSING, "cost": IMAGE}],
        response_schema={
            "type": "object",
            "properties": {
                f"field{IMAGE}": {"type": "string", "enum": [SCRIPT, CLOSING], "description": EVIL},
                "text": {"type": "string", "title": CLOSING, "default": f"{IMAGE}'"},
            },
        },
        action={"tool": f"tool{SCRIPT}", "arguments": {EVIL: CLOSING}, "revision": IMAGE},
        default="deny",
        needs={"count": 2, "exclude": [SCRIPT]},
        detail={EVIL: [CLOSING]},
        wait=False,
    )
    world.admin.inbox.comment(asked.id, f"{CLOSING}{EVIL}{REVERSED}")
    world.admin.inbox.answer(asked.id, "choose", choice=f"id{IMAGE}", comment=f"{EVIL}{CLOSING}")
    ended = world.agent.escalations.create(severity="low", reason="x" * 400, context=CLOSING, wait=False)
    world.admin.inbox.answer(ended.id, "answer", values={EVIL: CLOSING}, comment=f"{SCRIPT}{REVERSED}")
    return asked.id, ended.id


def check_harmless(tab):
    """No element came of it; the texts stand there as written."""
    assert tab.page.locator("script:not([src='/static/console.js'], [src='/static/inbox.js'])").count() == 0
    assert tab.page.locator("img").count() == 0
    assert tab.page.locator("[onload], [onerror], [onfocus], [style]").count() == 0
    assert tab.page.locator("a[href^=javascript]").count() == 0
    assert "49$" not in tab.text()
    assert "${49}" not in tab.text()
    assert "\u202e" not in tab.page.content()


def test_hostile_words_are_shown_as_text(world, tab, hostile):
    tab.go(f"/runs/{hostile}")
    for words in (SCRIPT, IMAGE, CLOSING, TEMPLATE, "safe⟨U+202E⟩gnp.exe"):
        assert words in tab.page.locator("main").inner_text()
    for path in ("/", "/runs", f"/runs/{hostile}", "/events", "/state"):
        tab.go(path)
        check_harmless(tab)
    tab.page.locator("main tbody a").first.click()
    check_harmless(tab)
    tab.page.locator("main tbody a").first.click()
    check_harmless(tab)
    assert CLOSING not in tab.page.locator("pre").first.inner_text()
    tab.page.get_by_role("link", name="with 1").click()
    check_harmless(tab)
    assert CLOSING in tab.page.get_by_role("region", name="Difference").inner_text()
    tab.go("/events")
    for link in tab.page.locator("tbody td.n a").all()[:4]:
        address = link.get_attribute("href")
        tab.go(address)
        check_harmless(tab)
        tab.page.go_back()


def test_a_hostile_question_is_text_too(world, tab, hostile):
    claim, worker = world.hostile_claim
    world.ask(claim, worker, "in_doubt", f"write step {EVIL}", f"post{IMAGE}")
    tab.go("/")
    check_harmless(tab)
    tab.go(f"/runs/{hostile}")
    check_harmless(tab)
    assert f"Did post{IMAGE}/1 happen?" in tab.text("#question")


def test_hostile_live_updates_are_text_too(world, tab, hostile):
    tab.go(f"/runs/{hostile}")
    claim, worker = world.hostile_claim
    note = model.AddNote(run=hostile, kind="finding", text=f"late {SCRIPT}{IMAGE}")
    world.call("run.note", note, claim, worker)
    expect(tab.page.locator("#p-notes")).to_contain_text(f"late {SCRIPT}{IMAGE}")
    check_harmless(tab)


def test_hostile_handoffs_are_shown_as_text(world, tab, hostile_handoff):
    dead, held, named = hostile_handoff
    tab.go(f"/handoffs/{held}")
    shown = tab.page.locator("main").inner_text()
    for words in (SCRIPT, IMAGE, CLOSING, TEMPLATE, "safe⟨U+202E⟩gnp.exe"):
        assert words in shown
    assert SCRIPT in tab.page.locator("#p-attempts").inner_text()
    for path in (
        "/",
        "/handoffs",
        "/handoffs?state=all",
        *(f"/handoffs/{each}" for each in hostile_handoff),
        "/events",
    ):
        tab.go(path)
        check_harmless(tab)
    tab.go(f"/handoffs/{dead}")
    assert f"if not queue q{IMAGE}{TEMPLATE} as before" in tab.page.locator("#question").inner_text()
    tab.page.get_by_label("Reason, for the trail").fill(EVIL)
    tab.page.get_by_role("button", name="Offer it again").click()
    check_harmless(tab)
    tab.page.locator("#do-cancel summary").click()
    tab.page.get_by_label("Reason").fill(f"{CLOSING}{EVIL}")
    tab.page.get_by_role("button", name="Cancel the handoff").click()
    check_harmless(tab)
    assert CLOSING in tab.page.locator("#p-head .said.verified").inner_text()
    tab.go(f"/handoffs/{held}")
    world.other("docs").handoff.progress(held, 20, f"late {SCRIPT}{IMAGE}")
    expect(tab.page.locator("#p-head")).to_contain_text(f"late {SCRIPT}{IMAGE}")
    check_harmless(tab)
    tab.go(f"/handoffs/{named}")
    assert "now to capability 2026-99-99T99:99:99Z" in tab.text(".sub >> nth=0")


def test_hostile_questions_are_shown_as_text(world, tab, hostile_question):
    asked, ended = hostile_question
    tab.go(f"/inbox/{asked}")
    shown = tab.page.locator("main").inner_text()
    for words in (SCRIPT, IMAGE, CLOSING, TEMPLATE, "safe⟨U+202E⟩gnp.exe"):
        assert words in shown
    for path in ("/", "/inbox", "/inbox?section=done", f"/inbox/{asked}", f"/inbox/{ended}", "/events"):
        tab.go(path)
        check_harmless(tab)
    tab.go(f"/inbox/{asked}")
    tab.page.get_by_role("radio", name="Reject").check()
    tab.page.get_by_label("Comment; the reason").fill(f"{CLOSING}{EVIL}")
    world.admin.inbox.answer(asked, "reject", comment=f"{SCRIPT}{IMAGE}")
    tab.page.get_by_role("button", name="Answer as ada").click()
    tab.page.get_by_text("What you sent was not saved.").wait_for()
    check_harmless(tab)
    tab.page.get_by_role("link", name="Go to the question").click()
    check_harmless(tab)
    assert f"{SCRIPT}{IMAGE}" in tab.page.locator("#p-head .said.verified").inner_text()


def test_hostile_addresses_are_text_too(world, tab):
    for path in (
        f"/runs?{urlencode({'state': EVIL})}",
        f"/runs?{urlencode({'name': EVIL})}",
        f"/events?{urlencode({'text': EVIL, 'actor': IMAGE, 'type': SCRIPT, 'run': IMAGE})}",
        f"/handoffs?{urlencode({'state': EVIL})}",
        f"/handoffs?{urlencode({'to': IMAGE, 'sender': SCRIPT, 'root': EVIL})}",
        f"/inbox?{urlencode({'severity': EVIL})}",
        f"/inbox?{urlencode({'asker': IMAGE, 'run': EVIL})}",
        "/inbox/%3Cscript%3Ealert(1)%3C%2Fscript%3E",
        "/handoffs/%3Cscript%3Ealert(1)%3C%2Fscript%3E",
        f"/state?{urlencode({'namespace': EVIL, 'prefix': IMAGE})}",
        f"/state/entry?{urlencode({'namespace': EVIL, 'key': SCRIPT})}",
        f"/state?{urlencode({'text': 'word'})}",
        "/runs/%3Cscript%3Ealert(1)%3C%2Fscript%3E",
        "/%3Cscript%3Ealert(1)%3C%2Fscript%3E",
    ):
        tab.go(path)
        check_harmless(tab)


def test_a_form_without_its_token_does_nothing(world, tab):
    run = world.doubtful()
    asked = str(world.agent.runs.get(run).updated_at)
    for token in ("", "x", tab.context.cookies()[0]["value"]):
        answer = tab.context.request.post(
            f"{world.url}/runs/{run}/answer", form={"token": token, "asked": asked, "decision": "retry"}
        )
        assert answer.status == 403
        assert "This form does not come from your session." in answer.text()
    for act, field in (("cancel", "reason"), ("fork", "reason")):
        answer = tab.context.request.post(f"{world.url}/runs/{run}/{act}", form={field: "x"})
        assert answer.status == 403
    assert tab.context.request.post(f"{world.url}/sign-out").status == 403
    found = world.agent.runs.get(run)
    assert (found.state, found.wake) == ("waiting", "person")
    tab.go("/runs")
    assert tab.page.url.endswith("/runs")


def test_sign_in_needs_the_token_of_its_form(world, open_tab):
    tab = open_tab()
    form = {"key": world.person_key.secret, "token": "x"}
    answer = tab.context.request.post(f"{world.url}/sign-in", form=form)
    assert answer.status == 403
    assert world.person_key.secret not in answer.text()
    tab.go("/runs")
    assert "/sign-in" in tab.page.url


def test_a_form_of_another_site_is_refused(world, tab):
    run = world.doubtful()
    tab.page.route(
        "http://evil.test/",
        lambda route: route.fulfill(
            content_type="text/html",
            body=f'<form method="post" action="{world.url}/runs/{run}/cancel"><input name="reason" value="x">'
            "<button>go</button></form>",
        ),
    )
    tab.page.goto("http://evil.test/")
    tab.page.get_by_role("button").click()
    tab.page.get_by_label("Key").wait_for()
    assert world.agent.runs.get(run).state == "waiting"


@pytest.mark.parametrize(
    "path", ["/", "/inbox", "/runs", "/handoffs", "/state", "/events", "/sign-in", "/nowhere", "/runs.json"]
)
def test_every_answer_is_hardened(world, tab, path):
    answer = tab.context.request.get(world.url + path)
    assert answer.headers["content-security-policy"] == POLICY
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cache-control"] == "no-store"


def test_static_files_are_hardened_and_nothing_else_is_served(world, tab):
    answer = tab.context.request.get(f"{world.url}/static/style.css")
    assert answer.status == 200
    assert answer.headers["content-security-policy"] == POLICY
    port = int(world.url.rpartition(":")[2])
    for path in ("/static/../app.py", "/static/%2e%2e/app.py", "/static/"):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request("GET", path)
        assert connection.getresponse().status == 404
        connection.close()


def test_forms_are_bounded(world, tab):
    run, _, _ = world.open("build", "1")
    tab.go(f"/runs/{run.id}")
    token = tab.page.locator("#do-cancel [name=token]").get_attribute("value")
    answer = tab.context.request.post(
        f"{world.url}/runs/{run.id}/cancel", form={"token": token, "reason": "x" * 300_000}
    )
    assert answer.status == 413
    answer = tab.context.request.post(f"{world.url}/runs/{run.id}/cancel", data={"reason": "x"})
    assert answer.status == 400
    assert world.agent.runs.get(run.id).state == "running"


def test_the_key_is_in_no_log_and_on_no_page(world, open_tab, caplog):
    caplog.set_level(logging.DEBUG)
    tab = open_tab()
    addresses = []
    tab.page.on("request", lambda request: addresses.append(request.url))
    tab.sign_in()
    for path in ("/", "/runs", "/state", "/events"):
        tab.go(path)
        assert world.person_key.secret not in tab.page.content()
    assert not [address for address in addresses if "am_person" in address]
    assert world.person_key.secret not in caplog.text


def test_the_session_store_holds_no_readable_key(world, tab):
    sessions = world.app.state.console.sessions
    held = [session.sealed for session in sessions._sessions.values()]
    assert len(held) == 1
    assert world.person_key.secret.encode() not in held[0]
    assert b"am_person" not in held[0]


@pytest.mark.parametrize("options", [{"viewport": PHONE}, {"viewport": PHONE, "color_scheme": "dark"}, {}])
def test_nothing_scrolls_sideways(world, open_tab, hostile, hostile_handoff, hostile_question, options):
    asking = world.doubtful("a" * 200, "b" * 200)
    deep = deep_handoff(world)
    tab = open_tab(**options).sign_in()
    namespace, key = f"ns{SCRIPT}", f"key{IMAGE}"
    keys = urlencode({"namespace": namespace})
    entry = urlencode({"namespace": namespace, "key": key, "version": 2, "against": 1})
    for path in (
        *("/", "/runs", f"/runs/{hostile}", f"/runs/{asking}", "/events", "/runs/run_06zzzz", "/sign-in"),
        *("/state", f"/state?{keys}", f"/state/entry?{entry}"),
        *("/inbox", "/inbox?section=done", *(f"/inbox/{each}" for each in hostile_question)),
        *("/handoffs", "/handoffs?state=all", *(f"/handoffs/{each}" for each in hostile_handoff), f"/handoffs/{deep}"),
    ):
        tab.go(path)
        wider = tab.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wider == 0, path


def deep_handoff(world):
    """The last of a chain that is as long as it may be."""
    made = world.agent.handoff.create(to_agent="hop-1", goal="Pass it on")
    for hop in range(1, 17):
        holder = world.other(f"hop-{hop}")

        def pass_on(_, holder=holder, to=f"hop-{hop + 1}"):
            return holder.handoff.create(to_agent=to, goal="Pass it on, whatever it may be, to the next of us").id

        holder.handoff.work(pass_on, until_idle=True)
        made = holder.handoff.list(root=made.root, limit=1).items[0]
    return made.id


def test_the_answer_stands_on_the_first_screen(world, tab):
    run = world.doubtful()
    tab.go(f"/runs/{run}")
    box = tab.page.get_by_role("button", name="It did not, send once more").bounding_box()
    assert box["y"] + box["height"] <= 720
    made = world.agent.handoff.create(to_agent="docs", goal="Write the API changes of the release", max_attempts=1)
    world.other("docs").handoff.claim(made.id)
    world.other("docs").handoff.release(made.id, "The page builder ran out of memory, twice.")
    tab.go(f"/handoffs/{made.id}")
    box = tab.page.get_by_role("button", name="Offer it again").bounding_box()
    assert box["y"] + box["height"] <= 720


def test_controls_are_named_and_large_enough(world, tab, hostile, hostile_handoff, hostile_question):
    inbox = ("/inbox", *(f"/inbox/{each}" for each in hostile_question))
    handoffs = ("/handoffs", *(f"/handoffs/{each}" for each in hostile_handoff))
    for path in ("/", "/runs", f"/runs/{hostile}", *inbox, *handoffs, "/state", "/events", "/sign-in"):
        tab.go(path)
        assert tab.page.locator("h1").count() == 1
        for control in tab.page.locator(
            "main button:visible, main input:visible:not([type=radio]), main select:visible"
        ).all():
            box = control.bounding_box()
            assert box["height"] >= 24, path
            assert control.evaluate("e => e.tagName === 'BUTTON' ? e.innerText : e.labels.length > 0"), path
