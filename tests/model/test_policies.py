"""What a document of each kind may be, what a silence covers, and which names lead where."""

from __future__ import annotations

import msgspec
import pytest

from agentmemo.errors import InvalidInput
from agentmemo.model import policies as model
from agentmemo.model.policies import Subject, document_of, is_silenced

NOW = 1_790_000_000_000_000
SILENCE = {"matcher": {"run": "nightly"}, "until": "2099-01-01", "reason": "moving"}
STEPS = [{"targets": ["person:ana"]}]


@pytest.mark.parametrize("kind", model.KINDS)
def test_the_example_of_each_kind_fits(kind):
    document = document_of(kind, model.EXAMPLES[kind])
    assert msgspec.convert(msgspec.to_builtins(document), model.KINDS[kind]) == document


@pytest.mark.parametrize(
    ("kind", "document", "path"),
    [
        ("route", {"steps": []}, "$.steps"),
        ("route", {"steps": [{"targets": []}]}, "$.steps[0].targets"),
        ("route", {"steps": [{"targets": ["ana"]}]}, "$.steps[0].targets[0]"),
        ("route", {"steps": [{"targets": ["team:ana"]}]}, "$.steps[0].targets[0]"),
        ("route", {"steps": [*STEPS, {"targets": ["person:b"], "after_seconds": -1}]}, "$.steps[1].after_seconds"),
        ("route", {"steps": STEPS, "repeats": 6}, "$.repeats"),
        ("contact", {"channels": [{"kind": "fax", "address": "1"}]}, "$.channels[0].kind"),
        ("contact", {"channels": [{"kind": "email", "address": "ana"}]}, "$.channels[0].address"),
        ("contact", {"channels": [{"kind": "webhook", "address": "ftp://x/"}]}, "$.channels[0].address"),
        ("contact", {"channels": [{"kind": "webhook", "address": "http://[x"}]}, "$.channels[0].address"),
        ("contact", {"channels": [{"kind": "apprise", "address": "x"}]}, "$.channels[0].address"),
        ("contact", {"channels": [{"kind": "slack", "address": " U1"}]}, "$.channels[0].address"),
        ("contact", {"channels": [{"kind": "slack", "address": "#general"}]}, "$.channels[0].address"),
        ("contact", {"channels": [{"kind": "ntfy", "address": "a topic"}]}, "$.channels[0].address"),
        ("contact", {"channels": [{"kind": "webhook", "address": "http://x:0/"}]}, "$.channels[0].address"),
        ("contact", {"channels": [], "zone": "Nowhere"}, "$.zone"),
        ("contact", {"channels": [{"kind": "ntfy", "address": "t", "severities": ["urgent"]}]},
         "$.channels[0].severities[0]"),
        ("contact", {"channels": [], "sensitivity": "all"}, "$.sensitivity"),
        ("silence", SILENCE | {"matcher": {}}, "$.matcher"),
        ("silence", SILENCE | {"until": "tomorrow"}, "$.until"),
        ("silence", SILENCE | {"reason": ""}, "$.reason"),
        ("severity", {"deadline_seconds": 60, "deadline_working_hours": 1}, "$.deadline_seconds"),
        ("severity", {"deadline_working_hours": 1}, "$.schedule"),
        ("severity", {"fallback": "approve"}, "$.fallback"),
        ("severity", {"needs": {"count": 0}}, "$.needs.count"),
        ("rules", {"rules": ["deny"]}, "$.rules[0]"),
        ("rules", [], "$"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_with_its_path(kind, document, path):
    with pytest.raises(InvalidInput) as caught:
        document_of(kind, document)
    assert caught.value.details["path"] == path
    assert caught.value.next_call


def test_a_misspelt_field_is_answered_with_the_right_one():
    with pytest.raises(InvalidInput) as caught:
        document_of("route", {"steps": [{"targets": ["person:ana"], "after": 5}]})
    assert caught.value.next_call == "Did you mean `after_seconds`?"
    assert caught.value.details == {"path": "$.steps[0]"}


@pytest.mark.parametrize(
    ("matcher", "covered"),
    [
        ({"run": "nightly"}, True),
        ({"run": "weekly"}, False),
        ({"kind": "failure", "severity": "high"}, True),
        ({"kind": "failure", "severity": "low"}, False),
        ({"asker": "agent:worker"}, True),
        ({"collapse_key": "disk:"}, True),
        ({"collapse_key": "disk:b"}, False),
    ],
)
def test_every_named_field_must_match(matcher, covered):
    silence = document_of("silence", SILENCE | {"matcher": matcher})
    assert is_silenced(silence, Subject("failure", "high", "agent:worker", "nightly", "disk:a"), NOW) is covered


def test_a_silence_ends_and_matches_nothing_that_is_not_there():
    silence = document_of("silence", SILENCE | {"until": "2026-11-28T12:00:00+01:00"})
    subject = Subject("failure", "high", "agent:worker", "nightly")
    assert is_silenced(silence, subject, model.ends_at(silence) - 1)
    assert not is_silenced(silence, subject, model.ends_at(silence))
    assert not is_silenced(silence, subject._replace(run=None), NOW)
    by_key = document_of("silence", SILENCE | {"matcher": {"collapse_key": "x"}})
    assert not is_silenced(by_key, subject, NOW)


def test_what_is_critical_is_silenced_only_by_two():
    subject = Subject("failure", "critical", "agent:worker", "nightly")
    assert not is_silenced(document_of("silence", SILENCE), subject, NOW)
    assert is_silenced(document_of("silence", SILENCE | {"second": "ben"}), subject, NOW)


def test_which_schedules_a_document_names():
    route = document_of("route", {"steps": [{"targets": ["schedule:a", "person:b"]}, {"targets": ["schedule:c:d"]}]})
    assert model.schedules_of(route) == {"a", "c:d"}
    severity = document_of("severity", {"deadline_working_hours": 8, "schedule": "office"})
    assert model.schedules_of(severity) == {"office"}
    assert (
        model.schedules_of(document_of("rules", {"rules": [{"name": "reads", "verdict": "allow", "read_only": True}]}))
        == set()
    )
