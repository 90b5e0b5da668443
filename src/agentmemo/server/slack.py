"""What Slack sends when somebody presses a button: checked over the raw bytes, answered within its three seconds."""

from __future__ import annotations

import asyncio
import logging

from agentmemo.api.operations import BY_NAME
from agentmemo.engine import notifications
from agentmemo.engine.dispatch import Engine
from agentmemo.errors import Error, NotFound, PermissionDenied
from agentmemo.model import notifications as model
from agentmemo.model.access import Caller
from agentmemo.model.escalations import UNDECIDED, AnswerEscalation, Escalation
from agentmemo.notify.channels import NotSent
from agentmemo.notify.slack import Interaction, read_interaction, tell_presser, verify
from agentmemo.server.bodies import Headers
from agentmemo.server.links import ANSWERING
from agentmemo.settings import secret

PATH = b"/slack/interactions"
BODY_BYTES_MAX = 1024 * 1024
# Slack waits for three seconds; most decisions are durable before its answer, so that none is lost with the process.
PATIENCE_SECONDS = 2.0
_log = logging.getLogger("agentmemo.slack")


class SlackDoor:
    """Decides as the person whose Slack account pressed."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._working: set[asyncio.Task[None]] = set()

    async def take(self, headers: Headers, body: bytes) -> None:
        """Begin what a request asks for. Raises NotFound, NotAuthenticated or InvalidInput."""
        signing_secret = await asyncio.to_thread(secret, "slack_signing_secret")
        if not signing_secret:
            raise NotFound("Slack is not connected here.", next_call="Set AGENTMEMO_SLACK_SIGNING_SECRET.")
        given = {name: headers.get(name, b"").decode("latin-1") for name in (_TIMESTAMP, _SIGNATURE)}
        verify(signing_secret, given[_TIMESTAMP], given[_SIGNATURE], body, self._engine.clock.now_us())
        interaction = read_interaction(body)
        if interaction is None:
            return
        task = asyncio.ensure_future(asyncio.to_thread(self._press, interaction))
        self._working.add(task)
        task.add_done_callback(self._working.discard)
        await asyncio.wait({task}, timeout=PATIENCE_SECONDS)

    def _press(self, interaction: Interaction) -> None:
        try:
            said = self.decide(interaction)
        except Error as error:
            said = f"{error.message} {error.why} {error.next_call}"
        except Exception:  # noqa: BLE001 - whoever pressed is told, whatever it was
            _log.exception("a button of Slack was not carried out")
            said = "Something went wrong; nothing was decided. Open the question instead."
        if said:
            try:
                tell_presser(self._engine.settings, interaction, said)
            except NotSent as refused:
                _log.warning("whoever pressed a button was not told: %s", refused.reason)

    def decide(self, interaction: Interaction) -> str:
        """Answer in the person's name; returns what they should be told beside the message itself, which changes.

        Who it is says the contact that has the account now, not the message. Raises what `inbox.answer` raises, and
        PermissionDenied for an account that no contact has.
        """
        engine = self._engine
        due = engine.database.read(lambda tx: notifications.get(tx, interaction.button.notification), snapshot=False)
        if due is None or due.channel != model.SLACK:
            raise NotFound("This message is older than what is kept.", next_call="Open the question instead.")
        person = engine.database.read(
            lambda tx: notifications.person_at(tx, due.workspace, model.SLACK, interaction.user)
        )
        if person is None:
            raise PermissionDenied(
                "Your Slack account is not known as a person here.",
                why="Nobody decides without a name.",
                next_call="Have your member id entered in your contact, or sign in and answer from the inbox.",
            )
        call = engine.system_calls({due.workspace})[due.workspace]
        caller = Caller(workspace=call.caller.workspace, kind="person", name=person, grants=ANSWERING, door="slack")
        request = AnswerEscalation(
            escalation=due.handle,
            decision=interaction.button.decision,
            choice=interaction.button.choice,
            comment=interaction.comment.strip(),
            seen=interaction.button.seen or None,
        )
        made: Escalation = engine.call(BY_NAME["inbox.answer"], caller, request)
        return "Your vote was saved. Others must agree before it is decided." if made.state in UNDECIDED else ""


_TIMESTAMP, _SIGNATURE = b"x-slack-request-timestamp", b"x-slack-signature"
