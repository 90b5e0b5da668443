from __future__ import annotations

import json
import threading

import pytest

import agentmemo
from agentmemo.clock import SECOND, SystemClock
from agentmemo.model.handoffs import HandoffLimit, Rung, Tried
from agentmemo.model.runs import Budget, Retry

MISSING = "hof_aaaaaaaaaaaaaaaa"


@pytest.fixture
def taker(cli):
    """The command line, typed by the agent `taker`."""

    def call(verb, *words, **options):
        return cli("handoff", verb, *words, "--agent", "taker", **options)

    return call


@pytest.fixture
def sender(cli):
    def call(verb, *words, **options):
        return cli("handoff", verb, *words, "--agent", "worker", **options)

    return call


@pytest.fixture
def claimed(agent, taker):
    """A handoff that `taker` holds, with epoch 1."""
    handoff = agent.handoff.create(to_agent="taker", goal="review PR 12", context={"pr": 12})
    assert taker("claim", handoff.id, "--json").json["epoch"] == 1
    return handoff.id


def state_of(agent, handoff):
    return agent.handoff.get(handoff).state


def test_a_handoff_from_its_creation_to_its_result(sender, taker, agent):
    made = sender("create", "--to-agent", "taker", "--goal", "review PR 12", "--context", '{"pr": 12}', "--json").json
    assert (made["state"], made["from_agent"], made["context"]) == ("pending", "agent:worker", {"pr": 12})
    assert [each["id"] for each in taker("pending", "--json").json["items"]] == [made["id"]]
    assert "review PR 12" in taker("pending").out
    assert taker("wait", "--json").json["epoch"] == 0

    taken = taker("claim", "--json").json
    assert (taken["id"], taken["state"], taken["epoch"]) == (made["id"], "claimed", 1)
    assert taker("renew", made["id"], "--epoch", "1").out == f"{made['id']}  Renewed: its lease begins anew.\n"
    shown = taker("progress", made["id"], "reading", "--percent", "40", "--epoch", "1", "--json").json
    assert (shown["percent"], shown["progress"]) == (40, "reading")
    assert "40 % reading" in sender("show", made["id"]).out
    assert taker("complete", made["id"], '{"verdict": "fine"}', "--epoch", "1").out == f"{made['id']}  Completed.\n"

    assert [each["id"] for each in sender("notices", "--json").json["items"]] == [made["id"]]
    assert made["id"] in sender("notices").out
    assert json.loads(sender("result", made["id"]).out) == {"verdict": "fine"}
    assert sender("notices").err == "No notices.\n"
    assert agent.handoff.get(made["id"]).received_at is not None


def test_handing_over_under_a_claim_carries_what_belongs_to_it(agent, taker, claimed):
    made = taker("create", "--under", claimed[:14], "--epoch", "1", "--to-agent", "other", "--json").json
    assert (made["parent"], made["root"]) == (claimed, claimed)
    assert made["on_behalf_of"] == ["agent:worker", "agent:taker"]
    assert [each.id for each in agent.handoff.lineage(claimed)] == [claimed, made["id"]]
    assert taker("create", "--under", claimed, "--epoch", "7", "--to-agent", "other").status == 4
    assert "go together" in taker("create", "--under", claimed, "--to-agent", "other").err


def test_a_list_reads_no_packages_unless_they_are_asked_for(agent, taker):
    agent.handoff.create(to_agent="taker", goal="look", context={"large": "x" * 10_000})
    agent.handoff.create(to_agent="taker", context={"no": "goal"}, key="k-1")
    shown = taker("list").out
    assert "look" in shown
    assert "key k-1" in shown
    assert "large" not in shown
    full, brief = taker("list", "--json").json["items"], taker("list", "--json", "--brief").json["items"]
    assert full[1]["context"]["large"]
    assert [each["context"] for each in brief] == [None, None]
    assert [each["goal"] for each in brief] == ["", "look"]


def test_a_claim_outlives_its_process_and_carries_its_own_lease(agent, taker, cli, claimed):
    held = agent.handoff.get(claimed)
    assert (held.state, held.holder, held.attempt) == ("claimed", "agent:taker", 1)
    other = agent.handoff.create(to_agent="taker")
    long = taker("claim", "--lease-seconds", "7200", "--json").json
    assert (long["id"], long["state"]) == (other.id, "claimed")
    assert long["worker"] != held.worker
    # The claims of one agent with one lease are one worker's, whoever types them.
    third = agent.handoff.create(to_agent="taker")
    assert taker("claim", third.id, "--json").json["worker"] == held.worker


def test_the_lease_ends_where_nobody_calls_any_more(agent, taker):
    handoff = agent.handoff.create(to_agent="taker")
    assert taker("claim", "--lease-seconds", "0.001", "--json").json["id"] == handoff.id
    found = agent.handoff.get(handoff.id)
    while found.state == "claimed":
        found = agent.handoff.get(handoff.id, after=found, wait_seconds=30)
    assert (found.state, found.attempt, found.attempts[0].outcome) == ("pending", 2, "lost")
    assert taker("complete", handoff.id, "1", "--epoch", "1").status == 4


def test_create_carries_everything_that_was_given(sender, agent):
    agent.state.set("team/a", "plan", 1)
    agent.state.set("team/a", "plan", 2)
    agent.state.set("team/a", "a/b@c", 3)
    made = sender(
        "create", "--to-queue", "nightly", "--goal", "deploy", "--workflow", "deploy", "--workflow-version", "3",
        "--context", "-", "--reference", "team/a/plan@1", "--reference", "team/a/a%2Fb%40c", "--artifact", '["a", "b"]',
        "--artifact", '{"link": "x"}', "--constraint", "not on Friday", "--constraint", "ask first", "--tried", "push",
        "--why-failed", "no rights", "--tried=-f", "--why-failed", "nor so", "--unverified", "the tests pass",
        "--schema", '{"type": "object"}', "--check", "result.ok == true", "--check", "result.n > 0", "--verifier",
        "judge", "--handoff-key", "deploy-1", "--priority", "7", "--max-attempts", "5", "--retry",
        '{"first_delay_seconds": 5}', "--ladder", '[{"after_seconds": 60, "to_agent": "other"}]', "--progress-seconds",
        "90", "--steps", "9", "--tokens", "1000", "--json", stdin=b'{"from": "stdin"}',
    ).json  # fmt: skip
    found = agent.handoff.get(made["id"])
    assert (found.to, found.goal, found.workflow, found.workflow_version) == ("queue:nightly", "deploy", "deploy", "3")
    assert (found.context, found.key, found.priority, found.max_attempts) == ({"from": "stdin"}, "deploy-1", 7, 5)
    references = {f"{each.namespace}/{each.key}": each.version for each in found.references}
    assert references == {"team/a/plan": 1, "team/a/a/b@c": 1}
    assert found.artifacts == [["a", "b"], {"link": "x"}]
    assert found.constraints == ["not on Friday", "ask first"]
    assert found.tried == [Tried(text="push", why_failed="no rights"), Tried(text="-f", why_failed="nor so")]
    assert found.unverified == ["the tests pass"]
    assert (found.acceptance.schema, found.acceptance.verifier) == ({"type": "object"}, "judge")
    assert found.acceptance.checks == ["result.ok == true", "result.n > 0"]
    assert found.budget == Budget(steps=9, tokens=1000)
    shown = sender("show", made["id"]).out
    for text in ("team/a/plan@1", "check result.n > 0", "verifier judge", "not on Friday", "steps 9, tokens 1000"):
        assert text in shown


def test_what_the_plane_is_sent_beside_that(sender, performed):
    sender(
        "create", "--to-agent", "x", "--retry", '{"first_delay_seconds": 5, "factor": 3}', "--ladder",
        '[{"after_seconds": 60, "to_agent": "y"}, {"after_seconds": 90, "escalate": true}]', "--progress-seconds", "9",
    )  # fmt: skip
    request = performed[-1][2]
    assert request.retry == Retry(first_delay_seconds=5, factor=3)
    assert request.ladder == [Rung(after_seconds=60, to_agent="y"), Rung(after_seconds=90, escalate=True)]
    assert request.progress_seconds == 9


def test_times_are_utc_or_from_now_on(sender, performed):
    before = SystemClock().now_us()
    result = sender(
        "create", "--to-agent", "x", "--not-before", "2100-01-01T00:00", "--pickup-by", "2100-01-02T00:00",
        "--complete-by", "2h",
    )  # fmt: skip
    request = performed[-1][2]
    assert request.pickup_by - request.not_before == 86_400 * SECOND
    assert 0 <= request.complete_by - before - 7200 * SECOND < 3600 * SECOND
    assert "it is offered to agent:x from 2100-01-01 00:00:00Z" in result.out
    assert sender("create", "--to-agent", "x", "--pickup-by", "soon", "--json").problem["code"] == "invalid_input"


def test_values_come_from_files_and_standard_input(sender, taker, agent, tmp_path):
    (tmp_path / "context.json").write_text('{"n": 1}', encoding="utf-8")
    (tmp_path / "schema.json").write_text('{"type": "string"}', encoding="utf-8")
    made = sender(
        "create", "--to-agent", "taker", "--context", f"@{tmp_path}/context.json", "--schema",
        f"@{tmp_path}/schema.json", "--json",
    ).json  # fmt: skip
    assert made["context"] == {"n": 1}
    taker("claim")
    assert taker("complete", made["id"], "-", "--epoch", "1", stdin=b"5").status == 2
    assert taker("complete", made["id"], "-", "--text", "--epoch", "1", stdin=b"all is well").status == 0
    assert agent.handoff.get(made["id"]).result == "all is well"


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("--to-agent", "x", "--to-queue", "y"),
        ("--to-agent", "x", "--context", "not json"),
        ("--to-agent", "x", "--schema", "[]"),
        ("--to-agent", "x", "--schema", '{"type": 5}'),
        ("--to-agent", "x", "--check", "result ==="),
        ("--to-agent", "x", "--ladder", "5"),
        ("--to-agent", "x", "--ladder", '["x"]'),
        ("--to-agent", "x", "--ladder", '[{"after": 5}]'),
        ("--to-agent", "x", "--retry", '{"delay": 5}'),
        ("--to-agent", "x", "--retry", "5"),
        ("--to-agent", "x", "--reference", "plan"),
        ("--to-agent", "x", "--tried", "asking"),
        ("--to-agent", "x", "--why-failed", "no answer"),
        ("--to-agent", "x", "--steps", "-1"),
        ("--to-agent", "x", "--priority", "5000"),
    ],
)
def test_a_package_that_makes_no_sense_is_refused(sender, agent, words):
    result = sender("create", *words, "--json")
    assert (result.status, result.problem["code"]) == (2, "invalid_input")
    assert result.problem["next_call"]
    assert agent.handoff.list().items == []


def test_a_key_stands_for_one_piece_of_work(sender):
    first = sender("create", "--to-agent", "taker", "--handoff-key", "pr-12", "--context", "1", "--json").json
    again = sender("create", "--to-agent", "taker", "--handoff-key", "pr-12", "--context", "1", "--json").json
    assert again["id"] == first["id"]
    assert sender("create", "--to-agent", "taker", "--handoff-key", "pr-12", "--context", "2").status == 4


def test_a_receiver_that_nobody_knows_is_remarked(sender, taker):
    made = sender("create", "--to-agent", "taker")
    assert "Nobody has called as agent:taker so far" in made.err
    assert "nobody has called as it so far" in sender("show", made.out.split()[0]).out
    taker("announce", "--nothing")
    assert sender("create", "--to-agent", "taker").err == ""


def test_list_narrows(sender, agent, claimed):
    other = agent.handoff.create(to_queue="nightly", goal="count")
    assert [each["id"] for each in sender("list", "--json").json["items"]] == [other.id, claimed]
    assert [each["id"] for each in sender("list", "--state", "claimed", "--json").json["items"]] == [claimed]
    assert [each["id"] for each in sender("list", "--to", "queue:nightly", "--json").json["items"]] == [other.id]
    assert [each["id"] for each in sender("list", "--to", "taker", "--json").json["items"]] == [claimed]
    assert len(sender("list", "--sender", "agent:worker", "--root", claimed, "--json").json["items"]) == 1
    page = sender("list", "--limit", "1", "--json").json
    assert [each["id"] for each in sender("list", "--cursor", page["cursor"], "--json").json["items"]] == [claimed]
    assert "--cursor" in sender("list", "--limit", "1").err
    assert "review PR 12" in sender("list").out
    assert sender("list", "--state", "dead").err == "No handoffs.\n"
    assert sender("list", "--state", "lost").status == 2


def test_a_unique_prefix_is_enough(sender, taker, claimed):
    assert sender("show", claimed[:14], "--json").json["id"] == claimed
    assert taker("complete", claimed[4:14], "--epoch", "1", "--json").json["state"] == "completed"


def test_held_by_another_is_a_conflict_that_names_the_holder(cli, claimed, taker):
    for result in (taker("claim", claimed, "--json"), taker("complete", claimed, "1", "--json")):
        assert (result.status, result.problem["code"]) == (4, "handoff_held")
        assert result.problem["details"]["holder"] == "agent:taker"
    assert cli("handoff", "claim", claimed, "--agent", "somebody").status == 5


@pytest.mark.parametrize(
    "words", [("renew",), ("progress",), ("complete", "1"), ("fail", "why"), ("release", "why"), ("decline", "why")]
)
def test_an_epoch_that_is_not_the_newest_is_refused(claimed, taker, words):
    verb, *rest = words
    result = taker(verb, claimed, *rest, "--epoch", "2", "--json")
    assert (result.status, result.problem["code"]) == (4, "lease_lost")


@pytest.mark.parametrize("words", [("renew",), ("progress",), ("fail", "why"), ("release", "why")])
def test_what_only_the_holder_may_do_needs_the_epoch(claimed, taker, words):
    verb, *rest = words
    result = taker(verb, claimed, *rest, "--json")
    assert (result.status, result.problem["code"]) == (2, "invalid_input")
    assert "--epoch" in result.problem["message"]


def test_completing_without_a_claim_claims_it(agent, taker, cli):
    handoff = agent.handoff.create(to_agent="taker")
    assert cli("handoff", "complete", handoff.id, "1", "--agent", "somebody").status == 5
    assert taker("complete", handoff.id, "[1, 2]", "--json").json["result"] == [1, 2]
    assert taker("complete", handoff.id, "[1, 2]").status == 0
    assert taker("complete", handoff.id, "[1, 3]").status == 4


def test_a_result_that_was_not_asked_for_is_refused_and_the_claim_goes_on(agent, taker):
    handoff = agent.handoff.create(to_agent="taker", acceptance={"checks": ["result.ok == true"]})
    taker("claim")
    refused = taker("complete", handoff.id, '{"ok": false}', "--epoch", "1", "--json")
    assert (refused.status, refused.problem["code"]) == (2, "invalid_input")
    assert state_of(agent, handoff.id) == "claimed"
    assert taker("complete", handoff.id, '{"ok": true}', "--epoch", "1").status == 0


def test_a_verifier_looks_first(agent, taker, cli):
    handoff = agent.handoff.create(to_agent="taker", acceptance={"verifier": "judge"})
    assert "Submitted" in taker("complete", handoff.id, "1").out
    verification = cli("handoff", "claim", "--agent", "judge", "--json").json
    assert verification["verifies"] == handoff.id
    cli("handoff", "complete", verification["id"], '{"accepted": true}', "--epoch", "1", "--agent", "judge")
    assert state_of(agent, handoff.id) == "completed"
    family = cli("handoff", "lineage", handoff.id, "--json").json["items"]
    assert [each["id"] for each in family] == [handoff.id, verification["id"]]
    assert "agent:taker" in cli("handoff", "lineage", handoff.id).out


def test_fail_ends_it_for_good(agent, claimed, taker, sender):
    assert "Failed; its sender is told." in taker("fail", claimed, "there is no PR 12", "--epoch", "1").out
    result = sender("result", claimed)
    assert (result.status, result.out) == (1, "")
    assert "it is failed" in result.err
    assert "there is no PR 12" in result.err
    assert sender("result", claimed, "--json").json["state"] == "failed"
    assert state_of(agent, claimed) == "failed"


def test_release_counts_as_an_attempt_or_does_not(agent, claimed, taker):
    assert "it is offered to agent:taker from" in taker("release", claimed, "too hard", "--epoch", "1").out
    assert agent.handoff.get(claimed).attempt == 2
    other = agent.handoff.create(to_agent="taker")
    taker("claim", other.id)
    assert taker("release", other.id, "not now", "--epoch", "1", "--uncounted").out.endswith(
        "offered to agent:taker.\n"
    )
    assert agent.handoff.get(other.id).attempt == 1
    # What was handed out before is shown to whoever gets it next.
    assert "agent:taker, released: too hard" in taker("show", claimed).out


def test_decline_asks_the_next_or_tells_the_sender(agent, taker):
    handoff = agent.handoff.create(to_agent="taker", ladder=[{"after_seconds": 60, "to_agent": "other"}])
    assert "Declined; it is offered to agent:other." in taker("decline", handoff.id, "not mine").out
    last = agent.handoff.create(to_agent="taker")
    taker("claim", last.id)
    assert "its sender is told" in taker("decline", last.id, "not mine", "--epoch", "1").out
    assert state_of(agent, last.id) == "declined"


def test_cancel_and_requeue(agent, claimed, taker, sender):
    assert sender("cancel", claimed, "not needed", "--json").json["state"] == "cancelled"
    assert sender("cancel", claimed, "again").status == 4
    assert "was cancelled" in taker("renew", claimed, "--epoch", "1").err
    assert sender("requeue", claimed).status == 4
    handoff = agent.handoff.create(to_agent="taker")
    taker("decline", handoff.id, "no")
    words = ("--to-queue", "nightly", "--reason", "somebody must", "--complete-by", "2100-01-01T00:00")
    again = sender("requeue", handoff.id, *words)
    assert "it is offered to queue:nightly" in again.out
    assert sender("requeue", handoff.id).status == 4
    found = agent.handoff.get(handoff.id)
    assert (found.attempt, found.reason) == (1, "somebody must")
    assert "2100-01-01" in sender("show", handoff.id).out


def test_a_reference_is_read_at_its_version_under_the_claim(agent, taker, cli):
    agent.state.set("team/a", "plan", {"n": 1})
    handoff = agent.handoff.create(to_agent="taker", references=[("team/a", "plan")])
    agent.state.set("team/a", "plan", {"n": 2})
    assert taker("reference", handoff.id, "team/a", "plan").status == 5
    taker("claim")
    assert json.loads(taker("reference", handoff.id, "team/a", "plan").out) == {"n": 1}
    assert taker("reference", handoff.id, "team/a", "plan", "--json").json["version"] == 1
    assert taker("reference", handoff.id, "team/a", "other").status == 3


def test_announced_receivers_are_offered_work(agent, taker):
    for_all = [agent.handoff.create(to_capability="code"), agent.handoff.create(to_queue="nightly")]
    assert taker("pending").err == "Nothing is offered to you.\n"
    said = taker("announce", "--capability", "code", "--queue", "nightly").out
    assert "capability:code, queue:nightly" in said
    assert {each["id"] for each in taker("pending", "--json").json["items"]} == {each.id for each in for_all}
    assert taker("announce").status == 2
    assert taker("announce", "--nothing", "--queue", "x").status == 2
    assert taker("announce", "--nothing", "--json").json["addresses"] == ["agent:taker"]
    assert taker("pending", "--json").json["items"] == []


def test_several_are_claimed_in_one_commit(agent, taker):
    made = [agent.handoff.create(to_agent="taker").id for _ in range(3)]
    assert [each["id"] for each in taker("claim", "--limit", "2", "--json").json["items"]] == made[:2]
    assert made[2] in taker("claim", "--limit", "2").out
    assert taker("claim", "--limit", "0").status == 2


def test_limits(cli, taker, agent):
    made = cli(
        "handoff", "limit", "queue:nightly", "--concurrency", "1", "--rate", "5", "--per-seconds", "30", "--json"
    )
    wanted = HandoffLimit(to="queue:nightly", concurrency=1, rate=5, per_seconds=30, held=0)
    assert made.json == {name: getattr(wanted, name) for name in wanted.__struct_fields__}
    assert cli("handoff", "limits", "--json").json["items"] == [made.json]
    assert "at most 1 at once, at most 5 per 30 s" in cli("handoff", "limits").out
    taker("announce", "--queue", "nightly")
    first, second = [agent.handoff.create(to_queue="nightly").id for _ in range(2)]
    assert taker("claim", "--json").json["id"] == first
    assert taker("claim").status == 3
    assert taker("claim", second, "--json").problem["code"] == "limit_exceeded"
    assert "no bounds" in cli("handoff", "limit", "queue:nightly").out
    assert taker("claim", "--json").json["id"] == second


def test_nothing_offered_is_not_found(taker):
    for result in (
        taker("claim", "--json"),
        taker("claim", "--wait-seconds", "0.01", "--json"),
        taker("claim", "--wait-seconds", "-1", "--json"),
        taker("wait", "--timeout-seconds", "0.01", "--json"),
    ):
        assert (result.status, result.problem["code"]) == (3, "not_found")
    for verb, *rest in (("show",), ("result",), ("lineage",), ("cancel", "why"), ("requeue",), ("complete", "1")):
        assert taker(verb, MISSING, *rest).status == 3


@pytest.mark.parametrize("words", [("claim", "--wait-seconds", "60"), ("wait", "--timeout-seconds", "60")])
def test_waiting_ends_when_something_is_offered(data, taker, words):
    def hand_over():
        with agentmemo.connect(str(data), agent="worker") as mine:
            mine.handoff.create(to_agent="taker", goal="late")

    thread = threading.Thread(target=hand_over)
    thread.start()
    verb, *rest = words
    assert taker(verb, *rest, "--json").json["goal"] == "late"
    thread.join(30)


@pytest.mark.parametrize("verb", ["show", "result"])
def test_waiting_ends_with_the_work(agent, claimed, sender, taker, data, verb):
    def complete():
        with agentmemo.connect(str(data), agent="taker") as mine:
            mine.handoff.complete(claimed, "done", epoch=1)

    thread = threading.Thread(target=complete)
    thread.start()
    assert sender(verb, claimed, "--wait-seconds", "60", "--json").json["result"] == "done"
    thread.join(30)


def test_waiting_for_a_result_ends_when_the_time_is_over(sender, claimed):
    result = sender("result", claimed, "--wait-seconds", "0.01")
    assert result.status == 1
    assert result.err == f"{claimed}  No result: it is claimed, held by agent:taker.\n"
    assert sender("show", claimed, "--wait-seconds", "0.01", "--json").json["state"] == "claimed"


def test_what_others_wrote_moves_no_cursor(agent, sender):
    handoff = agent.handoff.create(to_agent="taker", goal="\x1b[2Jall", context="\x1b[31m", constraints=["\x07"])
    assert "\x1b" not in sender("show", handoff.id).out
    assert "\x1b" not in sender("list").out
    assert "\\x1b[2Jall" in sender("list").out
