"""An upload that does not come to its end leaves storage and backend as they were, wherever it broke off."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from backend_worlds import RecordingLogger
from upload_worlds import (
    TRIPS,
    TrippingBackend,
    collection_of,
    everything,
    pictures,
    upload,
    use_tripping_storage,
)

from synapse_core.actions.upload import BaseUploadAction, UploadContext, UploadParams
from synapse_core.backend import NewTask
from synapse_core.backend.local import LocalBackend
from synapse_core.context import RuntimeContext
from synapse_core.errors import (
    BackendUnavailable,
    RunStopped,
    StepFailed,
    StorageConnectionError,
    StoragePermissionError,
)
from synapse_core.events import AnyEvent, Progress
from synapse_core.steps import BaseStep, StepRegistry, StepResult

STEPS = [
    "initialize",
    "validate_files",
    "analyze_collection",
    "organize_files",
    "generate_data_units",
    "upload_files",
    "process_metadata",
    "cleanup",
]
# Steps that tell how far they are while they are at it, whatever the number of files.
TELLING = [name for name in STEPS if name not in ("validate_files", "upload_files")]


class Broken(Exception):
    """What goes wrong in these tests."""


class Place:
    """A storage and a collection with data in it, and a folder to upload of which a part is there already."""

    def __init__(self, backend: LocalBackend, folder: Path) -> None:
        self.backend = backend
        self.location = folder / "stored"
        storage = use_tripping_storage(backend, self.location)
        self.collection = collection_of(backend, storage=storage)
        self.folder = pictures(folder / "in", 3)
        upload(backend, self.folder, data_collection=self.collection.id)
        # These three lie there under other names: their content is used again, and stays.
        for number, file in enumerate(sorted(self.folder.iterdir())):
            file.rename(self.folder / f"again{number}.png")
        pictures(self.folder, 30, first=100)
        (self.folder / "meta.csv").write_text("filename,weather\n0100,rain\nnobody,sun\n")
        self.before = everything(backend)

    def trip(self, trip: Callable[[str, str], None]) -> None:
        TRIPS[str(self.location)] = trip

    def upload(self, action: Any, context: RuntimeContext) -> Any:
        # The first three are duplicates by content, and units of their own by name.
        return upload(
            context.client, self.folder, action, context=context, data_collection=self.collection.id
        )

    def check_nothing_changed(self) -> None:
        assert everything(self.backend) == self.before


@pytest.fixture
def place(backend: LocalBackend, tmp_path: Path) -> Iterator[Place]:
    yield Place(backend, tmp_path)
    TRIPS.clear()


class Breaking(BaseStep[UploadContext]):
    """Does what breaks the upload, between two steps."""

    name = "breaking"
    progress_weight = 0.0
    does: Callable[[RuntimeContext], None]

    def __init__(self, does: Callable[[RuntimeContext], None]) -> None:
        self.does = does

    def execute(self, context: UploadContext) -> StepResult:
        self.does(context.runtime_ctx)
        return StepResult()


def fail(context: RuntimeContext) -> None:
    raise Broken("on purpose")


def stop(context: RuntimeContext) -> None:
    context.stop.request()


def with_step(
    place_it: str, name: str, does: Callable[[RuntimeContext], None]
) -> type[BaseUploadAction[Any]]:
    """Return an action with a breaking step before or after the named one."""

    class Upload(BaseUploadAction[UploadParams]):
        def setup_steps(self, registry: StepRegistry[UploadContext]) -> None:
            super().setup_steps(registry)
            getattr(registry, f"insert_{place_it}")(name, Breaking(does))

    return Upload


@pytest.mark.parametrize("does", [fail, stop])
@pytest.mark.parametrize("place_it", ["before", "after"])
@pytest.mark.parametrize("name", STEPS)
def test_what_breaks_between_two_steps_leaves_nothing(
    place: Place, name: str, place_it: str, does: Callable[[RuntimeContext], None]
):
    context = RuntimeContext(logger=RecordingLogger(), client=place.backend)

    with pytest.raises(StepFailed if does is fail else RunStopped) as caught:
        place.upload(with_step(place_it, name, does), context)

    place.check_nothing_changed()
    if isinstance(caught.value, StepFailed):
        assert caught.value.errors == []


@pytest.mark.parametrize("does", [fail, stop])
@pytest.mark.parametrize("name", TELLING)
def test_what_breaks_in_the_middle_of_a_step_leaves_nothing(
    place: Place, name: str, does: Callable[[RuntimeContext], None]
):
    broken: list[str] = []

    def before(event: AnyEvent) -> None:
        is_middle = isinstance(event, Progress) and 0 < event.current < event.total
        if is_middle and event.category == name and not broken:
            broken.append(name)
            does(context)

    context = RuntimeContext(logger=RecordingLogger(before), client=place.backend)
    with pytest.raises(StepFailed if does is fail else RunStopped):
        place.upload(BaseUploadAction, context)

    assert broken == [name]
    place.check_nothing_changed()


@pytest.mark.parametrize("does", [fail, stop])
def test_what_breaks_while_files_are_looked_at_leaves_nothing(
    place: Place, does: Callable[[RuntimeContext], None]
):
    context = RuntimeContext(logger=RecordingLogger(), client=place.backend)
    asked: list[int] = []

    class Allowed(dict[str, list[str]]):
        """Asked for each file, by the threads that look at them."""

        def values(self) -> Any:
            asked.append(1)
            if len(asked) == 10:
                does(context)
            return super().values()

    class Upload(BaseUploadAction[UploadParams]):
        def get_allowed_extensions(self) -> dict[str, list[str]] | None:
            return Allowed(image=["png"])

    with pytest.raises(StepFailed if does is fail else RunStopped):
        place.upload(Upload, context)

    assert len(asked) >= 10
    place.check_nothing_changed()


@pytest.mark.parametrize("does", [fail, stop])
@pytest.mark.parametrize("verb", ["stat", "write_bytes", "write_bytes done"])
def test_what_breaks_while_files_are_stored_leaves_nothing(
    place: Place, verb: str, does: Callable[[RuntimeContext], None]
):
    context = RuntimeContext(logger=RecordingLogger(), client=place.backend)
    seen: list[str] = []

    def trip(called: str, _name: str) -> None:
        if called == verb:
            seen.append(called)
            if len(seen) == 12:
                does(context)

    place.trip(trip)
    with pytest.raises(StepFailed if does is fail else RunStopped):
        place.upload(BaseUploadAction, context)

    assert len(seen) >= 12
    place.check_nothing_changed()


@pytest.mark.parametrize("does", [fail, stop])
@pytest.mark.parametrize("verb", ["create_data_units", "create_data_units done"])
def test_what_breaks_while_data_units_are_made_leaves_nothing(
    place: Place, verb: str, does: Callable[[RuntimeContext], None]
):
    seen: list[str] = []

    def trip(called: str) -> None:
        if called == verb:
            seen.append(called)
            if len(seen) == 2:
                does(context)

    backend = TrippingBackend(place.backend, trip)
    context = RuntimeContext(logger=RecordingLogger(), client=backend)
    with pytest.raises(StepFailed if does is fail else RunStopped):
        upload(
            backend,
            place.folder,
            BaseUploadAction,
            context=context,
            data_collection=place.collection.id,
            creating_data_unit_batch_size=10,
        )

    assert 2 <= len(seen) <= 4
    place.check_nothing_changed()


def test_a_backend_that_goes_down_takes_no_file_of_another_with_it(place: Place):
    """Where nobody can say whether a data unit needs them, files stay, and the report tells which."""
    is_down = threading.Event()

    def trip(called: str) -> None:
        if called == "create_data_units done":
            is_down.set()
        if is_down.is_set():
            raise BackendUnavailable("The backend is down.", retryable=False)

    logger = RecordingLogger()
    context = RuntimeContext(logger=logger, client=TrippingBackend(place.backend, trip))
    with pytest.raises(StepFailed) as caught:
        place.upload(BaseUploadAction, context)

    left = caught.value.errors
    assert left[0] == "Not undone: up to 33 data units: The backend is down."
    assert len([line for line in left if line.startswith("Not undone: file collections/")]) == 30
    assert "Not undone" in logger.texts()
    # All of it is there and whole: the same upload goes on from it.
    done = upload(place.backend, place.folder, data_collection=place.collection.id)
    assert (done.data_units, done.skipped_duplicates, place.backend.list_data_units().count) == (0, 33, 36)


def test_what_cannot_be_deleted_is_told(place: Place):
    refused: list[str] = []

    def trip(called: str, name: str) -> None:
        if called == "delete" and len(refused) < 2:
            refused.append(name)
            raise StoragePermissionError("It may not be deleted.")

    place.trip(trip)
    context = RuntimeContext(logger=RecordingLogger(), client=place.backend)
    with pytest.raises(StepFailed) as caught:
        place.upload(with_step("after", "upload_files", fail), context)

    assert caught.value.errors == [f"Not undone: file {name}: It may not be deleted." for name in refused]
    left = {path.name for path in place.location.rglob("*") if path.is_file()}
    assert {name.rpartition("/")[2] for name in refused} <= left
    assert place.backend.list_data_units().count == 3


def test_a_data_unit_that_has_a_task_by_then_stays_with_its_files(place: Place):
    def annotate(context: RuntimeContext) -> None:
        project = place.backend.create_project("at work", place.collection.id)
        units = list(place.backend.list_data_units({"data_collection": place.collection.id}))
        place.backend.create_tasks(project.id, [NewTask(data_unit=units[-1].id)])
        raise Broken("on purpose")

    context = RuntimeContext(logger=RecordingLogger(), client=place.backend)
    with pytest.raises(StepFailed) as caught:
        place.upload(with_step("after", "upload_files", annotate), context)

    units = list(place.backend.list_data_units())
    assert len(units) == 4
    assert any(line.startswith(f"Not undone: data unit {units[-1].id}: ") for line in caught.value.errors)
    file = units[-1].files["image"]
    assert place.backend.open_storage(file.storage).exists(file.path)


def test_files_that_another_upload_uses_by_now_stay(place: Place):
    def use(context: RuntimeContext) -> None:
        other = pictures(place.location.parent / "other", 1, first=100)
        (other / "0100.png").rename(other / "by_another_name.png")
        upload(place.backend, other, data_collection=place.collection.id)
        raise Broken("on purpose")

    context = RuntimeContext(logger=RecordingLogger(), client=place.backend)
    with pytest.raises(StepFailed) as caught:
        place.upload(with_step("after", "upload_files", use), context)

    assert caught.value.errors == []
    units = list(place.backend.list_data_units())
    assert units[-1].files["image"].name == "by_another_name.png"
    file = units[-1].files["image"]
    assert place.backend.open_storage(file.storage).exists(file.path)
    assert len(units) == 4


def test_a_collection_that_was_made_is_taken_back(backend: LocalBackend, tmp_path: Path):
    backend.open_storage()
    folder = pictures(tmp_path / "street", 3)
    context = RuntimeContext(logger=RecordingLogger(), client=backend)

    with pytest.raises(StepFailed) as caught:
        upload(backend, folder, with_step("after", "upload_files", fail), context=context)
    assert caught.value.errors == []
    assert everything(backend)["default"] == {}
    assert list(backend.list_data_collections()) == []

    # What cannot succeed fails before a collection is made.
    with pytest.raises(StepFailed):
        upload(backend, pictures(tmp_path / "other", 1), with_step("before", "upload_files", fail))
    assert list(backend.list_data_collections()) == []
    made = upload(backend, folder).data_collection
    assert [one.id for one in backend.list_data_collections()] == [made]


def test_a_storage_that_is_gone_ends_the_upload_soon(place: Place):
    tried: list[str] = []

    def trip(called: str, name: str) -> None:
        if called == "write_bytes":
            tried.append(name)
            raise StorageConnectionError("Nobody answers.")

    place.trip(trip)
    context = RuntimeContext(logger=RecordingLogger(), client=place.backend)
    with pytest.raises(StepFailed, match="Nobody answers"):
        upload(
            place.backend,
            place.folder,
            context=context,
            data_collection=place.collection.id,
            upload_max_retries=0,
        )

    assert len(tried) < 33
    place.check_nothing_changed()


def test_a_stop_does_not_wait_for_a_pause_between_two_tries(place: Place):
    context = RuntimeContext(logger=RecordingLogger(), client=place.backend)
    tried: list[str] = []
    lock = threading.Lock()

    def trip(called: str, name: str) -> None:
        if called == "write_bytes":
            with lock:
                tried.append(name)
                if len(tried) == 5:
                    context.stop.request()
            # Ten tries, each twice as long after the one before: minutes.
            raise StorageConnectionError("Nobody answers.")

    place.trip(trip)
    with pytest.raises(RunStopped):
        upload(
            place.backend,
            place.folder,
            context=context,
            data_collection=place.collection.id,
            upload_max_retries=10,
        )

    assert len(tried) < 100
    place.check_nothing_changed()
