"""Calls of a LocalBackend about models, plugin releases and serve applications."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa

from synapse_core.backend import checks, tables
from synapse_core.backend.kinds import (
    GROUND_TRUTH_VERSION,
    MODEL,
    PLUGIN_RELEASE,
    SERVE_APPLICATION,
)
from synapse_core.backend.local_calls import LocalCalls, add_row, as_one_file
from synapse_core.backend.protocol import Filters, Listing
from synapse_core.backend.records import FileReference, Model, PluginRelease, ServeApplication
from synapse_core.errors import BackendConflict, BackendRejected, BackendUnavailable, RecordNotFound

T = TypeVar("T")
_MOST_TRIES = 5


class ModelCalls(LocalCalls):
    """What was trained, published and deployed."""

    def get_model(self, model_id: int) -> Model:
        return self._get(MODEL, model_id)

    def list_models(self, filters: Filters | None = None, *, after: int | None = None) -> Listing[Model]:
        return self._list(MODEL, filters, after)

    def create_model(
        self,
        name: str,
        path: Path,
        *,
        version: str | None = None,
        plugin: str = "",
        plugin_version: str = "",
        checkpoint: int | None = None,
        run_id: str | None = None,
        dataset: int | None = None,
        metrics: Mapping[str, float] | None = None,
        configuration: Mapping[str, Any] | None = None,
        description: str = "",
    ) -> Model:
        values = {
            "name": checks.text("model's name", name),
            "plugin": checks.text("plugin", plugin, may_be_empty=True),
            "plugin_version": checks.text("plugin's version", plugin_version, may_be_empty=True),
            "checkpoint": checkpoint,
            "run_id": None if run_id is None else checks.text("run_id", run_id),
            "dataset": dataset,
            "created": time.time(),
            "rest": {
                "metrics": checks.numbers("metrics", metrics),
                "configuration": checks.document("configuration", configuration),
                "description": description,
            },
        }
        if version is not None:
            checks.text("version", version)

        def work(connection: sa.Connection, file: FileReference) -> Model:
            if checkpoint is not None:
                MODEL.get(connection, checkpoint)
            if dataset is not None:
                GROUND_TRUTH_VERSION.get(connection, dataset)
            found = _same_model(connection, name, version, file.checksum, run_id)
            if found is not None:
                return found
            number = version if version is not None else _next_version(connection, name)
            row = {**values, "version": number, "checksum": file.checksum, "file": file}
            return MODEL.get(connection, add_row(connection, tables.models, row))

        with as_one_file(path) as file:
            return self._keep(file, "models", work)

    def delete_model(self, model_id: int) -> None:
        def work(connection: sa.Connection) -> FileReference:
            found = MODEL.get(connection, model_id)
            connection.execute(sa.delete(tables.models).where(tables.models.c.id == model_id))
            return found.file

        file = self._database.write(work)
        storage = self.open_storage(file.storage)

        def clean(connection: sa.Connection) -> None:
            _lock(connection, file.storage)
            if not MODEL.find(connection, [tables.models.c.checksum == file.checksum], limit=1):
                storage.delete(file.path, missing_ok=True)

        # After the row: a crash between the two leaves a file that nobody knows, not a model without one.
        self._database.write(clean)

    def get_plugin_release(self, lookup: str | int) -> PluginRelease:
        if not isinstance(lookup, str):
            return self._get(PLUGIN_RELEASE, lookup)
        plugin, _, version = lookup.partition("@")
        columns = tables.plugin_releases.c
        asked = [columns.plugin == plugin, columns.version == version]
        found = self._database.read(lambda connection: PLUGIN_RELEASE.find(connection, asked))
        if not found:
            raise RecordNotFound("plugin release", lookup, hint="A release is asked for as code@version.")
        return found[0]

    def list_plugin_releases(self, filters: Filters | None = None) -> Listing[PluginRelease]:
        return self._list(PLUGIN_RELEASE, filters)

    def create_plugin_release(
        self,
        plugin: str,
        version: str,
        archive: Path,
        *,
        config: Mapping[str, Any],
        requirements: Sequence[str] = (),
    ) -> PluginRelease:
        values = {
            "plugin": checks.text("plugin", plugin),
            "version": checks.text("version", version),
            "created": time.time(),
            "rest": {
                "config": checks.document("config", config),
                "requirements": checks.texts("requirement", requirements, most=1000),
            },
        }
        if "@" in plugin:
            raise BackendRejected(f"The plugin {plugin!r} has an @, which stands before a version.")
        columns = tables.plugin_releases.c

        def work(connection: sa.Connection, file: FileReference) -> PluginRelease:
            same = [columns.plugin == plugin, columns.version == version]
            for found in PLUGIN_RELEASE.find(connection, same):
                if found.checksum == file.checksum:
                    return found
                raise BackendConflict(
                    f"{found.lookup} is published already, with another content.",
                    {"plugin_release": found.id, "checksum": found.checksum},
                    hint="Raise the version in the plugin's config.yaml, then publish again.",
                )
            row = {**values, "checksum": file.checksum, "size_bytes": file.size_bytes, "file": file}
            return PLUGIN_RELEASE.get(connection, add_row(connection, tables.plugin_releases, row))

        return self._keep(archive, "releases", work)

    def list_serve_applications(self, filters: Filters | None = None) -> Listing[ServeApplication]:
        return self._list(SERVE_APPLICATION, filters)

    def create_serve_application(
        self,
        name: str,
        *,
        job: str | None = None,
        model: int | None = None,
        status: str = "DEPLOYING",
        data: Mapping[str, Any] | None = None,
    ) -> ServeApplication:
        checks.text("serve application's name", name)
        given: dict[str, Any] = {"status": checks.text("status", status)}
        if job is not None:
            given["job"] = checks.text("job", job)
        if model is not None:
            given["model"] = model
        if data is not None:
            given["data"] = checks.document("data", data)
        table = tables.serve_applications
        mine = table.c.name == name

        def work(connection: sa.Connection) -> ServeApplication:
            if model is not None:
                MODEL.get(connection, model)
            changed = connection.execute(sa.update(table).where(mine).values(**given))
            if not changed.rowcount:
                empty: dict[str, Any] = {"job": None, "model": None, "data": {}}
                add_row(connection, table, {"name": name, "created": time.time(), **empty, **given})
            return SERVE_APPLICATION.find(connection, [mine])[0]

        return self._database.write(work)

    def delete_serve_application(self, application_id: int) -> None:
        table = tables.serve_applications

        def work(connection: sa.Connection) -> None:
            SERVE_APPLICATION.get(connection, application_id)
            connection.execute(sa.delete(table).where(table.c.id == application_id))

        self._database.write(work)

    def _keep(self, path: Path, folder: str, work: Callable[[sa.Connection, FileReference], T]) -> T:
        """Store a file in the default storage, then carry out `work`, which makes the record of it.

        The record comes after its file and only while that is there, however many delete at the same time.
        """
        for _ in range(_MOST_TRIES):
            file = self._store(path, folder, storage=None, name=None)
            storage = self.open_storage(file.storage)

            def locked(
                connection: sa.Connection, file: FileReference = file, storage: Any = storage
            ) -> tuple[bool, T | None]:
                _lock(connection, file.storage)
                return (True, work(connection, file)) if storage.exists(file.path) else (False, None)

            is_kept, record = self._database.write(locked)
            if is_kept:
                return record  # type: ignore[return-value]  # what `work` returned
        raise BackendUnavailable(f"The file {str(path)!r} was deleted each time that it had been stored.")


def _lock(connection: sa.Connection, storage_id: int) -> None:
    """Keep others from making and deleting records of files in a storage until the transaction ends."""
    row = tables.storages.c.id == storage_id
    connection.execute(sa.select(tables.storages.c.id).where(row).with_for_update())


def _same_model(
    connection: sa.Connection, name: str, version: str | None, checksum: str, run_id: str | None
) -> Model | None:
    """Return the model that such a call has made before. Raises BackendConflict for another content."""
    columns = tables.models.c
    if version is None:
        again = [columns.name == name, columns.checksum == checksum, columns.run_id == run_id]
        found = MODEL.find(connection, again)
        return found[-1] if found else None
    found = MODEL.find(connection, [columns.name == name, columns.version == version])
    if found and found[0].file.checksum != checksum:
        raise BackendConflict(
            f"Model {name!r} has a version {version!r} already, with another content.",
            {"model": found[0].id, "checksum": found[0].file.checksum},
            hint="Give another version, or leave it out to get the next free number.",
        )
    return found[0] if found else None


def _next_version(connection: sa.Connection, name: str) -> str:
    taken = sa.select(tables.models.c.version).where(tables.models.c.name == name)
    numbers = [int(one) for one in connection.execute(taken).scalars() if one.isascii() and one.isdigit()]
    return str(max(numbers, default=0) + 1)
