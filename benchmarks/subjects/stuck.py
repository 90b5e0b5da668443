"""What `stuck.observe` costs per event: over the recorded traces, over a loop, and over results of 16 KiB."""

from __future__ import annotations

import gc
import statistics
import time
from pathlib import Path

import msgspec
from harness import QUICK, Row, Target
from values import prose

from agentmemo.model import stuck
from agentmemo.model.stuck import Call, Memory

TRACES = Path(__file__).parents[2] / "tests/model/traces"
# Of each event the best of so many: the function does the same each time, what differs is the machine's other work.
PASSES = 5 if QUICK else 40
TARGET_P99_US = 50
LARGE = 16 * 1024


def run() -> list[Row]:
    decode = msgspec.json.Decoder(list[Call]).decode
    traces = [decode(line) for file in sorted(TRACES.glob("*.jsonl")) for line in file.read_bytes().splitlines()]
    looping = [[*trace[:8], *trace[8:10] * 12] for trace in traces]
    large = [
        [msgspec.structs.replace(call, result=prose(number, LARGE), error=None) for number, call in enumerate(trace)]
        for trace in traces
    ]
    return [
        _row("stuck detection, recorded traces", traces, Target(TARGET_P99_US, at_most=True)),
        _row("stuck detection, two calls in a round", looping),
        _row("stuck detection, results of 16 KiB", large),
        _memory_row(traces),
    ]


def _row(subject: str, traces: list[list[Call]], target: Target | None = None) -> Row:
    events = [event for trace in traces for event in _events(trace)]
    best = _best(events)
    cuts = statistics.quantiles(best, n=100)
    return Row(
        subject=f"{subject}, p99",
        unit="us",
        ours=cuts[98],
        target=target,
        settings=f"{len(events)} events, of each the best of {PASSES}",
        note=f"p50 {cuts[49]:.1f} us, p90 {cuts[89]:.1f} us",
        repetitions={"ours": best},
    )


def _events(trace: list[Call]) -> list[tuple[Memory, Call]]:
    """Each call with what is remembered before it."""
    memory, events = Memory(), []
    for call in trace:
        events.append((memory, call))
        memory, _ = stuck.observe(memory, call)
    return events


def _best(events: list[tuple[Memory, Call]]) -> list[float]:
    best = [float("inf")] * len(events)
    # The events themselves are no garbage, and looking through them for some is no part of the function.
    gc.collect()
    gc.freeze()
    for _ in range(PASSES):
        for number, (memory, call) in enumerate(events):
            begin = time.perf_counter_ns()
            stuck.observe(memory, call)
            best[number] = min(best[number], (time.perf_counter_ns() - begin) / 1e3)
    gc.unfreeze()
    return best


def _memory_row(traces: list[list[Call]]) -> Row:
    memory = Memory()
    for call in (call for trace in traces[:4] for call in trace):
        memory, _ = stuck.observe(memory, call)
    sizes = [len(msgspec.json.encode(memory)), len(msgspec.msgpack.encode(memory))]
    return Row(
        subject="stuck detection, a full memory as JSON",
        unit="KiB",
        ours=sizes[0] / 1024,
        settings=f"{len(memory.marks)} events",
        note=f"as MessagePack {sizes[1] / 1024:.1f} KiB",
    )
