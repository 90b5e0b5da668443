"""Workflows: documents designed once, kept in versions, and found by what somebody wants done."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from agentmemo.client import skill_folders
from agentmemo.client._async.executions import AsyncExecutions
from agentmemo.client._async.pages import AsyncPage
from agentmemo.client._async.repairs import AsyncRepairs
from agentmemo.client._async.trials import AsyncTrials
from agentmemo.client.given import microseconds
from agentmemo.errors import InvalidInput
from agentmemo.model.evidence_calls import (
    Comparison,
    DemoteModel,
    ExplainWorkflow,
    GetEvidence,
    JudgeStep,
    ResetModel,
    WorkflowEvidence,
    WorkflowExplanation,
)
from agentmemo.model.executions import Execution
from agentmemo.model.workflow_diff import WorkflowDiff
from agentmemo.model.workflow_reports import CountExecutions, ExecutionCounts, GetRates, PassRates
from agentmemo.model.workflow_versions import (
    Candidate,
    CreateWorkflow,
    DiffWorkflow,
    GetWorkflow,
    GetWorkflowFormat,
    ListWorkflows,
    ListWorkflowVersions,
    MoveWorkflow,
    SearchWorkflows,
    Workflow,
)
from agentmemo.model.workflows import Bounds, DesignedBy, EdgeCase, Example, Quality, Rung, Step, WorkflowDocument

Version = str | int


class AsyncWorkflows(AsyncExecutions, AsyncTrials, AsyncRepairs):
    """Documents by name. Each version stays as it is; its hash is its name, and evidence moves it on."""

    async def create(
        self,
        *,
        name: str,
        steps: str | Sequence[Step | dict[str, Any] | str],
        edge_cases: str | Sequence[EdgeCase | dict[str, Any] | str] | None = None,
        designed_by: DesignedBy | dict[str, Any] | str,
        description: str = "",
        triggers: Sequence[str] = (),
        inputs: dict[str, Any] | None = None,
        outputs: dict[str, Any] | None = None,
        ladder: Sequence[Rung | dict[str, Any] | str] | None = None,
        quality: Quality | dict[str, Any] | None = None,
        budget: Bounds | dict[str, Any] | None = None,
        examples: Sequence[Example | dict[str, Any]] = (),
        output: dict[str, Any] | str | None = None,
        tools: Sequence[str] = (),
        license: str = "",
        parent: str | None = None,
        changes: str = "",
    ) -> Workflow:
        """Keep a document as a new draft. The same document again is the version there is, and nothing happens.

        `steps` and `edge_cases` may be plain text: numbered, bulleted or one per line; a step that is only words is
        done by a model. `designed_by` is a model, or "person:ana". `.warnings` of the answer say what would make it
        better. Raises InvalidInput with the path of what does not fit.
        """
        given = {
            "name": name,
            "steps": steps,
            "edge_cases": edge_cases,
            "designed_by": designed_by,
            "description": description,
            "triggers": triggers,
            "inputs": inputs,
            "outputs": outputs,
            "ladder": ladder,
            "quality": quality,
            "budget": budget,
            "examples": examples,
            "output": output,
            "tools": tools,
            "license": license,
            "parent": parent,
            "changes": changes,
        }
        return await self.add({field: value for field, value in given.items() if value not in (None, "", ())})

    async def add(self, document: WorkflowDocument | dict[str, Any], *, untrusted: bool = False) -> Workflow:
        """Keep a whole document, as `create` does. `untrusted` marks what comes from elsewhere."""
        return await self._plane.call(CreateWorkflow(document=msgspec.to_builtins(document), untrusted=untrusted))

    async def get(self, name: str, *, version: Version | None = None) -> Workflow:
        """A version with its document: the active one, else the newest draft, else the newest.

        `version` is six or more digits of the hash, the number, or a state (the newest in it). Raises NotFound.
        """
        return await self._plane.call(GetWorkflow(name=name, version=_version(version)))

    async def list(
        self, *, state: str | None = None, cursor: str | None = None, limit: int = 100
    ) -> AsyncPage[Workflow]:
        """By name, without their documents; with `state` only those whose version is in it."""
        return await self._plane.page(ListWorkflows(state=state, cursor=cursor, limit=limit))

    async def search(self, text: str, *, limit: int = 5) -> AsyncPage[Candidate]:
        """Workflows that may be what somebody wants, by their words; best first. Nothing is started by being found."""
        return await self._plane.page(SearchWorkflows(text=text, limit=limit))

    async def versions(self, name: str, *, cursor: str | None = None, limit: int = 100) -> AsyncPage[Workflow]:
        """Newest first, without their documents."""
        return await self._plane.page(ListWorkflowVersions(name=name, cursor=cursor, limit=limit))

    async def diff(self, name: str, before: Version, after: Version) -> WorkflowDiff:
        """What is different, part by part and in words, and which steps keep their evidence."""
        return await self._plane.call(DiffWorkflow(name=name, before=str(before), after=str(after)))

    async def counts(
        self, workflow: str | None = None, *, since: datetime.datetime | int | None = None
    ) -> ExecutionCounts:
        """How many executions there were of each version, and how they ended."""
        return await self._plane.call(CountExecutions(workflow=workflow, since=microseconds(since)))

    async def rates(
        self,
        name: str,
        *,
        version: Version | None = None,
        since: datetime.datetime | int | None = None,
        parts: int = 8,
    ) -> PassRates:
        """What passed at each step by each model, in equal parts of the time from `since` or the first attempt on."""
        return await self._plane.call(
            GetRates(
                name=name,
                version=_version(version),
                since=microseconds(since),
                parts=parts,
            )
        )

    async def promote(self, name: str, version: Version, to: str = "active", *, reason: str = "") -> Workflow:
        """Move a version on: draft, shadow, canary, active. Raises Conflict where evidence is missing.

        One that becomes active retires the one that was.
        """
        return await self._plane.call(MoveWorkflow(name=name, version=str(version), to=to, reason=reason))

    async def demote(self, name: str, version: Version, to: str = "retired", *, reason: str = "") -> Workflow:
        """Move a version back, or retire it; a person's call."""
        return await self._plane.call(MoveWorkflow(name=name, version=str(version), to=to, reason=reason))

    async def evidence(self, name: str, *, version: Version | None = None) -> WorkflowEvidence:
        """What is known of each model at each step and of the whole, and who does which step."""
        return await self._plane.call(GetEvidence(name=name, version=_version(version)))

    async def explain(self, name: str, *, version: Version | None = None) -> str:
        """Which model does which step, why, on what evidence, and what would change it."""
        found: WorkflowExplanation = await self._plane.call(ExplainWorkflow(name=name, version=_version(version)))
        return found.text

    async def demote_model(
        self, name: str, step: str, model: str, *, reason: str = "", version: Version | None = None
    ) -> WorkflowEvidence:
        """Take a model off a step until a person resets it; a person's call. Raises NotFound where it was not tried."""
        wanted = DemoteModel(name=name, step=step, model=model, reason=reason, version=_version(version))
        return await self._plane.call(wanted)

    async def reset_model(
        self, name: str, step: str, model: str, *, reason: str = "", version: Version | None = None
    ) -> WorkflowEvidence:
        """Let a model be tested at a step anew, from nothing; a person's call."""
        wanted = ResetModel(name=name, step=step, model=model, reason=reason, version=_version(version))
        return await self._plane.call(wanted)

    async def judge(self, execution: str | Execution, step: str, *, right: bool, reason: str = "") -> Comparison:
        """Say whether what a step of an execution gave is right; a person's call, and their first word counts."""
        handle = execution if isinstance(execution, str) else execution.id
        return await self._plane.call(JudgeStep(execution=handle, step=step, right=right, reason=reason))

    async def schema(self) -> dict[str, Any]:
        """The JSON Schema of a document in its structured form."""
        return (await self._plane.call(GetWorkflowFormat())).schema

    async def import_skill(
        self, path: str | Path, *, designed_by: str | None = None, tools: Sequence[str] = ()
    ) -> Workflow:
        """A draft from a SKILL.md, its folder, or a .sop.md; untrusted until a person moves it.

        What it says is data: it gets no tools but those that are named here. A folder that `export_skill` wrote brings
        its own document, and so the version it had.
        """
        document = skill_folders.read(Path(path), designed_by=designed_by, tools=list(tools))
        return await self.add(document, untrusted=True)

    async def export_skill(self, name: str, path: str | Path, *, version: Version | None = None) -> Path:
        """Write a version as an Agent Skill into the folder `path`/`name`, and return that folder.

        Its SKILL.md is for any agent to follow; references/ has the whole document.
        """
        found = await self.get(name, version=version)
        if found.document is None:
            raise InvalidInput(f"{name} came without its document.", next_call="Update the plane, then repeat it.")
        return skill_folders.write(Path(path), found)


def _version(version: Version | None) -> str | None:
    return None if version is None else str(version)
