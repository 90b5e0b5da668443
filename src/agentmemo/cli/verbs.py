"""Which command performs which operation of `api/operations.py`. The tests hold both sides to it."""

from __future__ import annotations

VERBS: dict[str, str] = {
    "state.set": "state set",
    "state.get": "state get",
    "state.delete": "state delete",
    "state.list": "state list",
    "state.namespaces": "state namespaces",
    "state.search": "state search",
    "state.history": "state history",
    "state.diff": "state diff",
    "state.watch": "state watch",
    "run.get": "runs show",
    "run.find": "runs find",
    "run.list": "runs list",
    "run.cancel": "runs cancel",
    "run.note": "runs note",
    "run.notes": "runs notes",
    "run.signal": "runs signal",
    "run.fork": "runs fork",
    "run.resolve": "runs resolve",
    "run.explain": "runs explain",
    "step.list": "runs steps",
    "task.start": "runs start",
    "task.schedules": "runs schedules",
    "task.unschedule": "runs unschedule",
    "briefing.get": "briefing",
    "audit.events": "events list",
    "audit.get": "events show",
    "audit.verify": "events verify",
    "access.whoami": "keys whoami",
    "key.create": "keys create",
    "key.list": "keys list",
    "key.revoke": "keys revoke",
    "key.rotate": "keys rotate",
    "actor.list": "keys actors",
    "actor.disable": "keys disable",
    "system.status": "status",
    "system.diagnose": "doctor",
    "system.backup": "backup",
}

# Calls of whoever holds a run or is about to, which carry a claim: they belong to a program, not to a shell.
OF_THE_HOLDER = frozenset(
    {
        "run.start",
        "run.resume",
        "run.park",
        "run.complete",
        "run.fail",
        "run.release",
        "run.progress",
        "step.start",
        "step.complete",
        "step.fail",
        "step.find",
        "task.claim",
        "worker.register",
        "worker.heartbeat",
        "worker.stop",
        "transaction.run",
    }
)

# Commands that are no operation of a plane, or another way to one.
OF_THE_COMMAND_LINE = frozenset(
    {"up", "demo", "restore", "copy", "migrate", "runs watch", "events follow", "keys enable"}
)
