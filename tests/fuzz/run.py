"""The targets, one after the other, for so many seconds each.

    python run.py --seconds 60 [--seed N] [--only cursor]

With atheris (a package, for CPython on Linux), guided by what each input reaches; without it, seeds mutated by chance.
What is found is printed as Python, to become a case of `targets.EXTREME`.
"""

from __future__ import annotations

import argparse
import importlib.util
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

if "--guided" in sys.argv:
    import atheris

    with atheris.instrument_imports(include=["agentmemo"]):
        import targets
else:
    import targets

SLOW_SECONDS = 2.0
MEMORY_MIB = 2048


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1, 2**31))
    parser.add_argument("--only", choices=sorted(targets.TARGETS))
    parser.add_argument("--guided", action="store_true", help="this process is the one that atheris guides")
    wanted = parser.parse_args()
    if wanted.guided:
        return guided(wanted.only, wanted.seconds, wanted.seed)
    names = [wanted.only] if wanted.only else sorted(targets.TARGETS)
    has_atheris = importlib.util.find_spec("atheris") is not None
    print(f"seed {wanted.seed}, {'guided by atheris' if has_atheris else 'by chance'}", flush=True)
    if not has_atheris:
        return sum(by_chance(name, wanted.seconds, wanted.seed) for name in names)
    arguments = ["--guided", "--seconds", str(wanted.seconds), "--seed", str(wanted.seed)]
    # One process each: atheris ends its own.
    return sum(
        subprocess.run([sys.executable, __file__, *arguments, "--only", name], check=False).returncode != 0
        for name in names
    )


def by_chance(name: str, seconds: int, seed: int) -> int:
    """1 if something was found, else 0."""
    target, chance = targets.TARGETS[name], random.Random(seed)
    pool, end, count = list(targets.SEEDS[target]), time.monotonic() + seconds, 0
    while time.monotonic() < end:
        data = mutated(chance, pool)
        began = time.monotonic()
        try:
            targets.run(target, data)
        except Exception as error:  # noqa: BLE001 - which is what is looked for
            print(f"{name}: {type(error).__name__}: {error}\n  {data!r}", flush=True)
            return 1
        if time.monotonic() - began > SLOW_SECONDS:
            print(f"{name}: took {time.monotonic() - began:.1f} s\n  {data[:2000]!r}", flush=True)
            return 1
        count += 1
        if chance.random() < 0.01 and len(data) < 10_000:
            pool[chance.randrange(len(targets.SEEDS[target])) :] += [data]
            pool = pool[-200:] + targets.SEEDS[target]
    print(f"{name}: {count} inputs", flush=True)
    return 0


def mutated(chance: random.Random, pool: list[bytes]) -> bytes:
    data = chance.choice(pool)
    for _ in range(chance.randint(1, 5)):
        start = chance.randint(0, len(data))
        end = min(len(data), start + chance.randint(0, 12))
        other = chance.choice(pool)
        at = chance.randint(0, len(other))
        pieces = [b"", data[start:end] * chance.choice([2, 50, 3000]), other[at : at + 20], chance.randbytes(3)]
        data = data[:start] + chance.choice(pieces) + data[end:]
    return data


def guided(name: str, seconds: int, seed: int) -> int:
    target = targets.TARGETS[name]
    with tempfile.TemporaryDirectory() as corpus:
        for number, data in enumerate(targets.SEEDS[target]):
            (Path(corpus) / str(number)).write_bytes(data)
        options = [f"-max_total_time={seconds}", f"-seed={seed}", f"-rss_limit_mb={MEMORY_MIB}", "-timeout=10"]
        atheris.Setup(["run", *options, "-print_final_stats=1", corpus], lambda data: targets.run(target, data))
        print(f"{name}:", flush=True)
        atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main())
