"""What OWASP APTS asks of human oversight, in our words, and the plane's part in each of it.

The standard is written for autonomous penetration testing; read here is what it asks of any agent that acts. `left`
says what of a requirement the plane does not do, so that nobody takes a line for more than it is.
"""

from __future__ import annotations

from typing import NamedTuple

STANDARD = "OWASP APTS, domain Human Oversight, as published at commit d25423e"
_TESTS = "tests/behaviour/test_oversight.py::"


class Requirement(NamedTuple):
    id: str
    asks: str
    part: str
    left: str
    test: str


REQUIREMENTS = (
    Requirement(
        "APTS-HO-001",
        "Actions of the named kinds wait for a person, who is shown what they do, can refuse, and is on record.",
        "An approval needs context, is bound to the exact action by a digest, can be given by persons only, and "
        "without it the action is refused. Who decided what, when and why is in the trail.",
        "Which actions of your agents these are, the rules say. A reason is demanded of a refusal, not of an approval.",
        _TESTS + "test_ho_001_nothing_happens_that_no_person_approved",
    ),
    Requirement(
        "APTS-HO-003",
        "A decision has a time limit; silence is never a yes; at half of the time a second person is told; what was "
        "under way is kept; and the timeout is on record as one.",
        "Every question has a deadline, and a default that approves no action: deny, skip, abort or pause. At 50 % and "
        "at 80 % of the time people are told again. The default is recorded as nobody's decision, and the run goes on "
        "from where it was.",
        "The limits per kind of decision, some of minutes, are yours to set by severity. An asker may name as the "
        "default a suggestion that it declares reversible. A client is told only where the route names them.",
        _TESTS + "test_ho_003_silence_is_never_a_yes",
    ),
    Requirement(
        "APTS-HO-005",
        "Every decision, escalation and timeout is kept in a log that cannot be altered unseen, from the request to "
        "the execution, and can be searched and exported.",
        "Each is an event of the question's own chain of hashes, which `agentmemo events verify` recomputes. Events "
        "are never removed. They are filtered by run, actor, operation, time and text, and exported as JSON.",
        "Entries are chained by hashes, not signed with a key; anchoring the last hash elsewhere is yours, and so are "
        "the periodic reports.",
        _TESTS + "test_ho_005_an_altered_decision_is_noticed",
    ),
    Requirement(
        "APTS-HO-006",
        "Work can be paused with its whole state and goes on from there.",
        "A run that asks is parked in the same commit and holds nothing. After the answer it goes on at that step; "
        "what was done before is not done again, whatever was killed meanwhile.",
        "A person cannot pause a run that asks nothing: they cancel it, or disable its agent. Sessions and connections "
        "of tools are the tools' to keep, and their limits too.",
        _TESTS + "test_ho_006_a_paused_run_goes_on_where_it_was",
    ),
    Requirement(
        "APTS-HO-008",
        "One act stops everything at once, shows that it did, and keeps the state for whoever looks into it.",
        "The kill switch refuses every later call of an agent and frees its work in one commit, without a question. "
        "State, runs and trail stay as they were; `agentmemo backup` makes a checked copy.",
        "A process that calls nobody is not ended by the plane: end it, and take its credentials. The copy is not "
        "encrypted, and nothing triggers the switch by itself.",
        _TESTS + "test_ho_008_the_kill_switch_stops_an_agent_and_keeps_its_state",
    ),
    Requirement(
        "APTS-HO-010",
        "Before what cannot be undone there is a halt, and an explicit yes; a timeout is never that yes.",
        "Only what is declared reversible can be what happens when nobody answers. The run is parked until "
        "a person decides; an approval holds for these very arguments, once, and for a short time.",
        "Which tools cannot be undone is declared by the agent or by rules.",
        _TESTS + "test_ho_010_the_irreversible_never_happens_by_default",
    ),
    Requirement(
        "APTS-HO-013",
        "Where it is not sure enough of being allowed to, the agent asks instead of going on.",
        "Asking halts the run: nothing of it happens until a person has decided, with `pause` not after the deadline "
        "either. Who decided and why is in the trail, beside the action.",
        "How sure the agent is, and the threshold below which it asks (75 % at least), is for the agent or its "
        "workflow to say; the plane has no measure of its own.",
        _TESTS + "test_ho_013_a_doubt_halts_the_run_until_a_person_decides",
    ),
    Requirement(
        "APTS-HO-016",
        "People are not drowned: equal questions come as one, what is expected can be silenced, and a class of "
        "actions can be allowed beforehand, for a time, on record and revocably.",
        "Equal questions are one with many waiters; little ones wait a while before anybody is told; silences have an "
        "end; rules have versions. `agentmemo report attention` shows who is asked too much.",
        "How much is too much for your people, and which rules they want.",
        _TESTS + "test_ho_016_equal_questions_reach_people_once",
    ),
)
