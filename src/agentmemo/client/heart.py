"""The heartbeat: one daemon thread per connection that renews the leases of everything it holds."""

from __future__ import annotations

import logging
import threading

from agentmemo.api.lookup import operation_of
from agentmemo.client.transport import Transport, at_once
from agentmemo.errors import Error, Unavailable
from agentmemo.model.access import Claim
from agentmemo.model.runs import Heartbeat, ReleaseRun

BEATS_PER_LEASE = 3
_HEARTBEAT, _RELEASE = operation_of(Heartbeat), operation_of(ReleaseRun)
_log = logging.getLogger("agentmemo.heartbeat")


class Heart:
    """Beats while at least one run is held. It runs beside the user's code, which may block for long."""

    def __init__(self, transport: Transport, worker: str, lease_seconds: float) -> None:
        self._transport = transport
        self._worker = worker
        self._interval = lease_seconds / BEATS_PER_LEASE
        # By claim: what is done under it. Claims of one handle are told apart: an old one ends and the new one lives.
        self._steps: dict[tuple[str, int], str] = {}
        self._owed: dict[str, tuple[ReleaseRun, Claim]] = {}
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._lock = threading.RLock()

    def hold(self, handle: str, epoch: int) -> None:
        with self._lock:
            self._steps[handle, epoch] = ""
            self._owed.pop(handle, None)
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

    def at_step(self, handle: str, epoch: int, step: str) -> None:
        """What the run is doing, shown to others with the next beat."""
        with self._lock:
            if (handle, epoch) in self._steps:
                self._steps[handle, epoch] = step

    def let_go(self, handle: str, epoch: int) -> None:
        with self._lock:
            self._steps.pop((handle, epoch), None)

    def holds(self) -> list[tuple[str, int]]:
        """The claims it beats for: (handle, epoch)."""
        with self._lock:
            return [*self._steps]

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
        with at_once():  # the next beat is the next try
            while not self._stop.wait(self._interval):
                try:
                    self._give_back()
                    with self._lock:
                        steps = dict(self._steps)
                    if steps:
                        self._beat_for(steps)
                except Exception:  # noqa: BLE001 - nobody else beats, now or for what is held later
                    _log.exception("a heartbeat failed; the next one follows")

    def _beat_for(self, steps: dict[tuple[str, int], str]) -> None:
        now = {handle: step for (handle, _), step in sorted(steps.items())}
        try:
            answer = self._transport.call(_HEARTBEAT, Heartbeat(worker=self._worker, steps=now, holds=[*now]))
        except Error as error:
            # The lease may run out; the next write of the run then says so.
            _log.warning("heartbeat failed: %s", error.message)
            return
        gone = {*answer.lost, *answer.cancelled}
        with self._lock:
            # Only what this beat was about: the same may have been claimed again since.
            for handle, epoch in steps:
                if handle in gone:
                    self._steps.pop((handle, epoch), None)
