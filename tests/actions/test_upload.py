"""Uploads: eight steps, from a folder to data units."""

from __future__ import annotations

import hashlib
import os
import threading
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from backend_worlds import RecordingLogger
from upload_worlds import (
    PNG,
    TRIPS,
    TrippingBackend,
    collection_of,
    everything,
    pictures,
    upload,
    use_tripping_storage,
)

from synapse_core import actions
from synapse_core.actions.upload import (
    BaseUploadAction,
    DefaultUploadAction,
    FailureCode,
    OrganizeFilesStep,
    UploadContext,
    UploadFilesStep,
    UploadParams,
    ValidateFilesStep,
)
from synapse_core.backend import FileSpecification
from synapse_core.backend.local import LocalBackend
from synapse_core.errors import (
    BackendUnavailable,
    InvalidRequest,
    StepFailed,
    StorageConnectionError,
    UploadError,
    ValidationError,
)
from synapse_core.events import StepStarted
from synapse_core.steps import BaseStep, StepRegistry, StepResult

STEPS = [
    ("initialize", 0.05),
    ("validate_files", 0.10),
    ("analyze_collection", 0.05),
    ("organize_files", 0.15),
    ("generate_data_units", 0.10),
    ("upload_files", 0.50),
    ("process_metadata", 0.05),
    ("cleanup", 0.05),
]
IMAGE = FileSpecification(name="image_1", is_primary=True)
CLOUD = FileSpecification(name="pcd_1", file_type="pcd")
NOTES = FileSpecification(name="notes", file_type="data", is_required=False, extensions=(".json",))


def units_of(backend: LocalBackend) -> dict[str, Any]:
    """Return stem -> data unit."""
    return {unit.meta["origin_file_stem"]: unit for unit in backend.list_data_units()}


def write(path: Path, content: bytes = b"") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content or PNG + path.name.encode())
    return path


# The workflow


def test_an_upload_needs_no_more_than_a_path(backend: LocalBackend, tmp_path: Path):
    logger = RecordingLogger()
    folder = pictures(tmp_path / "street", 7)

    result = upload(backend, folder, logger=logger)

    assert logger.steps() == [
        "(process_metadata)" if name == "process_metadata" else name for name, _ in STEPS
    ]
    assert (result.data_units, result.uploaded_files, result.partial_failure) == (7, 7, False)
    collection = backend.get_data_collection(result.data_collection)
    assert (collection.name, collection.file_specifications[0].name) == ("street", "image_1")
    for stem, unit in units_of(backend).items():
        stored = backend.download_file(unit.files["image_1"], tmp_path / "back" / stem)
        assert stored.read_bytes() == (folder / f"{stem}.png").read_bytes()
        assert unit.files["image_1"].name == f"{stem}.png"
        assert unit.meta["origin_file_extension"] == ".png"
        assert unit.meta["import_log_id"] == result.import_log_id


def test_the_steps_have_the_weights_that_were_promised(backend: LocalBackend, tmp_path: Path):
    registry: StepRegistry[Any] = StepRegistry()
    logger = RecordingLogger()

    upload(backend, pictures(tmp_path / "street", 60), logger=logger)
    DefaultUploadAction.setup_steps(object.__new__(DefaultUploadAction), registry)

    assert [(step.name, step.progress_weight) for step in registry.get_steps()] == STEPS
    shares = [event.share for event in logger.events if isinstance(event, StepStarted)]
    assert shares == pytest.approx([weight / 1.05 for _, weight in STEPS])
    for name, _ in STEPS:
        told = logger.progress(name)
        assert told == sorted(told)
        assert name == "process_metadata" or told[-1][0] == told[-1][1]
    assert logger.metrics("data_files")[-1] == {"stand_by": 0, "success": 60, "failed": 0}


def test_a_workflow_can_be_changed(backend: LocalBackend, tmp_path: Path):
    seen: list[str] = []

    class Look(BaseStep[UploadContext]):
        name = "look"
        progress_weight = 0.1

        def execute(self, context: UploadContext) -> StepResult:
            seen.append(
                f"{len(context.organized_files)} {len(context.uploaded_files)} {len(context.data_units)}"
            )
            return StepResult()

    class Mine(BaseUploadAction[UploadParams]):
        action_name = "upload"

        def setup_steps(self, registry: StepRegistry[UploadContext]) -> None:
            super().setup_steps(registry)
            registry.insert_after("upload_files", Look())
            registry.unregister("process_metadata")

    class Few(BaseUploadAction[UploadParams]):
        def setup_steps(self, registry: StepRegistry[UploadContext]) -> None:
            registry.register(ValidateFilesStep())
            registry.register(OrganizeFilesStep())
            registry.register(UploadFilesStep())
            registry.register(Look())

    upload(backend, pictures(tmp_path / "street", 3), Mine)
    upload(backend, pictures(tmp_path / "road", 2, first=5), Few)

    assert seen == ["3 3 3", "2 2 2"]
    assert len(units_of(backend)) == 5


def test_the_names_are_where_they_were_promised():
    for name in ("BaseUploadAction", "DefaultUploadAction", "UploadContext", "UploadParams"):
        assert getattr(actions, name).__name__ == name
    with pytest.warns(DeprecationWarning, match="name of a step"):
        from synapse_core.actions.upload.action import UploadProgressCategories
    assert (UploadProgressCategories.VALIDATE, UploadProgressCategories.UPLOAD) == ("validate", "upload")


def test_ids_are_looked_up_before_anything_runs(backend: LocalBackend, tmp_path: Path):
    with pytest.raises(ValidationError) as caught:
        upload(backend, tmp_path, data_collection=77, storage=78, project=79)
    kinds = {problem["path"]: problem["type"] for problem in caught.value.problems}
    assert kinds == {name: f"{name}_not_found" for name in ("data_collection", "storage", "project")}

    with pytest.raises(ValidationError, match="path is missing"):
        upload(backend)
    with pytest.raises(ValidationError, match="assets is missing"):
        upload(backend, tmp_path, use_single_path=False)


def test_extra_params_go_before_the_others(backend: LocalBackend, tmp_path: Path):
    write(tmp_path / "in" / "large.png", PNG + b"x" * 3000)

    with pytest.raises(StepFailed, match="FILE_TOO_LARGE"):
        upload(backend, tmp_path / "in", max_file_size_mb=5, extra_params={"max_file_size_mb": 0.001})


# What belongs together


def test_sub_folders_of_a_path_are_its_specifications(backend: LocalBackend, tmp_path: Path):
    collection = collection_of(backend, IMAGE, CLOUD, NOTES)
    root = tmp_path / "scans"
    for stem in ("a", "b"):
        write(root / "image_1" / f"{stem}.png")
        write(root / "pcd_1" / "front" / f"{stem}.pcd", b"# .PCD v0.7 " + stem.encode())
    write(root / "notes" / "a.json", b"{}")
    write(root / "image_1" / "lonely.png")
    write(root / "image_1" / "@eaDir" / "a.png")
    write(root / "notes" / "b.txt", b"not json")

    result = upload(backend, root, data_collection=collection.id)

    found = {stem: sorted(unit.files) for stem, unit in units_of(backend).items()}
    assert found == {"a": ["image_1", "notes", "pcd_1"], "b": ["image_1", "pcd_1"]}
    assert result.failures == {"MISSING_REQUIRED_DATA": 1, "UNSUPPORTED_EXTENSION": 1}
    assert result.partial_failure


def test_assets_name_a_path_for_each_specification(backend: LocalBackend, tmp_path: Path):
    collection = collection_of(backend, IMAGE, CLOUD)
    write(tmp_path / "eyes" / "a.png")
    write(tmp_path / "eyes" / "deeper" / "b.png")
    write(tmp_path / "laser" / "a.pcd", b"# .PCD v0.7")
    write(tmp_path / "laser" / "deeper" / "b.pcd", b"# .PCD v0.7 b")
    assets = {
        "image_1": {"path": str(tmp_path / "eyes"), "is_recursive": False},
        "pcd_1": {"path": str(tmp_path / "laser")},
    }

    result = upload(backend, use_single_path=False, assets=assets, data_collection=collection.id)

    assert sorted(units_of(backend)) == ["a"]
    assert result.failures == {"MISSING_REQUIRED_DATA": 1}
    with pytest.raises(StepFailed, match="no file specification 'radar'; it has image_1, pcd_1"):
        upload(backend, assets={**assets, "radar": assets["pcd_1"]}, data_collection=collection.id)
    with pytest.raises(StepFailed, match="no path for pcd_1"):
        upload(backend, assets={"image_1": assets["image_1"]}, data_collection=collection.id)


def test_the_newer_of_two_files_with_one_name_is_taken(backend: LocalBackend, tmp_path: Path):
    write(tmp_path / "in" / "a.jpg", b"\xff\xd8\xff old")
    newer = write(tmp_path / "in" / "a.png")
    os.utime(newer, ns=(2 * 10**18, 2 * 10**18))
    write(tmp_path / "in" / "other" / "a.png", PNG + b"another place")

    result = upload(backend, tmp_path / "in", name="once")

    assert sorted(unit.files["image_1"].name for unit in backend.list_data_units()) == ["a.png", "a.png"]
    assert result.failures == {"DUPLICATE_FILE": 1}
    assert result.failed_files[0]["path"] == "a.jpg"


def test_flat_or_with_sub_folders(backend: LocalBackend, tmp_path: Path):
    pictures(tmp_path / "in", 2)
    pictures(tmp_path / "in" / "deeper", 3, first=10)

    assert upload(backend, tmp_path / "in", name="flat", is_recursive=False).data_units == 2
    assert upload(backend, tmp_path / "in", name="deep").data_units == 5


def test_an_action_can_allow_less(backend: LocalBackend, tmp_path: Path):
    class OnlyJpeg(BaseUploadAction[UploadParams]):
        def get_allowed_extensions(self) -> dict[str, list[str]] | None:
            return {"image": ["jpg", ".JPEG"]}

    write(tmp_path / "in" / "a.JPG", b"\xff\xd8\xff a")
    write(tmp_path / "in" / "b.png")

    result = upload(backend, tmp_path / "in", OnlyJpeg)

    assert (result.data_units, result.failures) == (1, {"UNSUPPORTED_EXTENSION": 1})


def test_a_collection_a_project_and_a_storage_have_to_agree(backend: LocalBackend, tmp_path: Path):
    folder = pictures(tmp_path / "in", 1)
    first, second = collection_of(backend), collection_of(backend)
    project = backend.create_project("p", first.id)
    other = backend.create_storage("other", "local", {"location": str(tmp_path / "other")})

    with pytest.raises(StepFailed, match="2 data collections are called 'things'") as caught:
        upload(backend, folder, name="things")
    assert isinstance(caught.value.__cause__, InvalidRequest)
    with pytest.raises(StepFailed, match="Project 1 belongs to data collection"):
        upload(backend, folder, project=project.id, data_collection=second.id)
    with pytest.raises(StepFailed, match="is kept in storage"):
        upload(backend, folder, data_collection=second.id, storage=other.id)
    assert upload(backend, folder, project=project.id).data_collection == first.id
    assert upload(backend, folder, name="new", storage=other.id).data_units == 1
    assert any((tmp_path / "other").rglob("*"))


# Duplicates


def test_the_same_files_again_make_nothing_twice(backend: LocalBackend, tmp_path: Path):
    folder = pictures(tmp_path / "street", 5)
    upload(backend, folder)
    before = everything(backend)

    again = upload(backend, folder)

    assert everything(backend) == before
    assert (again.data_units, again.skipped_duplicates, again.partial_failure) == (0, 5, False)
    assert again.failed_files[0]["code"] == "DUPLICATE_FILE"


def test_where_everything_is_there_already_each_file_is_told_once(backend: LocalBackend, tmp_path: Path):
    folder = pictures(tmp_path / "street", 3)
    (folder / "meta.csv").write_text("filename,weather\n0000.png,rain\n0001.png,sun\nnobody.png,fog\n")
    upload(backend, folder)
    logger = RecordingLogger()

    again = upload(backend, folder, logger=logger, skip_existing_checksums=True)

    assert (again.data_units, again.skipped_duplicates) == (0, 3)
    assert "1 of 3 rows of meta.csv have no file" in logger.texts()
    assert [one["path"] for one in again.failed_files] == ["0000", "0001", "0002"]


def test_duplicates_here_and_there_are_skipped_as_asked(backend: LocalBackend, tmp_path: Path):
    collection = collection_of(backend)
    here = pictures(tmp_path / "here", 3)
    write(here / "twin.png", (here / "0000.png").read_bytes())
    first = upload(backend, here, data_collection=collection.id)
    assert (first.data_units, first.skipped_duplicates) == (3, 1)

    renamed = tmp_path / "renamed"
    renamed.mkdir()
    for number, file in enumerate(sorted(here.iterdir())[:3]):
        write(renamed / f"new{number}.png", file.read_bytes())
    write(renamed / "really_new.png")
    skipping = upload(backend, renamed, data_collection=collection.id, skip_existing_checksums=True)
    assert (skipping.data_units, skipping.skipped_duplicates) == (1, 3)

    stored = {name for name in everything(backend)["default"] if len(name) > 60}
    both = upload(backend, renamed, data_collection=collection.id, skip_local_duplicates=False)
    assert both.data_units == 3  # other names, and so other units; their content is there once
    assert {name for name in everything(backend)["default"] if len(name) > 60} == stored


# Metadata


def test_a_workbook_tells_of_files_in_four_ways(backend: LocalBackend, tmp_path: Path):
    root = tmp_path / "in"
    for name in ("stem.png", "name.png", "clip_12.png", "deep/er/path.png", "plain.png"):
        write(root / name)
    book = openpyxl.Workbook()
    rows = [
        ["file_name", "weather", "speed", None],
        ["stem", "rain", 12.0, None],
        ["name.png", "sun", 1.5],
        ["clip.mp4", "fog", True],
        ["er/path", "snow", None],
        ["../../etc/passwd", "none"],
    ]
    for row in rows:
        book.active.append(row)
    book.save(root / "meta.xlsx")
    logger = RecordingLogger()

    result = upload(backend, root, logger=logger)

    said = {
        stem: (unit.meta.get("weather"), unit.meta.get("speed")) for stem, unit in units_of(backend).items()
    }
    assert said == {
        "stem": ("rain", 12),
        "name": ("sun", 1.5),
        "clip_12": ("fog", True),
        "path": ("snow", None),
        "plain": (None, None),
    }
    assert result.data_units == 5
    assert "process_metadata" in logger.steps()
    assert "1 of 5 rows of meta.xlsx have no file" in logger.texts()


def test_a_csv_may_have_a_mark_at_its_beginning(backend: LocalBackend, tmp_path: Path):
    write(tmp_path / "in" / "ä.png")
    table = tmp_path / "table.csv"
    table.write_bytes('\ufefffilename,origin_file_stem,note\nä.png,forged,"a, b"\n'.encode())

    upload(backend, tmp_path / "in", excel_metadata_path=str(table), group_name="morning")

    unit = next(iter(backend.list_data_units()))
    assert (unit.meta["note"], unit.meta["origin_file_stem"], unit.groups) == ("a, b", "ä", ("morning",))


def test_a_table_that_is_none_is_told_and_left(backend: LocalBackend, tmp_path: Path):
    pictures(tmp_path / "in", 2)
    (tmp_path / "in" / "meta.csv").write_text("picture,weather\n0000.png,rain\n")
    logger = RecordingLogger()

    result = upload(backend, tmp_path / "in", logger=logger)

    assert (result.data_units, result.failures) == (2, {"INVALID_METADATA": 1})
    assert "goes on without metadata" in logger.texts()
    with pytest.raises(StepFailed, match="There is no metadata file"):
        upload(backend, tmp_path / "in", excel_metadata_path="nowhere.csv")


# What fails for a while, or for some


def test_a_storage_that_fails_for_a_while_is_asked_again(backend: LocalBackend, tmp_path: Path):
    location = tmp_path / "stored"
    storage = use_tripping_storage(backend, location)
    failing: dict[str, int] = {}
    lock = threading.Lock()

    def trip(verb: str, name: str) -> None:
        with lock:
            if verb == "write_bytes done" and failing.setdefault(name, 0) < 2:
                failing[name] += 1
                raise StorageConnectionError("The storage did not answer.")

    TRIPS[str(location)] = trip
    result = upload(backend, pictures(tmp_path / "in", 4), storage=storage)

    assert (result.data_units, result.failures, set(failing.values())) == (4, {}, {2})


def test_files_that_are_lost_are_told_and_the_others_kept(backend: LocalBackend, tmp_path: Path):
    location = tmp_path / "stored"
    storage = use_tripping_storage(backend, location)
    collection = collection_of(backend, IMAGE, CLOUD, storage=storage)
    root = tmp_path / "in"
    for stem in ("a", "b", "c"):
        write(root / "image_1" / f"{stem}.png")
        write(root / "pcd_1" / f"{stem}.pcd", b"# .PCD v0.7 " + stem.encode())
    lost = root / "pcd_1" / "b.pcd"
    lost_name = hashlib.sha256(lost.read_bytes()).hexdigest()

    def trip(verb: str, name: str) -> None:
        if verb == "write_bytes" and name.endswith(lost_name):
            raise UploadError("The storage does not want it.")

    TRIPS[str(location)] = trip
    result = upload(backend, root, data_collection=collection.id)

    assert sorted(units_of(backend)) == ["a", "c"]
    assert result.lost_files == ["b.pcd"]
    assert result.failures == {"UPLOAD_FAILED": 1, "DATA_UNIT_CREATION_FAILED": 1}
    # The image of the unit that could not be made was taken back.
    assert len([path for path in location.rglob("*") if path.is_file()]) == 4


def test_units_are_made_once_whatever_becomes_of_the_answer(backend: LocalBackend, tmp_path: Path):
    asked: list[str] = []

    def trip(call: str) -> None:
        asked.append(call)
        if call == "create_data_units done" and asked.count(call) <= 2:
            raise BackendUnavailable("The answer was lost.")

    result = upload(TrippingBackend(backend, trip), pictures(tmp_path / "in", 5))

    assert (result.data_units, backend.list_data_units().count) == (5, 5)
    assert asked.count("create_data_units") == 3
    assert result.skipped_duplicates == 0


def test_one_unit_that_is_refused_does_not_take_others_with_it(backend: LocalBackend, tmp_path: Path):
    folder = pictures(tmp_path / "in", 3)
    write(folder / "odd.png")
    collection = collection_of(backend)

    class Spoil(BaseStep[UploadContext]):
        name = "spoil"
        progress_weight = 0.0

        def execute(self, context: UploadContext) -> StepResult:
            for draft in context.data_units:
                if draft.group.label == "odd":
                    draft.group.groups = ("",)
            return StepResult()

    class Spoilt(BaseUploadAction[UploadParams]):
        def setup_steps(self, registry: StepRegistry[UploadContext]) -> None:
            super().setup_steps(registry)
            registry.insert_before("upload_files", Spoil())

    result = upload(backend, folder, Spoilt, data_collection=collection.id)

    assert (result.data_units, result.failures) == (3, {FailureCode.DATA_UNIT_CREATION_FAILED.value: 1})
    assert len([name for name in everything(backend)["default"] if len(name) > 60]) == 3
