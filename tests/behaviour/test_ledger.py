"""The ledger: reservations that hold, costs that are exact, and what is unknown said so."""

from __future__ import annotations

import pytest
from list_prices import CHEAP, CHEAP_NANOUSD, FREE, SMART, SMART_NANOUSD, USED

from agentmemo import (
    Grant,
    IdempotencyMismatch,
    InvalidInput,
    InvalidTransition,
    LimitExceeded,
    NotFound,
    PermissionDenied,
    ids,
)
from agentmemo.clock import SECOND
from agentmemo.model.ledger import LAPSE_SECONDS

promise = pytest.mark.promise
DAY_SECONDS = 86_400
# 1000 tokens in at their dearest (written to a cache) and 100 out.
CHEAP_WORST = 175_000


def reserve(agent, model=CHEAP, **options):
    return agent.ledger.reserve(model, input_tokens=1000, max_output_tokens=100, **options)


def spent(agent, scope):
    return {cap.scope: cap.spent_nanousd for cap in agent.ledger.caps()}[scope]


@promise("ledger.reserve")
def test_a_reservation_is_the_worst_case_and_its_settlement_what_was_used(agent):
    held = reserve(agent, workflow="review", version="v1", rung=1)
    assert (held.state, held.worst_nanousd, held.counted_nanousd) == ("reserved", CHEAP_WORST, CHEAP_WORST)
    assert (held.nanousd, held.usage, held.source) == (None, None, "estimated")
    usage = {"input_tokens": 1000, "cached_input_tokens": 800, "cache_write_tokens": 100, "output_tokens": 7}
    done = agent.ledger.settle(held.id, usage, model_served=CHEAP, request_id="req_1")
    # 100 plain at 100, 800 cached at 10, 100 written at 125, 7 out at 500.
    assert (done.state, done.nanousd, done.source) == ("settled", 10_000 + 8_000 + 12_500 + 3_500, "local")
    assert (done.worst_nanousd, done.counted_nanousd) == (CHEAP_WORST, done.nanousd)
    assert (done.workflow, done.version, done.rung, done.request_id) == ("review", "v1", 1, "req_1")
    assert (done.price.rates.input, done.price.table_hash) == (100_000_000, "1" * 64)
    assert agent.ledger.get(done.id) == done == agent.ledger.get(done.id.removeprefix("use_")[:-1])
    with pytest.raises(NotFound):
        agent.ledger.get("use_0000000000000000")


@promise("ledger.once")
def test_a_handle_stands_for_one_call_and_one_outcome(surface, agent):
    handle = ids.mint("use", surface.plane.clock.now_us())
    held = reserve(agent, id=handle)
    assert reserve(agent, id=handle) == held
    with pytest.raises(IdempotencyMismatch):
        reserve(agent, SMART, id=handle)
    done = agent.ledger.settle(handle, USED)
    assert agent.ledger.settle(handle, USED) == done == reserve(agent, id=handle)
    with pytest.raises(InvalidTransition):
        agent.ledger.settle(handle, {"input_tokens": 1, "output_tokens": 1})
    with pytest.raises(InvalidTransition):
        agent.ledger.void(handle)
    noted = agent.ledger.record(USED, model=CHEAP, id=ids.mint("use", surface.plane.clock.now_us()))
    assert agent.ledger.record(USED, model=CHEAP, id=noted.id) == noted
    assert agent.ledger.totals().whole.calls == 2


@promise("ledger.unknown")
def test_what_is_unknown_is_never_zero(surface, agent):
    person = surface.connect(person="ana")
    cut = agent.ledger.settle(reserve(agent).id, model_served=CHEAP)
    assert (cut.state, cut.nanousd, cut.counted_nanousd, cut.source) == ("unknown", None, CHEAP_WORST, "unknown")
    odd = {"input_tokens": 5, "cached_input_tokens": 9, "output_tokens": 1}
    assert agent.ledger.settle(reserve(agent).id, odd).state == "unknown"
    nameless = agent.ledger.record(USED, model="nobody-knows-it")
    assert (nameless.state, nameless.nanousd, nameless.counted_nanousd, nameless.price) == ("settled", None, None, None)
    assert agent.ledger.record(model="nobody-knows-it").state == "unknown"
    free = agent.ledger.record(USED, model=FREE)
    assert (free.nanousd, free.source, free.price.source) == (0, "local", "models.toml, declared free there")
    whole = agent.ledger.totals().whole
    assert (whole.nanousd, whole.open_nanousd, whole.unpriced) == (0, 2 * CHEAP_WORST, 2)
    assert reserve(agent, "nobody-knows-it").worst_nanousd is None
    person.ledger.cap("workspace", 10**9, "month")
    with pytest.raises(LimitExceeded) as refused:
        reserve(agent, "nobody-knows-it")
    assert "models.toml" in refused.value.next_call
    assert reserve(agent, FREE).worst_nanousd == 0


@promise("ledger.served")
def test_a_served_model_is_priced_as_what_it_is(agent):
    other = agent.ledger.settle(reserve(agent).id, USED, model_served=SMART)
    assert (other.model, other.model_served, other.nanousd) == (CHEAP, SMART, SMART_NANOUSD)
    assert other.price.model == SMART
    strange = agent.ledger.settle(reserve(agent).id, USED, model_served="somebody-elses")
    assert (strange.nanousd, strange.source, strange.counted_nanousd) == (None, "unknown", CHEAP_WORST)
    agent.ledger.settle(reserve(agent).id, USED, model_served=f"{CHEAP}-20260101")
    told = [event.subject["served"] for event in agent.audit.events(type="ledger.model_mismatch")]
    assert told == [SMART, "somebody-elses"]


@promise("ledger.source")
def test_what_the_provider_billed_outranks_the_table(agent):
    billed = agent.ledger.record(USED, model=CHEAP, provider_nanousd=123)
    assert (billed.nanousd, billed.source, billed.price.model) == (123, "provider", CHEAP)
    assert agent.ledger.settle(reserve(agent).id, provider_nanousd=7).nanousd == 7
    guessed = agent.ledger.record(USED, model=CHEAP, estimated=True)
    assert (guessed.nanousd, guessed.source) == (CHEAP_NANOUSD, "estimated")


@promise("ledger.cap")
def test_a_cap_refuses_what_could_pass_it(surface, agent):
    person, other = surface.connect(person="ana"), surface.connect("other")
    agent.ledger.record(USED, model=CHEAP, workflow="review")
    made = person.ledger.cap("agent:agent", CHEAP_NANOUSD + 2 * CHEAP_WORST)
    assert (made.spent_nanousd, made.author, made.per) == (CHEAP_NANOUSD, "person:ana", "total")
    first = reserve(agent)
    second = reserve(agent)
    with pytest.raises(LimitExceeded) as refused:
        reserve(agent)
    error = refused.value
    assert error.details == {
        "scope": "agent:agent",
        "per": "total",
        "cap_nanousd": made.nanousd,
        "left_nanousd": 0,
        "needed_nanousd": CHEAP_WORST,
    }
    assert "agentmemo ledger cap agent:agent" in error.next_call
    assert reserve(other).state == "reserved"
    agent.ledger.settle(first.id, {"input_tokens": 0, "output_tokens": 0})
    agent.ledger.void(second.id, "not needed")
    assert spent(agent, "agent:agent") == CHEAP_NANOUSD
    assert reserve(agent).state == "reserved"
    person.ledger.cap("agent:agent", None)
    person.ledger.cap("workflow:review", CHEAP_NANOUSD + 1)
    assert reserve(agent).state == "reserved"
    with pytest.raises(LimitExceeded, match="the cap on workflow:review"):
        reserve(other, workflow="review")
    with pytest.raises(PermissionDenied):
        agent.ledger.cap("workspace", 1)
    with pytest.raises(InvalidInput):
        person.ledger.cap("team:a", 1)


@promise("ledger.cap")
def test_a_cap_is_for_its_period_and_a_late_settlement_for_that_of_its_call(surface, agent):
    person = surface.connect(person="ana")
    person.ledger.cap("workspace", CHEAP_WORST, "day")
    person.ledger.cap("workspace", 3 * CHEAP_WORST, "month")
    late = reserve(agent)
    with pytest.raises(LimitExceeded, match="the cap on workspace per day"):
        reserve(agent)
    surface.plane.clock.advance(DAY_SECONDS)
    reserve(agent)
    agent.ledger.settle(late.id, USED)
    assert [(cap.per, cap.spent_nanousd) for cap in agent.ledger.caps()] == [
        ("day", CHEAP_WORST),
        ("month", CHEAP_WORST + CHEAP_NANOUSD),
    ]
    assert [cap.period for cap in agent.ledger.caps()] == ["2025-06-16", "2025-06"]


@promise("ledger.cap")
def test_what_was_recorded_is_never_refused_and_counts(surface, agent):
    surface.connect(person="ana").ledger.cap("workspace", 1)
    assert agent.ledger.record(USED, model=CHEAP).nanousd == CHEAP_NANOUSD
    assert spent(agent, "workspace") == CHEAP_NANOUSD


@promise("ledger.run")
def test_a_run_pays_for_its_calls_and_its_budget_bounds_them(agent, surface):
    with agent.run("review", "1", budget={"nanousd": 3 * CHEAP_WORST}) as run:

        def call():
            surface.current_step().ledger.record(USED, model=CHEAP, workflow="review")
            return "done"

        run.step("call", call)
        (row,) = agent.ledger.list(run=run.id)
        assert (row.run, row.step, row.nanousd, row.workflow) == (run.id, "call/1", CHEAP_NANOUSD, "review")
        paid = agent.runs.get(run.id).spent
        assert (paid.nanousd, paid.tokens) == (CHEAP_NANOUSD, 1100)
        held = reserve(agent)
        reserve(agent)
        with pytest.raises(LimitExceeded, match="the run's budget"):
            reserve(agent)
        caps = {"run_nanousd": CHEAP_NANOUSD + 2 * CHEAP_WORST}
        with pytest.raises(LimitExceeded, match="the document's budget of a run"):
            agent.ledger.reserve(CHEAP, input_tokens=0, max_output_tokens=1, caps=caps)
        with pytest.raises(LimitExceeded, match="the document's budget of a step"):
            agent.ledger.reserve(CHEAP, input_tokens=0, max_output_tokens=1, step="s", caps={"step_nanousd": 1})
        with pytest.raises(LimitExceeded, match="tokens"):
            agent.ledger.reserve(CHEAP, input_tokens=0, max_output_tokens=1, caps={"run_tokens": 2200})
        agent.ledger.settle(held.id, USED)
        assert agent.runs.get(run.id).spent.nanousd == 2 * CHEAP_NANOUSD


@promise("ledger.step")
def test_a_record_inside_a_step_commits_with_its_result_or_not_at_all(agent, surface):
    def breaks():
        surface.current_step().ledger.record(USED, model=CHEAP)
        raise RuntimeError("no result")

    with pytest.raises(RuntimeError), agent.run("r", "1") as run:
        run.step("breaks", breaks)
    assert list(agent.ledger.list()) == []


@promise("ledger.lost")
def test_what_a_dead_holder_reserved_counts_at_the_worst_case(agent, surface):
    first = surface.connect("first")
    run = first.run("r", "1")
    run.__enter__()
    held = reserve(first, run=run.id)
    surface.kill(first)
    with surface.connect("second").run("r", "1") as again:
        assert again.id == run.id
        lost = agent.ledger.get(held.id)
        assert (lost.state, lost.counted_nanousd, lost.nanousd) == ("unknown", CHEAP_WORST, None)
        assert agent.runs.get(run.id).spent.nanousd == CHEAP_WORST


@promise("ledger.lost")
def test_a_reservation_that_nobody_settles_ends_after_a_day(agent, surface):
    held = reserve(agent)
    surface.plane.advance(LAPSE_SECONDS - 1)
    assert agent.ledger.get(held.id).state == "reserved"
    surface.plane.advance(2)
    assert agent.ledger.get(held.id).state == "unknown"
    with pytest.raises(InvalidTransition):
        agent.ledger.settle(held.id, USED)


@promise("ledger.own")
def test_only_who_made_the_call_says_what_it_used(agent, surface):
    held = reserve(agent)
    with pytest.raises(PermissionDenied):
        surface.connect("other").ledger.settle(held.id, USED)
    reader = surface.connect("reader", grants=[Grant(permissions=("ledger:read",))])
    assert [row.id for row in reader.ledger.list()] == [held.id]
    with pytest.raises(PermissionDenied):
        reader.ledger.record(USED, model=CHEAP)


@promise("ledger.otel")
def test_spans_are_read_without_counting_twice(agent):
    attributes = {
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": CHEAP,
        "gen_ai.response.model": CHEAP,
        "gen_ai.response.id": "req_7",
        "gen_ai.usage.input_tokens": 1000,
        "gen_ai.usage.output_tokens": 100,
        "gen_ai.usage.cache_read.input_tokens": 600,
        # One figure under both of its names.
        "gen_ai.usage.cache_creation.input_tokens": 200,
        "gen_ai.usage.cache_write.input_tokens": 200,
    }
    row = agent.ledger.record(otel=attributes, role="verify", workflow="review")
    assert (row.model, row.request_id, row.role) == (CHEAP, "req_7", "verify")
    assert (row.usage.input_tokens, row.usage.cached_input_tokens, row.usage.cache_write_tokens) == (1000, 600, 200)
    assert row.nanousd == 20_000 + 6_000 + 25_000 + 50_000
    with pytest.raises(InvalidInput, match="repeats what its model calls used"):
        agent.ledger.record(otel=attributes | {"gen_ai.operation.name": "invoke_agent"})


@promise("ledger.list")
def test_calls_are_listed_and_summed(agent, surface):
    other = surface.connect("other")
    began = surface.plane.clock.now_us()
    agent.ledger.record(USED, model=CHEAP, workflow="review", role="verify")
    surface.plane.clock.advance(DAY_SECONDS)
    other.ledger.record(USED, model=SMART, workflow="review")
    agent.ledger.record(USED, model=CHEAP, model_served=CHEAP)
    held = reserve(agent)

    def names(**options):
        return [(row.agent, row.model) for row in agent.ledger.list(**options)]

    mine = ("agent:agent", CHEAP)
    assert names() == [mine, mine, ("agent:other", SMART), mine] == names(limit=1)
    assert names(workflow="review") == [("agent:other", SMART), mine]
    assert names(agent="other") == names(model=SMART) == [("agent:other", SMART)]
    assert names(role="verify") == names(until=began + SECOND) == [mine]
    assert [row.id for row in agent.ledger.list(state="reserved")] == [held.id]
    assert names(agent="nobody") == []
    by_model = agent.ledger.totals("model")
    assert [(each.name, each.calls, each.nanousd, each.open_nanousd) for each in by_model.groups] == [
        (SMART, 1, SMART_NANOUSD, 0),
        (CHEAP, 3, 2 * CHEAP_NANOUSD, CHEAP_WORST),
    ]
    assert by_model.whole.nanousd == SMART_NANOUSD + 2 * CHEAP_NANOUSD
    assert [each.name for each in agent.ledger.totals("day").groups] == ["2025-06-15", "2025-06-16"]
    assert {each.name for each in agent.ledger.totals("agent").groups} == {"agent:agent", "agent:other"}
    assert {each.name: each.calls for each in agent.ledger.totals("role").groups} == {"execute": 3, "verify": 1}
    assert [each.name for each in agent.ledger.totals("workflow", agent="other").groups] == ["review"]
    with pytest.raises(InvalidInput):
        agent.ledger.totals("colour")


@promise("ledger.savings")
def test_the_figures_of_one_design_and_a_hundred_runs(agent):
    """$2 of design and $0.02 a run against $2 a run: 98 %, and every overhead comes off it."""
    # 40,000 tokens out are $2 at $50 a million, and $0.02 at a hundredth of it.
    usage = {"input_tokens": 0, "output_tokens": 40_000}
    agent.ledger.record(usage, model=SMART, role="design", workflow="review")
    with pytest.raises(InvalidInput):
        agent.ledger.savings("review")
    with agent.transaction() as tx:
        for number in range(100):
            tx.ledger.record(usage, model=CHEAP, workflow="review", step=str(number))
    found = agent.ledger.savings("review")
    assert (found.design_nanousd, found.execute_nanousd, found.runs) == (2 * 10**9, 2 * 10**9, 100)
    assert (found.list_price.smart_nanousd, found.list_price.saving, found.smart_model) == (200 * 10**9, 0.98, SMART)
    assert (found.headline, found.r, found.break_even, found.measured) == ("list", 100.0, 2, None)
    agent.ledger.record(usage, model=SMART, role="escalate", workflow="review")
    agent.ledger.record(usage, model=SMART, role="audit", workflow="review")
    less = agent.ledger.savings("review")
    assert (less.list_price.saving, less.e, less.a) == (0.96, 0.01, 0.01)
    assert agent.ledger.savings("review", smart_model="nobody-knows-it").headline == "none"


@promise("ledger.savings")
def test_audited_runs_measure_the_saving(agent):
    for number in range(25):
        with agent.run("review", str(number)) as run:
            agent.ledger.record(USED, model=CHEAP, workflow="review", step="s")
            dear = {"input_tokens": 1000, "output_tokens": 100 + number}
            agent.ledger.record(dear, model=SMART, workflow="review", step="s", role="audit")
            run.complete(number)
    found = agent.ledger.savings("review", smart_model=SMART, design_nanousd=5)
    assert (found.headline, found.measured.pairs, found.accepted, found.a) == ("measured", 25, 25, 1.0)
    assert found.measured.low < found.measured.saving < found.measured.high
    assert found.design_nanousd == 5


@promise("ledger.savings")
def test_a_document_says_who_designed_it_and_for_how_much(agent):
    designed_by = {"model": SMART, "cost_nanousd": 2 * 10**9}
    made = agent.workflows.create(name="review", steps=["Look at it."], designed_by=designed_by)
    agent.ledger.record({"input_tokens": 0, "output_tokens": 40_000}, model=CHEAP, workflow="review")
    found = agent.ledger.savings("review")
    assert (found.smart_model, found.design_nanousd, found.list_price.smart_nanousd) == (SMART, 2 * 10**9, 2 * 10**9)
    with pytest.raises(InvalidInput, match="Nothing was run yet"):
        agent.ledger.savings("review", version=made.version)
