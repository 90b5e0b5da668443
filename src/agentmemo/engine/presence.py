"""Proof of life on one machine: each incarnation holds a file's lock, which the kernel drops when it dies.

Where its file cannot be made, or not be removed, no call fails for it: then its lease alone says whether it lives.
"""

from __future__ import annotations

import contextlib
import logging
import os
import weakref
from pathlib import Path

from agentmemo.store.sqlite_files import try_lock

_log = logging.getLogger("agentmemo.presence")
_presences: weakref.WeakSet[Presence] = weakref.WeakSet()


class Presence:
    """The lock of this process, and the question whether another incarnation still holds its own."""

    def __init__(self, database: Path | None) -> None:
        self._directory = database.with_name(database.name + "-workers") if database else None
        self._held: dict[str, int] = {}
        self._process = os.getpid()
        _presences.add(self)

    def hold(self, incarnation: str) -> None:
        """Announce a worker that lives as long as this process does. Idempotent."""
        if self._directory is None or incarnation in self._held:
            return
        try:
            descriptor = _lock_new(self._directory, incarnation)
        except OSError as error:
            _log.warning("%s has no lock of its own, so others wait for its lease to end: %s", incarnation, error)
            return
        if descriptor is not None:
            self._held[incarnation] = descriptor

    def is_gone(self, incarnation: str) -> bool:
        """True only if the incarnation had a lock on this machine and nobody holds it any more."""
        if self._directory is None or incarnation in self._held:
            return False
        return _is_free(self._directory / incarnation)

    def is_locked(self, incarnation: str) -> bool:
        """Whether it is known to live by a lock on this machine, not by its lease alone."""
        if incarnation in self._held or self._directory is None:
            return incarnation in self._held
        path = self._directory / incarnation
        return path.exists() and not _is_free(path)

    def restore(self, incarnation: str) -> None:
        """Announce a worker of this process again, which others took for dead and forgot."""
        descriptor = self._held.get(incarnation)
        if self._directory is None or descriptor is None or (self._directory / incarnation).exists():
            return
        del self._held[incarnation]
        os.close(descriptor)
        self.hold(incarnation)

    def forget(self, incarnation: str) -> None:
        """Remove the trace of an incarnation that ended."""
        descriptor = self._held.pop(incarnation, None)
        if self._directory:
            # What stays is the free lock of who is known to have ended.
            with contextlib.suppress(OSError):
                (self._directory / incarnation).unlink(missing_ok=True)
        if descriptor is not None:
            os.close(descriptor)

    def abandon(self, incarnation: str) -> None:
        """Let go of the lock and leave its file, as the death of a process does; for rehearsing one."""
        descriptor = self._held.pop(incarnation, None)
        if descriptor is not None:
            os.close(descriptor)

    def close(self) -> None:
        if os.getpid() != self._process:
            return
        for incarnation in list(self._held):
            self.forget(incarnation)

    def _leave_to_the_parent(self) -> None:
        """In a forked child: the locks are the parent's, and must end with it. From here on nothing is done."""
        self._directory = None
        for descriptor in self._held.values():
            # Closed and not unlocked: unlocking would take the lock from the parent.
            with contextlib.suppress(OSError):
                os.close(descriptor)
        self._held = {}


def _lock_new(directory: Path, incarnation: str) -> int | None:
    """Make the file of an incarnation, locked: its descriptor."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Locked under another name first: at no moment does the file lie there free.
    path = directory / f".{incarnation}"
    path.touch(mode=0o600)
    descriptor = try_lock(path)
    if descriptor is not None:
        try:
            path.rename(directory / incarnation)
        except OSError:
            os.close(descriptor)
            raise
    return descriptor


def _is_free(path: Path) -> bool:
    """Whether the file is there and nobody holds its lock."""
    descriptor = try_lock(path, shared=True)
    if descriptor is None:
        return False
    os.close(descriptor)
    return True


def _after_fork() -> None:
    for presence in _presences:
        presence._leave_to_the_parent()  # noqa: SLF001 - the same module


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
