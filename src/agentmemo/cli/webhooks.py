"""`agentmemo webhook`: where an agent is told over HTTP of work, and of what came of its own."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from agentmemo.cli.options import EVERYWHERE, Common, Cursor, Limit, flag, group_of_commands
from agentmemo.cli.output import stamp

app = group_of_commands("webhook", "Addresses that are called when work is offered, or when yours has ended.")


@app.command
def create(
    url: Annotated[str, Parameter(help="https://host/path, called with signed messages.")],
    /,
    *,
    for_agent: Annotated[str | None, Parameter(help="Whose news it gets; yours, when left out.")] = None,
    label: Annotated[str, flag("What it is for.")] = "",
    common: Common = EVERYWHERE,
) -> None:
    """Have an address called when work is offered to an agent, and when what it handed over has ended or is late.

    Messages follow Standard Webhooks. The secret that checks their signatures is shown once.
    """
    with common.connect() as plane:
        made = plane.webhooks.create(url, agent=for_agent, label=label)
    if common.json:
        common.out.document(made)
        return
    common.out.remark(f"{made.id} tells agent:{made.agent}; this is the only time its secret is shown:")
    common.out.say(made.secret or "")


@app.command(name="list")
def list_(*, limit: Limit = 100, cursor: Cursor = None, common: Common = EVERYWHERE) -> None:
    """List webhooks, without their secrets."""
    with common.connect() as plane:
        page = plane.webhooks.list(limit=limit, cursor=cursor)
    if common.json:
        common.out.page(page.items, page.cursor)
        return
    rows = [(hook.id, hook.agent, stamp(hook.created_at), f"{hook.url} {hook.label}") for hook in page.items]
    common.out.table(("webhook", "agent", "since", "address and label…"), rows, empty="No webhooks.")
    common.out.more(page.cursor)


@app.command
def delete(webhook: str, /, *, common: Common = EVERYWHERE) -> None:
    """Stop calling an address; what waits for it is tried once more."""
    with common.connect() as plane:
        found = plane.webhooks.delete(webhook)
    if common.json:
        common.out.document(found)
    else:
        common.out.say(f"{found.id}  {found.url} is not called any more.")


@app.command
def deliveries(
    *,
    subject: Annotated[str | None, Parameter(help="Only about this handoff.")] = None,
    webhook: Annotated[str | None, Parameter(help="Only to this webhook.")] = None,
    state: Annotated[str | None, Parameter(help="sending, delivered or failed.")] = None,
    limit: Limit = 100,
    cursor: Cursor = None,
    common: Common = EVERYWHERE,
) -> None:
    """List what was or is to be sent, newest first, with what the other side answered."""
    with common.connect() as plane:
        page = plane.webhooks.deliveries(subject=subject, webhook=webhook, state=state, limit=limit, cursor=cursor)
    if common.json:
        common.out.page(page.items, page.cursor)
        return
    rows = [
        (
            each.webhook,
            each.subject,
            each.state,
            str(each.attempts),
            stamp(each.next_at or each.ended_at),
            each.error or str(each.status or ""),
        )
        for each in page.items
    ]
    columns = ("webhook", "about", "state", "tries", "next or ended", "answer…")
    common.out.table(columns, rows, empty="No deliveries.")
    common.out.more(page.cursor)
