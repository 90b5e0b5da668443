"""Steps: kept once, keyed, typed, retried, in doubt, buffered writes, budgets."""

from __future__ import annotations

import dataclasses
import math
import threading

import msgspec
import pytest

import agentmemo
from agentmemo import InvalidInput, InvalidTransition, LeaseLost, Retry, StepContext, StepFailed, TimedOut
from agentmemo.api.lookup import operation_of
from agentmemo.embedded import local_caller
from agentmemo.model import runs
from agentmemo.model.access import Claim
from agentmemo.testing import Crashed

promise = pytest.mark.promise


def _raise(text="boom"):
    raise ValueError(text)


def crash(surface):
    surface.plane.crash()


@promise("step.once")
def test_a_step_is_kept_with_what_it_was(surface, agent):
    with agent.run("r", key="1") as run:
        assert run.step("add", lambda a, b: a + b, 2, 3) == 5
        kept = agent.runs.steps(run.id)[0]
    assert (kept.name, kept.key, kept.number, kept.state, kept.effect) == ("add", "1", 1, "completed", "none")
    assert (kept.attempt, kept.epoch, kept.run_attempt, kept.result) == (1, 1, 1, 5)
    assert kept.finished_at == surface.plane.clock.now_us()


@promise("step.once")
def test_steps_of_a_name_are_told_apart_by_occurrence_or_key(surface, agent):
    ran = []

    def work(value):
        ran.append(value)
        return value

    def job(run):
        return [
            run.step("s", work, "first"),
            run.step("s", work, "second"),
            run.step("s", work, "named", key="x"),
            run.step("s", work, "third"),
        ]

    with pytest.raises(Crashed), agent.run("r", key="1") as run:
        first = job(run)
        crash(surface)
    with surface.connect().run("r", key="1") as run:
        assert job(run) == first == ["first", "second", "named", "third"]
    assert ran == ["first", "second", "named", "third"]
    with pytest.raises(InvalidInput), surface.connect().run("r", key="2") as run:
        run.step("s", work, 1, key="")


@promise("step.once")
def test_a_result_is_never_replaced(plane):
    with plane.connect("agent").run("r", key="1") as run:
        claim = Claim(run=run.id, epoch=run.epoch)
        caller = msgspec.structs.replace(local_caller("agent", None, "default"), claim=claim)

        def call(kind, name="pay", **fields):
            request = kind(run=run.id, name=name, key="1", **fields)
            return plane.engine.call(operation_of(kind), caller, request)

        call(runs.StartStep, effect="irreversible")
        call(runs.CompleteStep, effect="irreversible", result="receipt")
        for kind, fields in (
            (runs.CompleteStep, {"effect": "irreversible", "result": "another"}),
            (runs.CompleteStep, {"result": "another", "fingerprint": "of other inputs"}),
            (runs.StartStep, {"effect": "irreversible"}),
            (runs.FailStep, {"error": "boom"}),
        ):
            with pytest.raises(InvalidTransition, match="its result stands"):
                call(kind, **fields)
        call(runs.StartStep, "mail", effect="write")
        call(runs.FailStep, "mail", error="no such host")
        paid, mailed = plane.connect().runs.steps(run.id)
        assert (paid.state, paid.effect, paid.result) == ("completed", "irreversible", "receipt")
        assert (mailed.state, mailed.effect) == ("failed", "write")
        assert plane.connect().runs.get(run.id).steps == 1


@promise("step.mismatch")
def test_a_key_that_is_used_twice_loses_no_result(agent):
    with agent.run("r", key="1") as run:
        assert run.step("s", lambda given: given, 1, key="k") == 1
        with pytest.raises(InvalidInput, match="other arguments"):
            run.step("s", lambda given: given, 2, key="k")
        assert run.step("s", lambda given: given, 1, key="k") == 1
        assert run.step("s", lambda given: given, 2, key="k", on_mismatch="rerun") == 2


@promise("step.decorator")
def test_a_step_as_a_decorator(surface, agent):
    ran = []

    def job(run):
        @run.step("load", key="k")
        def load(number: int) -> dict:
            ran.append(number)
            return {"n": number}

        return load(7)

    with pytest.raises(Crashed), agent.run("r", key="1") as run:
        assert job(run) == {"n": 7}
        crash(surface)
    with surface.connect().run("r", key="1") as run:
        assert job(run) == {"n": 7}
    assert ran == [7]


@promise("step.async")
@pytest.mark.surfaces("sync")
def test_an_async_function_on_a_sync_connection_is_refused(agent):
    async def work():
        return 1

    with pytest.raises(InvalidInput, match="connect_async"), agent.run("r", key="1") as run:
        run.step("s", work)


@promise("step.async")
@pytest.mark.surfaces("async")
def test_an_async_connection_takes_both_colours(surface, agent):
    async def work():
        return 1

    with agent.run("r", key="1") as run:
        assert run.step("s", work) == 1
        assert run.step("t", len, [1, 2]) == 2


@dataclasses.dataclass
class Point:
    x: int
    y: float = 0.5


class Shape(msgspec.Struct):
    name: str
    points: list[Point]


def make_shape() -> Shape:
    return Shape("line", [Point(1), Point(2)])


def make_points() -> list[Point]:
    return [Point(3, 4.5)]


@promise("step.typed")
def test_results_come_back_as_their_type_first_and_on_replay(surface, agent):
    def job(run):
        return [
            run.step("shape", make_shape),
            run.step("points", make_points),
            run.step("declared", lambda: {"x": 9}, returns=Point),
            run.step("tuple", lambda: (1, 2)),
            run.step("plain", make_points, key="plain", returns=None),
        ]

    with pytest.raises(Crashed), agent.run("r", key="1") as run:
        first = job(run)
        crash(surface)
    with surface.connect().run("r", key="1") as run:
        assert job(run) == first
    assert first[0] == Shape("line", [Point(1), Point(2)])
    assert first[1:] == [[Point(3, 4.5)], Point(9), [1, 2], [{"x": 3, "y": 4.5}]]


@promise("step.unstorable")
def test_a_result_that_cannot_be_stored_names_its_path(agent):
    with pytest.raises(InvalidInput) as caught, agent.run("r", key="1") as run:
        run.step("s", lambda: {"ok": 1, "bad": [object()]}, retry=3)
    assert caught.value.details["path"] == "$.bad[0]"
    failed = agent.runs.steps(run.id)[0]
    assert (failed.state, failed.attempt) == ("failed", 1)


@promise("step.unstorable")
def test_a_result_of_another_type_than_declared_is_refused(agent):
    with pytest.raises(InvalidInput, match="declared type"), agent.run("r", key="1") as run:
        run.step("s", lambda: {"z": 9}, returns=Point)


@promise("step.mismatch")
@pytest.mark.parametrize(
    ("effect", "policy", "expected"),
    [
        ("none", None, "rerun"),
        ("read", None, "rerun"),
        ("none", "reuse", "reuse"),
        ("write", "reuse", "reuse"),
        ("write", "rerun", "rerun"),
        ("irreversible", "reuse", "reuse"),
    ],
)
def test_other_inputs_to_a_kept_step(surface, agent, effect, policy, expected):
    def job(run, value):
        return run.step("s", lambda given: given, value, effect=effect, on_mismatch=policy)

    with pytest.raises(Crashed), agent.run("r", key="1") as run:
        assert job(run, "old") == "old"
        crash(surface)
    with surface.connect().run("r", key="1") as run:
        assert job(run, "new") == ("new" if expected == "rerun" else "old")


@promise("step.mismatch")
@pytest.mark.parametrize("decision", ["reuse", "rerun"])
def test_other_inputs_to_an_effect_ask_a_person(surface, agent, decision):
    ran = []

    def job(run, value):
        return run.step("s", lambda given: ran.append(given) or given, value, effect="write")

    with pytest.raises(Crashed), agent.run("r", key="1") as run:
        job(run, "old")
        crash(surface)
    dana = surface.plane.person().will("mismatch", decision)
    with surface.connect().run("r", key="1") as run:
        assert job(run, "new") == {"reuse": "old", "rerun": "new"}[decision]
    assert len(dana.decided) == 1
    assert ran == {"reuse": ["old"], "rerun": ["old", "new"]}[decision]


@promise("step.effect")
def test_an_effect_is_announced_before_it_happens(surface, agent):
    seen = []
    observer = surface.connect("observer")

    def pay():
        step = observer.runs.steps(run.id)[0]
        seen.append((step.state, step.effect, surface.current_step().idempotency_key))

    with agent.run("r", key="1") as run:
        run.step("pay", pay, effect="write")
        run.step("look", lambda: seen.append(len(observer.runs.steps(run.id))), effect="read")
    assert seen == [("started", "write", f"{run.id}/pay/1"), 1]


def doubtful(surface, effect="write", **options):
    """A run whose step `pay` began, and whose process died before its result was kept."""
    with pytest.raises(Crashed), surface.connect().run("r", key="1") as run:
        run.step("before", lambda: 1)
        run.step("pay", surface.plane.crash, effect=effect, **options)
    return run.id


@promise("step.doubt")
@pytest.mark.parametrize("effect", ["write", "irreversible"])
def test_an_effect_in_doubt_asks_a_person(surface, effect):
    handle = doubtful(surface, effect)
    dana = surface.plane.person("dana").will("in_doubt", "happened", result={"receipt": 7}, comment="seen at the bank")
    ran = []
    agent = surface.connect()
    with agent.run("r", key="1") as run:
        assert run.step("before", lambda: 2) == 1
        assert run.step("pay", lambda: ran.append(1), effect=effect) == {"receipt": 7}
    assert ran == []
    assert [r.id for r in dana.decided] == [handle]
    doubt = agent.audit.events(type="step.doubt")[0]
    assert doubt.step == "pay/1"
    resolved = agent.audit.events(type="run.resolve")[0]
    assert (resolved.actor, resolved.reason) == ("person:dana", "seen at the bank")


@promise("step.doubt")
def test_a_person_may_have_it_tried_again(surface):
    doubtful(surface, "irreversible")
    surface.plane.person().will("in_doubt", "retry")
    keys = []
    with surface.connect().run("r", key="1") as run:
        run.step("before", lambda: 2)
        run.step("pay", lambda: keys.append(surface.current_step().idempotency_key), effect="irreversible")
    assert keys == [f"{run.id}/pay/1"]


@promise("step.doubt")
def test_retry_uses_the_same_idempotency_key(surface):
    handle = doubtful(surface)
    keys = []
    with surface.connect().run("r", key="1") as run:
        run.step("before", lambda: 2)
        run.step("pay", lambda: keys.append(surface.current_step().idempotency_key), effect="write", in_doubt="retry")
    assert keys == [f"{handle}/pay/1"]


@promise("step.doubt")
@pytest.mark.parametrize("found", [{"receipt": 3}, None], ids=["happened", "did not"])
def test_a_probe_finds_out(surface, found):
    before = surface.plane.clock.now_us()
    doubtful(surface, timeout_seconds=60)
    probed, ran = [], []

    def probe(key):
        probed.append((key, surface.plane.clock.now_us() - before))
        return found

    def pay():
        ran.append(1)
        return {"receipt": 9}

    with surface.connect().run("r", key="1") as run:
        run.step("before", lambda: 2)
        result = run.step("pay", pay, effect="write", in_doubt=probe, timeout_seconds=60)
    assert result == (found or {"receipt": 9})
    assert ran == ([] if found else [1])
    # Only after the old holder's time to finish is over.
    assert probed == [(f"{run.id}/pay/1", 60_000_000)]


@promise("step.doubt")
def test_a_probe_waits_no_longer_than_the_timeout_where_the_wall_clock_was_set_back(surface):
    doubtful(surface, timeout_seconds=60)
    surface.plane.clock.step(-86_400)
    before = surface.plane.clock.now_us()
    with surface.connect().run("r", key="1") as run:
        run.step("before", lambda: 2)
        run.step("pay", lambda: 1, effect="write", in_doubt=lambda _: 1, timeout_seconds=60)
    assert surface.plane.clock.now_us() - before <= 60_000_000


@promise("step.doubt")
def test_what_is_in_doubt_is_told(surface):
    handle = doubtful(surface)
    surface.plane.upkeep()
    agent = surface.connect()
    with pytest.raises(ZeroDivisionError), agent.run("r", key="1") as run:
        told = agent.runs.explain(handle)
        assert told.in_doubt == ["pay/1"]
        assert "never silently repeated" in told.text
        assert "In doubt: pay/1" in str(agent.briefing())
        _ = run.id and 1 / 0


@promise("step.retry")
def test_retries_back_off(surface, agent):
    clock = surface.plane.clock
    began, times = clock.now_us(), []

    def work():
        times.append((clock.now_us() - began) / 1e6)
        if len(times) < 4:
            _raise(f"attempt {len(times)}")
        return surface.current_step().attempt

    policy = Retry(max_attempts=4, first_delay_seconds=1, factor=3, max_delay_seconds=5)
    with agent.run("r", key="1") as run:
        assert run.step("s", work, retry=policy) == 4
    assert times == [0, 1, 4, 9]
    assert agent.runs.steps(run.id)[0].attempt == 4
    failures = [(e.to_version, e.reason.partition(" (")[0]) for e in agent.audit.events(type="step.fail")]
    assert failures == [(n, f"ValueError: attempt {n}") for n in (1, 2, 3)]


@promise("step.retry")
def test_a_step_whose_attempts_are_spent_fails_the_same_way_on_replay(surface, agent):
    ran = []

    def work():
        ran.append(1)
        _raise("no")

    with pytest.raises(Crashed), agent.run("r", key="1") as run:
        with pytest.raises(ValueError, match="no"):
            run.step("s", work, retry=2)
        crash(surface)
    with pytest.raises(ValueError, match="given up"), surface.connect().run("r", key="1") as run:
        with pytest.raises(StepFailed) as caught:
            run.step("s", work, retry=2)
        assert caught.value.details["error"].startswith("ValueError: no")
        _raise("given up")
    assert len(ran) == 2
    # The next attempt of the run is another chance.
    with surface.connect().run("r", key="1") as run:
        assert run.step("s", lambda: "fine", retry=2) == "fine"


@promise("step.retry")
def test_the_irreversible_is_never_retried_by_itself(agent):
    ran = []

    def work():
        ran.append(1)
        _raise()

    with pytest.raises(ValueError, match="boom"), agent.run("r", key="1") as run:
        run.step("s", work, effect="irreversible", retry=5)
    assert ran == [1]


@promise("step.timeout")
def test_a_step_has_its_time(agent):
    never = threading.Event()
    with pytest.raises(TimedOut), agent.run("r", key="1") as run:
        run.step("s", lambda: never.wait(60), timeout_seconds=0.05)
    never.set()
    assert agent.runs.steps(run.id)[0].error.startswith("TimedOut")
    with agent.run("r", key="2") as run:
        assert run.step("s", lambda: 5, timeout_seconds=60) == 5


@promise("step.timeout", "step.retry")
@pytest.mark.parametrize(
    "options",
    [
        *({"timeout_seconds": seconds} for seconds in (0, -1, math.inf, math.nan)),
        *({"retry": Retry(factor=factor)} for factor in (-2.0, math.inf, math.nan)),
        {"retry": Retry(first_delay_seconds=-1)},
        {"retry": Retry(max_delay_seconds=math.inf)},
    ],
)
def test_a_time_that_cannot_be_counted_is_refused_before_the_step_runs(agent, options):
    ran = []
    with agent.run("r", key="1") as run, pytest.raises(InvalidInput):
        run.step("s", lambda: ran.append(1), effect="write", **options)
    assert ran == []
    assert len(agent.runs.steps(run.id)) == 0


@promise("step.buffer")
def test_writes_inside_a_step_commit_with_its_result(surface, agent):
    other = surface.connect("other")
    agent.state.set("n", "gone", 1)

    def work():
        step = surface.current_step()
        step.state.set("n", "k", 1)
        step.state.set("n", "k", 2)
        step.state.delete("n", "gone")
        step.finding("noted")
        assert step.state.get("n", "k") == 2
        assert step.state.get("n", "gone", "default") == "default"
        assert step.state.get("n", "other") is None
        assert other.state.get("n", "k") is None
        assert other.state.get("n", "gone") == 1
        return "ok"

    with agent.run("r", key="1") as run:
        assert run.step("s", work) == "ok"
        assert other.state.get("n", "k") == 2
        assert other.state.get("n", "gone") is None
    assert agent.state.entry("n", "k").run == run.id
    assert [n.text for n in agent.runs.notes(run.id)] == ["noted"]
    events = [e.operation for e in agent.audit.events(run=run.id)]
    assert events == [
        "run.start",
        "step.complete",
        "state.set",
        "state.set",
        "state.delete",
        "note.finding",
        "run.complete",
    ]


@promise("step.buffer")
def test_writes_inside_a_failed_step_are_none(surface, agent):
    def fails():
        surface.current_step().state.set("n", "k", 1)
        _raise()

    def conflicts():
        surface.current_step().state.set("n", "k", 1)
        surface.current_step().state.set("n", "other", 1, if_version=7)

    for work, error in ((fails, ValueError), (conflicts, agentmemo.VersionConflict)):
        with pytest.raises(error), agent.run("r") as run:
            run.step("s", work)
        assert agent.state.get("n", "k") is None
        assert [s.state for s in agent.runs.steps(run.id)] == ["failed"]


@promise("step.context")
def test_a_function_may_ask_for_its_step(agent):
    def work(number: int, step: StepContext) -> list:
        return [number, step.name, step.key, step.epoch, step.attempt]

    with agent.run("r", key="1") as run:
        assert run.step("s", work, 5) == [5, "s", "1", 1, 1]
    with pytest.raises(InvalidInput, match="No step"):
        agentmemo.current_step()


@promise("step.ambient")
def test_calls_on_the_agent_inside_a_step_commit_at_once_under_the_run(surface, agent):
    def work():
        agent.state.set("n", "k", 1)
        assert surface.connect("other").state.get("n", "k") == 1

    with agent.run("r", key="1") as run:
        run.step("s", work)
    assert agent.state.entry("n", "k").run == run.id


@promise("step.concurrent")
@pytest.mark.surfaces("async")
def test_concurrent_steps_of_a_name_need_keys(surface, plane):
    import asyncio

    async def scenario():
        async with await plane.connect_async() as agent:

            async def work(value):
                await asyncio.sleep(0)
                return value

            async with agent.run("r", key="1") as run:
                keyed = await asyncio.gather(*(run.step("s", work, n, key=str(n)) for n in range(20)))
                assert keyed == list(range(20))
                assert len({s.number for s in (await agent.runs.steps(run.id)).items}) == 20
            with pytest.raises(InvalidInput, match="key"):
                async with agent.run("r", key="2") as run:
                    await asyncio.gather(*(run.step("s", work, n) for n in range(2)))

    asyncio.run(scenario())


@promise("step.concurrent")
def test_a_step_with_a_key_is_done_by_one_at_a_time(agent):
    """Both would do its effect, under one idempotency key."""
    ran = []

    with agent.run("r", key="1") as run:

        def pay():
            ran.append(1)
            with pytest.raises(InvalidInput, match="run at once with the key 'k'"):
                run.step("pay", pay, key="k", effect="write")
            return "paid"

        assert run.step("pay", pay, key="k", effect="write") == "paid"
    assert ran == [1]


@promise("input.refused")
@pytest.mark.parametrize(
    "options",
    [{"effect": "sometimes"}, {"on_mismatch": "perhaps"}, {"in_doubt": "hope"}, {"retry": 0}, {"key": "\x00"}],
    ids=str,
)
def test_bad_steps_are_refused(agent, options):
    with pytest.raises(InvalidInput), agent.run("r", key="1") as run:
        run.step("s", lambda: 1, **options)


@promise("step.exactly_once")
def test_a_stale_step_commits_nothing_of_what_it_buffered(surface, agent):
    other = surface.connect("other")

    def work():
        surface.current_step().state.set("n", "k", "stale")
        surface.pause(agent)
        surface.plane.advance(11)
        with other.run("r", key="1") as heir:
            heir.step("s", lambda: "heir's")

    with pytest.raises(LeaseLost), agent.run("r", key="1") as run:
        run.step("s", work)
    assert other.state.get("n", "k") is None
    assert [s.result for s in other.runs.steps(run.id)] == ["heir's"]


@promise("step.once")
def test_steps_made_after_a_resume_do_not_hide_the_stored_ones(surface, agent):
    """Asking again for a step of one's own must not count as having met a stored one."""
    ran = []
    with pytest.raises(ConnectionError), agent.run("r", key="1") as run:
        for name in "ab":
            run.step(name, lambda name=name: ran.append(name), key="k")
        raise ConnectionError
    with surface.connect().run("r", key="1") as run:
        for name in "cd":
            for _ in range(2):
                assert run.step(name, lambda: 5, key="k", effect="write") == 5
        for name in "ab":
            run.step(name, lambda name=name: ran.append(name), key="k")
    assert ran == ["a", "b"]
