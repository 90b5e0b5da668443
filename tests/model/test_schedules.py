"""Who is on call and what is working time, whatever the clocks do."""

from __future__ import annotations

import datetime
import itertools
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agentmemo.clock import SECOND
from agentmemo.errors import InvalidInput
from agentmemo.model.documents import local, moment
from agentmemo.model.policies import SCHEDULE, document_of
from agentmemo.model.schedules import DAYS, is_working_time, on_call, working_deadline

ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Havana", "Pacific/Apia")
HOUR = 3600 * SECOND
DAY = 24 * HOUR
BERLIN = ZoneInfo("Europe/Berlin")
DATES = st.dates(datetime.date(2009, 1, 1), datetime.date(2030, 1, 1))
CLOCKS = st.times().map(lambda time: f"{time:%H:%M}")


def schedule(zone="Europe/Berlin", **fields):
    return document_of(SCHEDULE, {"zone": zone, **fields})


def at(text, zone=BERLIN):
    return moment(text, zone, "$")


ROTA = {"people": ["ana", "ben", "cy"], "first_day": "2026-03-16", "hand_over": "monday", "at": "09:00"}


def test_weeks_go_round_at_the_same_local_hour_over_both_jumps_of_the_clocks():
    rota = schedule(rota=ROTA)
    assert on_call(rota, at("2026-03-16T08:59")) is None
    for monday, before, after in (
        ("2026-03-16", None, "ana"),
        ("2026-03-23", "ana", "ben"),
        ("2026-03-30", "ben", "cy"),  # after the clocks went forward
        ("2026-04-06", "cy", "ana"),
        ("2026-10-26", "ben", "cy"),  # after they went back
    ):
        assert on_call(rota, at(f"{monday}T09:00") - 1) == before
        assert on_call(rota, at(f"{monday}T09:00")) == after


def test_the_first_turn_ends_at_the_next_hand_over():
    rota = schedule(rota=ROTA | {"first_day": "2026-03-18"})  # a Wednesday
    assert on_call(rota, at("2026-03-18T09:00") - 1) is None
    assert on_call(rota, at("2026-03-18T09:00")) == "ana"
    assert on_call(rota, at("2026-03-23T09:00") - 1) == "ana"
    assert on_call(rota, at("2026-03-23T09:00")) == "ben"


@given(st.sampled_from(ZONES), DATES, st.sampled_from(DAYS), CLOCKS, st.integers(1, 4), st.tuples(DATES, CLOCKS))
def test_a_rota_hands_over_once_a_week_and_to_the_next(zone, first, day, clock, people, when):
    names = [f"p{number}" for number in range(people)]
    rota = schedule(zone, rota={"people": names, "first_day": f"{first}", "hand_over": day, "at": clock})
    now = at(f"{when[0]}T{when[1]}", ZoneInfo(zone))
    found = on_call(rota, now)
    if found is None:
        assert now < at(f"{first}T{clock}", ZoneInfo(zone)) + DAY  # a zone may skip a day
        return
    following = names[(names.index(found) + 1) % people]
    hours = [on_call(rota, now + hour * HOUR) for hour in range(7 * 24)]
    # Once at most within a week less an hour or a day that the clocks jump, and only to the next.
    assert [name for name, after in itertools.pairwise(hours) if name != after] in ([], [found])
    assert set(hours) <= {found, following}
    assert on_call(rota, now + 7 * DAY + 25 * HOUR) in {following, names[(names.index(found) + 2) % people]}


TURNS = st.lists(st.tuples(st.sampled_from("xyz"), st.integers(0, 40), st.integers(1, 20)), max_size=6)


@given(TURNS, TURNS, st.integers(0, 60))
@example([("x", 0, 10), ("y", 5, 1)], [], 5)
def test_the_last_override_that_covers_a_time_decides_then_the_last_shift(overrides, shifts, hour):
    start = at("2026-03-28T20:00")  # the clocks go forward within

    def turns(given):
        return [
            {
                "person": name,
                "since": local(start + since * HOUR, BERLIN).isoformat(),
                "until": local(start + (since + hours) * HOUR, BERLIN).isoformat(),
            }
            for name, since, hours in given
        ]

    def last(given):
        return next((name for name, since, hours in reversed(given) if since <= hour < since + hours), None)

    found = on_call(schedule(rota=ROTA, overrides=turns(overrides), shifts=turns(shifts)), start + hour * HOUR)
    assert found == (last(overrides) or last(shifts) or on_call(schedule(rota=ROTA), start + hour * HOUR))


def test_times_without_an_offset_are_local_and_ends_belong_to_the_next():
    override = {"person": "eva", "since": "2026-12-24", "until": "2026-12-27T09:00"}
    found = schedule(overrides=[override])
    assert on_call(found, at("2026-12-23T23:00:00Z") - 1) is None
    assert on_call(found, at("2026-12-23T23:00:00Z")) == "eva"
    assert on_call(found, at("2026-12-27T08:00:00Z") - 1) == "eva"
    assert on_call(found, at("2026-12-27T08:00:00Z")) is None


HOURS = {"days": ["monday", "tuesday", "wednesday", "thursday", "friday"], "from": "09:00", "to": "17:00"}


@pytest.mark.parametrize(
    ("start", "hours", "end"),
    [
        ("2026-11-23T10:00", 2, "2026-11-23T12:00"),
        ("2026-11-23T16:00", 2, "2026-11-24T10:00"),
        ("2026-11-23T16:00", 1, "2026-11-23T17:00"),
        ("2026-11-27T16:00", 2, "2026-11-30T10:00"),  # over a weekend
        ("2026-12-24T16:00", 2, "2026-12-28T10:00"),  # over a holiday and a weekend
        ("2026-03-27T16:00", 2, "2026-03-30T10:00"),  # the clocks go forward in between
        ("2026-10-23T16:00", 2, "2026-10-26T10:00"),  # and back
        ("2026-11-28T12:00", 0, "2026-11-30T09:00"),
        ("2026-11-23T09:00", 24, "2026-11-25T17:00"),
    ],
)
def test_a_deadline_counts_working_hours_only(start, hours, end):
    found = schedule(working_hours=HOURS | {"holidays": ["2026-12-25"]})
    assert working_deadline(found, at(start), hours * 3600) == at(end)


def test_a_working_night_is_as_long_as_it_is():
    """02:00 to 03:00 does not exist on the day the clocks go forward, and comes twice when they go back."""
    found = schedule(working_hours={"days": ["sunday"], "from": "01:00", "to": "04:00"})
    assert working_deadline(found, at("2026-03-29T00:00"), 2 * 3600) == at("2026-03-29T04:00")
    assert working_deadline(found, at("2026-10-25T00:00"), 4 * 3600) == at("2026-10-25T04:00")
    assert is_working_time(found, at("2026-10-25T04:00") - 1)
    assert not is_working_time(found, at("2026-10-25T04:00"))


def test_all_hours_are_working_hours_where_none_are_named():
    assert is_working_time(schedule(), at("2026-11-28T03:00"))
    assert working_deadline(schedule(), at("2026-11-28T03:00"), 60) == at("2026-11-28T03:01")


@st.composite
def working_hours(draw):
    opens = draw(st.integers(0, 23 * 60))
    closes = draw(st.integers(opens + 60, 24 * 60))
    days = draw(st.sets(st.sampled_from(DAYS), min_size=1))
    return {"days": sorted(days), "from": clock_of(opens), "to": clock_of(closes)}


def clock_of(minutes):
    return f"{minutes // 60:02}:{minutes % 60:02}"


ALL_DAY = {"days": [*DAYS], "from": "00:00", "to": "24:00"}
OFF = st.lists(st.integers(0, 30), max_size=5)


@given(st.sampled_from(ZONES), st.tuples(DATES, CLOCKS), st.integers(0, 80 * 60), working_hours(), OFF)
@example("Pacific/Apia", (datetime.date(2011, 12, 29), "00:00"), 20 * 60, ALL_DAY | {"from": "09:00"}, [])
@example("America/Havana", (datetime.date(2026, 3, 7), "00:00"), 30 * 60, ALL_DAY, [])
def test_a_deadline_is_where_the_working_time_is_used_up(zone, when, minutes, hours, off):
    holidays = [f"{when[0] + datetime.timedelta(days=number)}" for number in off]
    found = schedule(zone, working_hours=hours | {"holidays": holidays})
    start = at(f"{when[0]}T{when[1]}", ZoneInfo(zone))
    deadline = working_deadline(found, start, minutes * 60)
    # Zones change at whole minutes, so each minute is working time or is not. Two weeks of them are enough to look at.
    if deadline - start <= 14 * DAY:
        assert sum(is_working_time(found, now) for now in range(start, deadline, 60 * SECOND)) == minutes
    assert minutes == 0 or is_working_time(found, deadline - 1)
    assert working_deadline(found, start, (minutes + 60) * 60) >= deadline + HOUR


def turn(since, until, person="a"):
    return {"zone": "UTC", "shifts": [{"person": person, "since": since, "until": until}]}


@pytest.mark.parametrize(
    ("document", "path"),
    [
        ({"zone": "Europe"}, "$.zone"),
        ({"zone": "../etc/passwd"}, "$.zone"),
        ({"zone": "Mars/Olympus"}, "$.zone"),
        ({"zone": "UTC", "rota": ROTA | {"people": []}}, "$.rota.people"),
        ({"zone": "UTC", "rota": ROTA | {"at": "9:00"}}, "$.rota.at"),
        ({"zone": "UTC", "rota": ROTA | {"first_day": "monday"}}, "$.rota.first_day"),
        (turn("2026-01-01", "soon"), "$.shifts[0].until"),
        (turn("2026-01-02", "2026-01-02"), "$.shifts[0].until"),
        (turn("2026-01-02", "2026-01-03", "a b"), "$.shifts[0].person"),
        ({"zone": "UTC", "working_hours": {"from": "17:00", "to": "09:00"}}, "$.working_hours.to"),
        ({"zone": "UTC", "working_hours": {"days": []}}, "$.working_hours.days"),
        ({"zone": "UTC", "working_hours": {"to": "25:00"}}, "$.working_hours.to"),
    ],
)  # fmt: skip
def test_what_makes_no_schedule_is_refused_with_its_path(document, path):
    with pytest.raises(InvalidInput) as caught:
        document_of(SCHEDULE, document)
    assert caught.value.details["path"] == path
    assert caught.value.next_call
