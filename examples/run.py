"""A run: kill this program while it works, start it again, and it continues at the first step that is not done.

python examples/run.py [--book NAME] [--seconds N]
"""

import argparse
import time

import agentmemo

CHAPTERS = 5


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Read a book, chapter by chapter, in a run that survives being killed."
    )
    parser.add_argument("--book", default="moby-dick", help="the run's key: another book is another run")
    parser.add_argument("--seconds", type=float, default=1.0, help="how long a chapter takes")
    given = parser.parse_args()

    def summarise(chapter: int) -> str:
        """Stands for a slow and expensive call of a model."""
        print(f"reading chapter {chapter}", flush=True)
        time.sleep(given.seconds)
        return f"what happens in chapter {chapter}"

    with agentmemo.connect(agent="reader") as agent, agent.run("read-book", key=given.book) as run:
        print(f"{run.id}: {'continued' if run.resumed else 'new'}", flush=True)
        notes = [run.step("chapter", summarise, chapter) for chapter in range(1, CHAPTERS + 1)]
        run.complete({"chapters": len(notes), "last": notes[-1]})
        print("done:", run.result)


if __name__ == "__main__":
    main()
