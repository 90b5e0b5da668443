"""Make the synchronous client from the asynchronous one, word by word.

python scripts/generate_sync.py           write src/agentmemo/client/_sync
python scripts/generate_sync.py --check   fail if what is there differs
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

CLIENT = Path(__file__).parent.parent / "src" / "agentmemo" / "client"
HEADER = "# Generated from client/_async by scripts/generate_sync.py; edit there.\n"
WORDS = (
    (r"\bawait (?=\w)", ""),
    (r"\bawait \(", "("),
    (r"\(await ", "("),
    (r"\basync (def|with|for)\b", r"\1"),
    (r"\bclient\._async\b", "client._sync"),
    (r"\bclient/_async\b", "client/_sync"),
    (r"\bAsync([A-Z]\w*)", r"\1"),
    (r"\bconnect_async\b", "connect"),
    (r"\bcurrent_async\b", "current_sync"),
    (r"\bflow_async\b", "flow"),
    (r"`async with`", "`with`"),
    (r"\b__aenter__\b", "__enter__"),
    (r"\b__aexit__\b", "__exit__"),
    (r"\b__aiter__\b", "__iter__"),
    (r"\b__anext__\b", "__next__"),
    (r"agentmemo_(\w+)_async", r"agentmemo_\1"),
    (r"Callable\[\.\.\., Awaitable\[Any\]\]", "Callable[..., Any]"),
    (r"Callable\[\[Any\], Awaitable\[Any\]\]", "Callable[[Any], Any]"),
    (r"Callable\[\[str\], Awaitable\[(Page\[T\])\]\]", r"Callable[[str], \1]"),
    (r"from collections\.abc import Awaitable, Callable\n", "from collections.abc import Callable\n"),
    (
        r"from collections\.abc import Iterator, Awaitable, Callable\n",
        "from collections.abc import Callable, Iterator\n",
    ),
    (r"self\.transport\.blocking\(\)", "self.transport"),
)


def convert(source: str) -> str:
    """The synchronous twin of one file."""
    for pattern, replacement in WORDS:
        source = re.sub(pattern, replacement, source)
    return HEADER + source


def formatted(source: str, name: str) -> str:
    """Formatted and with sorted imports, so that the output is stable whatever the words' lengths."""
    ruff = [str(Path(sys.executable).parent / "ruff")]
    for arguments in (["check", "--select", "I,F401", "--fix", "--quiet"], ["format", "--quiet"]):
        answer = subprocess.run(
            [*ruff, *arguments, "--stdin-filename", str(CLIENT / "_sync" / name), "-"],
            input=source,
            capture_output=True,
            text=True,
            check=True,
        )
        source = answer.stdout
    return source


def main() -> int:
    check = "--check" in sys.argv[1:]
    stale = []
    target = CLIENT / "_sync"
    target.mkdir(exist_ok=True)
    sources = {path.name: path for path in sorted((CLIENT / "_async").glob("*.py"))}
    for name, path in sources.items():
        text = formatted(convert(path.read_text(encoding="utf-8")), name)
        twin = target / name
        if check and (not twin.exists() or twin.read_text(encoding="utf-8") != text):
            stale.append(name)
        elif not check:
            twin.write_text(text, encoding="utf-8")
    stale += [path.name for path in target.glob("*.py") if path.name not in sources]
    if stale:
        print(f"client/_sync is stale: {', '.join(stale)}. Run: python scripts/generate_sync.py")
    return int(bool(stale))


if __name__ == "__main__":
    sys.exit(main())
