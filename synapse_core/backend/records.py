"""What a backend knows, as frozen records. Times are seconds since 1970, sizes bytes, checksums SHA-256.

Every record can also be read like a mapping (`model["id"]`), as plugins written for synapse-sdk do.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """The base: attributes that can be read by name in brackets as well."""

    def __getitem__(self, name: str) -> Any:
        if name not in self.__struct_fields__:
            raise KeyError(name)
        return getattr(self, name)

    def __contains__(self, name: object) -> bool:
        return name in self.__struct_fields__

    def __iter__(self) -> Iterator[str]:
        return iter(self.__struct_fields__)

    def keys(self) -> tuple[str, ...]:
        return self.__struct_fields__

    def get(self, name: str, default: Any = None) -> Any:
        return getattr(self, name) if name in self.__struct_fields__ else default


class FileReference(Record, frozen=True, kw_only=True):
    """A file in a storage.

    path: relative to the storage's base, POSIX. name: what the file was called where it came from.
    url: where it can be read, '' where only its storage can tell. Credentials are never part of it.
    """

    storage: int
    path: str
    checksum: str
    size_bytes: int
    name: str
    url: str = ""


class StorageRecord(Record, frozen=True, kw_only=True):
    """Where bytes are kept.

    configuration: as synapse_core.storage takes it; empty unless it was asked for, because it holds secrets.
    """

    id: int
    name: str
    provider: str
    configuration: dict[str, Any] = {}
    is_default: bool = False


class FileSpecification(Record, frozen=True, kw_only=True):
    """One kind of file that each data unit of a collection has.

    file_type: image, video, text, audio, pcd or data. extensions: with the dot, lower case; any where empty.
    """

    name: str
    file_type: str = "image"
    is_primary: bool = False
    is_required: bool = True
    extensions: tuple[str, ...] = ()


class DataCollection(Record, frozen=True, kw_only=True):
    """Data units of one shape, kept in one storage."""

    id: int
    name: str
    storage: int
    category: str = "image"
    file_specifications: tuple[FileSpecification, ...] = ()
    description: str = ""


class DataFile(Record, frozen=True, kw_only=True):
    """A file that the backend knows."""

    id: int
    file: FileReference


class NewDataUnit(Record, frozen=True, kw_only=True):
    """A data unit to be made.

    key: chosen by the caller; the same key in the same collection is made once, whatever is repeated.
    files: name of the file specification -> file that lies in the collection's storage already.
    """

    key: str
    files: dict[str, FileReference]
    meta: dict[str, Any] = {}
    groups: tuple[str, ...] = ()


class DataUnit(Record, frozen=True, kw_only=True):
    """Files that belong together, an image and its depth map for example."""

    id: int
    data_collection: int
    key: str
    files: dict[str, FileReference]
    meta: dict[str, Any] = {}
    groups: tuple[str, ...] = ()


class Project(Record, frozen=True, kw_only=True):
    """Annotation work on a data collection. configuration: its classes and tools, as the platform has it."""

    id: int
    name: str
    data_collection: int
    category: str = "image"
    description: str = ""
    configuration: dict[str, Any] = {}


class NewTask(Record, frozen=True, kw_only=True):
    """A task to be made. One data unit has one task in a project; a second one is the first."""

    data_unit: int
    data: dict[str, Any] | None = None
    tags: tuple[str, ...] = ()


class Task(Record, frozen=True, kw_only=True):
    """One data unit to be annotated in a project.

    data: its annotations as a DM document, None where there are none. files: those of its data unit.
    """

    id: int
    project: int
    data_unit: int
    status: str = "open"
    data: dict[str, Any] | None = None
    tags: tuple[str, ...] = ()
    files: dict[str, FileReference] = {}


class Assignment(Record, frozen=True, kw_only=True):
    """What one worker made of a task; `data` is a DM document. It comes to be when a task is submitted."""

    id: int
    project: int
    task: int
    data_unit: int
    status: str = "submitted"
    data: dict[str, Any] | None = None
    tags: tuple[str, ...] = ()
    files: dict[str, FileReference] = {}


class GroundTruthVersion(Record, frozen=True, kw_only=True):
    """A frozen version of a ground truth dataset, what a training takes as `dataset`.

    counts: split -> items, of train, validation and test; items without a split count under ''.
    """

    id: int
    dataset: str
    version: str
    project: int | None = None
    counts: dict[str, int] = {}


class GroundTruth(Record, frozen=True, kw_only=True):
    """One item of a ground truth version. category: train, validation, test or ''."""

    id: int
    ground_truth_version: int
    data_unit: int
    category: str = ""
    data: dict[str, Any] | None = None
    files: dict[str, FileReference] = {}


class Model(Record, frozen=True, kw_only=True):
    """A registered model: one file (an archive where it was a folder) with where it came from.

    checkpoint: the id of the model that its training began with. run_id: the run that made it.
    """

    id: int
    name: str
    version: str
    file: FileReference
    plugin: str = ""
    plugin_version: str = ""
    checkpoint: int | None = None
    run_id: str | None = None
    dataset: int | None = None
    metrics: dict[str, float] = {}
    configuration: dict[str, Any] = {}
    description: str = ""
    created: float = 0.0


class PluginRelease(Record, frozen=True, kw_only=True):
    """A published version of a plugin. checksum: of its archive, and with it of its content."""

    id: int
    plugin: str
    version: str
    checksum: str
    size_bytes: int
    file: FileReference
    config: dict[str, Any] = {}
    requirements: tuple[str, ...] = ()
    created: float = 0.0

    @property
    def lookup(self) -> str:
        """How a release is asked for: code@version."""
        return f"{self.plugin}@{self.version}"


class Job(Record, frozen=True, kw_only=True):
    """What the backend knows of a run. status: PENDING, RUNNING, STOPPED, SUCCEEDED or FAILED."""

    id: str
    plugin: str = ""
    action: str = ""
    status: str = "PENDING"
    progress_record: dict[str, Any] = {}
    metrics_record: dict[str, Any] = {}
    result: Any = None
    meta: dict[str, Any] = {}
    created: float = 0.0


class JobLog(Record, frozen=True, kw_only=True):
    """One entry of a job's log. at: seconds since 1970, the time of its arrival where it is 0.

    id: its place in the log, for `after`; what a caller gives is not looked at.
    """

    job: str
    event: str
    data: dict[str, Any] = {}
    level: str = "info"
    step: str | None = None
    at: float = 0.0
    id: int = 0


class ServeApplication(Record, frozen=True, kw_only=True):
    """A model that is deployed. data: address, route and whatever its deployer wants to remember."""

    id: int
    name: str
    job: str | None = None
    model: int | None = None
    status: str = "DEPLOYING"
    data: dict[str, Any] = {}
    created: float = 0.0
