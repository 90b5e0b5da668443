"""Each signal, the ladder, the blocks, the waits and the diagnosis."""

from __future__ import annotations

import itertools

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentmemo.model import stuck, stuck_memory, stuck_signals
from agentmemo.model.stuck import BLOCK, ESCALATE, NUDGE, OBSERVE, OK, Call, Ladder, Memory, Rules, Wait

SECOND = 1_000_000
HOUR = 3_600 * SECOND
LONG = "a page of text that says the same each time it is read; " * 5


def watch(*calls, rules=stuck.RULES, memory=None):
    """The verdicts of the calls, one after the other."""
    memory, verdicts = memory or Memory(), []
    for call in calls:
        memory, verdict = stuck.observe(memory, call, rules)
        verdicts.append(verdict)
    return verdicts


def rungs(*calls, rules=stuck.RULES, memory=None):
    return [verdict.rung for verdict in watch(*calls, rules=rules, memory=memory)]


def remembered(*calls):
    memory = Memory()
    for call in calls:
        memory, _ = stuck.observe(memory, call)
    return memory


def read(name="a", result="text", **rest):
    return Call(tool="read", arguments={"name": name}, result=result, **rest)


def deed(number):
    return Call(tool="write", arguments={"path": f"file{number}.py", "text": f"text {number}"}, result="written")


def test_the_ladder_of_a_repeated_call():
    assert rungs(*[read()] * 6) == [OK, OBSERVE, NUDGE, BLOCK, ESCALATE, ESCALATE]
    verdicts = watch(*[read()] * 5)
    assert [verdict.signal for verdict in verdicts[1:]] == ["repeat", "repeat", "repeat", "block_ignored"]
    assert [verdict.score for verdict in verdicts[1:4]] == [0.67, 1.0, 1.33]
    assert verdicts[1].text == ""
    assert verdicts[2].text.startswith("read name=a gave the same result 3 times. Use the result you have")
    assert verdicts[3].text.endswith("This call is refused until something new succeeds.")
    assert len({verdict.key for verdict in verdicts[1:4]}) == 1


def test_an_order_of_keys_is_no_difference():
    one, two = {"a": 1, "b": [1, {"c": 2, "d": 3}]}, {"b": [1, {"d": 3, "c": 2}], "a": 1}
    assert rungs(*[Call(tool="t", arguments=arguments, result=1) for arguments in (one, two, one)])[-1] == NUDGE


def test_changing_results_are_no_loop():
    assert set(rungs(*[read(result=f"line {number}") for number in range(20)])) == {OK}
    assert set(rungs(*[read(result={"rows": number}) for number in range(20)])) == {OK}


def test_what_varies_without_meaning_is_left_out():
    results = [
        {"request_id": f"r{number}", "took_ms": number, "rows": 3, "at": f"2027-01-14T09:12:{number + 10}.{number}Z"}
        for number in range(4)
    ]
    assert rungs(*[read(result=result) for result in results]) == [OK, OBSERVE, NUDGE, BLOCK]
    texts = [f"8f3a{number:04}-12d3-4abc-9def-00000000{number:04} took {number}.25s, 3 rows" for number in range(4)]
    assert rungs(*[read(result=text) for text in texts]) == [OK, OBSERVE, NUDGE, BLOCK]


@pytest.mark.parametrize("between", [deed, lambda n: read(f"other{n}")], ids=["a deed", "an unknown tool"])
def test_what_was_new_may_have_changed_the_world(between):
    calls = [call for number in range(10) for call in (read(), between(number))]
    assert set(rungs(*calls)) == {OK}


def test_what_only_reads_changes_nothing():
    calls = [call for number in range(4) for call in (read(), read(f"other{number}", read_only=True))]
    assert rungs(*calls)[::2] == [OK, OK, OBSERVE, NUDGE]


@pytest.mark.parametrize("period", [2, 3, 4])
def test_rounds_of_calls(period):
    calls = [Call(tool=f"tool{place}", arguments={}, result=place) for place in range(period)] * 4
    verdicts = watch(*calls)
    assert {verdict.rung for verdict in verdicts[:period]} == {OK}
    assert verdicts[2 * period].rung == NUDGE
    assert verdicts[2 * period].signal == "cycle"
    assert f"The same {period} calls came round 3 times" in verdicts[2 * period].text
    assert verdicts[3 * period].rung in (BLOCK, ESCALATE)


def test_a_round_with_a_changing_result_is_none():
    calls = [call for number in range(8) for call in (read(), Call(tool="b", arguments={}, result=number))]
    assert set(rungs(*calls)) == {OK}


ERRORS = (
    "FileNotFoundError: [Errno 2] No such file: 'src/a.py'",
    "FileNotFoundError: [Errno 2] No such file: 'docs/long/other.md'",
    "FileNotFoundError: [Errno 17] No such file: '/tmp/8f3a-22/x.txt'",
    "FileNotFoundError: [Errno 2] No such file: 'b_2.json'",
)


def failing(error, number=0, **rest):
    return Call(tool="open", arguments={"path": f"p{number}"}, error=error, **rest)


def test_the_same_class_of_error_whatever_the_arguments():
    verdicts = watch(*[failing(error, number) for number, error in enumerate(ERRORS)], failing(ERRORS[0], 9))
    assert [verdict.rung for verdict in verdicts] == [OK, OBSERVE, NUDGE, NUDGE, ESCALATE]
    assert verdicts[2].signal == "error"
    assert verdicts[4].diagnosis.differed == ["arguments (path)", "error"]
    long = [failing("no such thing here " * 20, number) for number in range(4)]
    assert rungs(*long) == [OK, OBSERVE, NUDGE, NUDGE], "other arguments are another call, which is not refused"


def test_errors_of_other_classes_or_with_a_success_between():
    assert set(rungs(failing("no rights"), failing("no such table"), failing("timed out", 2))) == {OK}
    between = [call for number, error in enumerate(ERRORS) for call in (failing(error, number), read(f"{number}"))]
    assert set(rungs(*between)) == {OK}
    read_between = [
        call for n, error in enumerate(ERRORS) for call in (failing(error, n), read(f"{n}", read_only=True))
    ]
    assert set(rungs(*read_between)) == {OK}


def test_a_failure_that_comes_as_a_result_is_one():
    results = ({"exit_code": 1, "out": "x"}, {"error": "no"}, {"ok": False}, {"success": False}, {"status": "failed"})
    for result in (*results, "Traceback (most recent call last): x", "ValueError: x", "error: x"):
        memory = remembered(read(result=result))
        assert memory.marks[0].error, result
        assert not memory.marks[0].flags & stuck_memory.NEW
    for result in ({"exit_code": 0}, {"error": None}, {"ok": True}, {"status": "done"}, "an error: x", ["error"], 1):
        assert not remembered(read(result=result)).marks[0].error, result


def test_the_same_failure_whatever_is_changed():
    tests = Call(tool="run", arguments={"command": "pytest"}, result={"exit_code": 1, "output": "1 failed in 2.31s"})
    verdicts = watch(*[call for number in range(7) for call in (deed(number), tests)])
    assert [verdict.rung for verdict in verdicts[1::2]] == [OK, OK, OBSERVE, NUDGE, OBSERVE, NUDGE, ESCALATE]
    assert verdicts[7].signal == "same_failure"
    other = msgspec.structs.replace(tests, result={"exit_code": 1, "output": "2 failed in 2.31s"})
    assert set(rungs(*[call for number in range(6) for call in (deed(number), (tests, other)[number % 2])])) == {OK}


REQUEST = "please find the latest numbers about refunds in the northern region and compare them with what finance sent"


def ask(word, result="nothing", to="search"):
    return Call(tool="ask", arguments={"text": REQUEST.replace("latest", word), "to": to}, result=result)


def test_near_duplicates():
    verdicts = watch(*[ask(word) for word in ("latest", "recent", "newest", "current", "last")])
    assert [verdict.rung for verdict in verdicts] == [OK, OBSERVE, NUDGE, NUDGE, ESCALATE]
    assert {verdict.signal for verdict in verdicts[1:]} == {"near_duplicate"}


def test_near_duplicates_of_other_targets_or_with_other_results_are_none():
    assert set(rungs(*[ask("latest", to=f"person{number}") for number in range(8)])) == {OK}
    assert set(rungs(*[ask(f"word{number}") for number in range(8)])) == {OK}
    assert set(rungs(*[ask(word, result=word) for word in ("latest", "recent", "newest", "current")])) == {OK}
    assert remembered(ask("latest", result="one"), ask("recent", result="two")).marks[-1].near == 0


def test_near_duplicates_beyond_the_window_do_not_count():
    readings = [read(f"other{number}", read_only=True) for number in range(stuck_memory.NEAR_WINDOW)]
    assert set(rungs(ask("latest"), ask("recent"), *readings, ask("newest"))[2:]) == {OK}


def test_boilerplate_is_known_by_its_frequency():
    line = "the next one to speak in this round is"

    def say(what):
        return Call(tool="say", arguments={"text": f"{what} {line}"}, result="ok", read_only=True)

    unlike = [
        say(text)
        for text in (
            "alpha beta gamma delta epsilon zeta",
            "one two three four five six",
            "we have it all done now friends",
        )
    ]
    assert rungs(*[say("") for _ in range(3)], rules=Rules(off=("repeat",)))[-1] in (OK, OBSERVE, NUDGE)
    alone = [
        Call(tool="say", arguments={"text": f"{line} {end}"}, result="ok", read_only=True)
        for end in ("a", "b", "c", "d")
    ]
    assert NUDGE in rungs(*alone)
    assert NUDGE not in rungs(*unlike, *alone)


def test_references_of_a_snapshot():
    def click(ref, first):
        page = "\n".join(f"- button {name} [ref=e{first + n}]" for n, name in enumerate(("save", "send", "stop")))
        return Call(tool="click", arguments={"ref": f"e{ref}"}, result=page)

    assert rungs(*[click(10 * n + 1, 10 * n) for n in range(4)]) == [OK, OBSERVE, NUDGE, BLOCK]
    done = [Call(tool="click", arguments={"ref": f"e{n}"}, result="clicked") for n in range(12)]
    assert set(rungs(*done)) == {OK}


def test_numbers_matter_where_the_result_is_an_acknowledgement():
    def page(number, result):
        return Call(tool="list", arguments={"page": number}, result=result)

    assert rungs(*[page(n, LONG) for n in range(4)]) == [OK, OBSERVE, NUDGE, BLOCK]
    assert set(rungs(*[page(n, "ok") for n in range(12)])) == {OK}


def test_a_monologue():
    texts = [Call(arguments=f"thought number {word}") for word in ("one", "two", "three", "four", "five")]
    assert rungs(*texts) == [OK, OBSERVE, NUDGE, NUDGE, ESCALATE]
    assert watch(*texts)[2].signal == "monologue"
    assert set(rungs(*[call for n, text in enumerate(texts) for call in (text, deed(n))])) == {OK}


def test_words_before_each_reading_are_no_loop():
    text = Call(arguments="I will now read the next file of this folder.")
    assert set(rungs(*[call for n in range(8) for call in (text, read(f"other{n}", read_only=True))])) == {OK}


def overflow(number=0):
    return Call(tool="model", arguments={}, error=f"maximum context length is 200000 tokens, {200_100 + number} given")


def test_the_context_overflows_again():
    verdicts = watch(*[call for n in range(3) for call in (overflow(n), deed(n))])
    assert [verdict.rung for verdict in verdicts[::2]] == [OBSERVE, NUDGE, ESCALATE]
    assert {verdict.signal for verdict in verdicts[::2]} == {"overflow"}
    later = [deed(number) for number in range(stuck_signals.OVERFLOW_WINDOW + 1)]
    assert rungs(overflow(), *later, overflow(1))[-1] == OBSERVE
    assert set(rungs(*[overflow(n) for n in range(4)], rules=Rules(off=("overflow",)))) == {OK}


def working(number, **rest):
    return msgspec.structs.replace(deed(number), **rest)


def test_no_progress_where_it_was_declared():
    calls = [working(0, progress="1/9"), *[working(number + 1) for number in range(90)]]
    told = {place: verdict for place, verdict in enumerate(watch(*calls)) if verdict.rung != OK}
    assert {place: verdict.rung for place, verdict in told.items()} == {30: NUDGE, 60: NUDGE, 90: ESCALATE}
    assert {verdict.signal for verdict in told.values()} == {"no_progress"}
    assert set(rungs(*[working(number) for number in range(90)])) == {OK}


def test_tokens_without_progress():
    calls = [working(0, progress=1), working(1, tokens=199_999), working(2, tokens=1)]
    assert rungs(*calls) == [OK, OK, NUDGE]


def test_waiting_is_no_lack_of_progress():
    polls = [poll(number, result=number, poll=True) for number in range(40)]
    assert remembered(working(0, progress=1), *polls).steps == 0
    waited = [poll(number, wait=Wait(until=HOUR)) for number in range(40)]
    assert remembered(working(0, progress=1), *waited).steps == 1


def test_a_progress_that_was_there_before_is_none():
    memory = remembered(*[working(number, progress=f"{number % 2}", cost_nanousd=5) for number in range(10)])
    assert (memory.steps, memory.nanousd, len(memory.progress)) == (8, 40, 2)


def test_progress_ends_a_streak():
    assert rungs(read(), read(), read(progress="1"), read(), read()) == [OK, OBSERVE, OK, OK, OBSERVE]


def test_cost_per_progress():
    paid = [working(number, progress=number, cost_nanousd=100) for number in range(6)]
    dear = [working(10 + number, cost_nanousd=100) for number in range(9)]
    told = [verdict for verdict in watch(*paid, *dear) if verdict.rung != OK]
    assert [(verdict.rung, verdict.score) for verdict in told] == [(OBSERVE, 1.0), (NUDGE, 2.0), (ESCALATE, 3.0)]
    assert {verdict.signal for verdict in told} == {"cost"}
    assert set(rungs(*paid[1:], *dear)) == {OK}, "too few to compare with"
    first = working(99, progress="first", cost_nanousd=5_000)
    assert set(rungs(first, *paid, *dear)) == {OK}, "it was dearer once"
    assert set(rungs(*paid, *dear, rules=Rules(cost_slope=30.0))) == {OK}


def poll(seconds, result="pending", **rest):
    return Call(tool="status", arguments={"job": "j"}, result=result, at=seconds * SECOND, **rest)


def test_a_poll_has_patience():
    assert rungs(*[poll(n, poll=True) for n in range(20)]) == [OK] * 9 + [OBSERVE] * 10 + [NUDGE]
    pause = Call(tool="sleep", arguments={"seconds": 30}, result="slept")
    assert NUDGE not in rungs(*[call for n in range(18) for call in (poll(n, poll=True), pause)])


def test_a_declared_wait_is_no_loop():
    wait = Wait(until=100 * SECOND)
    calls = [poll(0, wait=wait), *[poll(seconds) for seconds in range(10, 100, 10)], poll(99, result="done")]
    assert set(rungs(*calls)) == {OK}
    pause = Call(tool="sleep", arguments={"seconds": 10}, result="slept")
    assert set(rungs(*itertools.chain.from_iterable((call, pause) for call in calls))) == {OK}
    assert OK not in rungs(*calls[:2], *[read(at=20 * SECOND)] * 7)[-2:], "another loop meanwhile is still one"


def test_a_declared_wait_that_is_over():
    calls = [poll(0, wait=Wait(until=100 * SECOND)), poll(90), poll(101)]
    assert rungs(*calls) == [OK, OK, ESCALATE]
    assert watch(*calls)[-1].signal == "wait"
    assert rungs(*calls[:2], poll(101, result="done")) == [OK, OK, OK]
    assert remembered(*calls[:2], poll(101, result="done")).waiting is None
    assert rungs(calls[0], *[read(at=101 * SECOND)] * 3)[-1] == NUDGE, "it excuses nothing any more"
    past = Call(tool="status", arguments={}, error="no answer", at=10, wait=Wait(until=0))
    assert rungs(past) == [OK], "it was polled only once"


def test_a_wait_is_not_prolonged_by_saying_it_again():
    calls = [poll(seconds, wait=Wait(until=(seconds + 100) * SECOND)) for seconds in (0, 90, 101)]
    assert rungs(*calls)[-1] == ESCALATE
    changed = poll(90, result="running", wait=Wait(until=300 * SECOND))
    assert rungs(calls[0], changed, poll(200, result="running"))[-1] == OK


def test_a_change_that_is_late():
    wait = Wait(until=1_000 * SECOND, change_within_seconds=100)
    calls = [poll(0, wait=wait), poll(100), poll(101), poll(201)]
    assert rungs(*calls) == [OK, OK, NUDGE, ESCALATE]
    assert rungs(*calls[:2], poll(100, result="running"), poll(199, result="running"))[-1] == OK


def test_low_confidence_is_told():
    calls = [working(number, confidence=0.2) for number in range(3)]
    verdicts = watch(*calls)
    assert [verdict.rung for verdict in verdicts] == [OBSERVE, NUDGE, ESCALATE]
    assert {verdict.signal for verdict in verdicts} == {"confidence"}
    assert set(rungs(*[working(number, confidence=0.3) for number in range(5)])) == {OK}
    between = [working(number) for number in range(10, 10 + stuck_signals.UNSURE_WINDOW)]
    assert rungs(calls[0], *between, calls[1])[-1] == OBSERVE


def test_a_backoff_gets_twice_the_patience():
    steps = [working(number, at=number * 5 * SECOND) for number in range(6)]
    growing = [failing("HTTP 503: try later", at=(40 + 16 * 2**number) * SECOND) for number in range(7)]
    assert rungs(*steps, *growing)[6:] == [OK, OBSERVE, OK, OBSERVE, OBSERVE, NUDGE, OBSERVE]
    steady = [failing("HTTP 503: try later", at=(40 + 16 * number) * SECOND) for number in range(4)]
    assert rungs(*steps, *steady)[6:] == [OK, OBSERVE, NUDGE, BLOCK]
    short = [failing("HTTP 503: try later", at=at * SECOND) for at in (30, 35, 42, 51)]
    assert rungs(*steps, *short)[6:] == [OK, OBSERVE, NUDGE, BLOCK]


@pytest.mark.parametrize("annotation", ["read_only", "idempotent"])
def test_harmless_calls_get_one_more(annotation):
    assert rungs(*[read(**{annotation: True})] * 7) == [OK, OK, OBSERVE, NUDGE, OBSERVE, BLOCK, ESCALATE]


def test_a_ladder_for_a_tool():
    rules = Rules(tools={"read": Ladder(observe=5, nudge=6, block=7)})
    assert rungs(*[read()] * 7, rules=rules) == [OK] * 4 + [OBSERVE, NUDGE, BLOCK]


def test_parallel_calls_of_a_turn_count_once():
    calls = [read(turn=f"turn{turn}", tokens=7) for turn in range(3) for _ in range(3)]
    assert rungs(*calls) == [OK] * 3 + [OBSERVE, OK, OK] + [NUDGE, OK, OK]
    memory = remembered(working(0, progress=1), *calls)
    assert memory.tokens == 63
    assert len(memory.marks) == 4


def test_nothing_is_blocked_that_was_not_warned_of():
    growing = [failing("HTTP 503: try later", at=(40 + 16 * 2**number) * SECOND) for number in range(5)]
    steps = [working(number, at=number * 5 * SECOND) for number in range(6)]
    at_once = failing("HTTP 503: try later", at=growing[-1].at + SECOND)
    assert rungs(*steps, *growing, at_once, at_once)[-2:] == [NUDGE, BLOCK]


def test_a_block_refuses_the_call_until_something_new_succeeds():
    memory = remembered(*[read()] * 4)
    assert stuck.blocked(memory, read(result=None)).rung == BLOCK
    assert stuck.blocked(memory, read("other")) is None
    assert stuck.blocked(memory, read(wait=Wait(until=HOUR))) is None, "a wait may be declared"
    memory, _ = stuck.observe(memory, read("other", read_only=True))
    assert stuck.blocked(memory, read()) is not None
    memory, _ = stuck.observe(memory, deed(1))
    assert stuck.blocked(memory, read()) is None


def test_a_poll_that_goes_on_ends_no_block():
    memory = remembered(*[read()] * 4)
    memory, _ = stuck.observe(memory, poll(1, result="running", poll=True))
    assert stuck.blocked(memory, read()) is not None


def test_a_block_ends_when_the_result_has_changed():
    memory = remembered(*[read(read_only=True)] * 6)
    assert stuck.blocked(memory, read()) is not None
    memory, verdict = stuck.observe(memory, read(result="other", read_only=True))
    assert (verdict.rung, stuck.blocked(memory, read())) == (OK, None)


def test_a_blocked_call_with_an_earlier_result_ignores_no_block():
    earlier, later = read(result="earlier", read_only=True), read(result="later", read_only=True)
    assert rungs(earlier, earlier, *[later] * 6, earlier)[-2:] == [BLOCK, OBSERVE]


def test_a_refused_call_is_an_ignored_block():
    before = remembered(*[read(cost_nanousd=3)] * 4)
    after, verdict = stuck.observe(before, read(result=None, refused=True))
    assert (verdict.rung, verdict.signal, after) == (ESCALATE, "block_ignored", before)
    assert len(verdict.diagnosis.repeats) == 4


def test_two_nudges_are_the_last():
    loops = [[read(name)] * 3 for name in ("a", "b", "c")]
    assert rungs(*itertools.chain(*loops))[2::3] == [NUDGE, NUDGE, ESCALATE]
    quiet = [deed(number) for number in range(stuck.NUDGE_EVENTS + 1)]
    assert rungs(*loops[0], *loops[1], *quiet, *loops[2])[-1] == NUDGE
    moved = [working(1, progress="1")]
    assert rungs(*loops[0], *loops[1], *moved, *loops[2])[-1] == NUDGE


def test_a_person_ends_all_streaks():
    memory = stuck.resume(remembered(*[read(cost_nanousd=9)] * 5))
    assert rungs(read(), read(), memory=memory) == [OK, OBSERVE]
    assert stuck.blocked(memory, read()) is None
    assert memory.nanousd == 0


def test_a_diagnosis_has_what_a_person_needs():
    calls = [deed(0), Call(tool="list", arguments={"folder": "src"}, result=["a"], read_only=True)]
    calls += [read(cost_nanousd=1_000, tokens=10, at=number * SECOND) for number in range(5)]
    diagnosis = watch(*calls)[-1].diagnosis
    assert [(repeat.at, repeat.tool, repeat.arguments, repeat.outcome) for repeat in diagnosis.repeats] == [
        (number * SECOND, "read", "name=a", "text") for number in range(5)
    ]
    assert diagnosis.differed == []
    assert diagnosis.tried == ["write path=file0.py text=text 0", "list folder=src"]
    assert len(diagnosis.ways_out) == 3
    assert (diagnosis.steps_since_progress, diagnosis.tokens_since_progress) == (4, 40)
    assert diagnosis.cost_since_progress_nanousd == 4_000


def test_secrets_are_in_no_verdict_and_no_memory():
    call = Call(
        tool="login",
        arguments={"user": "ann", "password": "hunter2", "header": "Authorization: Bearer abc.def-ghi"},
        result="token=s3cr3tvalue, key sk-proj-1234567890abcdefgh",
    )
    memory = remembered(*[call] * 5)
    shown = msgspec.json.encode(memory) + msgspec.json.encode(watch(*[call] * 5))
    for secret in (b"hunter2", b"abc.def", b"s3cr3t", b"sk-proj", b"1234567890"):
        assert secret not in shown


# Each signal alone finds its loop, and no other signal finds it where that one is off.
ONLY = {
    "repeat": ([read()] * 3, ()),
    "cycle": ([read("a"), read("b"), deed(1)] * 3, ("repeat",)),
    "error": ([failing(error, number) for number, error in enumerate(ERRORS)], ()),
    "same_failure": ([call for n in range(4) for call in (deed(n), failing("no"))], ()),
    "near_duplicate": ([ask(word) for word in ("latest", "recent", "newest")], ()),
    "monologue": ([Call(arguments=word * 9) for word in ("a", "b", "c")], ()),
    "overflow": ([overflow(0), overflow(1)], ("error", "same_failure")),
    "no_progress": ([working(0, progress=1), *[working(n + 1) for n in range(30)]], ()),
    "cost": ([working(n, progress=n if n < 6 else None, cost_nanousd=100) for n in range(12)], ()),
    "wait": ([poll(0, wait=Wait(until=SECOND)), poll(2)], ("repeat",)),
    "confidence": ([working(n, confidence=0.1) for n in range(2)], ()),
}


@pytest.mark.parametrize("signal", ONLY)
def test_a_signal_can_be_switched_off(signal):
    calls, others = ONLY[signal]
    told = [verdict for verdict in watch(*calls, rules=Rules(off=others)) if verdict.rung not in (OK, OBSERVE)]
    assert [verdict.signal for verdict in told[:1]] == [signal]
    assert set(rungs(*calls, rules=Rules(off=(signal, *others)))) <= {OK, OBSERVE}


def test_every_signal_is_known():
    assert {signal for signal, _ in stuck_signals.SIGNALS} == set(ONLY)
    assert set(stuck._SEEN) == set(stuck._ADVICE) == {*ONLY, "block_ignored"}


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
ANY_CALL = st.builds(
    Call,
    tool=st.sampled_from(["", "a", "b", "\ud800é"]),
    arguments=ANY_JSON,
    result=ANY_JSON | st.sampled_from([LONG, {"error": "x"}, "- [ref=e1]"]),
    error=st.none() | st.text() | st.just("maximum context length"),
    at=st.integers(0, 2**50),
    turn=st.sampled_from(["", "t", "u"]),
    poll=st.booleans(),
    read_only=st.booleans(),
    idempotent=st.booleans(),
    cost_nanousd=st.integers(0, 2**40),
    tokens=st.integers(0, 2**30),
    progress=st.none() | st.text() | st.integers() | st.floats(),
    wait=st.none() | st.builds(Wait, until=st.integers(0, 2**50), change_within_seconds=st.none() | st.floats()),
    confidence=st.none() | st.floats(),
    refused=st.booleans(),
)


@given(st.lists(ANY_CALL, min_size=1, max_size=5), st.lists(st.integers(0, 4), max_size=90))
def test_any_calls_are_taken_and_always_alike(calls, order):
    memory = again = Memory()
    for place in [*order, 0]:
        call = calls[place % len(calls)]
        memory, verdict = stuck.observe(memory, call)
        again, same = stuck.observe(again, call)
        assert verdict == same
        assert verdict.rung in stuck.RUNGS
        assert (verdict.diagnosis is not None) is (verdict.rung == ESCALATE)
        assert len(verdict.text) < 500
    assert memory == again
    for form in (msgspec.json, msgspec.msgpack):
        content = form.encode(memory)
        assert form.decode(content, type=Memory) == memory
        assert len(content) < stuck_memory.MEMORY_BYTES_MAX
        assert msgspec.json.encode(verdict)


def test_a_memory_is_bounded():
    def call(number):
        words = (
            " ".join(f"wörter{chr(97 + place)}{chr(97 + number % 26)}".replace("ö", "oe") for place in range(26)) * 5
        )
        fields = {f"field{place}": "\x01" * 300 for place in range(20)}
        return Call(
            tool="x" * 999,
            arguments={"n": f"name{number}", **fields, "text": words},
            result="\x02" * 9_999,
            turn="t",
            progress=number,
        )

    memory = remembered(*[call(number) for number in range(300)])
    assert len(memory.marks) == stuck_memory.MARKS_KEPT
    assert len(memory.looks) == stuck_memory.LOOKS_KEPT
    assert len(msgspec.json.encode(memory)) < stuck_memory.MEMORY_BYTES_MAX
    assert len(memory.turn_calls) <= stuck_memory.MARKS_KEPT
