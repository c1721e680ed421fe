"""Calls of a LocalBackend about storages, files, data collections and data units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import sqlalchemy as sa

from synapse_core.backend import checks, tables
from synapse_core.backend.downloads import write_verified
from synapse_core.backend.kinds import DATA_COLLECTION, DATA_FILE, DATA_UNIT, STORAGE, batches
from synapse_core.backend.local_calls import LocalCalls, add_row, add_rows
from synapse_core.backend.protocol import Filters, Listing
from synapse_core.backend.records import (
    DataCollection,
    DataFile,
    DataUnit,
    FileReference,
    FileSpecification,
    NewDataUnit,
    StorageRecord,
)
from synapse_core.errors import BackendRejected
from synapse_core.storage import get_storage


class DataCalls(LocalCalls):
    """Where bytes are, and what belongs together."""

    def get_storage(self, storage_id: int, *, with_configuration: bool = False) -> StorageRecord:
        def work(connection: sa.Connection) -> StorageRecord:
            found = STORAGE.get(connection, storage_id)
            if not with_configuration:
                return found
            column = tables.storages.c.configuration
            kept = sa.select(column).where(tables.storages.c.id == storage_id)
            return msgspec.structs.replace(found, configuration=connection.execute(kept).scalar_one())

        return self._database.read(work)

    def list_storages(self, filters: Filters | None = None) -> Listing[StorageRecord]:
        return self._list(STORAGE, filters)

    def create_storage(
        self, name: str, provider: str, configuration: Mapping[str, Any], *, is_default: bool = False
    ) -> StorageRecord:
        values = {
            "name": checks.text("storage's name", name),
            "provider": checks.text("provider", provider),
            "configuration": checks.document("configuration", configuration),
            "is_default": True if is_default else None,
        }
        # It raises where the provider is not known or its settings are wrong; nothing is connected yet.
        get_storage({"provider": provider, "configuration": values["configuration"]}).close()

        def work(connection: sa.Connection) -> StorageRecord:
            if is_default:
                connection.execute(sa.update(tables.storages).values(is_default=None))
            return STORAGE.get(connection, add_row(connection, tables.storages, values))

        return self._database.write(work)

    def create_data_file(
        self, path: Path, *, storage: int | None = None, name: str | None = None
    ) -> DataFile:
        checks.text("file's name", path.name if name is None else name, most=1000)
        file = self._store(path, "data", storage=storage, name=name)
        columns = tables.data_files.c

        def work(connection: sa.Connection) -> DataFile:
            same = [columns.storage == file.storage, columns.checksum == file.checksum]
            for found in DATA_FILE.find(connection, same):
                # What it is called is up to whoever asks; what it holds is the same.
                return msgspec.structs.replace(
                    found, file=msgspec.structs.replace(found.file, name=file.name)
                )
            row = {"storage": file.storage, "checksum": file.checksum, "file": file}
            return DataFile(id=add_row(connection, tables.data_files, row), file=file)

        return self._database.write(work)

    def verify_checksums(self, checksums: Sequence[str], *, data_collection: int) -> set[str]:
        columns = tables.data_unit_files.c

        def work(connection: sa.Connection) -> set[str]:
            DATA_COLLECTION.get(connection, data_collection)
            found: set[str] = set()
            for some in batches(list(dict.fromkeys(checksums))):
                query = sa.select(columns.checksum).where(
                    columns.data_collection == data_collection, columns.checksum.in_(some)
                )
                found.update(connection.execute(query).scalars())
            return found

        return self._database.read(work)

    def download_file(self, file: FileReference, target: Path) -> Path:
        return write_verified(self.open_storage(file.storage), file, target)

    def get_data_collection(self, collection_id: int) -> DataCollection:
        return self._get(DATA_COLLECTION, collection_id)

    def list_data_collections(self, filters: Filters | None = None) -> Listing[DataCollection]:
        return self._list(DATA_COLLECTION, filters)

    def create_data_collection(
        self,
        name: str,
        file_specifications: Sequence[FileSpecification],
        *,
        storage: int | None = None,
        category: str = "image",
        description: str = "",
    ) -> DataCollection:
        values = {
            "name": checks.text("data collection's name", name),
            "category": checks.text("category", category),
            "rest": {
                "file_specifications": checks.specifications(file_specifications),
                "description": description,
            },
        }
        storage_id = self._default_storage_id() if storage is None else storage

        def work(connection: sa.Connection) -> DataCollection:
            STORAGE.get(connection, storage_id)
            made = add_row(connection, tables.data_collections, {**values, "storage": storage_id})
            return DATA_COLLECTION.get(connection, made)

        return self._database.write(work)

    def delete_data_collection(self, collection_id: int) -> None:
        def work(connection: sa.Connection) -> None:
            DATA_COLLECTION.get(connection, collection_id)
            for table in (tables.data_units, tables.projects):
                used = sa.select(table.c.id).where(table.c.data_collection == collection_id).limit(1)
                if connection.execute(used).first() is not None:
                    raise BackendRejected(
                        f"Data collection {collection_id} has {table.name.replace('_', ' ')}; "
                        "nothing was deleted.",
                        {"data_collection": collection_id},
                        hint="Only a collection that nothing belongs to can be deleted.",
                    )
            connection.execute(
                sa.delete(tables.data_collections).where(tables.data_collections.c.id == collection_id)
            )

        self._database.write(work)

    def get_data_unit(self, unit_id: int) -> DataUnit:
        return self._get(DATA_UNIT, unit_id)

    def list_data_units(
        self, filters: Filters | None = None, *, after: int | None = None
    ) -> Listing[DataUnit]:
        return self._list(DATA_UNIT, filters, after)

    def create_data_units(self, collection_id: int, units: Sequence[NewDataUnit]) -> list[DataUnit]:
        collection = self._get(DATA_COLLECTION, collection_id)
        checks.units(collection, units)
        first = {unit.key: unit for unit in reversed(units)}
        wanted = {unit.key: first[unit.key] for unit in units}

        def work(connection: sa.Connection) -> list[DataUnit]:
            known = _units_by_key(connection, collection_id, list(wanted))
            new = [unit for key, unit in wanted.items() if key not in known]
            if new:
                ids = _add_units(connection, collection_id, new)
                known |= {unit.key: _made(ids[unit.key], collection_id, unit) for unit in new}
            return [known[unit.key] for unit in units]

        return self._database.write(work)

    def delete_data_units(self, unit_ids: Sequence[int]) -> int:
        ids = list(dict.fromkeys(unit_ids))

        def work(connection: sa.Connection) -> int:
            deleted = 0
            for some in batches(ids):
                with_task = sa.select(tables.tasks.c.data_unit).where(tables.tasks.c.data_unit.in_(some))
                busy = sorted(set(connection.execute(with_task).scalars()))
                if busy:
                    raise BackendRejected(
                        f"{len(busy):,} of the data units have tasks, and nothing was deleted: "
                        f"{', '.join(map(str, busy[:10]))}.",
                        {"data_units": busy},
                        hint="Leave these out.",
                    )
                gone = sa.delete(tables.data_units).where(tables.data_units.c.id.in_(some))
                deleted += connection.execute(gone).rowcount
            return deleted

        return self._database.write(work)


def _units_by_key(connection: sa.Connection, collection_id: int, keys: Sequence[str]) -> dict[str, DataUnit]:
    columns = tables.data_units.c
    found: dict[str, DataUnit] = {}
    for some in batches(keys):
        asked = [columns.data_collection == collection_id, columns.key.in_(some)]
        found |= {unit.key: unit for unit in DATA_UNIT.find(connection, asked)}
    return found


def _made(unit_id: int, collection_id: int, unit: NewDataUnit) -> DataUnit:
    """Return a unit as it will be read; reading it right after it was written would take as long again."""
    return DataUnit(
        id=unit_id,
        data_collection=collection_id,
        key=unit.key,
        files=unit.files,
        meta=msgspec.json.decode(msgspec.json.encode(unit.meta)),
        groups=tuple(dict.fromkeys(unit.groups)),
    )


def _add_units(connection: sa.Connection, collection_id: int, new: Sequence[NewDataUnit]) -> dict[str, int]:
    """Add units. Returns their ids by key."""
    rows = [
        {"data_collection": collection_id, "key": unit.key, "files": unit.files, "meta": unit.meta}
        for unit in new
    ]
    add_rows(connection, tables.data_units, rows)
    ids = _ids_by_key(connection, collection_id, [unit.key for unit in new])
    files = [
        {"data_unit": ids[unit.key], "data_collection": collection_id, "checksum": file.checksum}
        for unit in new
        for file in unit.files.values()
    ]
    groups = [
        {"owner": ids[unit.key], "label": group} for unit in new for group in dict.fromkeys(unit.groups)
    ]
    add_rows(connection, tables.data_unit_files, files)
    add_rows(connection, tables.data_unit_groups, groups)
    return ids


def _ids_by_key(connection: sa.Connection, collection_id: int, keys: Sequence[str]) -> dict[str, int]:
    columns = tables.data_units.c
    found: dict[str, int] = {}
    for some in batches(keys):
        query = sa.select(columns.key, columns.id).where(
            columns.data_collection == collection_id, columns.key.in_(some)
        )
        found |= {row.key: row.id for row in connection.execute(query)}
    return found
