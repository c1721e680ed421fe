"""The first moments of a run: what it is before anything has happened, and handing it to an executor."""

from __future__ import annotations

from datetime import datetime

from synapse_core.enums import RunState
from synapse_core.errors import SynapseError
from synapse_core.executors.base import Executor, give_up
from synapse_core.run_folder import RunFolder, RunRequest
from synapse_core.runs.action_entry import ActionEntry
from synapse_core.runs.run import Run


def queued_run(request: RunRequest, created: datetime) -> Run:
    """Return the run that a request makes, before anything has happened."""
    return Run(
        run_id=request.run_id,
        plugin=request.plugin,
        action="+".join(action.name for action in request.actions),
        mode=request.mode,
        state=RunState.QUEUED,
        created=created,
        principal=request.principal,
        actions=tuple(
            ActionEntry(name=entry.name, plugin=entry.request.plugin, action=entry.request.actions[0].name)
            for entry in request.pipeline
        ),
    )


def hand_over(folder: RunFolder, request: RunRequest, executor: Executor) -> None:
    """Have an executor begin a run. A failure to begin becomes the run's ending, not an exception."""
    try:
        executor.start(folder, request, folder.note_waiting)
    except SynapseError as error:
        give_up(folder, error)


def is_waiting(folder: RunFolder) -> bool:
    """Return True where a run was submitted whole and nobody has begun it, or given it up."""
    return folder.claimed() is None and folder.exit() is None and folder.request() is not None
