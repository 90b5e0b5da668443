"""Recorded traces with a loop, or with legitimate repetition, put into them; and how well a detector tells them apart.

Even traces are for setting thresholds (TUNING), odd ones for reporting (HELD_OUT); no trace and no seed is in both.
"""

from __future__ import annotations

import random
import statistics
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from agentmemo.model import stuck
from agentmemo.model.stuck import Call, Memory, Wait

TRACES = Path(__file__).with_name("traces")
TUNING, HELD_OUT = 0, 1
SECOND = 1_000_000
ROUNDS = 6
REPETITIONS_MAX = 4
WORDS_TEXT = (
    "please find the latest numbers about refunds in the northern region and compare them with what finance reported "
    "last quarter before anybody writes to the customer again so that both teams agree on one plan"
)
WORDS = WORDS_TEXT.split()
OTHERS = ("recent", "current", "figures", "records", "values", "notes", "team", "partner", "office", "supplier")


def traces(half):
    """The recorded traces of one half."""
    decode = msgspec.json.Decoder(list[Call]).decode
    lines = [line for file in sorted(TRACES.glob("*.jsonl")) for line in file.read_bytes().splitlines()]
    return [decode(line) for line in lines[half::2]]


def is_failure(call):
    return call.error is not None or (isinstance(call.result, dict) and call.result.get("exit_code"))


class Maker:
    """Makes the calls that are put in, out of a trace's own calls and in its own style."""

    def __init__(self, trace, seed):
        self.random = random.Random(seed)
        self.cut = self.random.randint(4, max(4, len(trace) * 3 // 4))
        self.before, self.after = trace[: self.cut], trace[self.cut :]
        self.now = self.before[-1].at
        self.turns = 0
        self.declares = any(call.progress is not None for call in trace)
        self.moved = 0

    def own_calls(self, count):
        """Calls that the run has not made before it comes to the loop."""
        made = {(call.tool, str(call.arguments)) for call in self.before}
        distinct = {(call.tool, str(call.arguments)): call for call in self.after if call.tool and not is_failure(call)}
        distinct = [call for key, call in distinct.items() if key not in made]
        while len(distinct) < count:
            number = len(distinct)
            distinct.append(Call(tool=f"look_up_{number}", arguments={"name": WORDS[number]}, result=WORDS[number:]))
        return self.random.sample(distinct, count)

    def again(self, call, *, seconds=None, **changes):
        self.now += int((self.random.uniform(2, 9) if seconds is None else seconds) * SECOND)
        self.turns += 1
        tokens = int(self.random.lognormvariate(7.3, 0.5))
        plain = {
            "at": self.now, "turn": f"again {self.turns}", "progress": None, "wait": None, "tokens": tokens,
            "cost_nanousd": tokens * 3_000,
        }  # fmt: skip
        return msgspec.structs.replace(call, **(plain | changes))

    def call(self, tool, arguments, result=None, **rest):
        return self.again(Call(tool=tool, arguments=arguments), result=result, **rest)

    def work(self, tool, arguments, result=None, **rest):
        """A call that moves the work on; a run that declares progress declares it here as well."""
        self.moved += 1
        return self.call(tool, arguments, result, progress=f"moved {self.moved}" if self.declares else None, **rest)

    def uuid(self):
        return f"{self.random.getrandbits(32):08x}-1d3c-4c0e-9f1a-{self.random.getrandbits(48):012x}"

    def number(self):
        return self.random.randint(1, 99_999)

    def word(self):
        return "".join(self.random.choices("abcdefghijklmnopqrstuvwxyz", k=7))


# Loops: each gives its rounds, and the first round is still worth its steps.


def same_call(make):
    (base,) = make.own_calls(1)
    return [[make.again(base)] for _ in range(ROUNDS)]


def volatile_result(make):
    """The same but for times, ids and durations."""
    (base,) = make.own_calls(1)
    is_text = make.random.random() < 0.5

    def result():
        at = f"2027-01-14T09:{make.random.randint(10, 59)}:{make.random.randint(10, 59)}.{make.number()}Z"
        if is_text:
            return f"[{at}] {make.uuid()} {base.result!s:.200} in {make.random.uniform(0.1, 9):.2f}s"
        return {"request_id": make.uuid(), "took_ms": make.number(), "seen": at, "data": base.result}

    return [[make.again(base, result=result())] for _ in range(ROUNDS)]


def among_readings(make):
    """The same reading again and again between readings of other things."""
    (base,) = make.own_calls(1)

    def other():
        return make.call("read_file", {"path": f"docs/{make.word()}.md"}, f"About {make.word()}", read_only=True)

    return [[make.again(base, read_only=True), other()] for _ in range(ROUNDS)]


def same_error(make):
    forms = (
        ("read_file", "path", lambda: f"src/{make.word()}/{make.word()}.py", "FileNotFoundError: [Errno 2] no file {}"),
        ("get_order", "id", make.uuid, "NotFound: order {} does not exist (request {number})"),
        (
            "query",
            "offset",
            make.number,
            "psycopg.errors.UndefinedColumn: column has no name, LINE {number}: offset {}",
        ),
        (
            "shell",
            "command",
            lambda: f"npm install --port {make.number()}",
            "npm ERR! code EACCES at /tmp/{number} for {}",
        ),
    )
    tool, name, value, text = make.random.choice(forms)
    rounds = []
    for _ in range(ROUNDS):
        given = value()
        rounds.append([make.call(tool, {name: given}, error=text.format(given, number=make.number()))])
    return rounds


def same_failure(make):
    """Each edit works, and the tests fail as before."""
    failed = f"FAILED tests/test_{make.word()}.py::test_{make.number()} - AssertionError: {make.number()} is not right"
    rounds = []
    for _ in range(ROUNDS):
        edit = make.call("edit_file", {"path": f"src/{make.word()}.py", "new": make.word()}, "edited")
        output = f"{failed}\n1 failed, 41 passed in {make.random.uniform(1, 9):.2f}s"
        rounds.append([edit, make.call("run", {"command": "pytest -q"}, {"exit_code": 1, "output": output})])
    return rounds


def two_calls(make):
    return _cycle(make, 2)


def three_calls(make):
    return _cycle(make, 3)


def four_calls(make):
    return _cycle(make, 4)


def _cycle(make, period):
    bases = make.own_calls(period)
    return [[make.again(base) for base in bases] for _ in range(ROUNDS)]


def near_duplicates(make):
    """One or two words of a long request differ each time, and the answer is the same."""
    begin = make.random.randint(0, 6)
    words = WORDS[begin : begin + make.random.randint(20, 26)]
    result = make.random.choice(({"results": []}, "Nothing found.", {"answer": "I can not help with that yet."}))
    rounds = []
    for _ in range(ROUNDS):
        said = list(words)
        said[make.random.randrange(len(said))] = make.random.choice(OTHERS)
        rounds.append([make.call("ask", {"question": " ".join(said), "to": "search"}, result)])
    return rounds


def renumbered_references(make):
    """A click that changes nothing, on a page whose elements get other numbers in each snapshot."""
    names = make.random.sample(WORDS, 14)
    rounds = []
    for _ in range(ROUNDS):
        first = make.random.randint(10, 900)
        page = "\n".join(f"- button {name} [ref=e{first + place}]" for place, name in enumerate(names))
        rounds.append([make.call("click", {"ref": f"e{first + 3}", "element": names[3]}, page)])
    return rounds


def monologue(make):
    return [[make.call("", " ".join(make.word() for _ in range(20)))] for _ in range(ROUNDS)]


def context_overflow(make):
    rounds = []
    for _ in range(ROUNDS):
        error = f"This model's maximum context length is 200000 tokens, but {200_000 + make.number()} were given"
        short = make.call("shorten_context", {"keep": make.number()}, {"dropped": make.number()})
        rounds.append([make.call("model", {"messages": make.number()}, error=error), short])
    return rounds


LOOPS = {
    kind.__name__: kind
    for kind in (
        same_call, volatile_result, among_readings, same_error, same_failure, two_calls, three_calls, four_calls,
        near_duplicates, renumbered_references, monologue, context_overflow,
    )
}  # fmt: skip


# Legitimate repetition: each gives the calls of a stretch that leads somewhere.


def changing_poll(make):
    percent, calls = 0, []
    name, pause = make.word(), make.random.random() < 0.5
    while percent < 100:
        percent = min(100, percent + make.random.randint(3, 12))
        calls.append(make.work("job_status", {"job": name}, {"state": "running", "percent": percent}))
        if pause:
            calls.append(make.call("sleep", {"seconds": 30}, "slept", seconds=30))
    return calls


def annotated_poll(make):
    """Up to 18 equal answers of a tool that is known to be polled, and then another one."""
    name, pause = make.word(), make.random.random() < 0.5
    calls = []
    for _ in range(make.random.randint(3, 18)):
        calls.append(make.call("job_status", {"job": name}, {"state": "queued"}, poll=True))
        if pause:
            calls.append(make.call("sleep", {"seconds": 30}, "slept", seconds=30))
    return [*calls, make.call("job_status", {"job": name}, {"state": "done"}, poll=True)]


def declared_wait(make):
    """A tool that nobody annotated, polled within the time that the agent gave itself."""
    name, every = make.word(), make.random.uniform(10, 60)
    polls = make.random.randint(5, 25)
    until = make.now + int((polls + 2) * every * SECOND)
    wait = Wait(until=until, change_within_seconds=(polls + 2) * every if make.random.random() < 0.5 else None)
    status = {"state": "in progress"}
    calls = [make.call("ci_status", {"commit": name}, status, wait=wait)]
    calls += [make.call("ci_status", {"commit": name}, status, seconds=every) for _ in range(polls)]
    return [*calls, make.call("ci_status", {"commit": name}, {"state": "passed"}, seconds=every)]


def backoff(make):
    """The same failure up to five times with growing pauses, and then success."""
    pause, calls, name = make.random.uniform(12, 20), [], make.word()
    for _ in range(make.random.randint(2, 5)):
        calls.append(make.call("fetch", {"source": name}, error="HTTP 503: temporarily unavailable", seconds=pause))
        pause *= 2 * make.random.uniform(0.85, 1.15)
    return [*calls, make.call("fetch", {"source": name}, {"rows": make.number()}, seconds=pause)]


def batch_edits(make):
    """One replacement in many files, with the same short or long acknowledgement."""
    old, new, folder = make.word(), make.word(), make.word()
    done = "1 replacement" if make.random.random() < 0.5 else "The file has been edited. Please look at it again. " * 5
    numbered = make.random.random() < 0.5
    return [
        make.work(
            "edit_file", {"path": f"{folder}/{number if numbered else make.word()}.py", "old": old, "new": new}, done
        )
        for number in range(make.random.randint(8, 25))
    ]


def paging(make):
    """Pages of one list, each announced with the same words."""
    calls, talks = [], make.random.random() < 0.5
    for page in range(make.random.randint(5, 20)):
        if talks:
            calls.append(make.call("", "I will now read the next page of the list of all open orders of this year."))
        rows = [{"id": page * 20 + row, "name": make.word()} for row in range(make.random.randint(2, 20))]
        calls.append(make.work("list_orders", {"page": page, "size": 20}, rows, read_only=make.random.random() < 0.5))
    return calls


def changing_alternation(make):
    """Two tools in turn, with the same arguments and other results each time."""
    calls, name = [], make.word()
    for _ in range(make.random.randint(4, 12)):
        calls.append(make.work("take_task", {"queue": name}, {"task": make.number()}))
        calls.append(make.call("metrics", {"service": name}, {"cpu": make.number(), "memory": make.number()}))
    return calls


def test_and_fix(make):
    """Tests that fail less and less; some edits change nothing, but never three in a row."""
    failing, without_effect, calls = make.random.randint(6, 12), 0, []
    while failing:
        path = f"src/{make.word()}.py"
        calls.append(make.work("edit_file", {"path": path, "old": make.word(), "new": make.word()}, f"edited {path}"))
        helps = without_effect == 2 or make.random.random() < 0.7
        failing, without_effect = (failing - 1, 0) if helps else (failing, without_effect + 1)
        output = "\n".join(
            [f"FAILED tests/test_{n}.py" for n in range(failing)] + [f"{failing} failed, 60 passed in 2.1s"]
        )
        calls.append(make.call("run", {"command": "pytest -q"}, {"exit_code": int(failing > 0), "output": output}))
    return calls


test_and_fix.__test__ = False


def refactoring(make):
    """Edits that all leave the tests green and the same files changed."""
    calls = []
    for _ in range(make.random.randint(5, 15)):
        path = f"src/{make.word()}.py"
        calls.append(make.work("edit_file", {"path": path, "old": make.word(), "new": make.word()}, "edited"))
        passed = {"exit_code": 0, "output": f"61 passed in {make.random.uniform(1, 4):.2f}s"}
        calls.append(make.call("run", {"command": "pytest -q"}, passed))
        if make.random.random() < 0.5:
            calls.append(make.call("run", {"command": "git status --short"}, " M src/one.py"))
    return calls


def many_messages(make):
    """One letter to many people, or one deed for many ids, always answered alike."""
    letter = make.random.random() < 0.5
    calls = []
    for _ in range(make.random.randint(5, 20)):
        if letter:
            text = f"Hello {make.word()}, your invoice {make.number()} is due. {' '.join(WORDS)}"
            given = {"to": f"{make.word()}@example.com", "text": text}
        else:
            given = {"id": make.uuid(), "state": "archived"}
        calls.append(make.work("send" if letter else "update", given, {"ok": True, "id": make.uuid()}))
    return calls


def filling_a_form(make):
    """Other elements each time, answered with a word or with the page as it is then."""
    fields = [make.word() for _ in range(make.random.randint(5, 12))]
    snapshot, filled, calls = make.random.random() < 0.5, {}, []
    for place, name in enumerate(fields):
        first = make.random.randint(10, 900) if snapshot else 10
        filled[name] = make.word()
        page = "\n".join(
            f"- textbox {each}: {filled.get(each, '')} [ref=e{first + n}]" for n, each in enumerate(fields)
        )
        given = {"ref": f"e{first + place}", "text": filled[name] if make.random.random() < 0.5 else "yes"}
        calls.append(make.work("type", given, page if snapshot else "done"))
    return calls


def parallel_calls(make):
    """Several equal calls in one turn, as models ask for them, turn after turn about something else."""
    calls = []
    for turn in range(make.random.randint(3, 6)):
        given, rest = {"name": make.word()}, {"turn": f"parallel {turn}", "seconds": 0}
        calls += [make.work("look_up", given, {"known": True}, **rest) for _ in range(make.random.randint(2, 6))]
    return calls


LEGITIMATE = {
    kind.__name__: kind
    for kind in (
        changing_poll, annotated_poll, declared_wait, backoff, batch_edits, paging, changing_alternation, test_and_fix,
        refactoring, many_messages, filling_a_form, parallel_calls,
    )
}  # fmt: skip


@dataclass
class LoopFigure:
    runs: int = 0
    caught: int = 0
    early: int = 0
    wasted: list[int] = field(default_factory=list)

    def add(self, alarm, begin, rounds):
        """`alarm` is the number of the event, and the loop begins at `begin`."""
        self.runs += 1
        ends = begin + len(rounds[0]) * REPETITIONS_MAX
        if alarm is not None and alarm < begin:
            self.early += 1
        elif alarm is not None and alarm < ends:
            self.caught += 1
        steps = len(rounds) * len(rounds[0]) if alarm is None else max(alarm - begin + 1, 0)
        self.wasted.append(max(steps - len(rounds[0]), 0))


def first_alarm(calls, rules=stuck.RULES, rungs=(stuck.NUDGE, stuck.BLOCK, stuck.ESCALATE)):
    """The number of the first event whose verdict is on one of the rungs."""
    memory = Memory()
    for number, call in enumerate(calls):
        memory, verdict = stuck.observe(memory, call, rules)
        if verdict.rung in rungs:
            return number
    return None


def loop_figures(half, seeds, rules=stuck.RULES):
    """By kind of loop: how many are caught by the fourth repetition, and the steps wasted until then."""
    recorded, figures = traces(half), {}
    for name, kind in LOOPS.items():
        figure = figures.setdefault(name, LoopFigure())
        for seed in seeds:
            make = Maker(recorded[seed % len(recorded)], f"{half} {name} {seed}")
            rounds = kind(make)
            calls = [*make.before, *(call for round_ in rounds for call in round_)]
            figure.add(first_alarm(calls, rules), len(make.before), rounds)
    return figures


def false_alarms(half, seeds, rules=stuck.RULES):
    """By kind of legitimate repetition: (runs, of which nudged or more, of which escalated)."""
    recorded, figures = traces(half), {}
    for name, kind in LEGITIMATE.items():
        nudged = escalated = 0
        for seed in seeds:
            make = Maker(recorded[seed % len(recorded)], f"{half} {name} {seed}")
            calls = [*make.before, *kind(make)]
            later = make.now - calls[len(make.before) - 1].at
            calls += [msgspec.structs.replace(call, at=call.at + later) for call in make.after]
            nudged += first_alarm(calls, rules) is not None
            escalated += first_alarm(calls, rules, rungs=(stuck.ESCALATE,)) is not None
        figures[name] = (len(seeds), nudged, escalated)
    return figures


def report(half, seeds):
    """All figures of a half as text, for people."""
    lines = []
    for name, figure in loop_figures(half, seeds).items():
        median = statistics.median(figure.wasted)
        lines.append(f"{name:24}{figure.caught / figure.runs:8.3f}{median:6.1f}{figure.early:5}")
    lines += [
        f"{name:24}{runs:6}{nudged:5}{more:5}" for name, (runs, nudged, more) in false_alarms(half, seeds).items()
    ]
    return "\n".join(lines)
