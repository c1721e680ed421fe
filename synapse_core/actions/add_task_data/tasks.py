"""The tasks that are to be annotated, and their files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from synapse_core.actions.export.file_names import safe_file_name
from synapse_core.actions.results import Patience, Results
from synapse_core.errors import InvalidRequest, RecordNotFound

if TYPE_CHECKING:
    from synapse_core.actions.add_task_data.params import AddTaskDataParams
    from synapse_core.backend import Backend, FileReference, Task

_AT_ONCE = 100


class Tasks:
    """Tasks by their ids, or those of a project. Each pass asks the backend anew, page by page."""

    def __init__(self, client: Backend, params: AddTaskDataParams, patience: Patience) -> None:
        """Raises InvalidRequest where neither ids nor a project are given."""
        self._client = client
        self._patience = patience
        self._ids = None if params.task_ids is None else list(dict.fromkeys(params.task_ids))
        self._filters = dict(params.task_filters)
        self._primary: dict[int, tuple[str, ...]] = {}
        if params.project is not None:
            self._filters["project"] = params.project
        if self._ids is None and "project" not in self._filters:
            raise InvalidRequest(
                "Neither task_ids nor project is given.", hint="Say which tasks to annotate."
            )
        self._found: Results | None = None
        if self._ids is None:
            self._found = Results(lambda after: client.list_tasks(self._filters, after=after), self._patience)

    def __len__(self) -> int:
        return len(self._ids) if self._found is None and self._ids is not None else len(self._found or ())

    def __iter__(self) -> Iterator[tuple[int, Task | None]]:
        """Yield (id, task), in the order of the ids; None for a task that is not there."""
        if self._found is not None:
            for task in self._found:
                yield task.id, task
            return
        ids = self._ids or []
        for start in range(0, len(ids), _AT_ONCE):
            some = ids[start : start + _AT_ONCE]
            found = self._patience.call(lambda some=some: self._by_ids(some))  # type: ignore[misc]
            for task_id in some:
                yield task_id, found.get(task_id)

    def _by_ids(self, ids: Sequence[int]) -> dict[int, Task]:
        return {task.id: task for task in self._client.list_tasks({**self._filters, "id": list(ids)})}

    def primary_file(self, task: Task) -> FileReference:
        """Return the primary file of a task's data unit. Raises RecordNotFound where it has no file."""
        for name in (*self._primary_names(task.project), *task.files):
            if name in task.files:
                return task.files[name]
        raise RecordNotFound("file of task", task.id)

    def fetch(self, file: FileReference, folder: Path) -> Path:
        """Write a file of a task into a folder, under a name that every file system takes."""
        target = folder / safe_file_name(file.name, "file")
        return self._patience.call(lambda: self._client.download_file(file, target))

    def _primary_names(self, project_id: int) -> tuple[str, ...]:
        if project_id not in self._primary:
            project = self._client.get_project(project_id)
            collection = self._client.get_data_collection(project.data_collection)
            self._primary[project_id] = tuple(
                kind.name for kind in collection.file_specifications if kind.is_primary
            )
        return self._primary[project_id]
