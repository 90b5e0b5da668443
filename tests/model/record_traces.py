"""Writes tests/model/traces/*.jsonl: 48 traces of made-up agents at made-up work, one trace a line, always the same.

    python tests/model/record_traces.py

Each agent works in a little world of its own (a repository with tests, a desk of tickets, a library of pages, a
cluster) whose answers follow from what was done before. They make detours, meet errors and repeat themselves as agents
do that get somewhere; none of them is stuck.
"""

from __future__ import annotations

import random
from pathlib import Path

import msgspec

from agentmemo.model.stuck import Call

HERE = Path(__file__).with_name("traces")
TRACES_EACH = 12
SECOND = 1_000_000
START = 1_800_000_000 * SECOND
NOUNS_TEXT = (
    "account address balance batch budget cache cart claim client config contract counter course customer deadline "
    "device draft engine event export feed field filter folder forecast gateway grant header image index invoice "
    "journal label ledger license limit lock mailbox margin market member meter model monitor network notice offer "
    "order packet page parser payment plan pool price queue quota record refund region report request reserve route "
    "sample schema sensor session shard signal source stock stream summary supplier survey table target ticket token "
    "tracker transfer trial unit upload user vendor version voucher window worker zone"
)
NOUNS = NOUNS_TEXT.split()
VERBS_TEXT = (
    "adds applies blocks builds checks clears closes collects compares copies counts creates delays drops expects "
    "fetches fills finds follows gives holds ignores joins keeps leads leaves limits links loads locks marks matches "
    "merges moves needs notes opens orders passes picks plans prints queues reads removes renews reports returns "
    "saves sends shares shows signs skips sorts splits starts stores syncs tests tracks trims updates waits warns "
    "writes"
)
VERBS = VERBS_TEXT.split()
LINKS_TEXT = "the a each every our their this that one another"
LINKS = LINKS_TEXT.split()


class Recorder:
    """The trace so far, its clock, and what its agent costs."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.calls = []
        self.now = START + self.random.randrange(10**6) * SECOND
        self.annotates = self.random.random() < 0.5
        self.turns = self.random.random() < 0.5
        self.mark = None

    def call(self, tool, arguments, result=None, *, error=None, reads=False, seconds=0.0):
        self.now += int((self.random.uniform(2, 9) + seconds) * SECOND)
        tokens = int(self.random.lognormvariate(7.3, 0.5))
        self.calls.append(
            Call(
                tool=tool, arguments=arguments, result=result, error=error, at=self.now,
                read_only=reads and self.annotates, tokens=tokens, cost_nanousd=tokens * 3_000, progress=self.mark,
                turn=f"t{len(self.calls)}" if self.turns else "",
            )
        )  # fmt: skip

    def say(self, text):
        """One text without a tool; never more than one at a time."""
        self.call("", text)

    def sentence(self, words=12):
        pick = self.random.choice
        return " ".join(pick((LINKS, NOUNS, VERBS, LINKS, NOUNS)[n % 5]) for n in range(words)).capitalize() + "."

    def text(self, sentences):
        return " ".join(self.sentence(self.random.randint(8, 16)) for _ in range(sentences))

    def hexadecimal(self, digits):
        return f"{self.random.getrandbits(4 * digits):0{digits}x}"

    def uuid(self):
        parts = (8, 4, 4, 4, 12)
        return "-".join(map(self.hexadecimal, parts))


def coding(recorder):
    pick, nouns = recorder.random, recorder.random.sample(NOUNS, 8)
    files = [f"src/{nouns[0]}/{noun}.py" for noun in nouns]
    total, failing = pick.randint(20, 90), pick.randint(3, 7)
    declares = pick.random() < 0.5
    recorder.call("list_files", {"path": "src"}, "\n".join(files), reads=True)
    recorder.say(f"I will look for where {nouns[1]} {pick.choice(VERBS)} the {nouns[2]}.")
    for word in nouns[1:3]:
        hits = [f"{pick.choice(files)}:{pick.randint(3, 240)}:    {word} = {pick.choice(nouns)}.{pick.choice(nouns)}()"]
        recorder.call("grep", {"pattern": word, "path": "src"}, "\n".join(hits * pick.randint(1, 3)), reads=True)
    if pick.random() < 0.4:
        recorder.call("read_file", {"path": "src/" + nouns[3]}, error=f"FileNotFoundError: src/{nouns[3]}", reads=True)
    while failing:
        path = pick.choice(files)
        recorder.call("read_file", {"path": path}, source(recorder, nouns), reads=True)
        old, new = pick.sample(nouns, 2)
        edit = {
            "path": path,
            "old": f"return {old}.{pick.choice(VERBS)}({new})",
            "new": f"return {recorder.sentence(4)}",
        }
        recorder.call("edit_file", edit, f"The file {path} has been edited.")
        failing -= pick.choice((0, 1, 1, 2)) if failing > 1 else 1
        if declares:
            recorder.mark = f"{total - failing}/{total}"
        recorder.call("run", {"command": "pytest -q"}, tests(recorder, files, total, failing), reads=True, seconds=4)
        if pick.random() < 0.3:
            recorder.say(recorder.text(2))
    recorder.call(
        "run", {"command": "git diff --stat"}, f" {len(files)} files changed, {pick.randint(4, 60)} insertions(+)"
    )
    recorder.call(
        "run", {"command": f"git commit -am '{recorder.sentence(5)}'"}, f"[main {recorder.hexadecimal(7)}] done"
    )


def source(recorder, nouns):
    lines = [
        f"def {noun}(self):\n    {recorder.sentence(6)}\n    return {recorder.random.randint(1, 99)}" for noun in nouns
    ]
    return "\n\n".join(recorder.random.sample(lines, recorder.random.randint(3, 8)))


def tests(recorder, files, total, failing):
    seconds = f"{recorder.random.uniform(0.8, 9):.2f}s"
    if not failing:
        return {"exit_code": 0, "output": f"{total} passed in {seconds}"}
    names = [
        f"FAILED tests/test_{recorder.random.choice(files)[4:-3]}.py::test_{n} - AssertionError" for n in range(failing)
    ]
    return {"exit_code": 1, "output": "\n".join([*names, f"{failing} failed, {total - failing} passed in {seconds}"])}


def support(recorder):
    pick = recorder.random
    tickets = [pick.randint(10_000, 99_999) for _ in range(pick.randint(3, 5))]
    queue = [{"id": number, "subject": recorder.sentence(5)} for number in tickets]
    recorder.call("list_tickets", {"state": "open"}, queue, reads=True)
    for number in tickets:
        customer = f"{pick.choice(NOUNS)}.{pick.choice(NOUNS)}@example.com"
        ticket = {"id": number, "from": customer, "body": recorder.text(3), "received": "2027-01-14T09:12:44Z"}
        recorder.call("get_ticket", {"id": number}, ticket, reads=True)
        orders = [{"id": recorder.uuid(), "total": pick.randint(5, 400), "state": "shipped"} for _ in range(3)]
        recorder.call("find_orders", {"customer": customer}, orders, reads=True)
        order = pick.choice(orders)
        if pick.random() < 0.3:
            recorder.call("get_order", {"id": number}, error=f"NotFound: no order {number}", reads=True)
        recorder.call("get_order", {"id": order["id"]}, {**order, "items": pick.sample(NOUNS, 3)}, reads=True)
        if pick.random() < 0.6:
            articles = [{"title": recorder.sentence(6), "text": recorder.text(2)} for _ in range(2)]
            recorder.call("search_articles", {"query": recorder.sentence(6)}, articles, reads=True)
        if pick.random() < 0.5:
            amount = {"order": order["id"], "amount": order["total"]}
            recorder.call("refund", amount, {"refund": recorder.uuid(), "state": "accepted"})
        recorder.call(
            "reply", {"ticket": number, "text": recorder.text(4)}, {"sent": True, "message_id": recorder.uuid()}
        )
        recorder.call("close_ticket", {"id": number}, {"state": "closed"})
        if recorder.annotates:
            recorder.mark = f"closed {number}"


def research(recorder):
    pick = recorder.random
    subject = pick.sample(NOUNS, 3)
    for section in range(pick.randint(3, 5)):
        recorder.say(recorder.text(2))
        for _ in range(pick.randint(1, 2)):
            words = [*pick.sample(subject, 2), *pick.sample(NOUNS, 3)]
            pages = [
                f"https://{pick.choice(NOUNS)}.example/{pick.choice(NOUNS)}/{pick.randint(1, 999)}" for _ in range(4)
            ]
            found = [{"url": page, "title": recorder.sentence(7), "snippet": recorder.text(1)} for page in pages]
            recorder.call("web_search", {"query": " ".join(words), "limit": 4}, {"results": found}, reads=True)
            for page in pick.sample(pages, pick.randint(1, 3)):
                if pick.random() < 0.12:
                    recorder.call("open_page", {"url": page}, error=f"HTTP 404 for {page}", reads=True)
                else:
                    recorder.call("open_page", {"url": page}, recorder.text(pick.randint(2, 7)), reads=True)
        recorder.call("add_note", {"section": section, "text": recorder.text(3)}, {"ok": True})
        if recorder.annotates:
            recorder.mark = section
    recorder.call("write_report", {"path": "report.md", "text": recorder.text(6)}, {"bytes": pick.randint(900, 9000)})


def ops(recorder):
    pick = recorder.random
    services = pick.sample(NOUNS, 4)
    recorder.call("shell", {"command": "kubectl get pods -n prod"}, pods(recorder, services), reads=True)
    for service in services:
        pod = f"{service}-{recorder.hexadecimal(9)}-{recorder.hexadecimal(5)}"
        lines = [
            f"2027-01-14T09:{pick.randint(10, 59)}:{pick.randint(10, 59)}Z {recorder.sentence(8)}" for _ in range(6)
        ]
        recorder.call("shell", {"command": f"kubectl logs -n prod {pod} --tail=6"}, "\n".join(lines), reads=True)
        usage = {
            "cpu": round(pick.uniform(0.1, 0.9), 2),
            "memory_mb": pick.randint(90, 2000),
            "at": "2027-01-14T09:12:44Z",
        }
        recorder.call("metrics", {"service": service, "minutes": 15}, usage, reads=True)
        if pick.random() < 0.3:
            recorder.call("shell", {"command": f"kubectl edit deploy {service}"}, error="error: no terminal attached")
        patch = {"service": service, "set": {"replicas": pick.randint(2, 9), "memory_mb": pick.randint(1, 8) * 512}}
        recorder.call("patch", patch, {"revision": pick.randint(10, 99)})
        for ready in range(pick.randint(2, 5)):
            status = f"Waiting for rollout: {ready} of 5 updated replicas are available"
            recorder.call("rollout_status", {"service": service}, status, reads=True, seconds=10)
        recorder.call("rollout_status", {"service": service}, "successfully rolled out", reads=True, seconds=10)
        if recorder.annotates:
            recorder.mark = f"{service} done"
    recorder.call("shell", {"command": "kubectl get pods -n prod"}, pods(recorder, services), reads=True)
    recorder.call("post_message", {"channel": "ops", "text": recorder.text(2)}, {"ok": True, "ts": str(recorder.now)})


def pods(recorder, services):
    rows = ["NAME  READY  STATUS  RESTARTS  AGE"]
    for service in services:
        name = f"{service}-{recorder.hexadecimal(9)}-{recorder.hexadecimal(5)}"
        rows.append(f"{name}  1/1  Running  {recorder.random.randint(0, 9)}  3d")
    return "\n".join(rows)


WORLDS = {"coding": coding, "support": support, "research": research, "ops": ops}


def record(world, number):
    recorder = Recorder(f"{world} {number}")
    WORLDS[world](recorder)
    return recorder.calls


def main():
    encoder = msgspec.json.Encoder()
    for world in WORLDS:
        traces = [encoder.encode(record(world, number)) for number in range(TRACES_EACH)]
        (HERE / f"{world}.jsonl").write_bytes(b"\n".join([*traces, b""]))


if __name__ == "__main__":
    main()
