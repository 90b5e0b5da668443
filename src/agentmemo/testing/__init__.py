"""For tests of agents: a plane whose time, upkeep, people and deaths a test rules."""

from __future__ import annotations

from agentmemo.clock import ManualClock
from agentmemo.testing.person import ScriptedPerson
from agentmemo.testing.plane import Crashed, ManualPlane

__all__ = ["Crashed", "ManualClock", "ManualPlane", "ScriptedPerson"]
