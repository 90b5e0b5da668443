"""The heartbeat: one daemon thread per connection that renews the leases of everything it holds."""

from __future__ import annotations

import logging
import threading

from agentmemo.api.operations import BY_NAME
from agentmemo.client.transport import Transport
from agentmemo.errors import Error, Unavailable
from agentmemo.model.access import Claim
from agentmemo.model.runs import Heartbeat, ReleaseRun

BEATS_PER_LEASE = 3
_HEARTBEAT, _RELEASE = BY_NAME["worker.heartbeat"], BY_NAME["run.release"]
_log = logging.getLogger("agentmemo.heartbeat")


class Heart:
    """Beats while at least one run is held. It runs beside the user's code, which may block for long."""

    def __init__(self, transport: Transport, worker: str, lease_seconds: float) -> None:
        self._transport = transport
        self._worker = worker
        self._interval = lease_seconds / BEATS_PER_LEASE
        self._steps: dict[str, str] = {}
        self._lost: set[str] = set()
        self._owed: dict[str, tuple[ReleaseRun, Claim]] = {}
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def hold(self, run: str) -> None:
        with self._lock:
            self._steps[run] = ""
            self._lost.discard(run)
            self._owed.pop(run, None)
            self._start()

    def owe(self, release: ReleaseRun, claim: Claim, failure: Error) -> None:
        """A run could not be given back. Where nobody was there, a later beat does it.

        This worker lives on, so nobody would take over what it seems to hold.
        """
        if not isinstance(failure, Unavailable):
            return
        with self._lock:
            self._owed[release.run] = (release, claim)
            self._start()

    def at_step(self, run: str, step: str) -> None:
        """What the run is doing, shown to others with the next beat."""
        if run in self._steps:
            self._steps[run] = step

    def let_go(self, run: str) -> None:
        with self._lock:
            self._steps.pop(run, None)

    def has_lost(self, run: str) -> bool:
        """True once a beat was told that the run is cancelled or held by another."""
        return run in self._lost

    def stop(self) -> None:
        self._stop.set()
        if self._thread:
            self._thread.join()

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._beat, name="agentmemo-heartbeat", daemon=True)
            self._thread.start()

    def _give_back(self) -> None:
        with self._lock:
            owed = dict(self._owed)
        for run, (release, claim) in owed.items():
            try:
                self._transport.call(_RELEASE, release, claim=claim, worker=self._worker)
            except Unavailable as error:
                _log.warning("run %s is not given back yet: %s", run, error.message)
                return
            except Error:
                pass  # it was given back or taken over before
            with self._lock:
                self._owed.pop(run, None)

    def _beat(self) -> None:
        while not self._stop.wait(self._interval):
            self._give_back()
            with self._lock:
                steps = dict(self._steps)
            if not steps:
                continue
            beat = Heartbeat(worker=self._worker, steps=steps, holds=[*steps])
            try:
                answer = self._transport.call(_HEARTBEAT, beat)
                self._lost.update(answer.lost, answer.cancelled)
            except Error as error:
                # The lease may run out; the next write of the run then says so.
                _log.warning("heartbeat failed: %s", error.message)
