"""What each operation of the ledger needs to be possible, and the events it records."""

from __future__ import annotations

from agentmemo import ids
from agentmemo.model import ledger


def scenarios(of):
    """operation -> (its scenario, its events); `of` makes one of a request and what is prepared for it."""
    return {
        "ledger.reserve": (
            of(
                "ledger.reserve",
                lambda w, _f: ledger.ReserveUsage(id=_handle(w), model="m", input_tokens=1, max_output_tokens=1),
            ),
            ["ledger.reserve"],
        ),
        "ledger.settle": (
            of("ledger.settle", lambda _w, f: ledger.SettleUsage(id=f, provider_nanousd=5), _reserved),
            ["ledger.settle"],
        ),
        "ledger.void": (of("ledger.void", lambda _w, f: ledger.VoidUsage(id=f), _reserved), ["ledger.void"]),
        "ledger.record": (
            of("ledger.record", lambda w, _f: ledger.RecordUsage(id=_handle(w), model="m", model_served="n")),
            ["ledger.record", "ledger.model_mismatch"],
        ),
        "ledger.cap": (
            of("ledger.cap", lambda _w, _f: ledger.SetCap(scope="workspace", nanousd=5, per="day")),
            ["ledger.cap"],
        ),
    }


def _handle(world):
    return ids.mint("use", world.plane.clock.now_us())


def _reserved(world):
    request = ledger.ReserveUsage(id=_handle(world), model="m", input_tokens=1, max_output_tokens=1)
    return world.call("ledger.reserve", request).id
