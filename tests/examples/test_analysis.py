"""What the example finds in a repository, on small repositories made for it."""

import os
import random
import subprocess
import sys
import time

import analysis
import msgspec
import pytest
from analysis.files import MARKS_MAX, READ_BYTES_MAX, facts_of, find_todos
from analysis.functions import NotParsedError, braced_functions, python_functions
from analysis.languages import language_of
from analysis.leaks import entropy_bits, find_secrets, redact
from analysis.model import Entry, FileFacts, History, Inventory, Summary
from analysis.report import literal, size_text
from analysis.summary import merge

AWS_KEY = "AKIA" + "Q3EGR7ZT5M2WXYLB"  # in two parts, so that scanners of this repository stay quiet
GITHUB_TOKEN = "ghp_" + "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8"


def whole(path):
    """The analysis as the run makes it, in one go."""
    place, commit = analysis.locate(str(path))
    inventory = analysis.list_files(place, commit)
    history = analysis.read_history(place, commit, 0, 1000)
    files = analysis.analyse_files(place, inventory.entries)
    return analysis.summarise(inventory, [history], files), {file.path: file for file in files}


def facts(name, content):
    content = content.encode() if isinstance(content, str) else content
    return facts_of(Entry(name, "0" * 40, len(content), "file"), content)


# repositories


def test_not_a_repository_is_told_plainly(tmp_path):
    with pytest.raises(analysis.RepositoryError, match="is not a Git repository"):
        analysis.locate(str(tmp_path))


def test_a_path_that_does_not_exist_is_told_plainly(tmp_path):
    with pytest.raises(analysis.RepositoryError, match="is not a directory"):
        analysis.locate(str(tmp_path / "nowhere"))


def test_a_repository_without_commits_is_told_plainly(repository):
    with pytest.raises(analysis.RepositoryError, match="has no commit yet"):
        analysis.locate(str(repository.path))


def test_an_empty_tree_gives_a_report(repository):
    repository.commit(options=["--allow-empty"])
    summary, _ = whole(repository.path)
    assert summary.totals["files"] == 0
    assert "0 tracked files (none)" in analysis.render("empty", summary)


def test_a_folder_inside_means_the_whole_repository(repository):
    repository.write("top.txt", "a\n")
    repository.write("inner/deep.txt", "b\n")
    commit = repository.commit()
    place, head = analysis.locate(str(repository.path / "inner"))
    assert (place, head) == (str(repository.path.resolve()), commit)
    assert [entry.path for entry in analysis.list_files(place, head).entries] == ["inner/deep.txt", "top.txt"]


def test_a_bare_repository_is_read(repository, tmp_path):
    repository.write("a.py", "x = 1\n")
    repository.commit()
    repository.git("clone", "--quiet", "--bare", str(repository.path), str(tmp_path / "bare.git"))
    summary, _ = whole(tmp_path / "bare.git")
    assert summary.totals["kind: text"] == 1


def test_a_sha256_repository_is_read(make_repository):
    repository = make_repository("sha256", "--object-format=sha256")
    repository.write("a.py", "x = 1\n")
    commit = repository.commit()
    summary, _ = whole(repository.path)
    assert (len(commit), summary.commits_read, summary.languages[0].name) == (64, 1, "Python")


def test_the_commit_is_read_not_the_working_tree(repository):
    repository.write("a.txt", "committed\n")
    repository.commit()
    before = whole(repository.path)
    repository.write("a.txt", "changed since\n" * 9)
    repository.write("untracked.txt", "new\n")
    (repository.path / ".gitattributes").write_text("* diff=x\n")
    assert whole(repository.path) == before


def test_a_hook_environment_does_not_redirect_git(repository, make_repository, monkeypatch):
    repository.write("a.txt", "a\n")
    commit = repository.commit()
    other = make_repository("other")
    monkeypatch.setenv("GIT_DIR", str(other.path / ".git"))
    assert analysis.locate(str(repository.path)) == (str(repository.path.resolve()), commit)


# odd entries


def test_odd_names_are_listed_and_read(repository):
    names = ["a b.txt", "tab\there.txt", "line\nbreak.txt", "-dash.txt", "quote'\".txt", ":(glob)*.txt", "ünï.txt"]
    for name in names:
        repository.write(name, f"{name}\n")
    repository.commit()
    _, files = whole(repository.path)
    assert sorted(files) == sorted(names)
    assert all(file.kind == "text" for file in files.values())


def test_a_name_that_is_not_utf8_stays_readable_and_is_json(repository):
    for number in (1, 2):
        repository.write("a.py", f"def f():\n    return {number}\n")
        repository.stage(b"caf\xe9.py", "100644", repository.git("hash-object", "-w", "a.py").strip())
        repository.commit(add=False)
    summary, files = whole(repository.path)
    assert list(files) == ["caf\\xe9.py"]
    assert summary.hot_spots[0].path == "caf\\xe9.py"
    assert msgspec.json.decode(msgspec.json.encode(summary), type=Summary) == summary


def test_symlinks_and_submodules_are_noted_not_followed(repository, make_repository):
    inner = make_repository("inner")
    inner.write("x.txt", "x\n")
    repository.stage("vendored", "160000", inner.commit())
    (repository.path / "link").symlink_to("/etc/passwd")
    repository.git("add", "link")
    repository.commit(add=False)
    _, files = whole(repository.path)
    assert {path: file.kind for path, file in files.items()} == {"link": "symlink", "vendored": "submodule"}


def test_content_that_is_not_in_the_clone_is_said(repository):
    repository.write("a.txt", "a\n")
    repository.write("b.txt", "b\n")
    repository.commit()
    blob = repository.git("rev-parse", "HEAD:a.txt").strip()
    (repository.path / ".git" / "objects" / blob[:2] / blob[2:]).unlink()
    place, _ = analysis.locate(str(repository.path))
    entries = [
        Entry("a.txt", blob, 2, "file"),
        Entry("b.txt", repository.git("rev-parse", "HEAD:b.txt").strip(), 2, "file"),
    ]
    assert [file.kind for file in analysis.analyse_files(place, entries)] == ["missing", "text"]


def test_a_huge_file_is_read_in_part_and_that_is_said(repository):
    repository.write("big.txt", b"line\n" * (READ_BYTES_MAX // 5 + 1000))
    repository.write("small.txt", "s\n")
    repository.commit()
    summary, files = whole(repository.path)
    assert files["big.txt"].size > READ_BYTES_MAX
    assert files["big.txt"].lines == READ_BYTES_MAX // 5 + 1
    assert "only the first" in files["big.txt"].notes[0]
    assert summary.largest[0].path == "big.txt"
    assert "## Read with limits" in analysis.render("x", summary)


def test_a_huge_text_cut_inside_a_character_still_counts_as_utf8():
    content = ("é" * READ_BYTES_MAX).encode()
    entry = Entry("a.txt", "0" * 40, len(content), "file")
    assert facts_of(entry, content[: READ_BYTES_MAX - 1]).notes == [
        f"only the first {READ_BYTES_MAX:,} bytes were read"
    ]


@pytest.mark.parametrize(
    ("content", "kind", "notes"),
    [
        (b"", "text", []),
        (b"\x89PNG\r\n\x1a\n\0\0", "binary", []),
        (b"caf\xe9\n", "text", ["it is not UTF-8"]),
        ("\N{REPLACEMENT CHARACTER}\n".encode(), "text", []),
        ("é\n".encode("utf-16"), "text", ["it is UTF-16"]),
        (b"\xef\xbb\xbfbom\n", "text", []),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "lfs", []),
    ],
)
def test_kinds_and_encodings(content, kind, notes):
    found = facts("a.txt", content)
    assert (found.kind, found.notes) == (kind, notes)
    assert msgspec.json.decode(msgspec.json.encode(found), type=FileFacts) == found


# history


def test_history_counts_authors_months_and_churn(repository):
    repository.write("hot.py", "a = 1\n" * 10)
    repository.write("cold.py", "b = 1\n")
    repository.commit(author="Ada <ADA@example.org>", month=1)
    repository.write("hot.py", "a = 2\n" * 10)
    repository.commit(author="Ada Lovelace <ada@example.org>", month=3)
    repository.write("hot.py", "a = 3\n" * 5)
    repository.commit(author="Grace <grace@example.org>", month=3)
    summary, _ = whole(repository.path)
    assert summary.months == {"2024-01": 1, "2024-03": 2}
    assert [(one.name, one.commits, one.added, one.deleted) for one in summary.authors] == [
        ("Ada Lovelace", 2, 21, 10),
        ("Grace", 1, 5, 10),
    ]
    assert [(spot.path, spot.commits, spot.churn, spot.lines) for spot in summary.hot_spots] == [("hot.py", 3, 45, 5)]


def test_stretches_of_history_add_up_to_the_whole(repository):
    for number in range(7):
        repository.write("a.txt", f"{number}\n" * (number + 1))
        repository.commit(author=f"A{number % 2} <{number % 2}@x>", month=1 + number % 3, options=["--allow-empty"])
    place, commit = analysis.locate(str(repository.path))
    parts = [analysis.read_history(place, commit, skip, 3) for skip in (0, 3, 6)]
    assert [part.commits for part in parts] == [3, 3, 1]
    assert merge(parts) == merge([analysis.read_history(place, commit, 0, 100)])


def test_merges_and_binary_changes_do_not_confuse_history(repository):
    repository.write("a.bin", b"\0" * 10)
    repository.commit()
    repository.git("checkout", "--quiet", "-b", "side")
    repository.write("b\n1\t2\tb.txt", "x\n")
    repository.commit(month=2)
    repository.git("checkout", "--quiet", "main")
    repository.write("a.bin", b"\0" * 20)
    repository.commit(month=2)
    who = {f"GIT_{role}_{part}": "m@x" for role in ("AUTHOR", "COMMITTER") for part in ("NAME", "EMAIL")}
    repository.git("merge", "--quiet", "--no-ff", "-m", "merge", "side", identity=who)
    place, commit = analysis.locate(str(repository.path))
    history = analysis.read_history(place, commit, 0, 10)
    assert history.commits == 4
    assert {path: change.lines for path, change in history.churn.items()} == {"a.bin": 0, "b\n1\t2\tb.txt": 1}


def test_a_shallow_clone_says_so(repository, tmp_path):
    for number in range(3):
        repository.write("a.txt", f"{number}\n")
        repository.commit()
    repository.git("clone", "--quiet", "--depth=1", f"file://{repository.path}", str(tmp_path / "shallow"))
    summary, _ = whole(tmp_path / "shallow")
    assert (summary.shallow, summary.commits_known) == (True, 1)
    assert "The clone is shallow" in analysis.render("x", summary)


def test_a_history_read_in_part_says_so(repository):
    for number in range(3):
        repository.write("a.txt", f"{number}\n")
        repository.commit()
    place, commit = analysis.locate(str(repository.path))
    inventory = analysis.list_files(place, commit)
    summary = analysis.summarise(inventory, [analysis.read_history(place, commit, 0, 2)], [])
    assert "the newest 2 of 3 commits were read" in analysis.render("x", summary)


# what is in the files


@pytest.mark.parametrize(
    ("path", "text", "language"),
    [
        ("a.py", "", "Python"),
        ("Dockerfile", "", "Dockerfile"),
        ("deep/GNUmakefile", "", "Makefile"),
        ("a.JS", "", "JavaScript"),
        ("run", "#!/usr/bin/env -S python3.11 -u\n", "Python"),
        ("run", "#!/bin/bash -e\n", "Shell"),
        ("run", "#! /usr/bin/env X=1 node\n", "JavaScript"),
        ("run", "#!/usr/bin/env\n", "Other"),
        ("run", "#!", "Other"),
        (".gitignore", "*.pyc\n", "Other"),
        ("odd\nname", "", "Other"),
    ],
)
def test_language_by_name_then_by_first_line(path, text, language):
    assert language_of(path, text) == language


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        (f"key = {AWS_KEY}", "AWS access key id"),
        (f"token: {GITHUB_TOKEN}", "GitHub token"),
        ("-----BEGIN RSA " + "PRIVATE KEY-----", "private key"),
        ("-----BEGIN " + "PRIVATE KEY-----", "private key"),
        ("postgres://admin:" + "hunter2hunter@db.internal/x", "password in a URL"),
        ("password = " + '"kJ8#mQ2!vX9z"', "assigned secret"),
        ("'api_key': " + "'9f8e7d6c5b4a39281706'", "assigned secret"),
    ],
)
def test_secrets_are_found_and_never_shown(line, rule):
    (mark,) = find_secrets(f"first line\n{line}\n", 20)
    assert (mark.line, mark.name) == (2, rule)
    assert mark.text.endswith(" characters")
    secret = facts("a.txt", line)
    assert line.split()[-1].strip("\"'") not in msgspec.json.encode(secret).decode()


@pytest.mark.parametrize(
    "line",
    [
        'password = "changeme123"',
        'password = "${DB_PASSWORD}"',
        'token = "<your-token-here>"',
        'secret = "aaaaaaaaaaaa"',
        'password = get_password("database")',
        "https://user:password@example.org/",
        'token = "tokenization"',
        "integrity sha512-Zm9vYmFyYmF6cXV4Zm9vYmFyYmF6cXV4",
    ],
)
def test_placeholders_are_not_secrets(line):
    assert find_secrets(line, 20) == []


def test_one_secret_is_reported_once_by_the_more_specific_rule():
    assert [mark.name for mark in find_secrets(f'token = "{GITHUB_TOKEN}"', 20)] == ["GitHub token"]


def test_a_secret_beside_a_todo_is_not_repeated():
    (mark,) = find_todos(f"# TODO: rotate {AWS_KEY} soon\n")
    assert mark.text == "rotate [redacted] soon"
    assert AWS_KEY not in redact(AWS_KEY)


def test_entropy():
    assert entropy_bits("") == 0.0
    assert entropy_bits("aaaa") == 0.0
    assert entropy_bits("abcd") == pytest.approx(2.0)


def test_todos_have_line_mark_and_text():
    text = "x\n# TODO(ada): first\n/* FIXME second */\nmastodon TODOS = 1\n// XXX\n"
    assert [(mark.line, mark.name, mark.text) for mark in find_todos(text)] == [
        (2, "TODO", "first"),
        (3, "FIXME", "second"),
        (5, "XXX", ""),
    ]
    assert len(find_todos("TODO a\n" * 100)) == MARKS_MAX


def test_python_functions_have_qualified_names_and_exact_lengths():
    source = (
        "class A:\n    async def f(self):\n        def g():\n            pass\n        return g\n\n@x\ndef h(): ...\n"
    )
    assert [(one.name, one.line, one.lines) for one in python_functions(source)] == [
        ("A.f", 2, 4),
        ("A.f.g", 3, 2),
        ("h", 8, 1),
    ]


@pytest.mark.parametrize("source", ["print 'two'", "def f(:", "x = '\\d' \0", "(" * 5000])
def test_what_is_not_python_is_noted(source):
    with pytest.raises(NotParsedError):
        python_functions(source)
    assert facts("a.py", source.replace("\0", "")).kind == "text"


def test_an_invalid_escape_warns_nobody():
    assert [one.name for one in python_functions("def f():\n    return '\\d'\n")] == ["f"]


@pytest.mark.parametrize(
    ("language", "source", "expected"),
    [
        ("C", "int add(int a,\n        int b)\n{\n  if (a) { b(); }\n  return a;\n}\n", [("add", 1, 6)]),
        ("C", "#define X(a) do { a; \\\nint f(void) {\n return '{';\n}\n", [("f", 2, 3)]),
        ("Go", "func (s *Server) Run(ctx C) (int, error) {\n\tx := `{`\n\treturn 0, nil\n}\n", [("Run", 1, 4)]),
        ("Rust", "impl<'a> T<'a> {\n  fn get<F>(&'a self, f: F) -> u8 {\n    1\n  }\n}\n", [("get", 2, 3)]),
        ("JavaScript", "const f = async (a) => {\n  for (const x of a) { g(x); }\n};\n", [("f", 1, 3)]),
        ("JavaScript", "function g(a) {\n  return '}' + `}`;\n}\n", [("g", 1, 3)]),
        ("JavaScript", "function h(a) {\n  return a.replace(/[`'\"/]{/g, '') / 2;\n}\n", [("h", 1, 3)]),
        ("TypeScript", "class A {\n  run(x: number): void {\n    // }\n  }\n}\n", [("run", 2, 3)]),
        (
            "Java",
            "class A {\n  public List<B> all(int n) throws E {\n    while (n > 0) { n--; }\n  }\n}\n",
            [("all", 2, 3)],
        ),
        ("C", "} } }", []),
        ("C", "int f(", []),
    ],
)
def test_braced_functions(language, source, expected):
    assert [(one.name, one.line, one.lines) for one in braced_functions(source, language)] == expected


@pytest.mark.parametrize(
    "piece",
    ["/*", '\\"', "'", "`", "(", "{", "f(){", "a<", "-", "=/[", "=/a", "eyJaaaaaaaa.", "://a:", "token='", "TODO"],
)
@pytest.mark.parametrize("name", ["a.js", "a.rs", "a.c"])
def test_hostile_text_takes_no_time(piece, name):
    started = time.process_time()
    facts(name, piece * (200_000 // len(piece)))
    assert time.process_time() - started < 10.0


def test_random_bytes_never_raise():
    chance = random.Random(7)
    for number in range(300):
        content = bytes(chance.choices(b"(){};=/*'\"`#\\\n ab\xff:", k=400))
        name = ("a.py", "a.js", "a.c", "a.go", "a.rs", "a")[number % 6]
        found = facts(name, content)
        assert msgspec.json.decode(msgspec.json.encode(found), type=FileFacts) == found


# summary and report


def test_identical_files_are_found_by_content(repository):
    for name in ("a/one.txt", "b/two.txt", "c"):
        repository.write(name, "the same content\n")
    for name in ("empty1", "empty2"):
        repository.write(name)
    repository.commit()
    summary, _ = whole(repository.path)
    assert [(one.size, one.paths) for one in summary.duplicates] == [(17, ["a/one.txt", "b/two.txt", "c"])]


def test_the_same_commit_gives_the_same_bytes(repository):
    repository.write("a.py", f"# TODO x\ndef f():\n    return '{AWS_KEY}'\n")
    repository.write("b.png", b"\x89PNG\0")
    repository.commit()
    first, second = (analysis.render("x", whole(repository.path)[0]) for _ in range(2))
    assert first == second
    assert AWS_KEY not in first
    for section in (
        "Languages",
        "Likely secrets",
        "Unfinished",
        "Longest functions",
        "Binary files",
        "Activity by month",
    ):
        assert f"## {section}" in first


def test_names_cannot_break_out_of_the_report(repository):
    repository.write("a|b`c\n# Title.md", "x\n")
    repository.commit(author="<script>|\u202e <x@x>")
    report = analysis.render("x", whole(repository.path)[0])
    assert "\n# Title" not in report
    assert "\u202e" not in report
    assert "`` a\\|b`c\\n# Title.md ``" in report


@pytest.mark.parametrize(("text", "shown"), [("a b", "`a b`"), ("", "` `"), ("a|b", "`a\\|b`"), ("a\tb", "`a\\tb`")])
def test_literal(text, shown):
    assert literal(text) == shown


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 bytes"), (1023, "1023 bytes"), (1536, "1.5 KiB"), (5 * 2**40, "5120.0 GiB")]
)
def test_size_text(size, text):
    assert size_text(size) == text


def test_what_steps_return_comes_back_from_json_unchanged(repository):
    repository.write("a.py", "def f(): ...\n")
    repository.commit()
    place, commit = analysis.locate(str(repository.path))
    inventory = analysis.list_files(place, commit)
    history = analysis.read_history(place, commit, 0, 10)
    for value, kind in ((inventory, Inventory), (history, History)):
        assert msgspec.json.decode(msgspec.json.encode(value), type=kind) == value


def test_the_analysis_needs_nothing_but_git_and_msgspec(repository):
    """Where the git command is absent, that is what is said."""
    code = "import analysis, sys\ntry: analysis.locate(sys.argv[1])\nexcept analysis.RepositoryError as e: print(e)"
    environment = {"PATH": "", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", code, str(repository.path)], env=environment, capture_output=True, check=True
    )
    assert b"the git command was not found" in done.stdout
