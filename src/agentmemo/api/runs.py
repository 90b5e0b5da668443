"""Runs, their steps, tasks and workers, as rows of the table of operations."""

from __future__ import annotations

from agentmemo.api.operation import Operation, change, read
from agentmemo.model import observations, runs
from agentmemo.model.pages import Page

OPERATIONS: tuple[Operation, ...] = (
    change("run.start", "POST /runs", "runs:write", runs.StartRun, runs.Claimed, summary="Open a run by its key"),
    change(
        "run.resume", "POST /runs/{run}/resumption", "runs:write", runs.ResumeRun, runs.Claimed,
        summary="Claim a parked run again",
    ),
    read(
        "run.get", "/runs/{run}", "runs:read", runs.GetRun, runs.Run,
        watch=True, summary="A run, optionally waiting for a change",
    ),
    read("run.find", "/run-keys/{name}/{key}", "runs:read", runs.FindRun, runs.Run, summary="A run by name and key"),
    read("run.list", "/runs", "runs:read", runs.ListRuns, Page, items=runs.Run, summary="Runs, newest first"),
    change(
        "run.complete", "POST /runs/{run}/completion", "runs:write", runs.CompleteRun, runs.Run,
        summary="Finish a run with its result",
    ),
    change(
        "run.fail", "POST /runs/{run}/failure", "runs:write", runs.FailRun, runs.Run, summary="Fail a run for good"
    ),
    change(
        "run.release", "POST /runs/{run}/release", "runs:write", runs.ReleaseRun, runs.Run,
        summary="Give a run back, with or without an error",
    ),
    change(
        "run.cancel", "POST /runs/{run}/cancellation", "runs:write", runs.CancelRun, runs.Run,
        summary="Cancel a run and its children; the holder sees it at its next call",
    ),
    change(
        "run.park", "POST /runs/{run}/waits", "runs:write", runs.ParkRun, runs.Parked,
        summary="Wait for a time, a signal, a child or a person, holding nothing",
    ),
    change(
        "run.progress", "PUT /runs/{run}/progress", "runs:write", runs.SetProgress, runs.Run,
        summary="Show how far a run is",
    ),
    change(
        "run.note", "POST /runs/{run}/notes", "runs:write", runs.AddNote, runs.Note,
        buffered=True, summary="Record a decision, a finding or a failed approach",
    ),
    read("run.notes", "/runs/{run}/notes", "runs:read", runs.ListNotes, Page, items=runs.Note,
          summary="A run's notes"),
    change(
        "run.observe", "POST /runs/{run}/observations", "runs:write", observations.ObserveCall, observations.Observed,
        summary="Tell of a call and its result, and hear whether the run is stuck",
    ),
    change(
        "run.signal", "POST /runs/{run}/signals", "runs:write", runs.SendSignal, runs.Run,
        buffered=True, summary="Send a named signal; it is kept until the run waits for it",
    ),
    change("run.fork", "POST /runs/{run}/forks", "runs:write", runs.ForkRun, runs.Run, summary="Fork before a step"),
    change(
        "run.resolve", "POST /runs/{run}/resolution", "runs:decide", runs.ResolveRun, runs.Run,
        summary="Decide the question a run waits for (a person's call)",
    ),
    read(
        "run.explain", "/runs/{run}/explanation", "runs:read", runs.ExplainRun, runs.Explanation,
        summary="Why a run is not moving and what will move it",
    ),
    read(
        "step.find", "/runs/{run}/steps/{name}/{key}", "runs:read", runs.FindStep, runs.Step,
        quick=True, summary="A step by name and key",
    ),
    read("step.list", "/runs/{run}/steps", "runs:read", runs.ListSteps, Page, items=runs.Step,
          summary="A run's steps"),
    change(
        "step.start", "POST /runs/{run}/steps/{name}/{key}/start", "runs:write", runs.StartStep, runs.Step,
        summary="Announce a step whose effect leaves the store",
    ),
    change(
        "step.complete", "PUT /runs/{run}/steps/{name}/{key}/result", "runs:write", runs.CompleteStep, runs.Step,
        summary="Record a step's result with everything buffered in it",
    ),
    change(
        "step.fail", "PUT /runs/{run}/steps/{name}/{key}/failure", "runs:write", runs.FailStep, runs.Step,
        summary="Record a failed attempt",
    ),
    change("task.start", "POST /tasks/{name}/runs", "runs:write", runs.StartTask, runs.StartedTask,
            summary="Start registered code now, later or by cron"),
    change("task.claim", "POST /claims", "runs:write", runs.ClaimTask, runs.ClaimedTask,
            summary="Claim the next ready run of some tasks"),
    read("task.schedules", "/schedules", "runs:read", runs.ListSchedules, Page, items=runs.Schedule,
          summary="Cron schedules"),
    change("task.unschedule", "DELETE /schedules/{id}", "runs:write", runs.DeleteSchedule, runs.Schedule,
            summary="Delete a cron schedule"),
    change("worker.register", "POST /workers", "runs:write", runs.RegisterWorker, runs.Worker,
            summary="Announce a worker incarnation"),
    change("worker.heartbeat", "POST /workers/{worker}/heartbeat", "runs:write", runs.Heartbeat,
            runs.HeartbeatAnswer, liveness=True, summary="Renew a worker's lease"),
    change("worker.stop", "DELETE /workers/{worker}", "runs:write", runs.StopWorker, runs.Worker,
            summary="End a worker; its runs are released at once"),
    read("briefing.get", "/briefing", "runs:read", runs.GetBriefing, runs.Briefing,
          summary="What an agent needs to know when it starts"),
)  # fmt: skip
