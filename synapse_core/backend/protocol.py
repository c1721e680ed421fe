"""What actions need of a backend. One contract suite runs over everything that keeps it.

Every call raises BackendError or one of its kinds (see errors.py): RecordNotFound for an id that is not
there, BackendRejected for values that cannot be taken, BackendUnauthorized, BackendUnavailable. Calls that
move files raise the StorageErrors of their storage as well. A call that raises has changed no record.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from synapse_core.backend.records import (
    Assignment,
    DataCollection,
    DataFile,
    DataUnit,
    FileReference,
    FileSpecification,
    GroundTruth,
    GroundTruthVersion,
    Job,
    JobLog,
    Model,
    NewDataUnit,
    NewTask,
    PluginRelease,
    Project,
    ServeApplication,
    StorageRecord,
    Task,
)

if TYPE_CHECKING:
    from synapse_core.storage import Storage

T = TypeVar("T")
Filters = Mapping[str, Any]
PAGE_SIZE = 100


class Listing(Generic[T]):
    """The records that a filter finds, by ascending id, fetched page by page while they are read.

    count: how many there were when it was asked. Reading it twice asks twice; no more than a page is held.
    """

    def __init__(self, count: int, pages: Callable[[], Iterator[Sequence[T]]]) -> None:
        self.count = count
        self._pages = pages

    def __iter__(self) -> Iterator[T]:
        for page in self._pages():
            yield from page

    def __len__(self) -> int:
        return self.count


class Backend(Protocol):
    """The platform. Calls are safe from several threads.

    Lists take filters: a field's name -> the value it must have, or a list of values of which it must have
    one; `tags` of tasks and assignments, and `groups` of data units, match records that carry every one of
    them. `after` goes on behind a record's id, which is how a broken export is taken up; an id is never given
    twice. A filter that is not known raises BackendRejected naming those that are.

    Calls that make something may be repeated: data units are the same by collection and key, tasks by project
    and data unit, data files by storage and content, models and releases by version and content, jobs by id.
    """

    def close(self) -> None: ...

    def check(self) -> dict[str, Any]:
        """Return what and where this backend is: `{kind, address, version}`. Raises as any call does."""
        ...

    # Storages and files
    def get_storage(self, storage_id: int, *, with_configuration: bool = False) -> StorageRecord: ...
    def list_storages(self, filters: Filters | None = None) -> Listing[StorageRecord]: ...
    def create_storage(
        self, name: str, provider: str, configuration: Mapping[str, Any], *, is_default: bool = False
    ) -> StorageRecord: ...
    def open_storage(self, storage_id: int | None = None) -> Storage:
        """Return the storage itself, the default one where no id is given.

        One that only the service's machine can reach is reached through the service.
        """
        ...

    def create_data_file(
        self, path: Path, *, storage: int | None = None, name: str | None = None
    ) -> DataFile:
        """Store a file under its content. The same content in the same storage is stored once.

        name: what the file is called, that of `path` by default. It is the caller's, also where the content
        was there under another one.
        """
        ...

    def verify_checksums(self, checksums: Sequence[str], *, data_collection: int) -> set[str]:
        """Return those of the checksums of which the collection has a file already."""
        ...

    def download_file(self, file: FileReference, target: Path) -> Path:
        """Write a file to `target`, in place of what is there; it appears whole or not at all.

        Raises InvalidAnswer where it has another checksum than it had when it was stored.
        """
        ...

    # Data
    def get_data_collection(self, collection_id: int) -> DataCollection: ...
    def list_data_collections(self, filters: Filters | None = None) -> Listing[DataCollection]: ...
    def create_data_collection(
        self,
        name: str,
        file_specifications: Sequence[FileSpecification],
        *,
        storage: int | None = None,
        category: str = "image",
        description: str = "",
    ) -> DataCollection: ...
    def delete_data_collection(self, collection_id: int) -> None:
        """Delete an empty collection. Raises BackendRejected where it has units or projects."""
        ...

    def get_data_unit(self, unit_id: int) -> DataUnit: ...
    def list_data_units(
        self, filters: Filters | None = None, *, after: int | None = None
    ) -> Listing[DataUnit]: ...
    def create_data_units(self, collection_id: int, units: Sequence[NewDataUnit]) -> list[DataUnit]:
        """Make all of them or none, in their order; one whose key is there already is returned as it is.

        Raises BackendRejected with `details["problems"]`: files that the collection wants and a unit lacks,
        or has and the collection does not know, wrong extensions, files in another storage.
        """
        ...

    def delete_data_units(self, unit_ids: Sequence[int]) -> int:
        """Delete units without touching their files. Returns how many there were.

        Raises BackendRejected, deleting nothing, where one has a task.
        """
        ...

    # Annotation
    def get_project(self, project_id: int) -> Project: ...
    def list_projects(self, filters: Filters | None = None) -> Listing[Project]: ...
    def create_project(
        self,
        name: str,
        data_collection: int,
        *,
        category: str = "image",
        description: str = "",
        configuration: Mapping[str, Any] | None = None,
    ) -> Project: ...
    def get_task(self, task_id: int) -> Task: ...
    def list_tasks(self, filters: Filters | None = None, *, after: int | None = None) -> Listing[Task]: ...
    def create_tasks(self, project_id: int, tasks: Sequence[NewTask]) -> list[Task]: ...
    def annotate_task_data(self, task_id: int, content: Mapping[str, Any]) -> Task:
        """Put annotations on a task: `{"action": "submit", "data": <DM document or None>}`.

        action: `save` changes the task alone; `submit` also makes an assignment of it, or changes the one
        that was submitted before, and the task's status is `submitted`; `withdraw` takes the assignment away,
        and it is `open`. The task keeps its annotations where there is no `data`; None takes them away.
        """
        ...

    def set_tags_tasks(self, task_ids: Sequence[int], tags: Sequence[str], action: str = "add") -> None:
        """action: add or remove."""
        ...

    def get_assignment(self, assignment_id: int) -> Assignment: ...
    def list_assignments(
        self, filters: Filters | None = None, *, after: int | None = None
    ) -> Listing[Assignment]: ...
    def get_assignments(self, filters: Filters | None = None) -> tuple[Listing[Assignment], int]:
        """Return (assignments, how many), as plugins written for synapse-sdk ask."""
        ...

    def set_tags_assignments(
        self, assignment_ids: Sequence[int], tags: Sequence[str], action: str = "add"
    ) -> None: ...

    # Ground truth
    def get_ground_truth_version(self, version_id: int) -> GroundTruthVersion: ...
    def list_ground_truth_versions(self, filters: Filters | None = None) -> Listing[GroundTruthVersion]: ...
    def create_ground_truth_version(
        self, dataset: str, version: str, *, project: int, splits: Mapping[str, Sequence[int]] | None = None
    ) -> GroundTruthVersion:
        """Freeze what the assignments of a project say now.

        splits: train, validation and test -> ids of assignments; without it all of them, in no split.
        Raises BackendConflict where the dataset has such a version.
        """
        ...

    def list_ground_truths(
        self, filters: Filters | None = None, *, after: int | None = None
    ) -> Listing[GroundTruth]:
        """Return items of ground truth versions. Filters: ground_truth_version, category, data_unit, id."""
        ...

    # Models, releases, deployments
    def get_model(self, model_id: int) -> Model: ...
    def list_models(self, filters: Filters | None = None, *, after: int | None = None) -> Listing[Model]: ...
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
        """Register a file as a model, a folder as an archive of it.

        version: the next free number where none is given; then the same name, content and run_id is the model
        that is there. With a version, the same name, version and content is; another content is a
        BackendConflict.
        """
        ...

    def delete_model(self, model_id: int) -> None:
        """Delete a model, and its file where no other model has the same content."""
        ...

    def get_plugin_release(self, lookup: str | int) -> PluginRelease:
        """lookup: an id, or code@version."""
        ...

    def list_plugin_releases(self, filters: Filters | None = None) -> Listing[PluginRelease]: ...
    def create_plugin_release(
        self,
        plugin: str,
        version: str,
        archive: Path,
        *,
        config: Mapping[str, Any],
        requirements: Sequence[str] = (),
    ) -> PluginRelease:
        """Publish an archive. The same content again is the release that is there; another is a Conflict."""
        ...

    def list_serve_applications(self, filters: Filters | None = None) -> Listing[ServeApplication]: ...
    def create_serve_application(
        self,
        name: str,
        *,
        job: str | None = None,
        model: int | None = None,
        status: str = "DEPLOYING",
        data: Mapping[str, Any] | None = None,
    ) -> ServeApplication:
        """Register a deployment, or change what is given of the one of this name."""
        ...

    def delete_serve_application(self, application_id: int) -> None: ...

    # Jobs
    def get_job(self, job_id: str) -> Job: ...
    def list_jobs(self, filters: Filters | None = None) -> Listing[Job]: ...
    def create_job(self, job_id: str, *, plugin: str = "", action: str = "") -> Job:
        """Make a job, or return the one that has the id."""
        ...

    def update_job(
        self,
        job_id: str,
        *,
        status: str | None = None,
        progress_record: Mapping[str, Any] | None = None,
        metrics_record: Mapping[str, Any] | None = None,
        result: Any = None,
        meta: Mapping[str, Any] | None = None,
    ) -> Job:
        """Replace what is given of a job; None leaves a field as it is."""
        ...

    def create_logs(self, logs: Sequence[JobLog]) -> int:
        """Append entries to the logs of jobs. Returns how many were taken."""
        ...

    def list_job_logs(self, job_id: str, *, after: int | None = None) -> Listing[JobLog]: ...
