"""ActionEntry: what is known of one action of a pipeline, as a fold over its events."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from synapse_core.enums import ActionState
from synapse_core.events import ActionFinished, ActionStarted, AnyEvent, Metrics
from synapse_core.runs.standing import Failure, RunProgress


class ActionEntry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One action of a pipeline. attempt: how often it was begun."""

    name: str
    plugin: str
    action: str
    state: ActionState = ActionState.PENDING
    attempt: int = 0
    started: datetime | None = None
    ended: datetime | None = None
    elapsed_seconds: float = 0.0
    progress: RunProgress = RunProgress()
    metrics: dict[str, dict[str, Any]] = {}
    result: Any = None
    failure: Failure | None = None

    def after(self, event: AnyEvent) -> ActionEntry:
        """Return the entry as it is once an event of it has happened."""
        if isinstance(event, ActionStarted):
            return msgspec.structs.replace(
                self,
                state=ActionState.RUNNING,
                attempt=event.attempt,
                started=event.at,
                ended=None,
                progress=RunProgress(),
                failure=None,
            )
        if isinstance(event, ActionFinished):
            return self._finished(event)
        if isinstance(event, Metrics):
            return msgspec.structs.replace(self, metrics={**self.metrics, event.category: event.values})
        progress = self.progress.after(event)
        return self if progress is self.progress else msgspec.structs.replace(self, progress=progress)

    def cut_off(self, state: ActionState) -> ActionEntry:
        """Return the entry as it is once its pipeline has ended, in `state` where it was running."""
        if self.state is not ActionState.RUNNING:
            return self
        return msgspec.structs.replace(self, state=state)

    def _finished(self, event: ActionFinished) -> ActionEntry:
        progress = msgspec.structs.replace(self.progress, eta_seconds=None)
        if event.state.is_done_well:
            progress = msgspec.structs.replace(progress, fraction=1.0)
        failure = None
        if event.code is not None:
            failure = Failure(event.code, event.message or "", event.hint, event.retryable, event.details)
        return msgspec.structs.replace(
            self,
            state=event.state,
            ended=event.at,
            elapsed_seconds=event.elapsed_seconds,
            progress=progress,
            result=event.result,
            failure=failure,
        )


def overall(entries: tuple[ActionEntry, ...], present: ActionEntry) -> RunProgress:
    """Return how far a pipeline is of which the action `present` has just been heard."""
    done = present.progress
    step = present.name if done.step in (None, present.name) else f"{present.name}: {done.step}"
    return RunProgress(
        fraction=round(sum(entry.progress.fraction for entry in entries) / len(entries), 4),
        step=step,
        current=done.current,
        total=done.total,
        message=done.message,
        eta_seconds=done.eta_seconds,
    )
