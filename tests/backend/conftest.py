"""The backends that keep the contract. One line in BACKENDS, and the whole suite runs over another one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

import pytest
from annotation_begun import Annotation, begin_annotation
from backend_services import over_http
from postgres_server import NoPostgres, PostgresServer, postgres_server

from synapse_core.backend import Backend
from synapse_core.backend.local import LocalBackend


@contextmanager
def local_on_sqlite(request: pytest.FixtureRequest, home: Path) -> Iterator[Backend]:
    opened = LocalBackend(home)
    yield opened
    opened.close()


@contextmanager
def local_on_postgresql(request: pytest.FixtureRequest, home: Path) -> Iterator[Backend]:
    server: PostgresServer = request.getfixturevalue("postgresql")
    opened = LocalBackend(home, database_url=server.empty_database())
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
    return server.empty_database()


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgresServer]:
    """One PostgreSQL server for the session."""
    with ExitStack() as running:
        try:
            server = running.enter_context(postgres_server())
        except NoPostgres as error:
            pytest.skip(f"PostgreSQL: {error}")
        yield server


@pytest.fixture
def annotation(backend: Backend, tmp_path: Path) -> Annotation:
    return begin_annotation(backend, tmp_path)
