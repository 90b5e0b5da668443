"""Every way to reach people."""

from __future__ import annotations

from agentmemo.engine.dispatch import Engine
from agentmemo.model import notifications as model
from agentmemo.notify.apprise import Apprise
from agentmemo.notify.channels import Channel
from agentmemo.notify.email import Email
from agentmemo.notify.ntfy import Ntfy
from agentmemo.notify.person_webhook import PersonWebhook
from agentmemo.notify.slack import Slack


def channels_of(engine: Engine) -> dict[str, Channel]:
    return {
        model.EMAIL: Email(engine.settings),
        model.SLACK: Slack(engine.settings),
        model.NTFY: Ntfy(engine.settings),
        model.WEBHOOK: PersonWebhook(engine.settings, engine.pepper),
        model.APPRISE: Apprise(engine.settings),
    }
