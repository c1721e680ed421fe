"""DatasetAction: a ground truth version comes to disk once, whole or not at all, under safe names."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from backend_worlds import RecordingLogger, World, context_of, document

from synapse_core.actions import DatasetAction, DatasetOperation, DatasetParams, DatasetResult
from synapse_core.backend import FileReference, GroundTruth, GroundTruthVersion, Listing
from synapse_core.backend.local import LocalBackend
from synapse_core.errors import BackendUnavailable, Conflict, InvalidRequest, RecordNotFound, RunStopped

SPLITS = ("train", "train", "train", "validation", "test")


def freeze(world: World, *, splits: bool = False) -> GroundTruthVersion:
    """Return a version of what was submitted."""
    ids: dict[str, list[int]] = {}
    for assignment, split in zip(world.assignments, SPLITS, strict=False):
        ids.setdefault(split, []).append(assignment.id)
    return world.backend.create_ground_truth_version(
        "cars", "1", project=world.project.id, splits=ids if splits else None
    )


def run(world: World, logger: RecordingLogger | None = None, backend: Any = None, **params: Any) -> Any:
    return DatasetAction.dispatch(params, context_of(world, logger, backend))


def files_below(root: Path) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


class Watched:
    """The backend, which tells of each download before it is done."""

    def __init__(self, backend: LocalBackend, on_download: Callable[[int], None]) -> None:
        self._backend = backend
        self._on_download = on_download
        self.downloads = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def download_file(self, file: FileReference, target: Path) -> Path:
        self.downloads += 1
        self._on_download(self.downloads)
        return self._backend.download_file(file, target)


def test_a_version_comes_as_a_dm_dataset(world: World):
    logger = RecordingLogger()
    result = run(world, logger, dataset=freeze(world).id)

    assert isinstance(result, DatasetResult)
    assert (result.format, result.count, result.is_categorized) == ("dm_v2", 5, False)
    expected = [f"json/car{n}.json" for n in range(5)] + [f"original_files/car{n}.png" for n in range(5)]
    assert files_below(result.path) == sorted([".complete", *expected])
    assert json.loads((result.path / "json/car3.json").read_text()) == document(3)
    assert (result.path / "original_files/car3.png").read_bytes() == (world.home / "3.png").read_bytes()
    told = logger.progress("dataset_download")
    assert told == sorted(told)
    assert told[-1] == (100, 100)


def test_splits_have_folders_of_their_own(world: World):
    result = run(world, dataset=freeze(world, splits=True).id)

    assert result.is_categorized
    assert [path for path in files_below(result.path) if path.startswith(("valid", "test"))] == [
        "test/json/car4.json",
        "test/original_files/car4.png",
        "valid/json/car3.json",
        "valid/original_files/car3.png",
    ]
    assert len(files_below(result.path / "train/json")) == 3


def test_only_the_splits_that_are_asked_for_are_fetched(world: World):
    result = run(world, dataset=freeze(world, splits=True).id, splits={"train": {}, "valid": None})

    assert result.count == 4
    assert not (result.path / "test").exists()
    with pytest.raises(InvalidRequest, match="'half' is no split"):
        run(world, dataset=1, splits={"half": {}})
    with pytest.raises(InvalidRequest, match="given twice"):
        run(world, dataset=1, splits={"valid": {}, "validation": {}})


class Altered:
    """A service whose items are not quite what the embedded backend would let in."""

    def __init__(self, backend: LocalBackend, alter: Callable[[int, GroundTruth], GroundTruth]) -> None:
        self._backend = backend
        self._alter = alter

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def list_ground_truths(self, filters: dict[str, Any]) -> Listing[GroundTruth]:
        found = [self._alter(*pair) for pair in enumerate(self._backend.list_ground_truths(filters))]
        return Listing(len(found), lambda: iter([found]))


def test_what_is_in_no_split_is_told(world: World):
    def take_out(number: int, truth: GroundTruth) -> GroundTruth:
        return msgspec.structs.replace(truth, category="" if number > 1 else truth.category)

    logger = RecordingLogger()
    version = freeze(world, splits=True)

    assert run(world, logger, Altered(world.backend, take_out), dataset=version.id).count == 2
    assert "3 items are in no split" in logger.texts()


def test_splits_have_to_be_there_where_they_are_required(world: World):
    with pytest.raises(InvalidRequest, match="has no splits"):
        run(world, dataset=freeze(world).id, is_categorized=True)


def test_the_same_content_is_fetched_once(world: World):
    watched = Watched(world.backend, lambda _number: None)
    first = run(world, backend=watched, dataset=freeze(world).id)
    again = run(world, backend=watched, dataset=1)

    assert (again.path, again.count, watched.downloads) == (first.path, 5, 5)
    other = run(world, backend=watched, dataset=1, output_dir=str(world.home / "mine"))
    assert other.path == world.home / "mine"
    with pytest.raises(Conflict):
        run(world, backend=watched, dataset=1, output_dir=str(world.home))


def test_files_of_any_name_stay_in_their_folder(world: World, tmp_path: Path):
    names = iter(["../../evil.png", "\x1b[2J/\x00.png", "C.PNG", "c.png", "z" * 300])

    def rename(_number: int, truth: GroundTruth) -> GroundTruth:
        files = {"image": msgspec.structs.replace(truth.files["image"], name=next(names))}
        return msgspec.structs.replace(truth, files=files)

    backend = Altered(world.backend, rename)
    found = files_below(run(world, backend=backend, dataset=freeze(world).id).path)

    assert [path for path in found if path.startswith("original")] == [
        "original_files/C.PNG",
        "original_files/_.png",
        "original_files/c__4.png",
        "original_files/evil.png",
        f"original_files/{'z' * 200}",
    ]
    assert len(found) == 11
    names = iter(["..", ".", "/", ".png", "a/b\\c.png"])
    found = files_below(run(world, backend=backend, dataset=1, output_dir=str(tmp_path / "more")).path)
    assert [path for path in found if path.startswith("original")] == [
        "original_files/_.png",
        "original_files/c.png",
        "original_files/image",
        "original_files/image__2",
        "original_files/item_3",
    ]


@pytest.mark.parametrize("failing_at", [1, 3, 5])
def test_a_download_that_fails_leaves_nothing(world: World, home: Path, failing_at: int):
    def fail(number: int) -> None:
        if number == failing_at:
            raise BackendUnavailable("The backend is down.")

    version = freeze(world)
    with pytest.raises(BackendUnavailable):
        run(world, backend=Watched(world.backend, fail), dataset=version.id)
    assert not list((home / "cache/datasets").iterdir())


def test_a_stop_leaves_nothing(world: World, home: Path):
    context = context_of(world)
    context.client = Watched(world.backend, lambda number: context.stop.request() if number == 2 else None)

    with pytest.raises(RunStopped):
        DatasetAction.dispatch({"dataset": freeze(world).id}, context)
    assert not list((home / "cache/datasets").iterdir())


def test_a_version_that_is_not_there_is_said(world: World):
    with pytest.raises(RecordNotFound):
        run(world, dataset=99)


class SeedParams(DatasetParams):
    """Parameters as plugins declare them."""

    dataset: int
    operation: DatasetOperation = DatasetOperation.DOWNLOAD
    target_format: str | None = None


class SeedAction(DatasetAction[SeedParams]):
    """An action as plugins declare it."""

    action_name = "dataset"


def test_a_conversion_of_a_version_downloads_it_first(world: World):
    params = {"dataset": freeze(world, splits=True).id, "operation": "convert", "target_format": "yolo"}
    logger = RecordingLogger()
    result = SeedAction.dispatch(params, context_of(world, logger))
    again = SeedAction.dispatch(params, context_of(world))

    assert result == again
    assert (result.format, result.count, result.is_categorized) == ("yolo", 5, True)
    assert str(result) == result["config_path"].as_posix() == str(result.path / "data.yaml")
    assert (result.path / "labels/train/car0.txt").read_text().startswith("0 ")
    assert logger.progress("dataset_download")
    assert logger.progress("dataset_conversion")[-1] == (5, 5)
