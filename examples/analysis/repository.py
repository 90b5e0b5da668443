"""Everything asked of Git: pinned to a commit, without the network, whatever the user's configuration says."""

import os
import re
import subprocess
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from analysis.model import Author, Churn, Entry, History, Inventory

_ENVIRONMENT = {
    "LC_ALL": "C",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_TERMINAL_PROMPT": "0",
}
_OPTIONS = ("-c", "core.fsmonitor=false", "-c", "core.quotePath=false", "-c", "log.showSignature=false")
_FOREIGN = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_NAMESPACE")
_KINDS = {"120000": "symlink", "160000": "submodule"}
_HEADER = re.compile(rb"(?P<id>[0-9a-f]{40,64})\t(?P<at>-?\d*)\t(?P<email>[^\t]*)\t(?P<name>.*)", re.DOTALL)
_NUMSTAT = re.compile(rb"\n?(?P<added>\d+|-)\t(?P<deleted>\d+|-)\t(?P<path>.+)", re.DOTALL)


class RepositoryError(Exception):
    """Git could not answer; the text is for the person who asked."""


def locate(path: str) -> tuple[str, str]:
    """The repository that holds `path` and the id of its HEAD commit."""
    if not Path(path).is_dir():
        raise RepositoryError(f"{path} is not a directory.")
    try:
        bare = _git(path, "rev-parse", "--is-bare-repository").strip() == b"true"
        place = _git(path, "rev-parse", "--absolute-git-dir" if bare else "--show-toplevel")
    except RepositoryError as error:
        raise RepositoryError(f"{path} is not a Git repository that can be read: {error}") from error
    repository = str(Path(os.fsdecode(place.removesuffix(b"\n"))).resolve())
    try:
        commit = _git(repository, "rev-parse", "--verify", "--quiet", "HEAD^{commit}")
    except RepositoryError as error:
        raise RepositoryError(f"{repository} has no commit yet, so there is nothing to analyse.") from error
    return repository, commit.decode().strip()


def list_files(repository: str, commit: str) -> Inventory:
    """Every tracked path at the commit, ordered by its bytes as Git orders them."""
    listing = _git(repository, "ls-tree", "-r", "-l", "-z", "--full-tree", commit)
    at = _git(repository, "show", "--no-patch", "--format=%ct", commit).decode().strip()
    return Inventory(
        commit=commit,
        committed_at=_utc(at).strftime("%Y-%m-%d %H:%M UTC"),
        commits=int(_git(repository, "rev-list", "--count", commit)),
        shallow=_git(repository, "rev-parse", "--is-shallow-repository").strip() == b"true",
        entries=[_entry(record) for record in listing.split(b"\0") if record],
    )


def read_history(repository: str, commit: str, skip: int, count: int) -> History:
    """The `count` commits that follow the newest `skip`, walking back from the commit."""
    arguments = ("--numstat", "--no-renames", "--no-ext-diff", "--no-textconv", "--encoding=UTF-8", "-z")
    window = (f"--skip={skip}", f"--max-count={count}", "--format=%H%x09%at%x09%ae%x09%an")
    return _tally(_git(repository, "log", *arguments, *window, commit, "--").split(b"\0"))


def read_blobs(repository: str, entries: Iterable[Entry], limit: int) -> dict[str, bytes]:
    """At most `limit` bytes of each content by its id; what this clone does not have is left out."""
    sizes = {entry.blob: entry.size for entry in entries}
    small = _whole(repository, [blob for blob, size in sizes.items() if size <= limit])
    large = {blob: _beginning(repository, blob, limit) for blob, size in sizes.items() if size > limit}
    return small | {blob: content for blob, content in large.items() if content}


def text_of(raw: bytes) -> str:
    """Names in Git are bytes; those that are not UTF-8 are kept readable as \\xNN."""
    return raw.decode("utf-8", "backslashreplace")


def _whole(repository: str, blobs: list[str]) -> dict[str, bytes]:
    answer = _git(repository, "cat-file", "--batch", given="".join(f"{blob}\n" for blob in blobs).encode())
    found: dict[str, bytes] = {}
    at = 0
    for blob in blobs:
        end_of_header = answer.index(b"\n", at)
        header = answer[at:end_of_header].split()
        at = end_of_header + 1
        if header[-1] != b"missing":
            size = int(header[-1])
            found[blob] = answer[at : at + size]
            at += size + 1
    return found


def _beginning(repository: str, blob: str, limit: int) -> bytes:
    command = _command(repository, "cat-file", "blob", blob)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=_environment()) as process:
        assert process.stdout is not None
        return process.stdout.read(limit)


def _tally(tokens: Iterable[bytes]) -> History:
    commits: Counter[str] = Counter()
    names: dict[str, str] = {}
    lines: dict[str, list[int]] = {}
    months: Counter[str] = Counter()
    churn: dict[str, list[int]] = {}
    email = ""
    for token in tokens:
        if header := _HEADER.fullmatch(token):
            email = text_of(header["email"]).lower()
            names.setdefault(email, text_of(header["name"]))
            commits[email] += 1
            months[_utc(header["at"].decode()).strftime("%Y-%m")] += 1
        elif change := _NUMSTAT.fullmatch(token):
            added, deleted = (0 if count == b"-" else int(count) for count in change.group("added", "deleted"))
            of_author = lines.setdefault(email, [0, 0])
            of_author[0] += added
            of_author[1] += deleted
            of_path = churn.setdefault(text_of(change["path"]), [0, 0])
            of_path[0] += 1
            of_path[1] += added + deleted
    return History(
        commits=commits.total(),
        authors={key: Author(names[key], commits[key], *lines.get(key, (0, 0))) for key in sorted(names)},
        months=dict(sorted(months.items())),
        churn={path: Churn(*counts) for path, counts in sorted(churn.items())},
    )


def _entry(record: bytes) -> Entry:
    details, _, path = record.partition(b"\t")
    mode, _, blob, size = details.decode().split()
    return Entry(path=text_of(path), blob=blob, size=int(size) if size.isdigit() else 0, kind=_KINDS.get(mode, "file"))


def _utc(seconds: str) -> datetime:
    """Dates in Git may be missing or beyond any calendar; those become the epoch."""
    try:
        return datetime.fromtimestamp(int(seconds), UTC)
    except (ValueError, OverflowError, OSError):
        return datetime.fromtimestamp(0, UTC)


def _git(repository: str, *arguments: str, given: bytes = b"") -> bytes:
    command = _command(repository, *arguments)
    try:
        done = subprocess.run(command, input=given, capture_output=True, env=_environment(), check=False)
    except FileNotFoundError as error:
        raise RepositoryError("the git command was not found.") from error
    if done.returncode != 0:
        raise RepositoryError(text_of(done.stderr).strip() or f"git {arguments[0]} failed.")
    return done.stdout


def _command(repository: str, *arguments: str) -> list[str]:
    return ["git", "-C", repository, *_OPTIONS, *arguments]


def _environment() -> dict[str, str]:
    """The caller's environment without what would point Git elsewhere, as it does inside a hook."""
    return {name: value for name, value in os.environ.items() if name not in _FOREIGN} | _ENVIRONMENT
