"""DatasetAction: converts as a run does, once. Downloads are in tests/actions."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from dm_worlds import box, make_dm, two

from synapse_core.actions import DatasetAction, DatasetOperation, DatasetParams, DatasetResult
from synapse_core.context import RuntimeContext
from synapse_core.errors import Conflict, InvalidRequest, NoBackend, RunStopped
from synapse_core.executors import LocalExecutor


@pytest.fixture
def source(tmp_path: Path) -> Path:
    document = two(bounding_box=[box("a", "car", 10, 6, 20, 12)])
    return make_dm(tmp_path / "set", {"train/x": document, "valid/y": document})


def run(**params: Any) -> DatasetResult:
    result = LocalExecutor().execute(DatasetAction, params)
    assert isinstance(result, DatasetResult)
    return result


def test_a_dataset_is_converted_beside_itself(source: Path):
    result = run(operation="convert", path=str(source))

    assert result.path == source.parent / "set_yolo"
    assert (result.format, result.count, result.source_path) == ("yolo", 2, source)
    assert result.data_path == result.config_path == result.path / "data.yaml"
    assert (result.path / "labels/train/x.txt").is_file()


def test_the_same_again_is_not_done_again(source: Path):
    first = run(operation="convert", path=str(source), target_format="coco")
    before = (first.path / "synapse.json").stat().st_mtime_ns
    again = run(operation="convert", path=str(source), target_format="coco")

    assert again == first
    assert (first.path / "synapse.json").stat().st_mtime_ns == before


def test_another_request_or_source_does_not_take_it_over(source: Path):
    first = run(operation="convert", path=str(source), output_dir=str(source.parent / "out"))

    with pytest.raises(Conflict):
        run(
            operation="convert",
            path=str(source),
            output_dir=str(first.path),
            options={"task": "segment"},
        )
    later = first.path.joinpath(".complete").stat().st_mtime + 10
    os.utime(source / "train/json/x.json", (later, later))
    with pytest.raises(Conflict):
        run(operation="convert", path=str(source), output_dir=str(first.path))


def test_dm_means_the_version_that_is_asked_for(source: Path):
    result = run(
        operation="convert", path=str(source), target_format="dm", dm_version="v1", source_format="dm_v2"
    )

    assert result.format == "dm_v1"
    assert result.config_path is None
    assert result.data_path == result.path


def test_what_is_lost_is_told(tmp_path: Path):
    line = {"id": "l", "classification": "car", "attrs": [], "data": [[1, 1], [5, 5]]}
    source = make_dm(tmp_path / "set", {"x": two(polyline=[line])})

    assert run(operation="convert", path=str(source), options={"task": "segment"}).losses == {
        "NOT_SUPPORTED": 1
    }


class _Recording(DatasetAction[DatasetParams]):
    """Tells the progress that it reported."""

    told: list[tuple[float, float, str | None]]  # set per run

    def set_progress(
        self, current: float, total: float, step: str | None = None, *, category: str | None = None
    ) -> None:
        super().set_progress(current, total, step, category=category)
        type(self).told.append((current, total, step or category))


def test_progress_has_its_category(source: Path):
    _Recording.told = []
    LocalExecutor().execute(_Recording, {"operation": "convert", "path": str(source)})

    assert _Recording.told == [(2, 2, "dataset_conversion")]
    assert DatasetAction.progress.DATASET_DOWNLOAD == "dataset_download"


class _Stopped(DatasetAction[DatasetParams]):
    """Is asked to stop before it begins."""

    def execute(self) -> Any:
        self.ctx.stop.request()
        return super().execute()


def test_a_stop_leaves_nothing_behind(source: Path):
    from synapse_core.loggers import NoOpLogger

    action = _Stopped(
        DatasetParams(operation=DatasetOperation.CONVERT, path=str(source)), RuntimeContext(NoOpLogger())
    )

    with pytest.raises(RunStopped):
        action.run()
    assert [path.name for path in source.parent.iterdir() if path.name != "home"] == ["set"]


def test_a_download_needs_a_backend_and_a_dataset():
    from synapse_core.loggers import NoOpLogger

    with pytest.raises(NoBackend, match="DatasetAction needs a backend"):
        DatasetAction(DatasetParams(dataset=3), RuntimeContext(NoOpLogger())).run()
    with pytest.raises(InvalidRequest, match="dataset is missing"):
        run()


def test_a_conversion_needs_a_format():
    with pytest.raises(InvalidRequest, match="target_format is missing"):
        run(operation="convert", path="x", target_format=None)


def test_a_conversion_needs_a_path():
    with pytest.raises(InvalidRequest, match="path is missing"):
        run(operation="convert")
