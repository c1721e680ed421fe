"""How far something is and why it failed: what a run and an action of a pipeline have in common."""

from __future__ import annotations

from typing import Any

import msgspec

from synapse_core.events import AnyEvent, Message, Progress, StepFinished, StepStarted


class Failure(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why a run, or an action of one, did not succeed, for whoever can repair it."""

    code: str
    message: str
    hint: str | None = None
    retryable: bool = False
    details: dict[str, Any] = {}


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

    def after(self, event: AnyEvent) -> RunProgress:
        """Return the progress as it is once `event` has happened."""
        change = _CHANGES.get(type(event))
        progress: RunProgress = self if change is None else change(self, event)
        return progress


def _step_started(progress: RunProgress, event: StepStarted) -> RunProgress:
    return RunProgress(
        fraction=max(progress.fraction, event.start),
        step=event.step,
        message=progress.message,
        start=event.start,
        share=event.share,
        has_steps=True,
    )


def _step_finished(progress: RunProgress, event: StepFinished) -> RunProgress:
    if not event.success:
        return progress
    done = min(1.0, progress.start + progress.share)
    return msgspec.structs.replace(progress, fraction=round(done, 4), eta_seconds=None)


def _progressed(progress: RunProgress, event: Progress) -> RunProgress:
    part = event.current / event.total
    if not progress.has_steps:
        fraction = part
    elif event.category in (None, progress.step):
        fraction = progress.start + progress.share * part
    else:
        fraction = progress.fraction  # a category of the action's own says nothing about the whole
    return msgspec.structs.replace(
        progress,
        fraction=round(fraction, 4),
        step=event.category or progress.step,
        current=event.current,
        total=event.total,
        eta_seconds=event.remaining_seconds,
    )


def _told(progress: RunProgress, event: Message) -> RunProgress:
    return msgspec.structs.replace(progress, message=event.text[:300])


_CHANGES: dict[type, Any] = {
    StepStarted: _step_started,
    StepFinished: _step_finished,
    Progress: _progressed,
    Message: _told,
}
