"""Upkeep: one daemon thread per process, one leader per store, so that every duty is done once."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from agentmemo.clock import SECOND
from agentmemo.crashpoints import reach
from agentmemo.engine.upkeep.duties import DUTIES, SLOW_DUTIES, free_the_dead
from agentmemo.errors import Error
from agentmemo.store.database import Row, Transaction

if TYPE_CHECKING:
    from agentmemo.engine.dispatch import Engine

LEASE_US = 5 * SECOND
RENEW_US = LEASE_US // 3
SLOW_EVERY_US = 60 * SECOND
LEADERSHIP = "upkeep"
# How often a duty may go on before the others get their turn: steady writes keep the index busy for ever.
ROUNDS_MAX = 20
_log = logging.getLogger("agentmemo.upkeep")


class Upkeep:
    """Runs the duties on their interval while this process leads; `run_once` does so now, for tests and at the open."""

    def __init__(self, engine: Engine, beside: Callable[[], None] = lambda: None) -> None:
        self._engine = engine
        # What follows from a round and is not done in it: sending what it put into the outbox.
        self._beside = beside
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._led_until = 0
        self._slow_at = 0
        self._slow_behind = False
        self._denials_at = 0
        self._behind = False

    def start(self) -> None:
        # Before anybody asks for work: what a process held that was killed a moment ago is to be had at once.
        self._try(lambda: free_the_dead(self._engine))
        self._thread = threading.Thread(target=self._loop, name="agentmemo-upkeep", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread:
            self._thread.join()
            self._thread = None

    def run_once(self) -> int:
        """Do everything that is due now, whoever leads. Returns how many things were done.

        What a duty leaves after ROUNDS_MAX batches is done in the next round, which then follows at once.
        """
        done = 0
        self._behind = False
        for duty in DUTIES:
            reach("upkeep.before_duty")
            done += self._repeat(duty)
            if self._stop.is_set():
                return done
            reach("upkeep.after_duty")
        done += self._run_slow()
        self._write_denials()
        self._engine.refresh()
        return done

    def _run_slow(self) -> int:
        """The slow duties, once their interval is over or while the last round left some of their work."""
        now = self._engine.clock.boot_us()
        if not self._slow_behind and now - self._slow_at < SLOW_EVERY_US:
            return 0
        self._slow_at = now
        others_behind, self._behind = self._behind, False
        done = sum(self._repeat(duty) for duty in SLOW_DUTIES)
        self._slow_behind = self._behind
        self._behind = self._behind or others_behind
        return done

    def _repeat(self, duty: Callable[[Engine], int]) -> int:
        """Do a duty until nothing is left, it had its ROUNDS_MAX batches, or upkeep is stopped."""
        done = 0
        for _ in range(ROUNDS_MAX):
            count = duty(self._engine)
            done += count
            if not count or self._stop.is_set():
                return done
        self._behind = True
        return done

    def _write_denials(self) -> None:
        """Each process counts its own denials, so each writes them, whoever leads."""
        now = self._engine.clock.boot_us()
        if now - self._denials_at >= SLOW_EVERY_US:
            self._denials_at = now
            self._engine.denials.flush()

    def _loop(self) -> None:
        interval = self._engine.settings.upkeep_interval_seconds
        answered = False
        while not self._stop.is_set():
            answered = self._round()
            self._stop.wait(0.0 if self._behind else interval)
        if answered:
            self._resign()

    def _round(self) -> bool:
        """False where the store did not answer, or a duty failed."""
        return self._try(self._turn)

    def _turn(self) -> None:
        if self._lead():
            self.run_once()
            self._beside()
        else:
            self._write_denials()
            self._engine.refresh()

    def _try(self, do: Callable[[], object]) -> bool:
        try:
            do()
        except Error as error:
            # The store is full, read-only or away: duties stay due, and are done when it is back.
            _log.warning("upkeep waits: %s", error.message)
        except Exception:  # noqa: BLE001 - a bug in one duty must not end the others
            if not self._stop.is_set():
                _log.exception("an upkeep duty failed; it is tried again")
        else:
            return True
        return False

    def _resign(self) -> None:
        """Who leads next need not wait for the end of a lease: of who left in good order the store itself says so."""
        engine = self._engine
        if self._led_until > engine.clock.boot_us():
            with contextlib.suppress(Error):
                engine.database.write(lambda tx: tx.write("duty_leave", name=LEADERSHIP, leader=engine.incarnation))

    def _lead(self) -> bool:
        """Hold or take the leader's lease; written only once per third of it.

        Like a worker, a leader is followed at once when its process is gone, and else when its lease ends.
        """
        engine = self._engine
        now = engine.clock.boot_us()
        if self._led_until - now > LEASE_US - RENEW_US:
            return True

        def mine(row: Row | None) -> bool:
            if row is None or row[0] == engine.incarnation or row[1] != engine.clock.boot_id or row[2] <= now:
                return True
            return engine.presence.is_gone(row[0])

        def take(tx: Transaction) -> bool:
            if not mine(tx.one("duty_get", name=LEADERSHIP)):
                return False
            tx.write(
                "duty_take",
                name=LEADERSHIP,
                leader=engine.incarnation,
                boot_id=engine.clock.boot_id,
                lease_until=now + LEASE_US,
            )
            return True

        row = engine.database.read(lambda tx: tx.one("duty_get", name=LEADERSHIP), snapshot=False)
        if not mine(row):
            return False
        engine.presence.hold(engine.incarnation)
        if not engine.database.write(take):
            engine.presence.forget(engine.incarnation)
            return False
        if row is not None and engine.presence.is_gone(row[0]):
            engine.presence.forget(row[0])
        self._led_until = now + LEASE_US
        return True
