"""Functions and their lengths: exact for Python, a heuristic on braces for languages that look like C."""

import ast
import re
import warnings

from analysis.model import Function

_LONG_QUOTES = {"JavaScript", "TypeScript", "PHP", "Dart"}
_PATTERNS = {"JavaScript", "TypeScript"}
_BACKTICKS = {"JavaScript", "TypeScript", "Go"}
BRACED = _LONG_QUOTES | _BACKTICKS | {"C", "C#", "C++", "Java", "Kotlin", "Rust", "Scala", "Swift", "Zig"}

_COMMENT = r"//[^\n]*|/\*.*?(?:\*/|\Z)|^[ \t]*#[^\n]*"
_DOUBLE = r'"(?:\\.|[^"\\\n])*"?'
_SINGLE = r"'(?:\\.|[^'\\\n])*'?"
_CHARACTER = r"'(?:\\[^\n']{1,8}|[^'\\\n])'"
_BACKTICK = r"`(?:\\.|[^`\\])*`?"
_PATTERN = r"(?<=[=(,:!&|])[ ]?/(?![/*])(?:\\[^\n]|\[(?:\\[^\n]|[^\]\\\n]){0,200}\]|[^/\\\n\[]){1,300}/"
_DELIMITER = re.compile(r"[{};]")
_HEADER_MAX = 600
_CONTROL = re.compile(
    r"(?:^|\W)(?:if|else|for|foreach|while|switch|catch|do|try|with|synchronized|lock|using|match|return|throw|new|"
    r"class|interface|namespace|trait|impl|object|enum|record|select|guard)\b"
)
_ASSIGNED = re.compile(r"([\w$]+)\s*[:=]\s*(?:async\s+)?(?:function\b|\([^()]*\)[^()=]*=>|[\w$]+\s*=>)")
_CALLED = re.compile(r"([A-Za-z_$~][\w$]*)\s*(?:<[^<>()]*>)?\s*\(")
_NOT_A_NAME = {"func", "function", "fn", "fun", "operator", "sizeof", "typeof", "decltype", "noexcept", "throws"}


class NotParsedError(Exception):
    """The file is not Python of this interpreter's version."""


def python_functions(source: str) -> list[Function]:
    """Every function with its qualified name, decorators not counted."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            tree = ast.parse(source)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            raise NotParsedError from error
    found: list[Function] = []
    pending: list[tuple[ast.AST, str]] = [(tree, "")]
    while pending:
        parent, prefix = pending.pop()
        for node in ast.iter_child_nodes(parent):
            inner = prefix
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                inner = f"{prefix}{node.name}."
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                found.append(Function(name=inner.removesuffix("."), line=node.lineno, lines=length))
            pending.append((node, inner))
    return sorted(found, key=lambda function: (function.line, function.name))


def braced_functions(source: str, language: str) -> list[Function]:
    """Blocks whose header reads like a function; macros and unbalanced conditionals can mislead it."""
    code = _without_strings(source, language)
    found: list[Function] = []
    blocks: list[tuple[str, int]] = []
    before, line, counted = 0, 1, 0
    for delimiter in _DELIMITER.finditer(code):
        line += code.count("\n", counted, delimiter.start())
        counted = delimiter.start()
        if delimiter[0] == "{":
            header = code[max(before, delimiter.start() - _HEADER_MAX) : delimiter.start()]
            blocks.append((_function_name(header), line - header.lstrip().count("\n")))
        elif delimiter[0] == "}" and blocks:
            name, start = blocks.pop()
            if name:
                found.append(Function(name=name, line=start, lines=line - start + 1))
        before = delimiter.end()
    return sorted(found, key=lambda function: (function.line, function.name))


def _function_name(header: str) -> str:
    if assigned := _ASSIGNED.search(header):
        return assigned[1]
    if header.count("(") != header.count(")") or _CONTROL.search(header):
        return ""
    names = (match[1] for match in _CALLED.finditer(header))
    return next((name for name in names if name not in _NOT_A_NAME), "")


def _without_strings(source: str, language: str) -> str:
    """Strings, comments and directives emptied, line breaks kept. Every alternative ends, so this stays linear."""
    patterns = [_COMMENT, _DOUBLE, _SINGLE if language in _LONG_QUOTES else _CHARACTER]
    if language in _BACKTICKS:
        patterns.append(_BACKTICK)
    if language in _PATTERNS:
        patterns.append(_PATTERN)
    blank = re.compile("|".join(patterns), re.DOTALL | re.MULTILINE)
    return blank.sub(lambda match: "\n" * match[0].count("\n"), source)
