"""A project in any backend: a collection, one image, and short ways to units, tasks and assignments."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from synapse_core.backend import (
    Assignment,
    Backend,
    DataCollection,
    DataFile,
    DataUnit,
    FileSpecification,
    NewDataUnit,
    NewTask,
    Project,
    Task,
)


@dataclass
class Annotation:
    """A collection of images with a project, and one file that every unit may share."""

    backend: Backend
    file: DataFile
    collection: DataCollection
    project: Project

    def units(self, *keys: str) -> list[DataUnit]:
        new = [NewDataUnit(key=key, files={"image": self.file.file}) for key in keys]
        return self.backend.create_data_units(self.collection.id, new)

    def tasks(self, *keys: str, tags: tuple[str, ...] = ()) -> list[Task]:
        new = [NewTask(data_unit=unit.id, tags=tags) for unit in self.units(*keys)]
        return self.backend.create_tasks(self.project.id, new)

    def submit(self, task: Task, data: dict[str, object]) -> Assignment:
        self.backend.annotate_task_data(task.id, {"action": "submit", "data": data})
        return next(iter(self.backend.list_assignments({"task": task.id})))


def begin_annotation(backend: Backend, folder: Path) -> Annotation:
    image = folder / "image.png"
    image.write_bytes(b"an image")
    file = backend.create_data_file(image)
    collection = backend.create_data_collection(
        "Streets", [FileSpecification(name="image", is_primary=True, extensions=(".png", ".jpg"))]
    )
    return Annotation(backend, file, collection, backend.create_project("Cars", collection.id))
