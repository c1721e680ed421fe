"""What the calls of a LocalBackend are made of: its database, its storages, the files that it keeps."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

import sqlalchemy as sa

from synapse_core.backend import records, tables
from synapse_core.backend.kinds import STORAGE, Kind
from synapse_core.backend.local_database import LocalDatabase
from synapse_core.backend.packing import packed_folder
from synapse_core.backend.protocol import Filters, Listing
from synapse_core.backend.records import FileReference
from synapse_core.errors import BackendRejected
from synapse_core.storage import Storage, get_storage

R = TypeVar("R", bound=records.Record)
_DEFAULT_FOLDER = "files"


class LocalCalls:
    """The base of each group of calls."""

    def __init__(self, home: Path, *, database_url: str | None = None) -> None:
        """Touches nothing: the database and the storages are opened when they are first used."""
        self.home = home
        self._database = LocalDatabase(home, database_url)
        self._storages: dict[int, Storage] = {}
        self._default_storage: int | None = None
        self._opening = Lock()

    def close(self) -> None:
        with self._opening:
            opened = list(self._storages.values())
            self._storages.clear()
        for storage in opened:
            storage.close()
        self._database.close()

    def open_storage(self, storage_id: int | None = None) -> Storage:
        wanted = self._default_storage_id() if storage_id is None else storage_id
        with self._opening:
            opened = self._storages.get(wanted)
        if opened is not None:
            return opened
        provider, configuration = self._database.read(lambda connection: _settings(connection, wanted))
        made = get_storage({"provider": provider, "configuration": configuration})
        with self._opening:
            return self._storages.setdefault(wanted, made)

    def _get(self, kind: Kind[R], record_id: object) -> R:
        return self._database.read(lambda connection: kind.get(connection, record_id))

    def _list(self, kind: Kind[R], filters: Filters | None, after: int | None = None) -> Listing[R]:
        conditions = kind.conditions(filters, after)
        count = self._database.read(lambda connection: kind.count(connection, conditions))
        return Listing(count, lambda: kind.pages(self._database.read, conditions))

    def _default_storage_id(self) -> int:
        """Return the default storage, made where there is none yet: a folder of this home."""
        if self._default_storage is None or not self._database.read(self._is_still_default):
            self._default_storage = self._database.write(self._find_or_make_default)
        return self._default_storage

    def _is_still_default(self, connection: sa.Connection) -> bool:
        found = STORAGE.find(connection, [tables.storages.c.is_default.is_(True)])
        return bool(found) and found[0].id == self._default_storage

    def _find_or_make_default(self, connection: sa.Connection) -> int:
        found = STORAGE.find(connection, [tables.storages.c.is_default.is_(True)])
        if found:
            return found[0].id
        values = {
            "name": "default",
            "provider": "local",
            "configuration": {"location": str(self.home.absolute() / _DEFAULT_FOLDER)},
            "is_default": True,
        }
        return add_row(connection, tables.storages, values)

    def _store(self, path: Path, folder: str, *, storage: int | None, name: str | None) -> FileReference:
        """Put a file into a storage under its content, unless it lies there. Returns where."""
        checksum, size_bytes = measured(path)
        storage_id = self._default_storage_id() if storage is None else storage
        name = path.name if name is None else name
        target = f"{folder}/{checksum[:2]}/{checksum}"
        opened = self.open_storage(storage_id)
        if not opened.exists(target):
            opened.upload(path, target, sha256=checksum)
        return FileReference(
            storage=storage_id, path=target, checksum=checksum, size_bytes=size_bytes, name=name
        )


def _settings(connection: sa.Connection, storage_id: int) -> tuple[str, dict[str, Any]]:
    STORAGE.get(connection, storage_id)
    columns = tables.storages.c
    row = connection.execute(
        sa.select(columns.provider, columns.configuration).where(columns.id == storage_id)
    ).one()
    return row.provider, row.configuration


def add_row(connection: sa.Connection, table: sa.Table, row: Mapping[str, Any]) -> int:
    """Add a row. Returns its id."""
    return int(connection.execute(sa.insert(table).returning(table.c.id), row).scalar_one())


def add_rows(connection: sa.Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Add rows in one statement, or in few where there are very many."""
    if rows:
        # Returning something is what makes SQLAlchemy write many rows into a statement. To have the ids in
        # the order of the rows would take a statement for each in SQLite.
        connection.execute(sa.insert(table).returning(table.c.id), list(rows)).close()


def measured(path: Path) -> tuple[str, int]:
    """Return (SHA-256, size in bytes) of a file. Raises BackendRejected where it cannot be read."""
    try:
        if not path.is_file():
            raise BackendRejected(f"There is no file {str(path)!r}.", hint="Give the path of a file.")
        with open(path, "rb") as content:
            return hashlib.file_digest(content, "sha256").hexdigest(), content.tell()
    except (OSError, ValueError) as error:
        raise BackendRejected(f"The file {str(path)!r} cannot be read: {error}.") from error


@contextmanager
def as_one_file(path: Path) -> Iterator[Path]:
    """Give a file as it is, and a folder as an archive that is deleted afterwards."""
    if not path.is_dir():
        yield path
        return
    with packed_folder(path) as archive:
        yield archive
