"""Backends with something in them: a project whose tasks have real images, some of them annotated."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from PIL import Image, ImageDraw

from synapse_core.backend import (
    Assignment,
    DataCollection,
    DataUnit,
    FileSpecification,
    NewDataUnit,
    NewTask,
    Project,
    Task,
)
from synapse_core.backend.local import LocalBackend
from synapse_core.context import RuntimeContext
from synapse_core.events import AnyEvent, Metrics, Progress, StepFinished, StepRolledBack
from synapse_core.loggers import BaseLogger

SIZE = (64, 48)


@dataclass
class World:
    """One project. tasks: one a unit, in their order; the first `submitted` of them have an assignment."""

    backend: LocalBackend
    home: Path
    collection: DataCollection
    project: Project
    units: list[DataUnit]
    tasks: list[Task]
    assignments: list[Assignment]


def draw_image(path: Path, number: int) -> Path:
    """Draw a small picture that no other number has."""
    image = Image.new("RGB", SIZE, (number * 40 % 256, 90, 120))
    ImageDraw.Draw(image).rectangle(
        (8, 6, 8 + number % 40, 24), fill=(250, number % 256, number // 256 % 256)
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)
    return path


def document(number: int) -> dict[str, Any]:
    """Return a DM document of version 2 with one box."""
    box = {"id": f"box{number}", "classification": "car", "attrs": [], "data": [8, 6, number % 40 + 1, 18]}
    return {"classification": {"bounding_box": ["car"]}, "images": [{"bounding_box": [box]}]}


def seed(backend: LocalBackend, folder: Path, names: list[str], *, submitted: int | None = None) -> World:
    """Fill a backend with a project: one unit and task for each name of an image.

    folder: where the images are drawn. submitted: how many tasks are annotated; all where it is left out.
    """
    collection = backend.create_data_collection(
        "images",
        [
            FileSpecification(name="image", file_type="image", is_primary=True, extensions=(".png",)),
            FileSpecification(name="labels", file_type="data", is_required=False, extensions=(".json",)),
        ],
    )
    project = backend.create_project("cars", collection.id, configuration={"classes": ["car"]})
    new = []
    for number, name in enumerate(names):
        image = draw_image(folder / f"{number}.png", number)
        stored = backend.create_data_file(image, storage=collection.storage, name=name)
        new.append(NewDataUnit(key=f"unit-{number}", files={"image": stored.file}))
    units = backend.create_data_units(collection.id, new)
    tasks = backend.create_tasks(project.id, [NewTask(data_unit=unit.id) for unit in units])
    for number, task in enumerate(tasks[:submitted]):
        backend.annotate_task_data(task.id, {"action": "submit", "data": document(number)})
    return World(
        backend,
        folder,
        collection,
        project,
        units,
        list(backend.list_tasks({"project": project.id})),
        list(backend.list_assignments({"project": project.id})),
    )


def snapshot(world: World) -> dict[str, Any]:
    """Return everything that the backend holds, files included, so that two moments can be compared."""
    backend = world.backend
    listings: dict[str, Any] = {
        "storages": backend.list_storages(),
        "data_collections": backend.list_data_collections(),
        "data_units": backend.list_data_units(),
        "projects": backend.list_projects(),
        "tasks": backend.list_tasks(),
        "assignments": backend.list_assignments(),
        "models": backend.list_models(),
    }
    records = {name: [msgspec.to_builtins(record) for record in found] for name, found in listings.items()}
    files = {}
    for record in backend.list_storages():
        with backend.open_storage(record.id) as storage:
            files[record.id] = {name: storage.read_bytes(name) for name, _ in storage.list()}
            files[record.id] |= {f"{name}/": b"" for name in folders(storage)}
    return {**records, "files": files}


def folders(storage: Any, folder: str = "") -> list[str]:
    """Return the names of all folders of a storage."""
    found = [entry.name for entry in storage.entries(folder) if entry.is_folder]
    return found + [name for one in found for name in folders(storage, one)]


class RecordingLogger(BaseLogger):
    """Keeps every event. before: called with each before it is kept, and may raise."""

    def __init__(self, before: Any = None) -> None:
        super().__init__()
        self.events: list[AnyEvent] = []
        self._before = before

    def emit(self, event: AnyEvent) -> None:
        if self._before is not None:
            self._before(event)
        self.events.append(event)

    def steps(self) -> list[str]:
        """Return the steps that succeeded, in order; the skipped ones in brackets."""
        finished = [event for event in self.events if isinstance(event, StepFinished) and event.success]
        return [f"({event.step})" if event.skipped else event.step for event in finished]

    def rolled_back(self) -> list[str]:
        return [event.step for event in self.events if isinstance(event, StepRolledBack)]

    def metrics(self, category: str) -> list[dict[str, Any]]:
        return [
            event.values for event in self.events if isinstance(event, Metrics) and event.category == category
        ]

    def progress(self, category: str) -> list[tuple[float, float]]:
        return [
            (event.current, event.total)
            for event in self.events
            if isinstance(event, Progress) and event.category == category
        ]

    def texts(self) -> str:
        return "\n".join(str(getattr(event, "text", "")) for event in self.events)


def context_of(world: World, logger: BaseLogger | None = None, backend: Any = None) -> RuntimeContext:
    """Return what a run in this process is given."""
    return RuntimeContext(
        logger=logger or RecordingLogger(),
        client=backend or world.backend,
        job_id="run-1",
        run_folder=world.home / "run",
    )
