"""From what an operation costs to what a thousand or a million agents need. Arithmetic only; nothing is measured here.

A cost is read off between the measured batch sizes as `a + b / size`: a transaction's own cost is shared by its batch.
The batch size comes from the load: what arrives in a workspace while its turn is held waits, and goes together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

AGENTS = (1_000, 10_000, 100_000, 1_000_000)
# What is not measured. An active agent waits for a model most of the time; a step is one answer of it.
ASSUMPTIONS = {
    "active_share": 0.2,
    "steps_per_minute": 4.0,
    "sets_per_minute": 2.0,
    "gets_per_minute": 10.0,
    "tasks_per_minute": 0.5,
    "value_bytes": 1024,
    "agents_per_workspace": 200,
    "active_agents_per_process": 50,
    "heartbeat_seconds": 10 / 3,
    "share_of_a_core_used": 0.6,
    "cores_per_database": 16,
    "wal_megabytes_per_second": 100.0,
    "connections_per_process": 6,
    "connections_per_database": 1_000,
    "workspaces_per_database": 100_000,
    "days_kept": 30,
    "terabytes_per_database": 10.0,
}
PER_MINUTE = {
    "steps_per_minute": ("step",),
    "sets_per_minute": ("set",),
    "gets_per_minute": ("get",),
    "tasks_per_minute": ("enqueue", "claim and complete"),
}
RESOURCES = ("client_us", "server_us", "turn_us", "wal_bytes", "bytes_stored")
Costs = Sequence[dict[str, Any]]


def needs(costs: Costs, idle: dict[str, float]) -> list[dict[str, Any]]:
    return [_need(agents, costs, idle) for agents in AGENTS]


def show(costs: Costs, idle: dict[str, float]) -> None:
    print("\nAssumed: " + ", ".join(f"{name} {value:g}" for name, value in ASSUMPTIONS.items()) + "\n")
    columns = {
        "agents": "{agents:,}",
        "ops/s": "{operations_per_second:,.0f}",
        "workspaces": "{workspaces:,}",
        "processes": "{processes:,}",
        "server cores": "{server_cores:,.1f}",
        "database cores": "{database_cores:,.1f}",
        "WAL MB/s": "{wal_megabytes_per_second:,.1f}",
        "GB/day": "{gigabytes_per_day:,.0f}",
        "databases": "{databases:,}",
        "turn": "{turn_share:.1%}",
        "weakest": "{weakest}",
    }
    lines = [list(columns)]
    lines += [[shown.format(**need) for shown in columns.values()] for need in needs(costs, idle)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(columns))]
    for line in lines:
        print("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)))
    print("\nIn one workspace:")
    for name, limit in one_workspace(costs).items():
        print(f"  {limit:9,.0f}  {name}")


def one_workspace(costs: Costs) -> dict[str, float]:
    """What a workspace can do at most, its turn never free: everything in the largest measured batches."""
    largest = max(cost["batch"] for cost in costs)
    writes = {
        name: cost_at(costs, name, largest)["turn_us"] for name in ("set", "step", "enqueue", "claim and complete")
    }
    turn_per_agent = sum(
        ASSUMPTIONS[rate] / 60 * cost_at(costs, name, largest)["turn_us"]
        for rate, names in PER_MINUTE.items()
        for name in names
    )
    found = {f"{name} per second": 1e6 / turn for name, turn in writes.items() if turn}
    return {**found, "active agents of the assumed kind": 1e6 / turn_per_agent}


def cost_at(costs: Costs, operation: str, batch: float) -> dict[str, float]:
    """The cost of one operation in batches of this size, from the measured sizes around it."""
    known = sorted((cost for cost in costs if cost["operation"] == operation), key=lambda cost: cost["batch"])
    batch = min(max(batch, known[0]["batch"]), known[-1]["batch"])
    below = max((cost for cost in known if cost["batch"] <= batch), key=lambda cost: cost["batch"])
    above = min((cost for cost in known if cost["batch"] >= batch), key=lambda cost: cost["batch"])
    span = 1 / below["batch"] - 1 / above["batch"]
    weight = (1 / batch - 1 / above["batch"]) / span if span else 1.0
    return {name: weight * below[name] + (1 - weight) * above[name] for name in RESOURCES}


def _need(agents: int, costs: Costs, idle: dict[str, float]) -> dict[str, Any]:
    given = ASSUMPTIONS
    active = agents * given["active_share"]
    workspaces = -(-agents // int(given["agents_per_workspace"]))
    rates = {name: active * given[rate] / 60 for rate, names in PER_MINUTE.items() for name in names}
    processes = max(1, round(active / given["active_agents_per_process"]))
    # A heartbeat is a small write that waits for its workspace's turn: taken as a set alone, which it is cheaper than.
    rates["set"] += processes / given["heartbeat_seconds"]
    batch = _batch(rates, workspaces, costs)
    used = dict.fromkeys(RESOURCES, 0.0)
    for name, rate in rates.items():
        each = cost_at(costs, name, batch)
        used = {resource: total + rate * each[resource] for resource, total in used.items()}
    share = given["share_of_a_core_used"]
    server_cores = used["client_us"] / 1e6 / share + processes * idle["client_cores"]
    database_cores = used["server_us"] / 1e6 / share + processes * idle["server_cores"]
    wal, stored = used["wal_bytes"] / 1e6, used["bytes_stored"]
    # As shares of one database: the largest is what runs out first.
    loads = {
        "database cores": database_cores / given["cores_per_database"],
        "WAL": wal / given["wal_megabytes_per_second"],
        "connections": processes * given["connections_per_process"] / given["connections_per_database"],
        "storage": stored / 1e12 * 86400 * given["days_kept"] / given["terabytes_per_database"],
        "number of workspaces": workspaces / given["workspaces_per_database"],
        "turn of a workspace": used["turn_us"] / 1e6 / workspaces,
    }
    weakest = max(loads, key=lambda name: loads[name])
    databases = max(1, *(-int(-load // 1) for name, load in loads.items() if name != "turn of a workspace"))
    return {
        "agents": agents,
        "operations_per_second": sum(rates.values()),
        "batch": batch,
        "workspaces": workspaces,
        "workspaces_per_database": -(-workspaces // databases),
        "processes": processes,
        "server_cores": server_cores,
        "database_cores": database_cores,
        "wal_megabytes_per_second": wal,
        "gigabytes_per_day": stored * 86400 / 1e9,
        "databases": databases,
        "turn_share": loads["turn of a workspace"],
        "loads_of_one_database": loads,
        "weakest": f"{weakest} ({loads[weakest]:.0%} of {'one' if 'turn' in weakest else 'one database'})",
    }


def _batch(rates: dict[str, float], workspaces: int, costs: Costs) -> float:
    """How many writes of a workspace go together: those that come while its turn is held."""
    writes = sum(rate for name, rate in rates.items() if name != "get") / workspaces
    batch = 1.0
    for _ in range(20):
        held = cost_at(costs, "set", batch)["turn_us"] / 1e6 * batch
        batch = max(1.0, writes * held)
    return batch
