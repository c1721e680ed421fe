"""What the steps of AddTaskDataAction share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from synapse_core.actions.add_task_data.spool import Spool
from synapse_core.actions.item_failures import is_fatal, told
from synapse_core.steps import BaseStepContext

if TYPE_CHECKING:
    from synapse_core.actions.add_task_data.annotations import Annotations
    from synapse_core.actions.add_task_data.tasks import Tasks

MOST_FAILURES_TOLD = 1000


class Outcome(msgspec.Struct, frozen=True):
    """What a step made for one task: a value, or the reason why there is none.

    task_data: what the task held before.
    """

    task_id: int
    value: Any = None
    error: str | None = None
    task_data: dict[str, Any] | None = None


@dataclass
class AddTaskDataContext(BaseStepContext):
    """The state of the workflow.

    work_folder: of this run, removed at its end. tasks: those asked for, read page by page.
    annotations: where the annotations of a task are found. model: as `load_model` returns it.
    inference_results, task_annotations: an Outcome for each task, kept in files.
    earlier: what each task was before it was changed. failures: the first 1,000, {task_id, error}.
    """

    action: Any = None
    params: Any = None
    work_folder: Path = Path()
    tasks: Tasks | None = None
    total_tasks: int = 0
    annotations: Annotations | None = None
    model: Any = None
    inference_results: Spool | None = None
    task_annotations: Spool | None = None
    earlier: Spool | None = None
    success_count: int = 0
    failed_count: int = 0
    failures: list[dict[str, Any]] = field(default_factory=list)

    def new_spool(self, name: str) -> Spool:
        return Spool(self.work_folder / name)


def outcome_of(task_id: int, task_data: dict[str, Any] | None, make: Callable[[], Any]) -> Outcome:
    """Return what came of one task. Raises only what every other task would fail of too."""
    try:
        return Outcome(task_id, make(), None, task_data)
    except Exception as error:  # hooks are foreign code, and the other tasks go on
        if is_fatal(error):
            raise
        return Outcome(task_id, None, told(error), task_data)
