# Generated from client/_async by scripts/generate_sync.py; edit there.
"""What the store holds of a run's steps, asked for no more often than it can answer."""

from __future__ import annotations

from agentmemo.client._sync.plane import Plane
from agentmemo.errors import NotFound
from agentmemo.model import runs as model

# Steps in one look ahead. The plane ends a page sooner where its results are large.
AHEAD = 200
Pair = tuple[str, str]  # name and key


class StoredSteps:
    """The steps that were there when the run was claimed.

    Code that goes on passes through them in the order they were made, so they are read by the page. What this process
    did is asked for step by step: the store knows it best.
    """

    def __init__(self, plane: Plane, run: str, count: int) -> None:
        self._plane, self._run = plane, run
        self._unmet = count
        self._met: set[Pair] = set()
        self._ours: set[Pair] = set()
        self._ahead: dict[Pair, model.Step] = {}
        self._cursor: str | None = None
        self._more = count > 1

    def made(self, pair: Pair) -> None:
        """This process began or ended the step, and the store may hold it from now on."""
        self._ours.add(pair)
        self._ahead.pop(pair, None)

    def look(self, pair: Pair, *, always: bool) -> model.Step | None:
        """A step, if the store may hold one that this process has not met; `always` asks for any."""
        if pair in self._ours:
            return self.find(pair)
        if self._unmet <= 0 and not always:
            return None
        found = self._ahead.pop(pair, None) or self._read_ahead(pair) or self.find(pair)
        if found is not None and pair not in self._met:
            self._met.add(pair)
            self._unmet -= 1
        return found

    def find(self, pair: Pair) -> model.Step | None:
        try:
            return self._plane.call(model.FindStep(run=self._run, name=pair[0], key=pair[1]))
        except NotFound:
            return None

    def _read_ahead(self, pair: Pair) -> model.Step | None:
        """The next page, once the last is used up. Completed steps stay as they are while the run is held."""
        if self._ahead or not self._more:
            return None
        self._more = False  # whoever looks meanwhile asks for one step
        request = model.ListSteps(run=self._run, state=model.COMPLETED, cursor=self._cursor, limit=AHEAD)
        page = self._plane.page(request)
        self._cursor, self._more = page.cursor, page.cursor is not None
        for step in page.items:
            following = (step.name, step.key)
            # Waits are passed through by parking again, and tell themselves that they have ended.
            if step.effect in model.EFFECTS and following not in self._met and following not in self._ours:
                self._ahead[following] = step
        return self._ahead.pop(pair, None)
