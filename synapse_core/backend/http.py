"""A backend elsewhere: the calls of `Backend` over the REST API, which synapse_core.backend.service has too.

How calls travel is in http_wire.py, how files do in http_transfers.py.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import msgspec

from synapse_core.backend.downloads import write_verified
from synapse_core.backend.http_files import open_stored
from synapse_core.backend.http_registry import RegistryCalls, Taken
from synapse_core.backend.http_token import Token
from synapse_core.backend.http_transfers import post_with_file
from synapse_core.backend.http_wire import Wire
from synapse_core.backend.protocol import Filters, Listing
from synapse_core.backend.records import (
    Assignment,
    DataCollection,
    DataFile,
    DataUnit,
    FileReference,
    FileSpecification,
    GroundTruth,
    GroundTruthVersion,
    NewDataUnit,
    NewTask,
    Project,
    StorageRecord,
    Task,
)
from synapse_core.errors import RecordNotFound
from synapse_core.storage import Storage


class _Existing(msgspec.Struct, frozen=True):
    existing_checksums: set[str]


class _Health(msgspec.Struct, frozen=True):
    version: str = ""


class HttpBackend(RegistryCalls):
    """The platform over HTTP. Fulfils `Backend`; safe from several threads.

    url: the address below which the REST API is. token: the text itself, or what gives it at each call.
    timeout: of httpx; 5 s to connect and 15 s to answer without it. retries: how often a call is repeated
    after 502, 503, 504, 429 or a lost connection, where the service may get it twice.
    deadline_seconds: the longest that one call takes with all its repeats. transport: another way to the
    service than a connection. Raises InvalidRequest for an address that cannot be one.
    """

    def __init__(
        self,
        url: str,
        token: Token,
        *,
        tenant: str | None = None,
        timeout: httpx.Timeout | float | None = None,
        retries: int = 3,
        deadline_seconds: float | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._wire = Wire(
            url,
            token,
            tenant=tenant,
            timeout=timeout,
            retries=retries,
            deadline_seconds=deadline_seconds,
            transport=transport,
        )

    def __repr__(self) -> str:
        return f"HttpBackend({str(self._wire.base)!r})"

    def __enter__(self) -> HttpBackend:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        self._wire.close()

    def check(self) -> dict[str, Any]:
        """Return `{kind, address, version}`; the token was taken. version: '' where the service has none."""
        with self._wire.within():
            version = ""
            # Only our own service has it, and it wants no token there.
            with contextlib.suppress(RecordNotFound):
                version = self._wire.send("GET", "health").decoded(_Health).version
            self._wire.send("GET", "storages/", params={"page_size": "1"}).decoded(dict[str, Any])
        return {"kind": "http", "address": str(self._wire.base), "version": version}

    # Storages and files

    def get_storage(self, storage_id: int, *, with_configuration: bool = False) -> StorageRecord:
        params = {"with_configuration": "true"} if with_configuration else None
        return self._get(StorageRecord, "storages", storage_id, params)

    def list_storages(self, filters: Filters | None = None) -> Listing[StorageRecord]:
        return self._list(StorageRecord, "storages/", filters)

    def create_storage(
        self, name: str, provider: str, configuration: Mapping[str, Any], *, is_default: bool = False
    ) -> StorageRecord:
        fields = {
            "name": name,
            "provider": provider,
            "configuration": configuration,
            "is_default": is_default,
        }
        return self._post("storages/", fields).decoded(StorageRecord)

    def open_storage(self, storage_id: int | None = None) -> Storage:
        with self._wire.within():
            wanted = "default" if storage_id is None else storage_id
            record = self._get(StorageRecord, "storages", wanted, {"with_configuration": "true"})
        return open_stored(self._wire, record)

    def create_data_file(
        self, path: Path, *, storage: int | None = None, name: str | None = None
    ) -> DataFile:
        fields = {"storage": storage, "name": path.name if name is None else name}
        answer = post_with_file(self._wire, "data_files/", fields, path, is_repeatable=True)
        return answer.decoded(DataFile)

    def verify_checksums(self, checksums: Sequence[str], *, data_collection: int) -> set[str]:
        value = {"checksums": list(checksums), "data_collection": data_collection}
        answer = self._post("data_files/verify_checksums/", value, is_repeatable=True)
        return answer.decoded(_Existing).existing_checksums

    def download_file(self, file: FileReference, target: Path) -> Path:
        with self.open_storage(file.storage) as storage:
            return write_verified(storage, file, target)

    # Data

    def get_data_collection(self, collection_id: int) -> DataCollection:
        params = {"expand": "file_specifications"}
        return self._get(DataCollection, "data_collections", collection_id, params)

    def list_data_collections(self, filters: Filters | None = None) -> Listing[DataCollection]:
        return self._list(DataCollection, "data_collections/", filters)

    def create_data_collection(
        self,
        name: str,
        file_specifications: Sequence[FileSpecification],
        *,
        storage: int | None = None,
        category: str = "image",
        description: str = "",
    ) -> DataCollection:
        fields = {
            "name": name,
            "file_specifications": list(file_specifications),
            "storage": storage,
            "category": category,
            "description": description,
        }
        return self._post("data_collections/", fields).decoded(DataCollection)

    def delete_data_collection(self, collection_id: int) -> None:
        self._delete("data_collections", collection_id)

    def get_data_unit(self, unit_id: int) -> DataUnit:
        return self._get(DataUnit, "data_units", unit_id)

    def list_data_units(
        self, filters: Filters | None = None, *, after: int | None = None
    ) -> Listing[DataUnit]:
        return self._list(DataUnit, "data_units/", filters, after=after)

    def create_data_units(self, collection_id: int, units: Sequence[NewDataUnit]) -> list[DataUnit]:
        if not units:
            self.get_data_collection(collection_id)
            return []
        # Each bears the collection, as the REST API has it; all of one call have the same.
        value = [{"data_collection": collection_id, **msgspec.structs.asdict(unit)} for unit in units]
        return self._post("data_units/", value, is_repeatable=True).decoded(list[DataUnit])

    def delete_data_units(self, unit_ids: Sequence[int]) -> int:
        value = {"ids": list(unit_ids)}
        return self._post("data_units/delete/", value, is_repeatable=True).decoded(Taken).count

    # Annotation

    def get_project(self, project_id: int) -> Project:
        return self._get(Project, "projects", project_id)

    def list_projects(self, filters: Filters | None = None) -> Listing[Project]:
        return self._list(Project, "projects/", filters)

    def create_project(
        self,
        name: str,
        data_collection: int,
        *,
        category: str = "image",
        description: str = "",
        configuration: Mapping[str, Any] | None = None,
    ) -> Project:
        fields = {
            "name": name,
            "data_collection": data_collection,
            "category": category,
            "description": description,
            "configuration": configuration,
        }
        return self._post("projects/", fields).decoded(Project)

    def get_task(self, task_id: int) -> Task:
        return self._get(Task, "tasks", task_id)

    def list_tasks(self, filters: Filters | None = None, *, after: int | None = None) -> Listing[Task]:
        return self._list(Task, "sdk/tasks/", filters, after=after)

    def create_tasks(self, project_id: int, tasks: Sequence[NewTask]) -> list[Task]:
        value = {"project": project_id, "data": list(tasks)}
        return self._post("tasks/", value, is_repeatable=True).decoded(list[Task])

    def annotate_task_data(self, task_id: int, content: Mapping[str, Any]) -> Task:
        path = f"tasks/{int(task_id)}/annotate_task_data/"
        return self._post(path, content, method="PUT").decoded(Task)

    def set_tags_tasks(self, task_ids: Sequence[int], tags: Sequence[str], action: str = "add") -> None:
        self._set_tags("tasks/set_tags/", task_ids, tags, action)

    def get_assignment(self, assignment_id: int) -> Assignment:
        return self._get(Assignment, "assignments", assignment_id)

    def list_assignments(
        self, filters: Filters | None = None, *, after: int | None = None
    ) -> Listing[Assignment]:
        return self._list(Assignment, "sdk/assignments/", filters, after=after)

    def get_assignments(self, filters: Filters | None = None) -> tuple[Listing[Assignment], int]:
        found = self.list_assignments(filters)
        return found, found.count

    def set_tags_assignments(
        self, assignment_ids: Sequence[int], tags: Sequence[str], action: str = "add"
    ) -> None:
        self._set_tags("assignments/set_tags/", assignment_ids, tags, action)

    # Ground truth

    def get_ground_truth_version(self, version_id: int) -> GroundTruthVersion:
        return self._get(GroundTruthVersion, "ground_truth_dataset_versions", version_id)

    def list_ground_truth_versions(self, filters: Filters | None = None) -> Listing[GroundTruthVersion]:
        return self._list(GroundTruthVersion, "ground_truth_dataset_versions/", filters)

    def create_ground_truth_version(
        self, dataset: str, version: str, *, project: int, splits: Mapping[str, Sequence[int]] | None = None
    ) -> GroundTruthVersion:
        fields = {"dataset": dataset, "version": version, "project": project, "splits": splits}
        return self._post("ground_truth_dataset_versions/", fields).decoded(GroundTruthVersion)

    def list_ground_truths(
        self, filters: Filters | None = None, *, after: int | None = None
    ) -> Listing[GroundTruth]:
        return self._list(GroundTruth, "ground_truths/", filters, after=after)

    def _set_tags(self, path: str, ids: Sequence[int], tags: Sequence[str], action: str) -> None:
        value = {"ids": list(ids), "tags": list(tags), "action": action}
        self._post(path, value, is_repeatable=True)
