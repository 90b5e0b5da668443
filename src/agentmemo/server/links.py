"""One-time links: what their pages ask of the engine. Looking reads only; answering acts as the person of the link."""

from __future__ import annotations

import msgspec

from agentmemo.api.operations import BY_NAME
from agentmemo.engine import answer_links
from agentmemo.engine.answer_links import LinkRow
from agentmemo.engine.dispatch import Engine
from agentmemo.engine.escalation_views import existing, view
from agentmemo.engine.notification_messages import message_of
from agentmemo.errors import PermissionDenied
from agentmemo.model import notifications as model
from agentmemo.model.access import Caller, Grant
from agentmemo.model.escalations import AnswerEscalation
from agentmemo.store.database import Transaction

# What somebody may do who came by a link, or pressed a button: answer.
ANSWERING = (Grant(permissions=("escalations:answer",)),)


class Links:
    """Each call may block, so it is made in a thread."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def look(self, token: str, code: str = "") -> model.Shown:
        """The question, or how it ended; of a secret one no more than that it waits, until the code is typed.

        Raises NotFound, and PermissionDenied for a wrong code.
        """
        found, message = self._read(token)
        secret = message.sensitivity == "secret"
        if secret and code:
            answer_links.check(self._engine, token, code, guarded=True)
        elif secret:
            message = model.outward(message, model.EMAIL)
        return model.Shown(message=message, closed=self._closed(found, message), asks_code=message.guarded or secret)

    def answer(self, token: str, code: str, request: AnswerEscalation) -> None:
        """Decide or vote as the person whom the link was sent to. Raises what `inbox.answer` raises."""
        found, message = self._read(token)
        guarded = message.guarded or message.sensitivity == "secret"
        _, link = answer_links.check(self._engine, token, code, guarded=guarded)
        caller = Caller(
            workspace=found.workspace_name,
            kind=found.person_kind,
            name=found.person_name,
            grants=ANSWERING,
            door="link",
            link=link,
        )
        request = msgspec.structs.replace(request, escalation=found.handle)
        self._engine.call(BY_NAME["inbox.answer"], caller, request)

    def _read(self, token: str) -> tuple[LinkRow, model.Message]:
        engine = self._engine
        peppers = engine.peppers()
        found = engine.database.read(lambda tx: answer_links.look(tx, peppers, token), snapshot=False)
        if found is None:
            raise answer_links.no_link()
        call = engine.system_calls({found.workspace})[found.workspace]

        def read(tx: Transaction) -> model.Message:
            return message_of(
                view(tx, call, existing(tx, call, found.handle)),
                id=found.notification,
                workspace=found.workspace_name,
                person=found.person_name,
                occasion="link",
                at=tx.now,
            )

        return found, engine.database.read(read)

    def _closed(self, found: LinkRow, message: model.Message) -> str:
        if message.over is not None:
            return "It is over."
        try:
            answer_links.check_alive(found, self._engine.clock.now_us())
        except PermissionDenied as closed:
            return f"{closed.message} {closed.why}"
        return ""
