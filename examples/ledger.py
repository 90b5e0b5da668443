"""What model calls cost: a cap that holds before the money is spent, and a call whose end nobody saw."""

from __future__ import annotations

import agentmemo

MODEL = "claude-haiku-4-5"


def call_the_model(prompt: str) -> dict[str, int]:
    """Stands for a provider's client; returns what it counted."""
    return {"input_tokens": len(prompt), "output_tokens": 200}


bot = agentmemo.connect(agent="spender")
ana = agentmemo.connect(person="ana")

ana.ledger.cap("agent:spender", 10_000_000, per="day")  # one cent
for number in range(1, 5):
    prompt = "Review this change. " * 50
    try:
        held = bot.ledger.reserve(MODEL, input_tokens=len(prompt), max_output_tokens=500, workflow="code-review")
    except agentmemo.LimitExceeded as refused:
        print(f"call {number}: refused. {refused.message}")
        continue
    if number == 2:
        bot.ledger.settle(held.id)  # the stream broke off: it counts at the worst case
        print(f"call {number}: unknown, counted at {held.worst_nanousd} nano-dollars")
        continue
    done = bot.ledger.settle(held.id, call_the_model(prompt), model_served=MODEL)
    print(f"call {number}: {done.nanousd} nano-dollars")

cap = next(cap for cap in ana.ledger.caps() if cap.scope == "agent:spender")
print(f"spender has spent {cap.spent_nanousd} of {cap.nanousd} nano-dollars today")
