"""A briefing is read by whoever starts again, often right after the kill and before upkeep has noticed it."""

from __future__ import annotations

import pytest

from agentmemo.testing import Crashed

promise = pytest.mark.promise


# Over HTTP the plane cannot see a process die; it knows when the lease ends.
@promise("briefing.parts")
@pytest.mark.surfaces("sync", "async")
def test_a_run_whose_holder_is_gone_can_be_continued(surface, agent):
    with pytest.raises(Crashed), agent.run("job", key="1") as run:
        run.step("first", surface.plane.crash)
    briefing = surface.connect().briefing()
    assert briefing.data["runs"][0]["state"] == "running"
    assert "running, its holder is gone" in briefing.text
    assert "agent.run('job', key='1') continues at the first step that is not done" in briefing.text


@promise("briefing.parts")
def test_a_run_that_is_held_is_only_explained(surface, agent):
    with agent.run("job", key="1") as run:
        briefing = surface.connect().briefing()
        assert "its holder is gone" not in briefing.text
        assert f"Next: runs.explain('{run.id}')." in briefing.text
