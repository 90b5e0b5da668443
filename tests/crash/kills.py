"""Workers, a server and a person on one store, killed, frozen, woken and replaced; looked at after every blow.

    python kills.py --kills 10000 [--seed 7] [--blows one,zombie] [--who embedded,person]

What fails prints the seed, the cycle, the last blows and the least that still shows it, and leaves the store and notes.
"""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "shared"))

from arena import Process
from ground import EMBEDDED, HTTP, PERSON, SERVER, SLOTS, Ground

WHO = (EMBEDDED, HTTP, SERVER, PERSON)
# How often each befalls them.
BLOWS = {"one": 5, "several": 3, "server": 1, "zombie": 2, "rolling": 2}
# Between two blows they get as much done as chance wills: some die while they start, some in the midst of work.
NOTES_MAX, PAUSE_SECONDS = 25, 5.0
WITH_SERVER = 0.2
TELL_SECONDS = 5.0
# A zombie is stopped where it holds something: so many moments are tried.
MOMENTS = 10
# Within a lease it has lost what it held. Mostly somebody takes that over soon; where all died too early, it wakes
# without that.
FORGOTTEN_SECONDS, ASLEEP_SECONDS = 10.0, 150.0
OVERLAP_CYCLES = 3
SHOWN = 10
# The search for the least that shows a fault.
SEARCH_SECONDS = 300.0
TRIES = 2


class Kills:
    """One run: `kills` processes die, by blows that `seed` chose."""

    def __init__(self, ground: Ground, kills: int, seed: object, blows: tuple[str, ...], *, loud: bool = True) -> None:
        self.ground = ground
        self.wanted = kills
        self.seed = seed
        self.cycle = 0
        self.done: list[str] = []
        self.counts: Counter[str] = Counter()
        self._chance = random.Random(str(seed))
        self._blows = [blow for blow in blows if blow != "server" or "server" in ground.slots]
        self._loud = loud
        self._asleep: list[tuple[float, str, Process, dict[str, int]]] = []
        self._leaving: list[tuple[int, str, Process]] = []
        self._begun = self._told = time.monotonic()

    def run(self) -> None:
        """Raises AssertionError with what does not hold."""
        self.ground.open()
        while self.ground.kills < self.wanted:
            self.cycle += 1
            (blow,) = self._chance.choices(self._blows, [BLOWS[blow] for blow in self._blows])
            self._note(getattr(self, blow)())
            self.counts[blow] += 1
            self.ground.let_work(self._chance.randint(0, NOTES_MAX), PAUSE_SECONDS)
            self.ground.look()
            self._wake_those_taken_over()
            self._end_those_replaced()
            self._tell()
        self._settle()
        self.ground.finish()
        self._tell(always=True)

    def one(self) -> str:
        slot = self._chance.choice(self._awake())
        self.ground.kill([slot])
        return f"kill {slot}"

    def several(self) -> str:
        """Workers and the person, now and then the server with them."""
        awake = [slot for slot in self._awake() if slot != "server" or self._chance.random() < WITH_SERVER]
        slots = self._chance.sample(awake, self._chance.randint(min(2, len(awake)), len(awake)))
        self.ground.kill(slots)
        return f"kill {', '.join(slots)}"

    def server(self) -> str:
        self.ground.kill(["server"])
        return "kill server"

    def zombie(self) -> str:
        """Stop a worker; it is woken when somebody else has what it held."""
        slot = self._chance.choice(self._workers())
        if slot not in self._awake():
            return f"{slot} sleeps already"
        for _ in range(MOMENTS):
            if self.ground.fall_asleep(slot):
                process = self.ground.members[slot]
                held = self.ground.held_by(process)
                self._asleep.append((time.monotonic(), slot, process, held))
                return f"stop {slot}, which holds {held}"
            time.sleep(self._chance.uniform(0, 0.01))
        return f"{slot} holds nothing"

    def rolling(self) -> str:
        """Start another under the same name, while the old one still lives."""
        slot = self._chance.choice(self._workers())
        if slot not in self._awake():
            return f"{slot} sleeps"
        self._leaving.append((self.cycle + self._chance.randint(0, OVERLAP_CYCLES), slot, self.ground.members[slot]))
        self.ground.start(slot)
        return f"start another {slot}"

    def _workers(self) -> list[str]:
        return [slot for slot in self.ground.slots if SLOTS[slot] in (EMBEDDED, HTTP)]

    def _awake(self) -> list[str]:
        asleep = {slot for _, slot, _, _ in self._asleep}
        return [slot for slot in self.ground.slots if slot not in asleep]

    def _wake_those_taken_over(self, *, all_of_them: bool = False) -> None:
        for sleeper in list(self._asleep):
            since, slot, process, held = sleeper
            slept = time.monotonic() - since
            if self.ground.is_taken_over(held):
                why = "woken after a takeover"
            elif all_of_them or (slept > FORGOTTEN_SECONDS and not self.ground.held_by(process)):
                why = "woken after a loss"
            else:
                assert slept < ASLEEP_SECONDS, f"{slot} is stopped, and nobody takes {held} from it"
                continue
            process.process.send_signal(signal.SIGCONT)
            self._asleep.remove(sleeper)
            self.counts[why] += 1
            self._note(f"wake {slot} ({why})")

    def _end_those_replaced(self, *, all_of_them: bool = False) -> None:
        for leaver in list(self._leaving):
            cycle, slot, process = leaver
            if self.cycle < cycle and not all_of_them:
                continue
            self._leaving.remove(leaver)
            if self._chance.random() < 0.5:
                self.ground.kill_process(slot, process)
                process.end()
                self._note(f"kill the old {slot}")
            else:
                self.ground.tell_to_end(slot, process)
                self._note(f"tell the old {slot} to end")

    def _settle(self) -> None:
        self._wake_those_taken_over(all_of_them=True)
        self._end_those_replaced(all_of_them=True)

    def end(self) -> None:
        for process in [*(sleeper[2] for sleeper in self._asleep), *(leaver[2] for leaver in self._leaving)]:
            process.end()
        self.ground.end()

    def _note(self, what: str) -> None:
        self.done.append(f"cycle {self.cycle}: {what}")

    def _tell(self, *, always: bool = False) -> None:
        if self._loud and (always or time.monotonic() > self._told + TELL_SECONDS):
            self._told = time.monotonic()
            print(self.told(), flush=True)  # noqa: T201 - progress of a long run

    def told(self) -> str:
        noted, totals = self.ground.acknowledged, self.ground.follower.trail.totals
        seconds, kills = time.monotonic() - self._begun, self.ground.kills
        return (
            f"kills: {kills}, at least {self.wanted} wanted, in {seconds:.0f} s ({60 * kills / seconds:.0f}/min),"
            f" {self.cycle} cycles {dict(self.counts)}; {noted.total()} acknowledged, {noted['refused']} refused,"
            f" {totals['run.takeover']} takeovers, {totals['worker.stop']} dead workers found, {totals.total()} events,"
            f" 0 violations; seed {self.seed}"
        )


def attempt(
    directory: Path, kills: int, seed: object, *, blows=tuple(BLOWS), who=WHO, plant="", loud=True
) -> tuple[Kills, str | None]:
    """One run, and what it found."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    run = Kills(Ground(directory, who, plant), kills, seed, blows, loud=loud)
    try:
        run.run()
    except Exception as error:  # noqa: BLE001 - whatever it is, it is a finding
        where = traceback.extract_tb(error.__traceback__)[-1]
        return run, f"{type(error).__name__}: {error} ({where.name}, {Path(where.filename).name}:{where.lineno})"
    finally:
        run.end()
    return run, None


def report(run: Kills, found: str, directory: Path) -> str:
    """What a violation says: enough to look at it, and to make it again."""
    last = "\n".join(f"  {line}" for line in run.done[-SHOWN:])
    return (
        f"violated in cycle {run.cycle}, after {run.ground.kills} kills, seed {run.seed}:\n{found}\n"
        f"the last blows:\n{last}\nthe store, its notes and the errors of all processes lie in {directory}"
    )


def least(directory: Path, run: Kills, *, seconds: float = SEARCH_SECONDS, plant: str = "") -> str:
    """The fewest kinds of blows, processes and kills that still show it, as far as real processes repeat themselves."""
    end = time.monotonic() + seconds
    kills, blows, who = (
        max(1, run.ground.kills),
        tuple(run._blows),
        tuple({SLOTS[slot]: 0 for slot in run.ground.slots}),
    )

    def shows(kills: int, blows: tuple[str, ...], who: tuple[str, ...]) -> bool:
        for number in range(TRIES):
            if time.monotonic() > end:
                return False
            _, found = attempt(directory, kills, f"{run.seed}/{number}", blows=blows, who=who, plant=plant, loud=False)
            if found:
                return True
        return False

    for blow in blows:
        fewer = tuple(each for each in blows if each != blow)
        if set(fewer) & {"one", "several", "server"} and shows(kills, fewer, who):
            blows = fewer
    for kind in (HTTP, SERVER, PERSON):
        fewer = tuple(each for each in who if each != kind and (kind != SERVER or each != HTTP))
        if fewer != who and shows(kills, blows, fewer):
            who = fewer
    while kills > 1 and shows(kills // 2, blows, who):
        kills //= 2
    return f"make torture KILLS={kills} SEED={run.seed} ARGS='--blows {','.join(blows)} --who {','.join(who)}'"


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**9))
    parser.add_argument("--blows", type=lambda text: tuple(text.split(",")), default=tuple(BLOWS))
    parser.add_argument("--who", type=lambda text: tuple(text.split(",")), default=WHO)
    wanted = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that nobody is left behind
    directory = Path(tempfile.mkdtemp(prefix="agentmemo-kills-"))
    print(f"seed {wanted.seed}, in {directory}", flush=True)  # noqa: T201
    run, found = attempt(directory / "run", wanted.kills, wanted.seed, blows=wanted.blows, who=wanted.who)
    if found is None:
        shutil.rmtree(directory)
        return 0
    print(f"\n{report(run, found, directory / 'run')}\n\nlooking for the least that shows it", flush=True)  # noqa: T201
    print(f"again: {least(directory / 'again', run)}", flush=True)  # noqa: T201
    return 1


if __name__ == "__main__":
    sys.exit(main())
