"""Every operation that is not the holder's own has a command, and the command performs it."""

from __future__ import annotations

import dataclasses
import inspect
import typing

import msgspec
import pytest

from agentmemo.api.operations import BY_NAME, OPERATIONS
from agentmemo.cli import exits, main
from agentmemo.cli.options import Common
from agentmemo.cli.verbs import OF_THE_COMMAND_LINE, OF_THE_HOLDER, VERBS
from agentmemo.errors import BY_CODE, Error

# Request fields that a command offers under another name, or decides itself.
RENAMED = {
    "run.list": {"agent": "by"},
    "run.fork": {"key": "run_key"},
    "task.start": {"key": "run_key", "parent": None},
    "run.note": {"step": None, "key": None},
    "state.watch": {"limit": None, "wait_seconds": None},
    "run.get": {"wait_seconds": None, "after_updated": None},
    "audit.events": {"wait_seconds": None},
    "actor.disable": {"disabled": None},
    "briefing.get": {"agent": "of"},
    "system.backup": {"path": "file"},
    "task.unschedule": {"id": "schedule"},
    "audit.get": {"id": "event"},
    "key.revoke": {"id": "key_id"},
    "key.rotate": {"id": "key_id"},
    "key.create": {"grants": "grant"},
    "handoff.create": {
        "references": "reference",
        "artifacts": "artifact",
        "constraints": "constraint",
        "acceptance": "schema",
        "key": "handoff_key",
        "id": None,
    },
    "handoff.get": {"after_updated": None},
    "handoff.pending": {"wait_seconds": None, "after": None},
    "handoff.notices": {"wait_seconds": None, "after": None},
    "handoff.claim": {"worker": None},
    "handoff.announce": {"capabilities": "capability", "queues": "queue"},
    "handoff.release": {"attempted": "uncounted"},
    "escalation.create": {"suggested_actions": "suggest", "key": "escalation_key", "run": None, "name": None},
    "escalation.get": {"after_updated": None},
    "inbox.list": {"wait_seconds": None, "after": None},
    "ledger.record": {"id": None, "usage": "input_tokens"},
    "ledger.get": {"id": "usage"},
    "ledger.list": {"agent": "by_agent"},
    "ledger.totals": {"agent": "by_agent"},
    "guard.check": {"annotations": "reversible", "run": None, "name": None, "key": None},
    "webhook.create": {"agent": "for_agent"},
    "workflow.create": {"document": "file", "untrusted": None},
    "workflow.start": {"key": "run_key", "worker": None, "models": None, "trial": None},
    "workflow.add_cases": {"cases": "file"},
    "workflow.resume": {"worker": None, "models": None},
    "workflow.submit": {
        "checks": None,
        "served_model": None,
        "reservation": None,
        "billed": None,
        "usage": None,
        "started_at": None,
        "provider_nanousd": None,
        "request_id": None,
    },
    "webhook.delete": {"id": "webhook"},
}
# Commands that read all pages have no cursor.
WHOLE = {
    "state.namespaces", "state.diff", "run.notes", "task.schedules", "handoff.lineage", "handoff.limits", "key.list",
    "actor.list",
}  # fmt: skip


def commands(app, path=()):
    """path -> function of every command in the tree."""
    for name in app.resolved_commands() if hasattr(app, "resolved_commands") else app:
        if name.startswith("-"):
            continue
        child = app[name]
        if child.default_command is not None:
            yield " ".join((*path, name)), child
        yield from commands(child, (*path, name))


@pytest.fixture(scope="module")
def tree():
    return dict(commands(main.build()))


def test_every_operation_has_a_command_or_is_the_holders():
    assert {operation.name for operation in OPERATIONS} == set(VERBS) | OF_THE_HOLDER
    assert set(VERBS) & OF_THE_HOLDER == set()


def test_every_command_is_accounted_for(tree):
    assert set(tree) == set(VERBS.values()) | OF_THE_COMMAND_LINE


def test_every_command_says_what_it_does(tree):
    undocumented = [path for path, app in tree.items() if len(inspect.getdoc(app.default_command) or "") < 20]
    assert undocumented == []


def test_every_command_takes_the_common_options(tree):
    without = [path for path, app in tree.items() if "common" not in inspect.signature(app.default_command).parameters]
    assert without == []


@pytest.mark.parametrize("name", sorted(VERBS))
def test_every_field_of_the_request_can_be_given(tree, name):
    function = tree[VERBS[name]].default_command
    offered = set()
    for parameter, kind in typing.get_type_hints(function).items():
        if dataclasses.is_dataclass(kind) and kind is not Common:
            offered |= {field.name for field in dataclasses.fields(kind)}
        offered.add(parameter)
    renamed = RENAMED.get(name, {}) | ({"cursor": None, "limit": None} if name in WHOLE else {})
    if name == "task.start":
        renamed |= {"name": "task"}
    fields = {field.name for field in msgspec.structs.fields(BY_NAME[name].request)}
    if "budget" in fields:
        fields = fields - {"budget"} | {"steps", "seconds", "tokens", "nanousd"}
    wanted = {renamed.get(field, field) for field in fields} - {None}
    assert wanted - offered == set()


ESCALATION = "esc_aaaaaaaaaaaaaaaa"
SAMPLES = {
    "state set": ["n", "k", "1"],
    "state get": ["n", "k"],
    "state delete": ["n", "k"],
    "state list": ["n"],
    "state namespaces": [],
    "state search": ["words"],
    "state history": ["n", "k"],
    "state diff": ["n", "0"],
    "runs list": [],
    "runs show": ["run_aaaaaaaaaaaaaaaa"],
    "runs find": ["name", "key"],
    "runs cancel": ["run_aaaaaaaaaaaaaaaa", "why"],
    "runs note": ["run_aaaaaaaaaaaaaaaa", "finding", "text"],
    "runs notes": ["run_aaaaaaaaaaaaaaaa"],
    "runs signal": ["run_aaaaaaaaaaaaaaaa", "go", "true"],
    "runs fork": ["run_aaaaaaaaaaaaaaaa"],
    "runs resolve": ["run_aaaaaaaaaaaaaaaa", "retry"],
    "runs explain": ["run_aaaaaaaaaaaaaaaa"],
    "runs steps": ["run_aaaaaaaaaaaaaaaa"],
    "runs start": ["task"],
    "runs schedules": [],
    "runs unschedule": ["sch_aaaaaaaaaaaaaaaa"],
    "briefing": [],
    "handoff create": ["--to-agent", "bob"],
    "handoff show": ["hof_aaaaaaaaaaaaaaaa"],
    "handoff find": ["k"],
    "handoff list": [],
    "handoff pending": [],
    "handoff notices": [],
    "handoff lineage": ["hof_aaaaaaaaaaaaaaaa"],
    "handoff reference": ["hof_aaaaaaaaaaaaaaaa", "n", "k"],
    "handoff announce": ["--queue", "nightly"],
    "handoff claim": [],
    "handoff renew": ["hof_aaaaaaaaaaaaaaaa", "--epoch", "1"],
    "handoff progress": ["hof_aaaaaaaaaaaaaaaa", "reading", "--epoch", "1"],
    "handoff complete": ["hof_aaaaaaaaaaaaaaaa", "true"],
    "handoff fail": ["hof_aaaaaaaaaaaaaaaa", "why", "--epoch", "1"],
    "handoff release": ["hof_aaaaaaaaaaaaaaaa", "why", "--epoch", "1"],
    "handoff decline": ["hof_aaaaaaaaaaaaaaaa", "why"],
    "handoff cancel": ["hof_aaaaaaaaaaaaaaaa", "why"],
    "handoff requeue": ["hof_aaaaaaaaaaaaaaaa"],
    "handoff result": ["hof_aaaaaaaaaaaaaaaa"],
    "handoff limit": ["queue:nightly", "--concurrency", "2"],
    "handoff limits": [],
    "escalation create": ["high", "Which key?"],
    "escalation get": [ESCALATION],
    "escalation list": [],
    "escalation withdraw": [ESCALATION, "why"],
    "escalation receive": [ESCALATION],
    "escalation redeem": [ESCALATION, "deploy", "{}"],
    "inbox list": [],
    "inbox acknowledge": [ESCALATION],
    "inbox release": [ESCALATION],
    "inbox answer": [ESCALATION, "approve"],
    "inbox delegate": [ESCALATION, "ana"],
    "inbox snooze": [ESCALATION, "1h"],
    "inbox extend": [ESCALATION],
    "inbox comment": [ESCALATION, "text"],
    "inbox retry": [ESCALATION],
    "guard check": ["deploy"],
    "guard reviews": [],
    "guard precedents": [],
    "guard promote": ["aaaaaaaaaaaaaaaa"],
    "guard object": ["7"],
    "webhook create": ["https://agents.example.org/told"],
    "webhook list": [],
    "webhook delete": ["whk_aaaaaaaaaaaaaaaa"],
    "webhook deliveries": [],
    "policy set": ["rules", "default", "rules.json"],
    "policy get": ["rules", "default"],
    "policy list": [],
    "policy versions": ["rules", "default"],
    "policy delete": ["rules", "default"],
    "workflow create": ["workflow.json"],
    "workflow get": ["review"],
    "workflow list": [],
    "workflow search": ["review it"],
    "workflow versions": ["review"],
    "workflow diff": ["review", "1", "2"],
    "workflow promote": ["review", "1"],
    "workflow schema": [],
    "workflow start": ["review"],
    "workflow next": ["run_aaaaaaaaaaaaaaaa"],
    "workflow submit": ["run_aaaaaaaaaaaaaaaa", "say", "output"],
    "workflow execution": ["run_aaaaaaaaaaaaaaaa"],
    "workflow executions": [],
    "workflow attempts": ["run_aaaaaaaaaaaaaaaa"],
    "workflow add-cases": ["review"],
    "workflow cases": ["review"],
    "workflow remove-case": ["review", "aaaaaa"],
    "workflow keep-case": ["run_aaaaaaaaaaaaaaaa"],
    "workflow failures": ["review"],
    "workflow show-trial": ["run_aaaaaaaaaaaaaaaa"],
    "workflow trials": [],
    "workflow propose": ["review", "edits.json"],
    "workflow regressions": ["review"],
    "workflow counts": [],
    "workflow rates": ["review"],
    "workflow evidence": ["review"],
    "workflow explain": ["review"],
    "workflow demote-model": ["review", "say", "small"],
    "workflow reset-model": ["review", "say", "small"],
    "workflow judge": ["run_aaaaaaaaaaaaaaaa", "say", "--right"],
    "report attention": [],
    "report oversight": [],
    "events list": [],
    "events show": ["evt_aaaaaaaaaaaaaaaa"],
    "events verify": [],
    "keys whoami": [],
    "keys create": ["agent", "bob"],
    "keys list": [],
    "keys revoke": ["aaaaaaaa"],
    "keys rotate": ["aaaaaaaa"],
    "ledger record": ["--model", "m"],
    "ledger list": [],
    "ledger get": ["use_aaaaaaaaaaaaaaaa"],
    "ledger totals": [],
    "ledger cap": ["workspace", "none"],
    "ledger caps": [],
    "report savings": ["w"],
    "keys actors": [],
    "keys disable": ["bob"],
    "status": [],
    "doctor": [],
    "backup": ["copy.db"],
}


@pytest.mark.usefixtures("durable_files", "made")  # the doctor calls other files unsafe
@pytest.mark.parametrize("name", sorted(set(VERBS) - {"state.watch"}))
def test_the_command_performs_its_operation_through_the_door_cli(cli, performed, monkeypatch, tmp_path, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rules.json").write_text('{"rules": []}', encoding="utf-8")
    workflow = '{"name": "review", "designed_by": "opus-4", "steps": "Review it"}'
    (tmp_path / "workflow.json").write_text(workflow, encoding="utf-8")
    (tmp_path / "edits.json").write_text('[{"edit": "add_edge_case", "when": "w", "then": "t"}]', encoding="utf-8")
    result = cli(*VERBS[name].split(), *SAMPLES[VERBS[name]], "--agent", "tester")
    assert [(operation.name, caller.door) for operation, caller, _ in performed] == [(name, "cli")]
    # Without contacts and rules oversight is not set up.
    done = (
        {exits.FAILED, exits.USAGE}
        if name in ("report.oversight", "ledger.savings")
        else {exits.DONE, exits.NOT_FOUND, exits.NOT_PERMITTED}
    )
    assert result.status in done


def test_every_error_code_has_an_exit_status():
    assert set(exits.BY_CODE) == set(BY_CODE)
    assert set(exits.BY_CODE.values()) == {1, 2, 3, 4, 5, 6}
    assert exits.status_of(Error("of a newer plane")) == exits.FAILED
