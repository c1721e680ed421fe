"""Where the annotations of a task are: in one JSON file for all, in a dataset, or in a file of the task."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from synapse_core.datasets.conversion import convert
from synapse_core.datasets.formats.dm_layout import DOCUMENTS
from synapse_core.errors import InvalidRequest, RecordNotFound

if TYPE_CHECKING:
    from synapse_core.actions.add_task_data.tasks import Tasks
    from synapse_core.backend import Task

# All of a JSON file is held while it is used, some ten times its size.
MOST_FILE_BYTES = 200_000_000
_DATASET_KEYS = frozenset(["images", "annotations"])


class Annotations(Protocol):
    """Finds the annotations of a task."""

    def find(self, task: Task, folder: Path) -> Path:
        """Return a JSON file with a task's annotations, written into the folder where it has to be.

        Raises RecordNotFound where there are none.
        """
        ...


class AnnotationsOfFile:
    """One JSON file: task id or file name -> annotations; or a list of entries that have `task_id` or
    `file_name`, and their annotations in `data`.
    """

    def __init__(self, content: Any) -> None:
        """Raises InvalidRequest where it is neither."""
        if isinstance(content, list):
            content = dict(_entries(content))
        if not isinstance(content, dict):
            raise InvalidRequest(
                f"The annotations are a {type(content).__name__}.",
                hint="Write {task id or file name: annotations}, or a list of {task_id, data}.",
            )
        self._by_name: dict[str, Any] = content

    def find(self, task: Task, folder: Path) -> Path:
        for name in (str(task.id), *_names(task)):
            if name in self._by_name:
                path = folder / "annotations.json"
                path.write_text(json.dumps(self._by_name[name]), encoding="utf-8")
                return path
        raise _missing(task)


class AnnotationsOfDataset:
    """DM documents that were made of a dataset, found by the names of their images."""

    def __init__(self, root: Path) -> None:
        self._by_stem: dict[str, list[Path]] = {}
        for path in sorted(root.rglob(f"{DOCUMENTS}/**/*.json")):
            self._by_stem.setdefault(path.stem, []).append(path)

    def find(self, task: Task, folder: Path) -> Path:
        for name in _names(task):
            found = self._by_stem.get(posixpath.splitext(name)[0], [])
            if len(found) > 1:
                raise InvalidRequest(f"The dataset has {len(found)} images called {name!r}.")
            if found:
                return found[0]
        raise _missing(task)


class AnnotationsOfTasks:
    """A file of each task's own data unit."""

    def __init__(self, tasks: Tasks, specification: str) -> None:
        self._tasks = tasks
        self._specification = specification

    def find(self, task: Task, folder: Path) -> Path:
        file = task.files.get(self._specification)
        if file is None:
            raise _missing(task)
        if file.size_bytes > MOST_FILE_BYTES:
            raise InvalidRequest(f"{file.name!r} has {file.size_bytes:,} bytes.")
        return self._tasks.fetch(file, folder)


def check_file(path: Path) -> None:
    """Raise InvalidRequest where there is nothing to read annotations from."""
    if not path.exists():
        raise InvalidRequest(
            f"There is no {path}.",
            {"file_path": str(path)},
            hint="Give the path of a JSON file or a dataset.",
        )
    if path.is_file():
        size = path.stat().st_size
        if path.suffix.lower() == ".json" and not 0 < size <= MOST_FILE_BYTES:
            raise InvalidRequest(
                f"{path} has {size:,} bytes; 1 to {MOST_FILE_BYTES:,} can be read.",
                hint="Split it, or give a dataset.",
            )


def read_annotations(path: Path, work_folder: Path) -> Annotations:
    """Return the annotations of a file or of a dataset, which is converted to DM first.

    Raises InvalidRequest for JSON that is none; whatever a conversion raises for a dataset that is none.
    """
    if path.is_file() and path.suffix.lower() == ".json":
        try:
            content = json.loads(path.read_text(encoding="utf-8-sig"))
        except (ValueError, RecursionError) as error:
            raise InvalidRequest(f"{path} is no JSON: {error}") from error
        if not (isinstance(content, dict) and set(content) >= _DATASET_KEYS):
            return AnnotationsOfFile(content)
    output = work_folder / "dataset"
    convert(path, "dm_v2", output, images="none")
    return AnnotationsOfDataset(output)


def _entries(content: list[Any]) -> Iterator[tuple[str, Any]]:
    for number, entry in enumerate(content):
        name = entry.get("task_id", entry.get("file_name")) if isinstance(entry, Mapping) else None
        if name is None:
            raise InvalidRequest(f"Entry {number} of the annotations has neither task_id nor file_name.")
        yield str(name), entry.get("data", entry)


def _names(task: Task) -> Iterator[str]:
    """Yield what a task's files are called, whole and without their extension."""
    for file in task.files.values():
        yield file.name
        yield posixpath.splitext(file.name)[0]


def _missing(task: Task) -> RecordNotFound:
    return RecordNotFound("annotations for task", task.id)
