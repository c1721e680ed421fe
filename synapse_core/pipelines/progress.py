"""How far a pipeline is, in the records that scripts watch: folds over the same run that everybody sees."""

from __future__ import annotations

from datetime import datetime
from types import MappingProxyType
from typing import Any

import msgspec

from synapse_core.decoding import converted
from synapse_core.enums import ActionState, ActionStatus, RunState, RunStatus
from synapse_core.runs.action_entry import ActionEntry
from synapse_core.runs.run import Run

_RUN_WORDS = MappingProxyType(
    {
        RunState.QUEUED: RunStatus.PENDING,
        RunState.RUNNING: RunStatus.RUNNING,
        RunState.SUCCEEDED: RunStatus.COMPLETED,
        RunState.FAILED: RunStatus.FAILED,
        RunState.STOPPED: RunStatus.CANCELLED,
        RunState.LOST: RunStatus.FAILED,
    }
)
_ACTION_WORDS = MappingProxyType(
    {
        ActionState.PENDING: ActionStatus.PENDING,
        ActionState.RUNNING: ActionStatus.RUNNING,
        ActionState.SUCCEEDED: ActionStatus.COMPLETED,
        ActionState.FAILED: ActionStatus.FAILED,
        ActionState.STOPPED: ActionStatus.FAILED,
        ActionState.SKIPPED: ActionStatus.SKIPPED,
        ActionState.LOST: ActionStatus.FAILED,
    }
)


class ActionProgress(msgspec.Struct, frozen=True, kw_only=True):
    """One action of a pipeline. progress in [0, 1]; progress_step: the part of it that is under way."""

    name: str
    status: ActionStatus = ActionStatus.PENDING
    progress: float = 0.0
    progress_step: str | None = None
    message: str | None = None
    metrics: dict[str, dict[str, Any]] = {}
    attempt: int = 0
    started_at: datetime | None = None
    completed_at: datetime | None = None
    error: str | None = None

    @property
    def progress_category(self) -> str | None:
        """Another name of progress_step."""
        return self.progress_step

    @classmethod
    def of(cls, entry: ActionEntry) -> ActionProgress:
        """Return the record of what is known of an action."""
        failure = entry.failure
        return cls(
            name=entry.name,
            status=_ACTION_WORDS[entry.state],
            progress=entry.progress.fraction,
            progress_step=entry.progress.step,
            message=entry.progress.message,
            metrics=entry.metrics,
            attempt=entry.attempt,
            started_at=entry.started,
            completed_at=entry.ended,
            error=failure.message if failure else None,
        )


class PipelineProgress(msgspec.Struct, frozen=True, kw_only=True):
    """A pipeline at one moment. Its status equals its word in any case of letters, 'COMPLETED' for one."""

    run_id: str
    status: RunStatus = RunStatus.PENDING
    actions: dict[str, ActionProgress] = {}
    current_action: str | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    error: str | None = None

    @classmethod
    def of(cls, run: Run) -> PipelineProgress:
        """Return the record of what is known of a run."""
        actions = {entry.name: ActionProgress.of(entry) for entry in run.actions}
        running = [name for name, each in actions.items() if each.status == ActionStatus.RUNNING]
        return cls(
            run_id=run.run_id,
            status=_RUN_WORDS[run.state],
            actions=actions,
            current_action=running[0] if running else None,
            started_at=run.started,
            completed_at=run.ended,
            error=run.failure.message if run.failure else None,
        )

    @property
    def overall_progress(self) -> float:
        """The mean progress of the actions, in percent."""
        parts = [each.progress for each in self.actions.values()]
        return round(100 * sum(parts) / len(parts), 2) if parts else 0.0

    @property
    def completed_actions(self) -> int:
        """How many actions have succeeded or were skipped."""
        done = (ActionStatus.COMPLETED, ActionStatus.SKIPPED)
        return sum(each.status in done for each in self.actions.values())

    @property
    def is_done(self) -> bool:
        """True where nothing can follow any more."""
        return self.status not in (RunStatus.PENDING, RunStatus.RUNNING)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON data, the totals among it."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        totals = {
            "overall_progress": self.overall_progress,
            "completed_actions": self.completed_actions,
            "total_actions": len(self.actions),
        }
        return {**plain, **totals}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> PipelineProgress:
        """Return the record that `to_dict` made plain. Raises msgspec.ValidationError for another one."""
        return converted(data, cls)


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """An action that has succeeded, and what it returned: where a later run can go on."""

    run_id: str
    action_name: str
    result: Any = None
    created_at: datetime | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON data."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        return plain

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Checkpoint:
        """Return the record that `to_dict` made plain. Raises msgspec.ValidationError for another one."""
        return converted(data, cls)


def checkpoints_of(run: Run) -> list[Checkpoint]:
    """Return what a run of a pipeline has done so far."""
    return [
        Checkpoint(run_id=run.run_id, action_name=entry.name, result=entry.result, created_at=entry.ended)
        for entry in run.actions
        if entry.state.is_done_well
    ]
