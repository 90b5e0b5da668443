"""What somebody who writes a document should know: warnings, which refuse nothing."""

from __future__ import annotations

from collections.abc import Iterator

from agentmemo.model import workflows as model
from agentmemo.model.workflows import WorkflowDocument, walk

TRIGGERS_ADVISED = 10
SKILL_TOKENS_MAX, SKILL_LINES_MAX = 5000, 500
# Some models cost several times as much from here on, for every token.
PRICE_CLIFF_TOKENS = 100_000
CHARACTERS_PER_TOKEN = 4
STEPS_ADVISED = 12


def tokens_of(text: str) -> int:
    """About how many tokens a text is."""
    return -(-len(text) // CHARACTERS_PER_TOKEN)


def warnings_of(document: WorkflowDocument) -> list[str]:
    return [*_finding(document), *_size(document), *_evidence(document)]


def _finding(document: WorkflowDocument) -> Iterator[str]:
    if not document.description:
        yield "No description: say what it does and when to use it; that is what it is found by."
    if len(document.triggers) < TRIGGERS_ADVISED:
        yield (
            f"{len(document.triggers)} triggers: at least {TRIGGERS_ADVISED} different ways to ask for it make it "
            "found among many."
        )


def _size(document: WorkflowDocument) -> Iterator[str]:
    content = model.canonical(document).decode()
    told = sum(tokens_of(step.instruction or "") for step in walk(document.steps))
    told += sum(tokens_of(case.when + case.then) for case in document.edge_cases)
    lines = sum((step.instruction or "").count("\n") + 1 for step in walk(document.steps)) + len(document.edge_cases)
    if told > SKILL_TOKENS_MAX or lines > SKILL_LINES_MAX:
        yield (
            f"About {told} tokens on {lines} lines of instructions and edge cases: a SKILL.md should stay under "
            f"{SKILL_TOKENS_MAX} tokens and {SKILL_LINES_MAX} lines, and short documents are followed better."
        )
    if len(document.steps) > STEPS_ADVISED:
        yield f"{len(document.steps)} steps: two or three focused workflows are followed better than one long one."
    for step in walk(document.steps):
        if step.context.max_tokens > PRICE_CLIFF_TOKENS:
            yield (
                f"Step {step.id} may be shown {step.context.max_tokens} tokens: from {PRICE_CLIFF_TOKENS} on some "
                "models cost several times as much for all of them."
            )
    if tokens_of(content) > PRICE_CLIFF_TOKENS:
        yield f"About {tokens_of(content)} tokens in all: who loads the whole document may pay several times as much."


def _evidence(document: WorkflowDocument) -> Iterator[str]:
    asked = [step for step in walk(document.steps) if step.kind == model.LLM]
    bare = [step.id for step in asked if not _is_checked(step)]
    if bare:
        yield f"No hard check on {', '.join(bare)}: nothing can show that a cheaper model does it."
    bar, count = document.quality.step_bar, len(asked)
    if count > 1 and bar**count < document.quality.run_bar:
        yield (
            f"{count} model steps at {bar:.0%} each succeed together in {bar**count:.0%} of the runs, and the bar of "
            f"a run is {document.quality.run_bar:.0%}: raise quality.step_bar or make some of them tools."
        )
    if not document.examples and asked:
        yield "No examples: verified ones help a small model more than instructions do."


def _is_checked(step: model.Step) -> bool:
    return step.output_schema is not None or any(check.severity == "hard" for check in step.checks)
