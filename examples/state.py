"""State that outlives the process: the calls of the article, and what they give beyond a file.

python examples/state.py               run it twice: the second process reads what the first one wrote
"""

import agentmemo


def main() -> None:
    with agentmemo.connect(agent="github-sync") as agent:
        print("before:", agent.state.get("github_sync", "last_commit_hash"))

        # An agent can write state that survives crashes
        agent.state.set("github_sync", "last_commit_hash", "abc123")
        # Future instances can read it
        last_hash = agent.state.get("github_sync", "last_commit_hash")
        print("after:", last_hash)

        # Every write is a version with an author; two writers who read the same version cannot both win.
        entry = agent.state.entry("github_sync", "last_commit_hash")
        print("version", entry.version, "by", entry.author)
        agent.state.set("github_sync", "last_commit_hash", "def456", if_version=entry.version)
        try:
            agent.state.set("github_sync", "last_commit_hash", "0a0b0c", if_version=entry.version)
        except agentmemo.VersionConflict as error:
            print(error.message)

        # Several writes in one commit or none.
        with agent.transaction() as tx:
            tx.state.set("github_sync", "last_commit_hash", "abc123")
            tx.state.set("github_sync", "last_sync", {"commits": 3, "at": "2026-02-13"})
        print("one commit:", [entry.key for entry in agent.state.list("github_sync")])


if __name__ == "__main__":
    main()
