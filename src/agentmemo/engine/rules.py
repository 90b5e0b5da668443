"""The rules that stand, for whoever asks them."""

from __future__ import annotations

import msgspec

from agentmemo.engine import policies
from agentmemo.engine.call import Call
from agentmemo.model import guards as model
from agentmemo.model.kinds import described
from agentmemo.model.policies import RULES
from agentmemo.model.precedents import DOCUMENT
from agentmemo.store import guards as rows
from agentmemo.store.database import Transaction


def standing(tx: Transaction, call: Call) -> list[model.Standing]:
    """All rules, in the order in which they are asked: by the names of their documents, precedents last."""
    uses = rows.uses(tx, call.workspace)
    documents = policies.all_of(tx, call.workspace, RULES)
    documents.sort(key=lambda ruled: (ruled.name == DOCUMENT, ruled.name))
    return [
        model.Standing(ruled.name, ruled.version, rule, uses.get(f"{ruled.name}/{rule.name}", 0))
        for ruled in documents
        for rule in msgspec.convert(ruled.document.rules, described(list[model.Rule]))
    ]
