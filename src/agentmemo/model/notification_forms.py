"""A message as each channel shows it. The order is everywhere the same: question, consequence, options, evidence.

What an agent said is only ever text here: escaped for the channel, and marked as the agent's words.
"""

from __future__ import annotations

import html
from typing import Any

import msgspec

from agentmemo.clock import SECOND, iso, utc
from agentmemo.model.notifications import Message, Option, Over

SUBJECT_MAX = 160
TEXT_MAX = 4000
LINES_MAX = 20
LINE_MAX = 500
SLACK_SECTION_MAX = 2900
SLACK_ACTION_MAX = 2500  # so that with its title it fits into a section
SLACK_BUTTON_MAX = 70
SLACK_COMMENT = "comment"
SLACK_DECIDE = "decide"
NTFY_BYTES_MAX = 3900
TOGETHER_MAX = 20  # of several questions so many are shown in a message
NTFY_PRIORITIES = {"critical": 5, "high": 4, "medium": 3, "low": 2}
UNDO = {True: "Can be undone.", False: "Cannot be undone.", None: "Not known whether it can be undone."}
ENDS = {
    "decided": "Decided",
    "defaulted": "Nobody answered in time",
    "auto_decided": "Decided by a rule",
    "withdrawn": "Withdrawn",
    "superseded": "Replaced by another question",
}


class Button(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a Slack button sends back: which message it stood in, what it says, and what was shown beside it."""

    notification: str
    decision: str
    choice: str | None = None
    seen: str = ""


class Mail(msgspec.Struct, frozen=True, kw_only=True):
    subject: str
    text: str
    html: str


def plain_text(message: Message) -> str:
    """The whole message, readable in any program."""
    if message.others:
        return "\n\n".join([f"{_count_line(message)}.", *(_entry(each) for each in _each(message))]) + "\n"
    paragraphs = [one_line(message.question, LINE_MAX)]
    if message.over:
        return "\n\n".join([over_line(message.over), *paragraphs, *_answering(message)]) + "\n"
    if message.severity:
        paragraphs.insert(0, _byline(message))
    if message.consequence:
        paragraphs.append(_consequence(message))
    if message.options:
        paragraphs.append("\n".join(["You can:", *(f"- {option_line(option)}" for option in message.options)]))
    for title, lines in reasons(message):
        paragraphs.append("\n".join([f"{title}:", *(f"  {line}" for line in lines)]))
    paragraphs += _answering(message)
    return "\n\n".join(paragraphs) + "\n"


def subject(message: Message) -> str:
    """One line. Line breaks in what the asker wrote become spaces."""
    if message.others:
        return one_line(f"{message.severity.capitalize()}: {_count_line(message)}: {message.question}", SUBJECT_MAX)
    start = ENDS.get(message.over.state, "Over") if message.over else message.severity.capitalize()
    return one_line(f"{start}: {message.question}" if start else message.question, SUBJECT_MAX)


def mail(message: Message) -> Mail:
    return Mail(subject=subject(message), text=plain_text(message), html=_page(message))


def slack(message: Message) -> dict[str, Any]:
    """Text for the notification itself, and blocks. Buttons carry values; no address in it decides anything."""
    if message.others:
        # Without buttons: which of several questions one of them answers would be too easy to mistake.
        blocks = [_section(f"*{_mrkdwn(_count_line(message))}*"), *(_slack_entry(each) for each in _each(message))]
        return {"text": _mrkdwn(subject(message)), "blocks": blocks}
    blocks = [_section(f"*{_mrkdwn(one_line(message.question, LINE_MAX))}*")]
    if message.over:
        blocks.insert(0, _section(_mrkdwn(over_line(message.over))))
        return {"text": _mrkdwn(subject(message)), "blocks": blocks}
    if message.severity:
        blocks.append({"type": "context", "elements": [{"type": "mrkdwn", "text": _mrkdwn(_byline(message))}]})
    if message.consequence:
        blocks.append(_section(_mrkdwn(_consequence(message))))
    if message.options:
        blocks.append(_section("\n".join(f"• {_mrkdwn(option_line(option))}" for option in message.options)))
    for title, lines in reasons(message):
        blocks.append(_section(f"*{_mrkdwn(title)}*\n" + "\n".join(f"> {_mrkdwn(line)}" for line in lines)))
    if message.options:
        blocks += _slack_answer(message)
    blocks.append(_section(_slack_link(message)))
    return {"text": _mrkdwn(subject(message)), "blocks": blocks}


def ntfy(message: Message, topic: str) -> dict[str, Any]:
    """`sequence_id` lets a server from 2.16 on replace the notification; an older one shows another."""
    body: dict[str, Any] = {
        "topic": topic,
        "title": subject(message),
        "message": _clip_bytes(plain_text(message).strip(), NTFY_BYTES_MAX),
        "priority": NTFY_PRIORITIES.get(message.severity, 3) if message.over is None else 2,
        "tags": ["white_check_mark" if message.over else "question"],
        "sequence_id": message.id,
    }
    if message.answer_url and not message.others:
        body["click"] = message.answer_url
        body["actions"] = [{"action": "view", "label": "Look", "url": message.answer_url}]
    return body


def webhook(message: Message) -> bytes:
    """The message as data, in the envelope of Standard Webhooks."""
    over = all(each.over for each in (message, *message.others))
    kind = "escalation.over" if over else "escalation.asked"
    return msgspec.json.encode({"type": kind, "timestamp": iso(message.at), "data": message})


def reasons(message: Message) -> list[tuple[str, list[str]]]:
    """What the asker gives as reasons, under titles that say whose words they are."""
    told = []
    if message.action:
        told.append(("What will happen", _code_lines(message.action)))
    if message.why:
        title = one_line(f"Why, in the words of {message.asker or 'who asks'}", LINE_MAX)
        told.append((title, _lines(message.why)))
    if message.evidence:
        told.append(("Evidence", [line for text in message.evidence for line in _lines(text)][:LINES_MAX]))
    if message.run:
        told.append(("Run", [message.run + (f", step {message.step}" if message.step else "")]))
    return told


def one_line(text: str, size: int) -> str:
    """Text without line breaks and control characters, cut to a size."""
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    return line if len(line) <= size else line[: size - 1] + "…"


def when(at_us: int) -> str:
    return f"{utc(at_us):%Y-%m-%d %H:%M} UTC"


def duration(microseconds: int) -> str:
    """`41 min`, `3 h`, `2 days`: as long as a person needs to know."""
    minutes = max(0, microseconds) // (60 * SECOND)
    if minutes < 120:  # noqa: PLR2004 - up to two hours people count in minutes
        return f"{minutes} min"
    hours = minutes // 60
    return f"{hours} h" if hours < 48 else f"{hours // 24} days"  # noqa: PLR2004 - and up to two days in hours


def _byline(message: Message) -> str:
    parts = [f"{message.severity.upper()} {message.kind}".strip()]
    if message.asker:
        parts.append(f"from {message.asker}")
    if message.occurrences > 1:
        parts.append(f"asked {message.occurrences} times")
    if message.waiting > 1:
        parts.append(f"{message.waiting} wait for the answer")
    return one_line(", ".join(parts), LINE_MAX)


def _each(message: Message) -> list[Message]:
    """The questions of a message, each by itself, as many as there is room for."""
    return [msgspec.structs.replace(message, others=()), *message.others][:TOGETHER_MAX]


def _count_line(message: Message) -> str:
    """How many questions a message is about, and how many are left."""
    everything = [message, *message.others]
    left = sum(each.over is None for each in everything)
    parts = [
        f"{left} questions wait for you" if left > 1 else "1 question waits for you" if left else "All is answered"
    ]
    if 0 < left < len(everything):
        ended = len(everything) - left
        parts.append(f"{ended} are over" if ended > 1 else "1 is over")
    if len(everything) > TOGETHER_MAX:
        parts.append(f"the first {TOGETHER_MAX} are here, all in the inbox")
    return ", ".join(parts)


def _entry_lines(message: Message) -> list[str]:
    """One question among others; what else there is to say stands on its page."""
    question = one_line(message.question, LINE_MAX)
    if message.over:
        return [question, over_line(message.over)]
    lines = [_byline(message)] if message.severity else []
    return [*lines, question] + ([_consequence(message)] if message.consequence else [])


def _entry(message: Message) -> str:
    answering = [] if message.over else _answering(message)
    return "\n".join([*_entry_lines(message), *answering])


def _slack_entry(message: Message) -> dict[str, Any]:
    lines = [_mrkdwn(line) for line in _entry_lines(message)]
    return _section("\n".join(lines if message.over else [*lines, _slack_link(message)]))


def _html_entry(message: Message) -> str:
    said = "<br>".join(html.escape(line) for line in _entry_lines(message))
    return f"<p>{said}</p>" + ("" if message.over else _html_link(message))


def _html_link(message: Message) -> str:
    if not message.answer_url:
        return "\n".join(f"<p>{html.escape(line)}</p>" for line in _answering(message))
    link = html.escape(message.answer_url)
    return f"<p><a href='{link}'>Look and answer</a></p><p>Code, if the page asks for it: {message.code}</p>"


def _consequence(message: Message) -> str:
    text = one_line(f"If nobody answers: {message.consequence}", LINE_MAX)
    if message.deadline is None:
        return f"{text}."
    return f"{text}, in {duration(message.deadline - message.at)} ({when(message.deadline)})."


def option_line(option: Option) -> str:
    parts = [f"{option.label}: {option.effect}" if option.effect else option.label, UNDO[option.reversible]]
    if option.decision in ("reject", "abort", "answer"):
        parts.pop()
    if option.cost:
        parts.append(f"Cost: {option.cost}.")
    if option.says_why:
        parts.append("Say why.")
    return one_line(" ".join(part if part.endswith((".", "!", "?")) else f"{part}." for part in parts), LINE_MAX)


def _lines(text: str) -> list[str]:
    lines = [one_line(line, LINE_MAX) for line in text[:TEXT_MAX].splitlines() if line.strip()]
    return lines[:LINES_MAX] + (["…"] if len(lines) > LINES_MAX or len(text) > TEXT_MAX else [])


def _code_lines(text: str) -> list[str]:
    """Lines as they are, spaces included: what is approved is exactly this."""
    lines = ["".join(letter if letter.isprintable() else "\ufffd" for letter in line) for line in text.splitlines()]
    shown = [_clip(line, LINE_MAX) for line in lines[:LINES_MAX]]
    return shown + (["…"] if len(lines) > LINES_MAX else [])


def _is_shown_whole(action: str) -> bool:
    """Whether a message has room for all of an action. What is cut short is approved on its page only."""
    lines = action.splitlines()
    return (
        len(lines) <= LINES_MAX
        and len(_mrkdwn(action)) <= SLACK_ACTION_MAX
        and all(len(line) <= LINE_MAX for line in lines)
    )


def _answering(message: Message) -> list[str]:
    """Where to answer, or look."""
    if message.over:
        return [f"Nothing is left to do. {message.escalation}"]
    if not message.answer_url:
        return [f"Answer with: agentmemo inbox show {message.escalation}"]
    return [f"Answer here: {message.answer_url}", f"Code, if the page asks for it: {message.code}"]


def over_line(over: Over) -> str:
    parts = [ENDS.get(over.state, "Over")]
    if over.label:
        parts[0] += f": {over.label}"
    if over.by:
        parts.append(f"by {over.by}")
    parts.append(f"at {when(over.at)}")
    line = " ".join(parts) + "."
    return one_line(f"{line} {over.comment}".strip(), 2 * LINE_MAX)


def _page(message: Message) -> str:
    """A small page without pictures, scripts or addresses of others."""
    if message.others:
        parts = [f"<h1 style='font-size:1.2em'>{html.escape(_count_line(message))}</h1>"]
        return _document([*parts, *(_html_entry(each) for each in _each(message))])
    parts = [f"<h1 style='font-size:1.2em'>{html.escape(one_line(message.question, LINE_MAX))}</h1>"]
    if message.over:
        parts.insert(0, f"<p><b>{html.escape(over_line(message.over))}</b></p>")
    else:
        if message.severity:
            parts.insert(0, f"<p>{html.escape(_byline(message))}</p>")
        if message.consequence:
            parts.append(f"<p><b>{html.escape(_consequence(message))}</b></p>")
        if message.options:
            items = "".join(f"<li>{html.escape(option_line(option))}</li>" for option in message.options)
            parts.append(f"<p>You can:</p><ul>{items}</ul>")
        for title, lines in reasons(message):
            said = "<br>".join(html.escape(line) for line in lines)
            parts.append(f"<p>{html.escape(title)}:</p><blockquote>{said}</blockquote>")
    if message.over:
        parts += [f"<p>{html.escape(line)}</p>" for line in _answering(message)]
    else:
        parts.append(_html_link(message))
    return _document(parts)


def _document(parts: list[str]) -> str:
    return "<!doctype html><html lang='en'><meta charset='utf-8'><body>" + "\n".join(parts) + "</body></html>\n"


def _section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": _clip(text, SLACK_SECTION_MAX)}}


def _slack_answer(message: Message) -> list[dict[str, Any]]:
    """A line for a comment, and a button for each option that can be chosen there."""
    whole = _is_shown_whole(message.action)
    buttons = [
        _slack_button(message, option, at)
        for at, option in enumerate(message.options)
        if whole or option.decision != "approve"
    ]
    return [
        {
            "type": "input",
            "block_id": SLACK_COMMENT,
            "optional": True,
            "label": {"type": "plain_text", "text": "Comment"},
            "element": {"type": "plain_text_input", "action_id": SLACK_COMMENT, "max_length": 3000},
        },
        {"type": "actions", "block_id": SLACK_DECIDE, "elements": buttons},
    ]


def _slack_button(message: Message, option: Option, at: int) -> dict[str, Any]:
    value = Button(notification=message.id, decision=option.decision, choice=option.choice, seen=message.seen)
    label = {"type": "plain_text", "text": one_line(option.label, SLACK_BUTTON_MAX)}
    button: dict[str, Any] = {
        "type": "button",
        "action_id": f"{SLACK_DECIDE}:{at}",
        "text": label,
        "value": msgspec.json.encode(value).decode(),
    }
    if message.guarded or option.reversible is False:
        button["confirm"] = {
            "title": {"type": "plain_text", "text": "Are you sure?"},
            "text": {"type": "plain_text", "text": one_line(option_line(option), 290)},
            "confirm": {"type": "plain_text", "text": "Yes"},
            "deny": {"type": "plain_text", "text": "No"},
        }
    return button


def _slack_link(message: Message) -> str:
    if not message.answer_url:
        return _mrkdwn(f"agentmemo inbox show {message.escalation}")
    return f"<{_mrkdwn(message.answer_url)}|Look and answer>. Code, if the page asks for it: {message.code}"


def _mrkdwn(text: str) -> str:
    """Slack's own escapes: without them a text could call a channel or hide an address."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _clip(text: str, size: int) -> str:
    return text if len(text) <= size else text[: size - 1] + "…"


def _clip_bytes(text: str, size: int) -> str:
    content = text.encode()
    return text if len(content) <= size else content[: size - 3].decode(errors="ignore") + "…"
