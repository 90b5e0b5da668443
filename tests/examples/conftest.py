"""The examples are programs in a folder; their tests import them as the interpreter would."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples"))


class Repository:
    """A Git repository with fixed authors and dates, away from the user's configuration."""

    def __init__(self, path, home, *init):
        self.path = path
        self.home = home
        self.commits = 0
        path.mkdir(parents=True)
        self.git("init", "--quiet", "--initial-branch=main", *init)

    def write(self, name, content=b""):
        """A file by its name as text or as the bytes the file system keeps."""
        target = Path(os.fsdecode(os.fsencode(self.path) + b"/" + os.fsencode(name)))
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content if isinstance(content, bytes) else content.encode())

    def commit(self, *, author="Ada <ada@example.org>", month=1, options=(), add=True):
        self.commits += 1
        name, _, email = author.rstrip(">").partition(" <")
        at = f"2024-{month:02}-10T12:00:{self.commits:02} +0000"
        identity = {
            f"GIT_{role}_{part}": value
            for role in ("AUTHOR", "COMMITTER")
            for part, value in (("NAME", name), ("EMAIL", email), ("DATE", at))
        }
        if add:
            self.git("add", "--all")
        self.git("commit", "--quiet", "--message", f"change {self.commits}", *options, identity=identity)
        return self.git("rev-parse", "HEAD").strip()

    def stage(self, name, mode, content_id):
        """An entry straight into the index: what a file system may not be able to hold."""
        self.git("update-index", "--add", "--cacheinfo", f"{mode},{content_id},{os.fsdecode(name)}")

    def git(self, *words, identity=None):
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.home), "GIT_CONFIG_NOSYSTEM": "1"}
        done = subprocess.run(
            ["git", "-C", str(self.path), *words], env=environment | (identity or {}), capture_output=True, check=True
        )
        return done.stdout.decode()


@pytest.fixture
def make_repository(tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    return lambda name="repository", *init: Repository(tmp_path / name, home, *init)


@pytest.fixture
def repository(make_repository):
    return make_repository()
