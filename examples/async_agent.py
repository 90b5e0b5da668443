"""The same with asyncio: steps of one run side by side.

python examples/async_agent.py [--key NAME]
"""

import argparse
import asyncio

import agentmemo

PAGES = ("pricing", "security", "changelog")


async def fetch(page: str) -> int:
    """Stands for a request over the network."""
    print(f"fetching {page}")
    await asyncio.sleep(0.01)
    return len(page)


def add_up(sizes: list[int]) -> int:
    """What a step sets commits with its result, once; a call on `agent` itself would be made again on replay."""
    total = sum(sizes)
    agentmemo.current_step().state.set("crawl", "total", total)
    return total


async def main(key: str) -> None:
    async with await agentmemo.connect_async(agent="crawler") as agent, agent.run("crawl", key=key) as run:
        # Side by side, "the second one" would depend on who comes first: so each step gets a key.
        sizes = await asyncio.gather(*(run.step("fetch", fetch, page, key=page) for page in PAGES))
        total = await run.step("add-up", add_up, sizes)
        await run.complete(total)
    print("total:", total)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Fetch three pages at once, each of them once.")
    parser.add_argument("--key", default="docs", help="the run's key")
    asyncio.run(main(parser.parse_args().key))
