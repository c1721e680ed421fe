"""`synapse-mcp demo --seed`: the home's embedded backend gets a project of real images to work with.

The images are drawn in `digit_sheets`. Doing it again adds nothing; what was interrupted is completed.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from synapse_core.backend import (
    Backend,
    DataCollection,
    DataUnit,
    FileSpecification,
    GroundTruthVersion,
    NewDataUnit,
    NewTask,
    Project,
    Task,
)
from synapse_core.backend.local import LocalBackend
from synapse_core.backend_choice import backend_address
from synapse_core.errors import Conflict, InvalidRequest
from synapse_mcp.digit_sheets import CLASSES, Sheet, draw_sheets
from synapse_mcp.settings import Settings

NAME, VERSION = "Digit sheets", "1.0"
SHEETS, TRAINED_ON, VALIDATED_ON = 40, 20, 8
_FILE = "image"
_DESCRIPTION = "Pages with handwritten digits, twelve each, made of the scans that come with scikit-learn."

R = TypeVar("R", DataCollection, Project)


@dataclass(frozen=True)
class Seeded:
    """What is in the backend. is_new: something was added. open_tasks: how many have no annotations."""

    collection: DataCollection
    project: Project
    version: GroundTruthVersion
    data_units: int
    tasks: int
    open_tasks: int
    is_new: bool


def seed_home(settings: Settings) -> Seeded:
    """Fill the embedded backend of the home.

    Raises InvalidRequest where runs of this home use another backend; Unavailable without scikit-learn;
    Conflict where the home has something else of the same name.
    """
    address = backend_address(settings.profile)
    if address is not None:
        raise InvalidRequest(
            f"Runs of this home use the backend at {address}; only an embedded one is filled.",
            hint="Leave SYNAPSE_HOST empty and choose a profile without backend_url.",
        )
    backend = LocalBackend(settings.home)
    try:
        return seed(backend)
    finally:
        backend.close()


def seed(backend: Backend) -> Seeded:
    """Fill a backend: a data collection, a project, and a ground truth version of its annotated tasks."""
    found = _made_before(backend)
    project, version = found or _fill(backend)
    collection = backend.get_data_collection(project.data_collection)
    tasks = list(backend.list_tasks({"project": project.id}))
    return Seeded(
        collection,
        project,
        version,
        data_units=backend.list_data_units({"data_collection": collection.id}).count,
        tasks=len(tasks),
        open_tasks=sum(task.status == "open" and task.data is None for task in tasks),
        is_new=found is None,
    )


def _made_before(backend: Backend) -> tuple[Project, GroundTruthVersion] | None:
    """Return the project and the version, which is made last; None where it is not there."""
    for version in backend.list_ground_truth_versions({"dataset": NAME, "version": VERSION}):
        if version.project is not None:
            return backend.get_project(version.project), version
    return None


def _fill(backend: Backend) -> tuple[Project, GroundTruthVersion]:
    sheets = draw_sheets(SHEETS)
    collection = _only(list(backend.list_data_collections({"name": NAME})))
    if collection is None:
        file = FileSpecification(name=_FILE, file_type="image", is_primary=True, extensions=(".png",))
        collection = backend.create_data_collection(NAME, [file], description=_DESCRIPTION)
    project = _only(list(backend.list_projects({"name": NAME})))
    if project is None:
        project = backend.create_project(
            NAME, collection.id, description=_DESCRIPTION, configuration={"classes": list(CLASSES)}
        )
    units = _store(backend, collection, sheets)
    tasks = backend.create_tasks(project.id, [NewTask(data_unit=unit.id) for unit in units])
    annotated = TRAINED_ON + VALIDATED_ON
    assignments = _annotate(backend, tasks[:annotated], sheets[:annotated])
    splits = {"train": assignments[:TRAINED_ON], "validation": assignments[TRAINED_ON:]}
    return project, backend.create_ground_truth_version(NAME, VERSION, project=project.id, splits=splits)


def _only(found: Sequence[R]) -> R | None:
    """Return what an interrupted seeding has left. Raises Conflict where it is somebody else's."""
    if any(one.description != _DESCRIPTION for one in found) or len(found) > 1:
        raise Conflict(
            f"The home has a {type(found[0]).__name__} called {NAME!r} that was not made by this command.",
            {"ids": [one.id for one in found]},
            hint="Set SYNAPSE_HOME to another folder.",
        )
    return found[0] if found else None


def _store(backend: Backend, collection: DataCollection, sheets: Sequence[Sheet]) -> list[DataUnit]:
    new = []
    with tempfile.TemporaryDirectory(prefix="synapse-seed-") as folder:
        for number, sheet in enumerate(sheets, start=1):
            path = Path(folder) / f"sheet_{number:02}.png"
            sheet.image.save(path)
            stored = backend.create_data_file(path, storage=collection.storage)
            new.append(NewDataUnit(key=path.stem, files={_FILE: stored.file}))
    return backend.create_data_units(collection.id, new)


def _annotate(backend: Backend, tasks: Sequence[Task], sheets: Sequence[Sheet]) -> list[int]:
    """Submit each task with the boxes of its sheet. Returns the ids of the assignments, in their order."""
    made = []
    for task, sheet in zip(tasks, sheets, strict=True):
        if task.status == "open" and task.data is None:
            backend.annotate_task_data(task.id, {"action": "submit", "data": sheet.document()})
        made.append(next(iter(backend.list_assignments({"task": task.id}))).id)
    return made
