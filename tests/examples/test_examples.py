"""Every file in examples/ does what it says, started as a reader would start it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import demo
import pytest
from forked import completed

import agentmemo

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
SECONDS = 180


class Shell:
    """Starts examples in a folder of their own, on a store of their own."""

    def __init__(self, folder):
        self.folder = folder
        self.data = folder / "data"
        kept = {name: value for name, value in os.environ.items() if not name.startswith("AGENTMEMO_")}
        self.environment = kept | {"AGENTMEMO_DATA": str(self.data), "USER": "you"}

    def run(self, name, *words, code=0, refusal=""):
        done = completed([EXAMPLES / name, *words], self.environment, self.folder, seconds=SECONDS)
        said, errors = done.stdout.decode(), done.stderr.decode()
        assert done.returncode == code, said + errors
        assert refusal in errors
        assert refusal or not errors
        return said.splitlines()

    def start(self, name, *words):
        return subprocess.Popen(
            [sys.executable, EXAMPLES / name, *words], cwd=self.folder, env=self.environment,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    def connect(self):
        return agentmemo.connect(self.data, agent="test")


@pytest.fixture
def shell(tmp_path):
    return Shell(tmp_path)


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A shell whose examples reach one plane over HTTP."""
    shell = Shell(tmp_path_factory.mktemp("served"))
    command = [sys.executable, "-m", "agentmemo", "up", "--port", "0", "--json"]
    with subprocess.Popen(command, env=shell.environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            started = json.loads(process.stdout.readline())
            shell.environment |= {"AGENTMEMO_URL": started["url"], "AGENTMEMO_KEY": started["agent_key"]}
            yield shell
        finally:
            process.terminate()


def test_every_example_is_tested_here():
    told = Path(__file__).read_text(encoding="utf-8")
    assert [file.name for file in sorted(EXAMPLES.glob("*.py")) if f'"{file.name}"' not in told] == []


def test_state_holds_the_calls_of_the_article_word_for_word():
    text = (EXAMPLES / "state.py").read_text(encoding="utf-8")
    assert 'agent.state.set("github_sync", "last_commit_hash", "abc123")' in text
    assert 'last_hash = agent.state.get("github_sync", "last_commit_hash")' in text


def test_state_outlives_its_process(shell):
    first, second = shell.run("state.py"), shell.run("state.py")
    assert first[:3] == ["before: None", "after: abc123", "version 1 by agent:github-sync"]
    assert first[3:] == [
        "github_sync/last_commit_hash has version 2, not 1.",
        "one commit: ['last_commit_hash', 'last_sync']",
    ]
    assert second[:3] == ["before: abc123", "after: abc123", "version 4 by agent:github-sync"]


def test_run_continues_after_a_kill(shell):
    with shell.start("run.py", "--seconds", "30") as child:
        said = [child.stdout.readline() for _ in range(2)]
        child.kill()
        child.communicate()
    assert said[0].endswith(": new\n")
    assert said[1] == "reading chapter 1\n"
    assert child.returncode == -signal.SIGKILL
    handle = said[0].split(":")[0]
    assert shell.run("run.py", "--seconds", "0") == [
        f"{handle}: continued",
        *(f"reading chapter {number}" for number in range(1, 6)),
        "done: {'chapters': 5, 'last': 'what happens in chapter 5'}",
    ]


def test_run_reads_no_chapter_twice_that_was_finished(shell):
    with shell.start("run.py", "--seconds", "0.05") as child:
        for line in child.stdout:
            if line == "reading chapter 3\n":
                break
        child.kill()
        child.communicate()
    with shell.connect() as agent:
        run = agent.runs.find("read-book", "moby-dick")
        kept = [step.number for step in agent.runs.steps(run.id)]
    assert kept[:2] == [1, 2]
    again = [line for line in shell.run("run.py", "--seconds", "0") if line.startswith("reading")]
    assert again == [f"reading chapter {number}" for number in range(len(kept) + 1, 6)]
    assert shell.run("run.py")[1:] == ["done: {'chapters': 5, 'last': 'what happens in chapter 5'}"]


def test_briefing_tells_what_the_first_attempt_left(shell):
    told = shell.run("briefing.py")
    text = "\n".join(told)
    assert told.count("listing endpoints") == 1
    assert "attempt 2 of 3" in text
    assert '"/export answers without a session."' in text
    assert '"Read the routes from the OpenAPI file." because "the file is two releases old"' in text
    assert '"Test /admin last." because "it locks accounts after five failures"' in text
    assert "Budget left: 19 steps." in text
    assert told[-1] == "steps done: 1"


def test_tasks_wait_for_their_signal_and_run_once(shell):
    assert shell.run("tasks.py") == [
        "the same key is the same run: True",
        "ticket 41: waiting",
        "ticket 42: completed",
        "ticket 41: high, approved by ada",
        "ticket 42: low",
        "scheduled: ['0 3 * * *']",
    ]
    assert shell.run("tasks.py")[1:3] == ["ticket 41: completed", "ticket 42: completed"]


@pytest.mark.parametrize(("crash", "probed"), [("after", "it happened"), ("before", "it did not happen")])
def test_in_doubt_pays_once_whenever_it_dies(shell, crash, probed):
    assert shell.run("in_doubt.py", "--crash", crash, code=-signal.SIGKILL) == []
    with shell.connect() as agent:
        run = agent.runs.find("pay-invoice", "2026-001")
        assert [(step.name, step.state) for step in agent.runs.steps(run.id)] == [("pay", "started")]
    assert shell.run("in_doubt.py") == [f"probe: {probed}", "paid: 4200 cents", "payments in the bank's book: 1"]
    assert shell.run("in_doubt.py") == ["paid: 4200 cents", "payments in the bank's book: 1"]


def test_async_agent_fetches_each_page_once(shell):
    assert shell.run("async_agent.py") == ["fetching pricing", "fetching security", "fetching changelog", "total: 24"]
    assert shell.run("async_agent.py") == ["total: 24"]
    with shell.connect() as agent:
        entry = agent.state.entry("crawl", "total")
        assert (entry.value, entry.version, entry.run) == (24, 1, agent.runs.find("crawl", "docs").id)


def test_work_that_lost_its_holder_is_taken_over_and_answered(shell):
    assert shell.run("handoff.py") == [
        "analyst: handed over hof_..., pending",
        "analyst: completed by agent:engineer at epoch 2: {'mended': 'auth.py: patched'}",
    ]


def test_a_killed_agent_gets_its_answer_in_another_process(shell):
    choices = ["Rollback deploy", "Patch immediately", "Notify team"]
    assert shell.run("escalation.py") == [
        "agent: scanned",
        "the agent was killed while it waited",
        f"ana: high: Security vulnerability found in production; {choices}",
        "agent: person:ana chose rollback-deploy",
        "asked 1 time, answer applied",
    ]


@pytest.mark.parametrize(
    ("name", "last"),
    [
        ("state.py", "one commit: ['last_commit_hash', 'last_sync']"),
        ("run.py", "done: {'chapters': 5, 'last': 'what happens in chapter 5'}"),
        ("briefing.py", "steps done: 1"),
        ("workflow_document.py", "pull-request-review/SKILL.md brings number 1 back"),
        ("workflow_execution.py", "the caller says {'risk': 'low'}"),
        ("tasks.py", "scheduled: ['0 3 * * *']"),
        ("in_doubt.py", "payments in the bank's book: 1"),
        ("async_agent.py", "total: 24"),
    ],
)
def test_examples_are_the_same_over_http(served, name, last):
    words = ["--seconds", "0"] if name == "run.py" else []
    assert served.run(name, *words)[-1] == last
    with served.connect() as agent:
        assert {event.door for event in agent.audit.events(actor="agent:you")} == {"http"}


def test_resumable_analysis_resumes_and_writes_the_same_report(shell, repository):
    for number in range(95):
        repository.write(f"module_{number}.py", f"def f():\n    return {number}\n")
    repository.commit()
    words = ["resumable_analysis.py", str(repository.path), "--data", str(shell.data), "--report"]
    # So many steps and pauses are left then that it still is at them when it is killed, however late that comes.
    with shell.start(*words, "killed.md", "--pause", "0.5") as child:
        for line in child.stdout:
            if line.startswith("ran     files 1"):
                break
        child.kill()
        child.communicate()
    resumed = shell.run(*words, "killed.md")
    # Upkeep of the second process may have freed the run of the dead one before it is looked at.
    states = [f"This run exists and is {state}. The briefing:" for state in ("running", "pending")]
    assert any(state in resumed for state in states)
    assert "resumed files 1" in resumed
    assert "ran     files 10" in resumed
    whole = [*words[:3], str(shell.folder / "other"), "--report", "whole.md"]
    assert not any(line.startswith("resumed") for line in shell.run(*whole))
    assert (shell.folder / "killed.md").read_bytes() == (shell.folder / "whole.md").read_bytes()


def test_a_finished_analysis_is_not_repeated(shell, repository):
    repository.write("a.py", "x = 1\n")
    repository.commit()
    words = ["resumable_analysis.py", str(repository.path), "--data", str(shell.data)]
    assert shell.run(*words)[-1].startswith("Done: 5 steps ran now, 0 came from the store.")
    assert shell.run(*words)[-1].startswith("Done: 0 steps ran now, 5 came from the store.")


def test_a_folder_without_history_is_refused_in_words(shell):
    assert shell.run("resumable_analysis.py", str(shell.folder), code=2, refusal="is not a Git repository") == []


def test_demo_proves_what_it_shows(shell, repository):
    for number in range(150):
        repository.write(f"module_{number}.py", f"def f():\n    return {number}\n")
    repository.commit()
    # A seed that kills early: the last of them must not be done before it is killed, however late that comes.
    told = shell.run("demo.py", str(repository.path), "--seed", "49", "--pauses", "4")
    text = "\n".join(told)
    assert len(re.findall(r"^  \d\. killed process", text, re.MULTILINE)) == demo.KILLS
    proofs = [line for line in told if line.startswith(("  yes  ", "  NO   "))]
    assert len(proofs) == 5
    assert all(line.startswith("  yes  ") for line in proofs)
    assert "Watch it at http://127.0.0.1:" in text
    assert "Next: agent.run('analyse-repository'" in text
    assert float(told[-1].split(" s, ")[0]) > 0, "it tells how long it took"


def test_demo_analyses_the_repository_it_is_in(tmp_path):
    repository, commit = demo.this_repository(tmp_path)
    assert demo.count_steps(repository, commit) > 10 * demo.KILLS


def test_demo_notices_a_stored_step_that_began_again():
    step = ("files", "1")
    log = [demo.Line("began", step, 1), demo.Line("finished", step, 1), demo.Line("began", step, 2)]
    found = demo.proofs_of(log, [demo.Killed(1, {step}, 2)], {step})
    assert found["no step that the store held at a kill began again"] is False
    assert found["only steps that a kill interrupted ran again (1 of 1)"] is False


def test_demo_allows_what_a_kill_interrupted():
    step = ("files", "1")
    log = [demo.Line("began", step, 1), demo.Line("began", step, 2), demo.Line("finished", step, 2)]
    found = demo.proofs_of(log, [demo.Killed(1, set(), 1)], {step})
    assert found["no step that the store held at a kill began again"] is True
    assert found["only steps that a kill interrupted ran again (1 of 1)"] is True


def test_workers_on_one_database_finish_what_a_killed_one_began(shell, postgres_url):
    shell.environment |= {"AGENTMEMO_URL": postgres_url, "AGENTMEMO_POSTGRES_ALLOW_LOSSY": "true"}
    workers = [shell.start("shared_database.py", "work") for _ in range(2)]
    starter = None
    try:
        for worker in workers:
            assert worker.stdout.readline() == "working\n"
        starter = shell.start("shared_database.py", "start", "6")
        lines = [starter.stdout.readline(), starter.stdout.readline()]
        workers[0].kill()
        lines += starter.stdout.readlines()
        assert starter.wait(SECONDS) == 0
    finally:
        for process in filter(None, [*workers, starter]):
            process.kill()
            process.wait()
            process.stdout.close()
    assert lines[0] == "started 6\n"
    assert all(f"chapter {number}: completed, 2 steps" in line for number, line in enumerate(lines[1:], start=1))
    with agentmemo.connect(postgres_url, agent="test") as agent:
        assert agent.audit.verify().intact


def test_ledger_then_workflow_repair_on_one_store(shell):
    lines = shell.run("ledger.py")
    assert lines[0].endswith(" nano-dollars")
    assert lines[1].startswith("call 2: unknown, counted at ")
    assert any("refused. The call could take $" in line for line in lines)
    assert lines[-1].endswith(" of 10000000 nano-dollars today")
    lines = shell.run("workflow_repair.py")  # whose calls no cap of the other's stops
    assert lines[0].startswith("route by small: 30 of 60 right")
    assert lines[1] == "the designer sees: 30 failures of route, check expected"
    assert lines[2] == "Greetings were nobody's."
    assert lines[4].startswith("route by small: 60 of 60 right")
    assert lines[5] == "nothing that worked before fails in it; replayed on 60 cases"


def test_what_an_example_leaves_in_a_store_is_in_nobodys_way():
    for pattern in (r'connect(?:_async)?\([^)]*agent="([^"]+)"', r'workflows\.create\(\s*name="([^"]+)"'):
        owners = {}
        for path in EXAMPLES.glob("*.py"):
            for name in re.findall(pattern, path.read_text()):
                assert owners.setdefault(name, path.name) == path.name, f"{name} is also in {path.name}"


def test_code_review_holds_the_calls_of_the_article():
    text = re.sub(r"\s+", " ", (EXAMPLES / "code_review.py").read_text())
    assert 'steps=""" 1. Fetch PR diff from GitHub 2. Check for security patterns (see checklist) 3. Verify' in text
    assert 'edge_cases=""" - If PR > 1000 lines, review in chunks - Skip for dependabot PRs """, designed_by' in text
    assert 'agent.workflows.execute("code-review", pr_number=123)' in text


def test_code_review_without_a_model_names_both_ways_out_and_takes_one(shell):
    said = "\n".join(shell.run("code_review.py"))
    assert "No model is configured" in said
    assert "models.toml" in said
    assert "workflows.start('code-review', inputs)" in said
    assert said.endswith("fetch: completed\nsecurity: completed\nverdict: completed\npaid for: 0 model calls")


def test_code_review_is_done_by_a_real_model(shell, local_model):
    import local_model as served

    shell.environment["AGENTMEMO_MODELS"] = "\n".join(
        [
            'ladder = ["small"]',
            "[models.small]",
            'provider = "openai"',
            f'model = "{served.NAME}"',
            f'base_url = "{local_model}/v1"',
            "options = {top_k = 1}",
        ]
    )
    said = shell.run("code_review.py")
    assert said[-1] == "paid for: 2 model calls"
    assert "'security': 'clean'" in said[0] or "'security': 'suspicious'" in said[0]
