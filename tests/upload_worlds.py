"""What the tests of uploads share: folders to upload, a storage and a backend that trip when told to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from backend_worlds import RecordingLogger

from synapse_core.actions.upload import DefaultUploadAction, UploadSummary
from synapse_core.backend import DataCollection, FileSpecification
from synapse_core.backend.local import LocalBackend
from synapse_core.context import RuntimeContext
from synapse_core.executors import LocalExecutor
from synapse_core.storage import get_storage, register_provider
from synapse_core.storage.files import Capabilities

PNG = b"\x89PNG\r\n\x1a\n"
# location of a storage -> what is called with (verb, name) before, or after, it does something.
TRIPS: dict[str, Callable[[str, str], None]] = {}


class TrippingStorage:
    """A local storage whose calls can be made to fail."""

    def __init__(self, configuration: dict[str, Any]) -> None:
        self._location = configuration["location"]
        self._storage = get_storage({"provider": "local", "configuration": configuration})

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._storage, name)
        if name not in ("upload", "write_bytes", "delete", "stat"):
            return found

        def call(*arguments: Any, **options: Any) -> Any:
            target = arguments[1] if name == "upload" else arguments[0]
            trip = TRIPS.get(self._location, lambda _verb, _name: None)
            trip(name, target)
            answer = found(*arguments, **options)
            trip(f"{name} done", target)
            return answer

        return call

    def __enter__(self) -> TrippingStorage:
        return self

    def __exit__(self, *error: object) -> None:
        self._storage.close()


def _make(configuration: dict[str, Any]) -> Any:
    return TrippingStorage(configuration)


def use_tripping_storage(backend: LocalBackend, location: Path) -> int:
    """Make a storage of the backend whose calls go through TRIPS. Returns its id."""
    register_provider("tripping", _make, Capabilities(lists=True, deletes=True, renames=True, is_local=True))
    return backend.create_storage("tripping", "tripping", {"location": str(location)}).id


class TrippingBackend:
    """A backend whose calls can be made to fail before they reach the real one, or after."""

    def __init__(self, backend: LocalBackend, trip: Callable[[str], None]) -> None:
        self._backend = backend
        self._trip = trip

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._backend, name)

        def call(*arguments: Any, **options: Any) -> Any:
            self._trip(name)
            answer = found(*arguments, **options)
            self._trip(f"{name} done")
            return answer

        return call


def pictures(folder: Path, count: int, first: int = 0) -> Path:
    """Write small files that begin as PNG files do, no two alike."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(first, first + count):
        (folder / f"{number:04}.png").write_bytes(PNG + f"picture {number}".encode() * 20)
    return folder


def collection_of(
    backend: LocalBackend, *specifications: FileSpecification, storage: int | None = None
) -> DataCollection:
    """Make a collection, of one image where nothing is said."""
    wanted = specifications or (FileSpecification(name="image", is_primary=True),)
    return backend.create_data_collection("things", wanted, storage=storage)


def upload(
    backend: Any,
    path: Path | None = None,
    action: Any = DefaultUploadAction,
    logger: RecordingLogger | None = None,
    context: RuntimeContext | None = None,
    **params: Any,
) -> UploadSummary:
    """Upload a folder. The result is checked against its model."""
    given = {**({} if path is None else {"path": str(path)}), **params}
    context = context or RuntimeContext(logger=logger or RecordingLogger(), client=backend)
    result = LocalExecutor().execute(action, given, context=context)
    assert context.result_warnings == []
    return UploadSummary.model_validate(result)


def everything(backend: LocalBackend) -> dict[str, Any]:
    """Return what the backend knows of data, and all names in its storages with their bytes."""
    records = {
        "collections": backend.list_data_collections(),
        "units": backend.list_data_units(),
        "storages": backend.list_storages(),
    }
    found: dict[str, Any] = {
        name: [msgspec.to_builtins(record) for record in listing] for name, listing in records.items()
    }
    for record in backend.list_storages():
        root = Path(str(backend.open_storage(record.id).get_pathlib("")))
        found[record.name] = {
            str(path.relative_to(root)): path.read_bytes() if path.is_file() else None
            for path in root.rglob("*")
        }
    return found
