"""Run: what is known of a run, as a fold over its events. It holds data and does nothing."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import msgspec

from synapse_core.enums import RunState
from synapse_core.events import (
    AnyEvent,
    Artifact,
    Failed,
    Log,
    Message,
    Metrics,
    Progress,
    RunStarted,
    StepFinished,
    StepRolledBack,
    StepStarted,
    Stopped,
    Succeeded,
)
from synapse_core.processes import ProcessId


class RunProgress(msgspec.Struct, frozen=True, omit_defaults=True):
    """How far the run is. fraction in [0, 1] of the whole; current of total belong to `step`.

    start and share place the present step in the whole.
    """

    fraction: float = 0.0
    step: str | None = None
    current: float | None = None
    total: float | None = None
    message: str | None = None
    eta_seconds: float | None = None
    start: float = 0.0
    share: float = 1.0
    has_steps: bool = False


class Failure(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why the run did not succeed, for whoever can repair it."""

    code: str
    message: str
    hint: str | None = None
    retryable: bool = False
    details: dict[str, Any] = {}


class Run(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One run. `after` is the only way from one state to the next."""

    run_id: str
    plugin: str
    action: str
    mode: str
    state: RunState
    created: datetime
    started: datetime | None = None
    ended: datetime | None = None
    progress: RunProgress = RunProgress()
    metrics: dict[str, dict[str, Any]] = {}
    result: Any = None
    result_warnings: list[str] = []
    artifacts: tuple[Artifact, ...] = ()
    failure: Failure | None = None
    waiting: str | None = None
    last_seq: int = 0

    @property
    def is_done(self) -> bool:
        """True where nothing can follow any more."""
        return self.state.is_terminal

    @property
    def elapsed_seconds(self) -> float:
        """From the submission to the end, or until now."""
        return round(((self.ended or datetime.now(UTC)) - self.created).total_seconds(), 2)

    def after(self, event: AnyEvent) -> Run:
        """Return the run as it is once `event` has happened."""
        changes = _CHANGES.get(type(event))
        fields = {} if changes is None else changes(self, event)
        return msgspec.structs.replace(self, last_seq=event.seq or self.last_seq, **fields)

    def waits_for(self, reason: str | None) -> Run:
        """Return the run with the reason why it has not begun."""
        return self if reason == self.waiting else msgspec.structs.replace(self, waiting=reason)

    def is_lost(self) -> Run:
        """Return the run as one of which nobody can know how it ended."""
        failure = Failure(
            "lost",
            "The process that executed the run is gone and left no word of how it ended.",
            "What it recorded until then is kept: read get_run_logs and the metrics, then run it again.",
        )
        return msgspec.structs.replace(
            self, state=RunState.LOST, ended=datetime.now(UTC), failure=failure, waiting=None
        )


class RunRow(msgspec.Struct, frozen=True):
    """A run as known: its fold, and how many bytes of its events are in the fold and in the stored row."""

    run: Run
    events_read: int
    events_stored: int
    submitter: ProcessId
    fingerprint: str


def fold(run: Run, events: Iterable[AnyEvent]) -> Run:
    """Return the run after all of `events`."""
    last: AnyEvent | None = None
    for event in events:
        if type(event) is Log:
            last = event  # entries of the log change nothing but the count, and there can be a great many
        else:
            run = run.after(event)
            last = None
    return run if last is None else run.after(last)


def _started(run: Run, event: RunStarted) -> dict[str, Any]:
    return {"state": RunState.RUNNING, "started": event.at, "waiting": None, "ended": None, "failure": None}


def _step_started(run: Run, event: StepStarted) -> dict[str, Any]:
    return {
        "progress": RunProgress(
            fraction=max(run.progress.fraction, event.start),
            step=event.step,
            message=run.progress.message,
            start=event.start,
            share=event.share,
            has_steps=True,
        )
    }


def _step_finished(run: Run, event: StepFinished) -> dict[str, Any]:
    if not event.success:
        return {}
    done = min(1.0, run.progress.start + run.progress.share)
    return {"progress": msgspec.structs.replace(run.progress, fraction=round(done, 4), eta_seconds=None)}


def _progressed(run: Run, event: Progress) -> dict[str, Any]:
    progress = run.progress
    part = event.current / event.total
    if not progress.has_steps:
        fraction = part
    elif event.category in (None, progress.step):
        fraction = progress.start + progress.share * part
    else:
        fraction = progress.fraction  # a category of the action's own says nothing about the whole
    return {
        "progress": msgspec.structs.replace(
            progress,
            fraction=round(fraction, 4),
            step=event.category or progress.step,
            current=event.current,
            total=event.total,
            eta_seconds=event.remaining_seconds,
        )
    }


def _measured(run: Run, event: Metrics) -> dict[str, Any]:
    return {"metrics": {**run.metrics, event.category: event.values}}


def _told(run: Run, event: Message) -> dict[str, Any]:
    return {"progress": msgspec.structs.replace(run.progress, message=event.text[:300])}


def _produced(run: Run, event: Artifact) -> dict[str, Any]:
    return {"artifacts": (*run.artifacts, event)}


def _succeeded(run: Run, event: Succeeded) -> dict[str, Any]:
    return {
        "state": RunState.SUCCEEDED,
        "ended": event.at,
        "result": event.result,
        "result_warnings": event.result_warnings,
        "progress": msgspec.structs.replace(run.progress, fraction=1.0, eta_seconds=None),
        "failure": None,
    }


def _failed(run: Run, event: Failed) -> dict[str, Any]:
    failure = Failure(event.code, event.message, event.hint, event.retryable, event.details)
    return {
        "state": RunState.FAILED,
        "ended": event.at or datetime.now(UTC),
        "failure": failure,
        "waiting": None,
        "progress": msgspec.structs.replace(run.progress, eta_seconds=None),
    }


def _stopped(run: Run, event: Stopped) -> dict[str, Any]:
    failure = Failure("stopped", event.message)
    return {
        "state": RunState.STOPPED,
        "ended": event.at or datetime.now(UTC),
        "failure": failure,
        "waiting": None,
    }


def _nothing(run: Run, event: StepRolledBack) -> dict[str, Any]:
    return {}


_CHANGES: dict[type, Any] = {
    RunStarted: _started,
    StepStarted: _step_started,
    StepFinished: _step_finished,
    StepRolledBack: _nothing,
    Progress: _progressed,
    Metrics: _measured,
    Message: _told,
    Artifact: _produced,
    Succeeded: _succeeded,
    Failed: _failed,
    Stopped: _stopped,
}
