"""YAML as JSON is: texts, numbers, truths, lists and objects, and nothing that surprises.

`on`, `no` and `2026-11-28` are texts; a key that comes twice, anchors, tags and merges are refused. The library is
imported when a file is read or written.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from agentmemo.errors import InvalidInput, LimitExceeded, Unavailable
from agentmemo.model.values import DEPTH_MAX, check

BYTES_MAX = 4 * 1024 * 1024
_PREFIX = "tag:yaml.org,2002:"
# (kind, what it looks like, the first characters that it can have), as in the core schema of YAML 1.2.
_PLAIN = (
    ("null", re.compile(r"(?:~|null|Null|NULL|)\Z"), "~nN"),
    ("bool", re.compile(r"(?:true|True|TRUE|false|False|FALSE)\Z"), "tTfF"),
    ("int", re.compile(r"[-+]?(?:0|[1-9][0-9]*)\Z"), "-+0123456789"),
    ("float", re.compile(r"[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z"), "-+.0123456789"),
)

# What some readers take for the end of a line.
_BREAKS = re.compile("[\r\x85\u2028\u2029\ufeff]")


def loads(content: bytes | str, what: str = "The file") -> Any:
    """The JSON value of a YAML text. Raises InvalidInput with line and column of what does not belong there."""
    if len(content) > BYTES_MAX:
        raise LimitExceeded(f"{what} has {len(content)} bytes; {BYTES_MAX} is the most.", next_call="Shorten it.")
    yaml, loader, _ = _library()
    try:
        text = content.decode() if isinstance(content, bytes) else content
        found = yaml.load(text, Loader=loader)  # our own, which makes JSON only
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{what} is not UTF-8: {error.reason}.", next_call="Convert it to UTF-8 first.") from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        said = " ".join(str(error).split()) or type(error).__name__
        raise InvalidInput(f"{what} cannot be read as YAML: {said}", next_call="Correct it there.") from None
    check(found)
    return found


def dumps(value: Any) -> str:
    """A JSON value as YAML that `loads` reads back as exactly this, and a person likes to read."""
    yaml, _, dumper = _library()
    made: str = yaml.dump(value, Dumper=dumper, sort_keys=False, allow_unicode=True, width=110)
    return made


@cache
def _library() -> tuple[Any, Any, Any]:
    """The module, our loader and our dumper."""
    try:
        import yaml
    except ImportError as error:
        raise Unavailable(
            "YAML cannot be read or written here: PyYAML is not installed.",
            why="It is an extra; JSON needs none.",
            next_call="Install it: pip install 'agentmemo[yaml]', or use JSON.",
            retry_safe=False,
        ) from error
    return yaml, _loader(yaml), _dumper(yaml)


def _loader(yaml: Any) -> Any:
    class Loader(yaml.SafeLoader):  # type: ignore[misc]
        """Makes what JSON has."""

        depth = 0

        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(yaml.AliasEvent) or getattr(self.peek_event(), "anchor", None):
                raise _refused(yaml, self.peek_event(), "anchors and aliases are not taken; write it out")
            event = self.peek_event()
            self.depth += 1
            if self.depth > DEPTH_MAX:
                raise _refused(yaml, event, f"it is nested deeper than {DEPTH_MAX} levels")
            if getattr(event, "tag", None) not in (None, "!"):
                raise _refused(yaml, event, f"the tag {event.tag} is not taken")
            node = super().compose_node(parent, index)
            self.depth -= 1
            return node

        def construct_mapping(self, node: Any, deep: bool = False) -> Any:  # noqa: FBT001, FBT002 - the library's
            met = set()
            for key, _ in node.value:
                if not isinstance(key, yaml.ScalarNode):
                    raise yaml.constructor.ConstructorError(None, None, "a key is a text", key.start_mark)
                if key.value in met:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"the key {key.value!r} comes twice", key.start_mark
                    )
                met.add(key.value)
                key.tag = f"{_PREFIX}str"
            return super().construct_mapping(node, deep)

    Loader.yaml_implicit_resolvers = {}
    for kind, pattern, first in _PLAIN:
        Loader.add_implicit_resolver(f"{_PREFIX}{kind}", pattern, [*first, *([""] if kind == "null" else [])])
    Loader.add_constructor(f"{_PREFIX}int", lambda loader, node: int(loader.construct_scalar(node)))
    Loader.add_constructor(f"{_PREFIX}float", lambda loader, node: float(loader.construct_scalar(node)))
    return Loader


def _dumper(yaml: Any) -> Any:
    class Dumper(yaml.SafeDumper):  # type: ignore[misc]
        """Quotes whatever either version of YAML would take for something else."""

        def ignore_aliases(self, data: Any) -> bool:
            del data
            return True

    Dumper.yaml_implicit_resolvers = {key: list(each) for key, each in yaml.SafeDumper.yaml_implicit_resolvers.items()}
    for kind, pattern, first in _PLAIN:
        Dumper.add_implicit_resolver(f"{_PREFIX}{kind}", pattern, list(first))

    def text(dumper: Any, value: str) -> Any:
        style = '"' if _BREAKS.search(value) else "|" if "\n" in value else None
        return dumper.represent_scalar(f"{_PREFIX}str", value, style=style)

    def number(dumper: Any, value: float) -> Any:
        return dumper.represent_scalar(f"{_PREFIX}float", repr(value))

    Dumper.add_representer(str, text)
    Dumper.add_representer(float, number)
    return Dumper


def _refused(yaml: Any, event: Any, why: str) -> Exception:
    error: Exception = yaml.composer.ComposerError(None, None, why, event.start_mark)
    return error
