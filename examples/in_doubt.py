"""An effect outside the store, and a crash in the moment when nobody can know whether it happened.

python examples/in_doubt.py --crash after     the payment is made, then the process dies before it is recorded
python examples/in_doubt.py                   the next process looks whether it was made, and does not pay twice
"""

import argparse
import json
import os
import signal
from pathlib import Path

import agentmemo

Payment = dict[str, object]


def pay(amount_cents: int, bank: Path, crash: str) -> Payment:
    """The outside world: a bank that keeps each payment with the key it came with."""
    if crash == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    payment: Payment = {"key": agentmemo.current_step().idempotency_key, "cents": amount_cents}
    with bank.open("a", encoding="utf-8") as book:
        book.write(json.dumps(payment) + "\n")
    if crash == "after":
        os.kill(os.getpid(), signal.SIGKILL)
    return payment


def find_payment(bank: Path, key: str) -> Payment | None:
    """The probe: what happened under this key, or None for "it did not happen"."""
    lines = bank.read_text(encoding="utf-8").splitlines() if bank.exists() else []
    found = next((payment for payment in map(json.loads, lines) if payment["key"] == key), None)
    print(f"probe: {'it happened' if found else 'it did not happen'}", flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="Pay an invoice once, whatever happens in between.")
    parser.add_argument("--crash", choices=["before", "after"], default="", help="die before or after the payment")
    parser.add_argument("--bank", type=Path, default=Path("bank.jsonl"), help="the bank's book")
    parser.add_argument("--invoice", default="2026-001", help="the run's key")
    given = parser.parse_args()

    with agentmemo.connect(agent="payer") as agent, agent.run("pay-invoice", key=given.invoice) as run:
        # "write" makes the step durable as started before `pay` runs. After a crash it is in doubt.
        payment = run.step(
            "pay",
            lambda: pay(4200, given.bank, given.crash),
            effect="write",
            in_doubt=lambda key: find_payment(given.bank, key),
        )
        run.complete(payment)
        print("paid:", payment["cents"], "cents")

    booked = [json.loads(line) for line in given.bank.read_text(encoding="utf-8").splitlines()]
    print("payments in the bank's book:", sum(payment["key"].startswith(run.id) for payment in booked))


if __name__ == "__main__":
    main()
