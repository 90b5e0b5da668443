"""What people are shown: one order everywhere, words of an agent as mere text, and no secret let out."""

from __future__ import annotations

import json

import msgspec
import pytest

from agentmemo.clock import SECOND
from agentmemo.errors import InvalidInput, InvalidTransition
from agentmemo.model import notification_forms as forms
from agentmemo.model import notifications as model
from agentmemo.model.notifications import Message, Option, Over

NOW = 1_750_000_000_000_000
OPTIONS = (
    Option(decision="choose", choice="rollback", label="Roll back", effect="restores v41", reversible=True, cost="$2"),
    Option(decision="choose", choice="wipe", label="Wipe the disk", reversible=False),
    Option(decision="reject", label="Reject", says_why=True),
)
MESSAGE = Message(
    id="ntf_0000000000000001",
    escalation="esc_0000000000000001",
    workspace="default",
    person="maria",
    occasion="step 1",
    at=NOW,
    question="Roll back production?",
    kind="approval",
    severity="high",
    asker="agent:deployer",
    consequence="the answer is no",
    deadline=NOW + 41 * 60 * SECOND,
    options=OPTIONS,
    action='deploy.rollback {"to": "v41"}',
    why="The error rate rose\nafter v42.",
    evidence=("p99 is 4 s", "12 alerts"),
    run="run_0000000000000001",
    step="deploy",
    waiting=3,
    occurrences=12,
    guarded=True,
    seen="digest",
    answer_url="https://memo.example.org/answer/TOKEN",
    code="0471",
)
OVER = msgspec.structs.replace(
    MESSAGE, over=Over(state="decided", label="Roll back", by="person:maria", at=NOW, comment="agreed"), answer_url=""
)


def everything(message):
    """What a message says in every form."""
    mail = forms.mail(message)
    slack = json.dumps(forms.slack(message), ensure_ascii=False)
    return [mail.text, mail.html, slack, json.dumps(forms.ntfy(message, "t")), forms.webhook(message).decode()]


def markup(part):
    """Every text that Slack reads as its markup."""
    if isinstance(part, list):
        return [text for item in part for text in markup(item)]
    if isinstance(part, dict):
        own = [part["text"]] if part.get("type") == "mrkdwn" else []
        return own + [text for item in part.values() if isinstance(item, dict | list) for text in markup(item)]
    return []


def test_the_table_is_whole():
    states = {model.QUEUED, model.SENT, model.EXPIRED, model.FAILED}
    acts = {act for _, act in model.TRANSITIONS}
    assert {state for state, _ in model.TRANSITIONS} | set(model.TRANSITIONS.values()) == states
    for state in states:
        for act in acts:
            if (state, act) in model.TRANSITIONS:
                assert model.next_state(state, act, "ntf_1") == model.TRANSITIONS[state, act]
            else:
                with pytest.raises(InvalidTransition):
                    model.next_state(state, act, "ntf_1")
    assert not {state for state, _ in model.TRANSITIONS} & {model.EXPIRED, model.FAILED}


def test_pauses_grow_and_end():
    pauses = [model.pause_after(attempt) for attempt in range(1, 20)]
    known = [pause for pause in pauses if pause is not None]
    assert known == sorted(known)
    assert pauses[-1] is None


@pytest.mark.parametrize("text", everything(MESSAGE)[:3], ids=["text", "html", "slack"])
def test_question_consequence_options_evidence_in_this_order(text):
    places = [text.index(part) for part in ("Roll back production?", "If nobody answers", "restores v41", "p99 is 4 s")]
    assert places == sorted(places)
    for part in ("in 41 min", "Can be undone", "Cannot be undone", "$2", "agent:deployer", "0471", "/answer/TOKEN"):
        assert part in text


def test_the_plain_text_reads_like_this():
    assert forms.plain_text(MESSAGE) == (
        "HIGH approval, from agent:deployer, asked 12 times, 3 wait for the answer\n\n"
        "Roll back production?\n\n"
        "If nobody answers: the answer is no, in 41 min (2025-06-15 15:47 UTC).\n\n"
        "You can:\n"
        "- Roll back: restores v41. Can be undone. Cost: $2.\n"
        "- Wipe the disk. Cannot be undone.\n"
        "- Reject. Say why.\n\n"
        'What will happen:\n  deploy.rollback {"to": "v41"}\n\n'
        "Why, in the words of agent:deployer:\n  The error rate rose\n  after v42.\n\n"
        "Evidence:\n  p99 is 4 s\n  12 alerts\n\n"
        "Run:\n  run_0000000000000001, step deploy\n\n"
        "Answer here: https://memo.example.org/answer/TOKEN\n\n"
        "Code, if the page asks for it: 0471\n"
    )


def test_what_is_over_says_who_decided_and_offers_nothing():
    for text in everything(OVER)[:3]:
        assert "Decided: Roll back by person:maria at 2025-06-15 15:06 UTC. agreed" in text
        assert "restores v41" not in text
    assert forms.mail(OVER).subject == "Decided: Roll back production?"
    assert "actions" not in json.dumps(forms.slack(OVER))
    assert json.loads(forms.webhook(OVER))["type"] == "escalation.over"


def test_a_secret_question_says_only_that_it_waits():
    secret = msgspec.structs.replace(MESSAGE, sensitivity="secret")
    for channel in model.CHANNELS:
        for text in everything(model.outward(secret, channel)):
            assert model.HIDDEN in text
            assert "/answer/TOKEN" in text
            for part in ("production", "rollback", "v41", "error rate", "alerts", "deployer", "run_0", "approval"):
                assert part not in text
    over = model.outward(msgspec.structs.replace(OVER, sensitivity="secret"), model.SLACK)
    assert "agreed" not in json.dumps(forms.slack(over))
    assert "Decided" in json.dumps(forms.slack(over))


def test_an_address_is_told_no_more_than_it_may_carry():
    assert model.outward(MESSAGE, model.EMAIL, "public").question == model.HIDDEN
    assert model.outward(MESSAGE, model.EMAIL, "secret") == MESSAGE
    public = msgspec.structs.replace(MESSAGE, sensitivity="public")
    assert model.outward(public, model.NTFY, "public") == public
    secret = msgspec.structs.replace(MESSAGE, sensitivity="secret")
    assert model.outward(secret, model.EMAIL, "secret").question == model.HIDDEN


@pytest.mark.parametrize("channel", model.CHANNELS)
def test_an_internal_question_leaves_its_reasons_out_where_others_carry_it(channel):
    texts = everything(model.outward(MESSAGE, channel))
    assert all("Roll back production?" in text for text in texts)
    assert all(("p99 is 4 s" in text) == (channel not in model.PUSHED) for text in texts)
    public = msgspec.structs.replace(MESSAGE, sensitivity="public")
    assert model.outward(public, channel) == public


def test_words_of_an_agent_are_only_words():
    bad = "<script>alert(1)</script> <!channel> &amp; \"'\r\nBcc: x@example.org\x00\u202e"
    message = msgspec.structs.replace(
        MESSAGE, question=bad, why=bad, evidence=(bad,), action=bad, asker=bad, consequence=bad,
        options=(Option(decision="choose", choice="a", label=bad, effect=bad),),
    )  # fmt: skip
    mail = forms.mail(message)
    assert "\n" not in mail.subject
    assert "\r" not in mail.subject
    assert "<script" not in mail.html
    assert not any(letter in mail.text for letter in "\r\x00\u202e")
    assert "\nBcc:" not in mail.text
    form = forms.slack(message)
    read_as_markup = [form["text"], *markup(form["blocks"])]
    assert len(read_as_markup) >= 6
    assert not any("<!channel>" in text or "<script" in text for text in read_as_markup)
    assert "\n".join(read_as_markup).count("<https://memo.example.org") == 1


def test_slack_has_its_bounds():
    long = "word " * 2000
    message = msgspec.structs.replace(
        MESSAGE, question=long, why="line\n" * 500, evidence=(long,) * 50, action=long,
        options=tuple(Option(decision="choose", choice=f"{n}", label=long, effect=long) for n in range(5)),
    )  # fmt: skip
    blocks = forms.slack(message)["blocks"]
    assert len(blocks) <= 50
    for block in blocks:
        if block["type"] == "section":
            assert len(block["text"]["text"]) <= 3000
    (actions,) = [block for block in blocks if block["type"] == "actions"]
    assert all(len(button["text"]["text"]) <= 75 for button in actions["elements"])
    assert len(json.dumps(forms.ntfy(message, "t")["message"], ensure_ascii=False).encode()) <= 4200
    assert len(forms.subject(message)) <= forms.SUBJECT_MAX


def test_slack_buttons_carry_values_and_no_address():
    (actions,) = [block for block in forms.slack(MESSAGE)["blocks"] if block["type"] == "actions"]
    assert all("url" not in button for button in actions["elements"])
    assert all("confirm" in button for button in actions["elements"]), "a slip must not decide something grave"
    assert json.loads(actions["elements"][0]["value"]) == {
        "notification": MESSAGE.id, "decision": "choose", "choice": "rollback", "seen": "digest",
    }  # fmt: skip
    assert len({button["action_id"] for button in actions["elements"]}) == len(OPTIONS)
    mild = msgspec.structs.replace(MESSAGE, guarded=False)
    (actions,) = [block for block in forms.slack(mild)["blocks"] if block["type"] == "actions"]
    assert ["confirm" in button for button in actions["elements"]] == [False, True, False]


def test_what_is_approved_is_shown_exactly_and_whole():
    action = 'run {\n  "text": "two  spaces \u202e"\n}'
    text = forms.plain_text(msgspec.structs.replace(MESSAGE, action=action))
    assert '    "text": "two  spaces \ufffd"\n' in text
    for long in ("x" * 501, "line\n" * 21, "x" * 400 + ("\n" + "x" * 400) * 6, "&" * 499 + "\n" + "&" * 30):
        options = (Option(decision="approve", label="Approve"), *OPTIONS)
        message = msgspec.structs.replace(MESSAGE, action=long, options=options)
        (actions,) = [block for block in forms.slack(message)["blocks"] if block["type"] == "actions"]
        decisions = [json.loads(button["value"])["decision"] for button in actions["elements"]]
        assert "approve" not in decisions
        assert "reject" in decisions


def test_ntfy_only_leads_to_a_page():
    body = forms.ntfy(MESSAGE, "topic")
    assert [action["action"] for action in body["actions"]] == ["view"]
    assert (body["topic"], body["priority"], body["sequence_id"]) == ("topic", 4, MESSAGE.id)
    assert "click" not in forms.ntfy(OVER, "topic")


@pytest.mark.parametrize(
    ("channel", "address"),
    [
        ("email", "maria@example.org"),
        ("slack", "C0123ABC"),
        ("slack", "https://hooks.slack.com/services/T/B/x"),
        ("ntfy", "my-topic_1"),
        ("ntfy", "https://ntfy.example.org/topic"),
        ("webhook", "https://example.org/x"),
        ("apprise", "tgram://token/chat"),
    ],
)
def test_addresses_that_fit(channel, address):
    model.check_address(channel, address)


@pytest.mark.parametrize(
    ("channel", "address"),
    [
        ("pigeon", "x"),
        ("email", ""),
        ("email", "maria"),
        ("email", "maria@example.org\r\nBcc: x@y"),
        ("email", "a@b, c@d"),
        ("slack", "#general"),
        ("slack", "ftp://x/"),
        ("ntfy", "a/b"),
        ("webhook", "https://"),
        ("webhook", "https://[x/"),
        ("webhook", "https://x/" + "y" * 3000),
        ("apprise", "token"),
    ],
)
def test_addresses_that_do_not_are_refused_and_not_repeated(channel, address):
    with pytest.raises(InvalidInput) as refused:
        model.check_address(channel, address)
    assert refused.value.next_call
    assert len(address) < 10 or address not in str(refused.value.to_dict())
