"""Workflows as Agent Skills: a SKILL.md made of a document, and a draft made of somebody's SKILL.md or .sop.md."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from agentmemo.errors import InvalidInput
from agentmemo.model.values import encode
from agentmemo.model.workflow_guidance import SKILL_LINES_MAX, SKILL_TOKENS_MAX, tokens_of
from agentmemo.model.workflow_text import id_of, items_of, title_of
from agentmemo.model.workflows import STEPS_MAX, EdgeCase, Example, Step, WorkflowDocument, version_of

DESCRIPTION_MAX = 1024
NAME_MAX = 64
EXAMPLES_FILE = "references/examples.md"
STEPS_FILE = "references/steps.md"
UNKNOWN = "unknown"
_FRONT = re.compile(r"\A\ufeff?---[ \t]*\r?\n(?P<front>.*?)^---[ \t]*\r?$\n?(?P<body>.*)\Z", re.DOTALL | re.MULTILINE)
_HEADING = re.compile(r"(#{1,6})\s+(.*?)\s*#*\Z")
_FENCE = re.compile(r"\s*(?:```|~~~)")
_NO_NAME = re.compile(r"[^a-z0-9]+")
_STEPS = re.compile(r"\b(?:steps|instructions|workflow|procedure|process|method)\b", re.IGNORECASE)
_CASES = re.compile(r"\b(?:edge cases?|exceptions?|special cases?|troubleshooting|pitfalls)\b", re.IGNORECASE)
_OVERVIEW = re.compile(r"\b(?:overview|summary|purpose)\b", re.IGNORECASE)
_NUMBERED = re.compile(r"(?:step\s+)?\d+[.:)]\s*", re.IGNORECASE)
_EXPRESSION = re.compile(r"(\A|\{)\$(?=(?:inputs|steps|item|index)\b)")
_MUST = re.compile(r"\bMUST\b")
_CHECKS_MAX = 20
_INSTRUCTION_MAX = 20_000
_CHECK_MAX = 4000


class Skill(NamedTuple):
    """The files of a skill, by their path inside its folder. The whole document comes to them from elsewhere."""

    name: str
    files: dict[str, str]


class Section(NamedTuple):
    level: int
    title: str
    body: str


# Out


def skill_of(document: WorkflowDocument, facts: Mapping[str, str], whole: str) -> Skill:
    """SKILL.md, and what is too long for it; `facts` stand in its metadata, `whole` is where the document stands."""
    files: dict[str, str] = {}
    examples = _examples(document)
    body = _body(document, _steps(document), examples, whole)
    if _is_long(body) and examples:
        files[EXAMPLES_FILE] = f"# Examples\n\n{examples}\n"
        body = _body(document, _steps(document), f"They stand in {EXAMPLES_FILE}.", whole)
    if _is_long(body):
        files[STEPS_FILE] = f"# Steps\n\n{_steps(document)}\n"
        short = "\n".join(f"{number}. {_title(step)}" for number, step in enumerate(document.steps, 1))
        body = _body(document, f"{short}\n\nEach is told in full in {STEPS_FILE}.", f"They stand in {EXAMPLES_FILE}."
                     if examples else "", whole)  # fmt: skip
    if _is_long(body):
        body = f"# {document.name}\n\nRead {STEPS_FILE} and {whole} before you begin.\n"
    files["SKILL.md"] = _front(document, facts) + "\n" + body
    return Skill(document.name, files)


def _front(document: WorkflowDocument, facts: Mapping[str, str]) -> str:
    by = document.designed_by
    metadata = {
        "workflow-version": version_of(document),
        "designed-by": f"person:{by.person}" if by.person else by.model or UNKNOWN,
        "bar": f"{document.quality.run_bar:g}",
        **facts,
    }
    steps = "; ".join(_title(step) for step in document.steps)
    tools = sorted(set(document.tools) | {tool for step in document.steps for tool in (step.tool, *step.tools) if tool})
    description = _flat(document.description) or _flat(f"Steps: {steps}")
    lines = ["---", f"name: {document.name}", f"description: {_quoted(description)}"]
    lines += [f"license: {_quoted(document.license)}"] if _flat(document.license) else []
    lines += [f"allowed-tools: {_quoted(' '.join(tools))}"] if tools else []
    lines += ["metadata:", *(f"  {name}: {_quoted(value)}" for name, value in metadata.items()), "---", ""]
    return "\n".join(lines)


def _quoted(text: str) -> str:
    """No reader may find the end of the front matter in it."""
    return encode(_flat(text)).decode().replace("---", r"\x2d--")


def _flat(text: str) -> str:
    """On one line, of what can be printed."""
    plain = "".join(each if each.isprintable() else " " for each in text)
    return " ".join(plain.split())[:DESCRIPTION_MAX].strip()


def _body(document: WorkflowDocument, steps: str, examples: str, whole: str) -> str:
    parts = [f"# {document.name}"]
    parts += [document.description] if document.description else []
    parts += [f"The whole document, with schemas and checks, is {whole}.", "## Steps", steps]
    if document.edge_cases:
        parts += ["## Edge cases", "\n".join(map(_case, document.edge_cases))]
    if examples:
        parts += ["## Examples", examples]
    return "\n\n".join(parts) + "\n"


def _steps(document: WorkflowDocument) -> str:
    return "\n".join(_step(step, number) for number, step in enumerate(document.steps, 1))


def _step(step: Step, number: int, indent: str = "") -> str:
    lines = [f"{number}. **{_title(step)}**" + (f" (only if `{step.when}`)" if step.when else "")]
    told = step.instruction or ""
    if told and told != _title(step):
        lines += told.splitlines()
    if step.tool:
        given = "" if step.input is None else f" with `{encode(step.input).decode()}`"
        warned = f" ({step.effect}: once only)" if step.effect in ("write", "irreversible") else ""
        lines.append(f"Call the tool `{step.tool}`{given}.{warned}")
    if step.workflow:
        lines.append(f"Follow the workflow `{step.workflow}`.")
    if step.items:
        lines.append(f"For each of `{step.items}`:")
    lines += [f"If `{case.when}`, go on at `{case.goto}`." for case in step.cases]
    lines += [f"Check: {text}" for check in step.checks if (text := check.message or check.instruction)]
    inner = [_step(each, count, indent + "   ") for count, each in enumerate(step.steps, 1)]
    text = "\n".join([indent + lines[0], *(f"{indent}   {line}".rstrip() for line in lines[1:])])
    return "\n".join([text, *inner])


def _title(step: Step) -> str:
    return step.title or title_of(step.instruction or "") or step.id


def _case(case: EdgeCase) -> str:
    where = f" (at `{case.step}`)" if case.step else ""
    return "- " + " ".join(f"If {case.when}{where}: {case.then}".split())


def _examples(document: WorkflowDocument) -> str:
    return "\n\n".join(map(_example, document.examples))


def _example(example: Example) -> str:
    where = f" of `{example.step}`" if example.step else ""
    return f"Input{where}:\n\n{_block(example.input)}\n\nOutput:\n\n{_block(example.output)}"


def _block(value: Any) -> str:
    """Indented, so that nothing in it can end it."""
    text = value if isinstance(value, str) else encode(value).decode()
    return "\n".join(f"    {line}".rstrip() for line in text.splitlines() or [""])


def _is_long(body: str) -> bool:
    return tokens_of(body) >= SKILL_TOKENS_MAX or body.count("\n") >= SKILL_LINES_MAX


# In


def split_front(text: str) -> tuple[str, str]:
    """The front matter of a SKILL.md as YAML, and its body; without front matter all is body."""
    match = _FRONT.match(text)
    return (match["front"], match["body"]) if match else ("", text)


def draft_of(front: Mapping[str, Any], body: str, *, known_as: str, designed_by: str | None, tools: list[str]) -> Any:
    """A document from the text of a skill or an SOP, for `compile_document`.

    Sections of steps become steps done by a model, MUST lines soft checks, which measure nothing. What stands outside
    is told with the first step. The tools that it asks for are not given: `tools` are those that the caller names.
    """
    sections = list(_sections(body))
    steps = _found_steps(sections)
    if not steps:
        raise InvalidInput("There is nothing to do in it.", next_call="Bring a SKILL.md or .sop.md with instructions.")
    if len(steps) > STEPS_MAX:
        raise InvalidInput(f"It has {len(steps)} steps; {STEPS_MAX} is the most.", next_call="Bring it in parts.")
    metadata = front.get("metadata")
    said = metadata.get("designed-by") if isinstance(metadata, dict) else None
    description = str(front.get("description") or _first_text(sections))
    wanted = front.get("allowed-tools")
    return {
        "name": _name(str(front.get("name") or known_as)),
        "description": " ".join(description.split())[:DESCRIPTION_MAX],
        "designed_by": designed_by or str(said or UNKNOWN),
        "license": str(front.get("license") or "")[:200],
        "steps": [_draft_step(step, tools) for step in _named(steps)],
        "edge_cases": [case for each in sections if _CASES.search(each.title) for case in items_of(each.body)],
        "tools": tools,
        "changes": "Imported." + (f" It asks for tools that it was not given: {wanted}." if wanted else ""),
    }


def _sections(body: str) -> Iterator[Section]:
    """The parts between headings; one inside a fence is none."""
    level, title, lines, fenced = 0, "", list[str](), False
    for line in body.splitlines():
        heading = None if fenced else _HEADING.match(line)
        fenced ^= bool(_FENCE.match(line))
        if heading:
            yield Section(level, title, "\n".join(lines).strip())
            level, title, lines = len(heading[1]), heading[2], []
        else:
            lines.append(line)
    yield Section(level, title, "\n".join(lines).strip())


def _found_steps(sections: list[Section]) -> list[tuple[str, str]]:
    """(title, text) of each: the headings below a section of steps, else its items, else everything as one."""
    begin = next((index for index, each in enumerate(sections) if each.level and _is_steps(each.title)), None)
    apart = [each for each in sections if each.body and not _is_known(each.title)]
    if begin is None:
        numbered = [each for each in apart if _NUMBERED.match(each.title)]
        if numbered:
            return _with_rest([(each.title, each.body) for each in numbered], [e for e in apart if e not in numbered])
        whole = "\n\n".join(_whole(each) for each in apart)
        return [(title_of(whole), whole)] if whole.strip() else []
    head = sections[begin]
    inside = []
    for each in sections[begin + 1 :]:
        if each.level <= head.level:
            break
        inside.append(each)
    if inside:
        steps = [(each.title, each.body) for each in inside]
        rest = [Section(0, "", head.body)] if head.body else []
    else:
        steps = [(title_of(item), item) for item in items_of(head.body)]
        rest = []
    return _with_rest(steps, [*rest, *(each for each in apart if each not in (head, *inside))])


def _with_rest(steps: list[tuple[str, str]], rest: list[Section]) -> list[tuple[str, str]]:
    """What belongs to no step is told with the first, so that nothing of it is lost."""
    told = "\n\n".join(text for each in rest if (text := _whole(each).strip()))
    if not steps or not told:
        return steps
    (title, text), *others = steps
    return [(title, f"{told}\n\n{text}"), *others]


def _is_steps(title: str) -> bool:
    return bool(_STEPS.search(title)) and not _CASES.search(title)


def _is_known(title: str) -> bool:
    return bool(_CASES.search(title) or _OVERVIEW.search(title))


def _whole(section: Section) -> str:
    return f"{section.title}\n{section.body}" if section.title and section.level > 1 else section.body


def _first_text(sections: list[Section]) -> str:
    overview = [each.body for each in sections if each.body and _OVERVIEW.search(each.title)]
    texts = overview or [each.body for each in sections if each.body]
    return texts[0].split("\n\n")[0] if texts else ""


def _named(steps: list[tuple[str, str]]) -> Iterator[tuple[str, str, str]]:
    taken: set[str] = set()
    for title, text in steps:
        plain = _NUMBERED.sub("", title, count=1).strip() or title
        name = id_of(plain, taken, "step")
        taken.add(name)
        yield name, plain, text


def _draft_step(step: tuple[str, str, str], tools: list[str]) -> dict[str, Any]:
    name, title, text = step
    musts = [line.strip().lstrip("-*• ").strip() for line in text.splitlines() if _MUST.search(line)]
    checks = [
        {"kind": "second_model", "severity": "soft", "instruction": must[:_CHECK_MAX]} for must in musts[:_CHECKS_MAX]
    ]
    made: dict[str, Any] = {"id": name, "title": title_of(title), "instruction": _harmless(text or title)}
    return made | ({"checks": checks} if checks else {}) | ({"tools": tools} if tools else {})


def _harmless(text: str) -> str:
    """Words of others are no expressions: whatever could be one is told as it was written."""
    return _EXPRESSION.sub(r"\1$ ", text[: _INSTRUCTION_MAX - 1000])


def _name(name: str) -> str:
    made = _NO_NAME.sub("-", name.lower()).strip("-")[:NAME_MAX].strip("-")
    if not made:
        raise InvalidInput(f"{name[:64]!r} makes no name.", next_call="Name it with letters a to z and digits.")
    return made
