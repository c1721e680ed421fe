"""The backends that keep the contract. One line in BACKENDS, and the whole suite runs over another one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from backend_services import over_http
from postgres_server import NoPostgres, PostgresServer, postgres_server

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
from synapse_core.backend.local import LocalBackend


@contextmanager
def local_on_sqlite(request: pytest.FixtureRequest, home: Path) -> Iterator[Backend]:
    opened = LocalBackend(home)
    yield opened
    opened.close()


@contextmanager
def local_on_postgresql(request: pytest.FixtureRequest, home: Path) -> Iterator[Backend]:
    server: PostgresServer = request.getfixturevalue("postgresql")
    opened = LocalBackend(home, database_url=server.new_database())
    yield opened
    opened.close()


@contextmanager
def http(request: pytest.FixtureRequest, home: Path) -> Iterator[Backend]:
    with over_http(home) as opened:
        yield opened


# name -> what gives an empty backend, and ends it afterwards: (request, home of the test) -> backend
BACKENDS: dict[str, Callable[[pytest.FixtureRequest, Path], AbstractContextManager[Backend]]] = {
    "local-sqlite": local_on_sqlite,
    "local-postgresql": local_on_postgresql,
    "http": http,
}


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest, home: Path) -> Iterator[Backend]:
    """An empty backend of each kind."""
    with BACKENDS[request.param](request, home) as opened:
        yield opened


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, home: Path) -> str | None:
    """The address of an empty database for a LocalBackend, None for the home's own file."""
    if request.param == "sqlite":
        return None
    server: PostgresServer = request.getfixturevalue("postgresql")
    return server.new_database()


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgresServer]:
    """One PostgreSQL server for the session."""
    with ExitStack() as running:
        try:
            server = running.enter_context(postgres_server())
        except NoPostgres as error:
            pytest.skip(f"PostgreSQL: {error}")
        yield server


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


@pytest.fixture
def annotation(backend: Backend, tmp_path: Path) -> Annotation:
    return begin_annotation(backend, tmp_path)


def begin_annotation(backend: Backend, folder: Path) -> Annotation:
    image = folder / "image.png"
    image.write_bytes(b"an image")
    file = backend.create_data_file(image)
    collection = backend.create_data_collection(
        "Streets", [FileSpecification(name="image", is_primary=True, extensions=(".png", ".jpg"))]
    )
    return Annotation(backend, file, collection, backend.create_project("Cars", collection.id))
