"""The page of reports: what asking costs, whether people still read, and how oversight is set up."""

from __future__ import annotations

import pytest
from axe_playwright_python.sync_playwright import Axe

from agentmemo.embedded import connection_for
from agentmemo.model.access import EVERYTHING, Caller, Grant

AXE = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
PHONE = {"color_scheme": "dark", "viewport": {"width": 390, "height": 844}}


@pytest.fixture(scope="module")
def world(make_world, tmp_path_factory):
    """Two people decide, one of them faster than anybody reads; one question nobody answers, and one stays open."""
    made = make_world(tmp_path_factory.mktemp("reports") / "plane.db")
    people = {
        name: connection_for(made.plane, Caller(kind="person", name=name, grants=(EVERYTHING,)))
        for name in ("ada", "ben")
    }
    for name, decision, times, seconds in (("ada", "approve", 12, 1.5), ("ben", "reject", 3, 240.0)):
        for number in range(times):
            asked = ask(made, f"May I deploy, {name}?", key=f"{name}-{number}")
            made.clock.advance(seconds)
            people[name].inbox.answer(asked, decision, comment="looked at it")
    ask(made, "Which mirror?", severity="low", deadline=made.at(60))
    ask(made, "And now?", agent="docs")
    made.clock.advance(120)
    made.plane.upkeep.run_once()
    yield made
    for connection in people.values():
        connection.close()
    made.close()


def ask(world, reason, *, severity="high", agent="release", **question):
    found = world.other(agent).escalations.create(severity=severity, reason=reason, wait=False, **question)
    world.clock.advance(1)
    return found.id


def test_it_says_what_asking_costs_and_who_no_longer_reads(browser, make_tab, world):
    tab = make_tab(browser, world, java_script_enabled=False).sign_in()
    tab.go("/reports")
    assert tab.text("h1") == "17 questions were put to people. The decisions of one person look like a reflex."
    assert "Decided by people 15 88 %" in tab.text("section[aria-labelledby=h-came]")
    people = tab.text("section[aria-labelledby=h-people]")
    assert "Decides within 2.5 s: nobody reads that fast" in people
    assert "ben 3 0 %" in people
    drawn = tab.page.get_by_role("img").first
    assert drawn.get_attribute("aria-label") == "Looked at most 2.5 s, decided 2.5 s after it was asked"
    assert "May I deploy, ada?" in tab.text("section[aria-labelledby=h-often]")
    assert "release 16 questions" in tab.text("aside")
    assert "Which mirror?" in tab.text("section[aria-labelledby=h-nobody]")
    oversight = tab.text("section[aria-labelledby=h-oversight]")
    assert "6 of 8 are met as it is set up now" in oversight
    assert "Not met" in oversight
    assert "agentmemo policy set rules default FILE" in oversight
    tab.page.get_by_role("link", name="30 days").click()
    assert tab.page.url.endswith("/reports?days=30")
    tab.close()


def test_its_data_is_that_of_the_reports(browser, make_tab, world):
    tab = make_tab(browser, world, java_script_enabled=False).sign_in()
    found = tab.json("/reports.json?days=1")
    reports = world.admin.reports
    assert found["attention"]["people"] == tab.json("/reports.json")["attention"]["people"]
    assert [line["met"] for line in found["oversight"]["lines"]] == [line.met for line in reports.oversight().lines]
    assert found["attention"]["decided"] == reports.attention().decided
    assert tab.go("/reports?days=0").status == 400
    assert "no length of a window" in tab.text()
    tab.close()


def test_each_report_is_for_whom_it_is(browser, make_tab, world):
    tab = make_tab(browser, world, java_script_enabled=False)
    for number, (permission, shown, hidden) in enumerate(
        [("escalations:read", "What came of them", "Oversight"), ("policies:read", "Oversight", "What came of them")]
    ):
        grants = [Grant(permissions=(permission,))]
        tab.sign_in(world.admin.keys.create("person", f"reader-{number}", grants=grants).secret)
        tab.go("/reports")
        assert (shown in tab.text(), hidden in tab.text()) == (True, False)
    tab.sign_in(world.admin.keys.create("person", "other", grants=[Grant(permissions=("runs:read",))]).secret)
    assert tab.go("/reports").status == 403
    tab.close()


@pytest.mark.parametrize("options", [{}, PHONE], ids=["light", "dark phone"])
def test_axe_finds_nothing(browser, make_tab, world, options):
    tab = make_tab(browser, world, **options).sign_in()
    for path in ("/reports", "/reports?days=0.0001"):
        tab.go(path)
        tab.page.locator("details").evaluate_all("all => all.forEach(each => { each.open = true; })")
        found = Axe().run(tab.page, options=AXE).response["violations"]
        assert [(each["id"], [node["html"] for node in each["nodes"]]) for each in found] == [], path
        wider = tab.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wider == 0, path
    assert tab.complaints == []
    tab.close()
