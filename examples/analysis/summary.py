"""From the facts of every file and stretch of history to what the report says."""

from collections import Counter, defaultdict
from collections.abc import Iterable

from analysis.model import (
    Author,
    Churn,
    Duplicate,
    Entry,
    FileFacts,
    History,
    HotSpot,
    Inventory,
    Language,
    Located,
    LongFunction,
    Mark,
    Summary,
)

TOP = 20
_EMPTY_MAX = 1  # files this small are alike by accident


def summarise(inventory: Inventory, histories: list[History], files: list[FileFacts]) -> Summary:
    history = merge(histories)
    functions = [LongFunction(file.path, function) for file in files for function in file.functions]
    secrets = [Located(file.path, mark) for file in files for mark in file.secrets]
    todos = [Located(file.path, mark) for file in files for mark in file.todos]
    notes = [Located(file.path, Mark(0, file.kind, "; ".join(file.notes))) for file in files if file.notes]
    duplicates = _duplicates(files)
    return Summary(
        commit=inventory.commit,
        committed_at=inventory.committed_at,
        totals={
            "files": len(files),
            "bytes": sum(file.size for file in files),
            "lines": sum(file.lines for file in files),
            "secrets": len(secrets),
            "todos": len(todos),
            "authors": len(history.authors),
            "duplicates": len(duplicates),
            "files read with limits": len(notes),
        }
        | {f"kind: {kind}": count for kind, count in sorted(Counter(file.kind for file in files).items())},
        commits_read=history.commits,
        commits_known=inventory.commits,
        shallow=inventory.shallow,
        languages=_languages(files),
        hot_spots=_hot_spots(files, history.churn),
        authors=sorted(history.authors.values(), key=lambda author: (-author.commits, author.name))[:TOP],
        months=history.months,
        secrets=secrets[: 2 * TOP],
        todos=todos[: 2 * TOP],
        functions=sorted(functions, key=lambda found: (-found.function.lines, found.path))[:TOP],
        largest=_largest(file for file in files if file.size > 0),
        duplicates=duplicates[:TOP],
        binaries=_largest(file for file in files if file.kind in {"binary", "lfs"}),
        notes=notes[: 2 * TOP],
    )


def merge(histories: Iterable[History]) -> History:
    """One history of many stretches, the newest first: it decides how an author is called."""
    commits = 0
    authors: dict[str, Author] = {}
    months: Counter[str] = Counter()
    churn: dict[str, Churn] = {}
    for part in histories:
        commits += part.commits
        months.update(part.months)
        for email, new in part.authors.items():
            old = authors.get(email, Author(new.name, 0, 0, 0))
            sums = (old.commits + new.commits, old.added + new.added, old.deleted + new.deleted)
            authors[email] = Author(old.name, *sums)
        for path, change in part.churn.items():
            before = churn.get(path, Churn(0, 0))
            churn[path] = Churn(before.commits + change.commits, before.lines + change.lines)
    return History(commits=commits, authors=authors, months=dict(sorted(months.items())), churn=churn)


def _languages(files: list[FileFacts]) -> list[Language]:
    groups: defaultdict[str, list[FileFacts]] = defaultdict(list)
    for file in files:
        if file.kind == "text":
            groups[file.language].append(file)
    languages = [
        Language(name, len(group), sum(file.lines for file in group), sum(file.size for file in group))
        for name, group in groups.items()
    ]
    return sorted(languages, key=lambda language: (-language.lines, language.name))


def _hot_spots(files: list[FileFacts], churn: dict[str, Churn]) -> list[HotSpot]:
    """Text files by churn times size: much changed and large is where the next defect is likely."""
    spots = [
        HotSpot(file.path, change.commits, change.lines, file.lines)
        for file in files
        if file.kind == "text" and (change := churn.get(file.path)) and change.commits > 1
    ]
    return sorted(spots, key=lambda spot: (-spot.churn * spot.lines, spot.path))[:TOP]


def _duplicates(files: list[FileFacts]) -> list[Duplicate]:
    """Files with the same content. Git's blob id is the hash of the content, so nothing is compared twice."""
    groups: defaultdict[str, list[FileFacts]] = defaultdict(list)
    for file in files:
        if file.kind in {"text", "binary", "lfs", "missing"} and file.size > _EMPTY_MAX:
            groups[file.blob].append(file)
    found = [Duplicate(group[0].size, [file.path for file in group]) for group in groups.values() if len(group) > 1]
    return sorted(found, key=lambda group: (-group.size * (len(group.paths) - 1), group.paths))


def _largest(files: Iterable[FileFacts]) -> list[Entry]:
    entries = (Entry(file.path, file.blob, file.size, file.kind) for file in files)
    return sorted(entries, key=lambda entry: (-entry.size, entry.path))[:TOP]
