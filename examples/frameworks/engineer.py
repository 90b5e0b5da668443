"""An OpenAI Agents SDK agent that repairs what it is handed, has it reviewed, and returns the result.

python examples/frameworks/engineer.py        # stays until Ctrl-C

It takes handoffs for `engineer`. Killed at any moment and started again, or taken over by another one, it goes on
behind the last kept step. The model is a script: no key and no network are needed.
"""

import asyncio
import signal
import subprocess
import sys
from typing import Any

from agents import Agent, Runner, function_tool, set_tracing_disabled
from agents.testing import ScriptedModel, assistant_message, function_call

import agentmemo

REPLACEMENT = "    return sum(values) / len(values) if values else 0.0"


async def plan(symptom: str) -> str:
    print("engineer: plan", flush=True)
    model = ScriptedModel([[assistant_message("Return 0.0 before dividing when there are no values.")]])
    planner = Agent(name="planner", instructions="Say in one sentence how to repair it.", model=model)
    return str((await Runner.run(planner, symptom)).final_output)


async def change(source: str, line: str, intention: str) -> str:
    """The agent edits through a tool, as it would with a real model."""
    print("engineer: change", flush=True)
    lines = source.splitlines()

    @function_tool
    def replace(old: str, new: str) -> str:
        lines[lines.index(old)] = new
        return "replaced"

    call = function_call("replace", {"old": line, "new": REPLACEMENT}, call_id="1")
    model = ScriptedModel([[call], [assistant_message("Done.")]])
    editor = Agent(name="editor", instructions=intention, model=model, tools=[replace])
    await Runner.run(editor, source)
    return "\n".join(lines) + "\n"


def test(source: str, call: str) -> str:
    print("engineer: test", flush=True)
    program = [sys.executable, "-I", "-S", "-c", f"{source}\nprint({call})"]
    return subprocess.run(program, check=True, capture_output=True, text=True).stdout.strip()


async def main() -> None:
    set_tracing_disabled(disabled=True)
    async with await agentmemo.connect_async(agent="engineer") as agent:

        async def hand_on(handoff: str, before: str, after: str, tested: str) -> str:
            """The key makes it once, should this step be repeated. Its parent is the handoff worked on."""
            print("engineer: hand on", flush=True)
            review = await agent.handoff.create(
                to_agent="reviewer",
                goal="Is this change right, and is it all that is needed?",
                context={"before": before, "after": after, "tested": tested},
                acceptance={"schema": {"required": ["approved", "remarks"]}},
                key=f"review of {handoff}",
            )
            return review.id

        async def repair(handoff: agentmemo.Handoff, run: agentmemo.AsyncRun) -> dict[str, Any]:
            case = handoff.context
            intention = await run.step("plan", plan, case["symptom"])
            source = await run.step("change", change, case["source"], case["line"], intention)
            tested = await run.step("test", test, source, case["call"])
            review = await run.step("hand on", hand_on, handoff.id, case["source"], source, tested)
            told = await run.wait(review)  # until then this handoff waits as well, and nothing is held
            await agent.handoff.result(review)  # received: nobody has to tell it again
            if told["state"] != "completed":
                raise RuntimeError(f"the review is {told['state']}: {told['reason']}")
            return {"source": source, "intention": intention, "tested": tested, "review": told["result"]}

        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, agent.stop)
        print("engineer: ready", flush=True)
        await agent.handoff.work(repair)


if __name__ == "__main__":
    asyncio.run(main())
