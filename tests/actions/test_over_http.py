"""The ready-made actions where the backend is a service: whole where it answers, undone where it does not."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx
import pytest
from backend_services import TOKEN, serving
from backend_worlds import World, context_of, document, seed, snapshot
from upload_worlds import TrippingBackend, pictures

from synapse_core.actions import AddTaskDataAction, AddTaskDataParams, DatasetAction
from synapse_core.actions.export import DefaultExportAction
from synapse_core.actions.train import BaseTrainAction, BaseTrainParams
from synapse_core.actions.upload import DefaultUploadAction
from synapse_core.backend.http import HttpBackend
from synapse_core.backend.service import Service, create_app
from synapse_core.errors import StepFailed
from synapse_core.executors import LocalExecutor
from synapse_core.publishing import publish_plugin
from synapse_core.releases import Releases
from synapse_core.scaffold import create_plugin


@dataclass
class Far:
    """A world behind a service. world: with the backend that is served; client: what actions get."""

    world: World
    url: str
    client: HttpBackend

    def run(self, action: Any, *, backend: Any = None, **params: Any) -> Any:
        context = context_of(self.world, backend=backend or self.client)
        return LocalExecutor().execute(action, params, context=context)

    def version(self) -> int:
        """Make a ground truth version of three to train with and two to validate with."""
        ids = [assignment.id for assignment in self.world.assignments]
        splits = {"train": ids[:3], "validation": ids[3:]}
        project = self.world.project.id
        return self.client.create_ground_truth_version("cars", "1", project=project, splits=splits).id


@pytest.fixture
def far(home: Path, tmp_path: Path) -> Iterator[Far]:
    with serving(home) as (url, local), HttpBackend(url, TOKEN) as client:
        names = [f"car{number}.png" for number in range(6)]
        yield Far(seed(local, tmp_path / "images", names, submitted=5), url, client)


class Train(BaseTrainAction[BaseTrainParams]):
    """Its model is the listing of the dataset that it was given."""

    target_format = "yolo"

    def execute(self) -> dict[str, Any]:
        weights = self.ctx.artifacts_dir / "best.txt"
        weights.write_bytes(Path(self.get_dataset()).read_bytes())
        return {"model": self.create_model(weights, name="far")["id"]}


class Predict(AddTaskDataAction[AddTaskDataParams]):
    """Predicts a box as wide as the model's file has lines."""

    def infer(self, model: Any, inputs: list[Any]) -> list[Any]:
        assert all(Path(one["path"]).read_bytes().startswith(b"\x89PNG") for one in inputs)
        return [len((Path(model["path"]) / "best.txt").read_text().splitlines()) for _ in inputs]

    def convert_data_from_inference(self, inference_data: Any, task_data: Any = None) -> dict[str, Any]:
        return document(inference_data)


def tripping(far: Far, call: str, number: int, trip: Callable[[], None]) -> TrippingBackend:
    """Return the client, with something happening at a call of a name. number: 1 is the first of them."""
    calls: list[str] = []

    def watch(name: str) -> None:
        calls.append(name)
        if name == call and calls.count(name) == number:
            trip()

    return TrippingBackend(far.client, watch)


def break_off() -> None:
    raise RuntimeError("broke off")


def test_an_upload_goes_through_the_service_once(far: Far, tmp_path: Path):
    folder = pictures(tmp_path / "street", 12)
    first = far.run(DefaultUploadAction, path=str(folder))
    before = snapshot(far.world)
    again = far.run(DefaultUploadAction, path=str(folder))

    assert (first["data_units"], first["uploaded_files"], first["partial_failure"]) == (12, 12, False)
    assert (again["data_units"], again["skipped_duplicates"]) == (0, 12)
    assert snapshot(far.world) == before
    for unit in far.world.backend.list_data_units({"data_collection": first["data_collection"]}):
        file = unit.files["image_1"]
        stored = far.world.backend.download_file(file, tmp_path / "back.png")
        assert stored.read_bytes() == (folder / file.name).read_bytes()


def test_what_breaks_in_an_upload_leaves_nothing_at_the_service(far: Far, tmp_path: Path):
    before = snapshot(far.world)
    folder = pictures(tmp_path / "street", 12)

    for call in ("create_data_units", "create_data_units done"):
        with pytest.raises(StepFailed, match="broke off"):
            backend = tripping(far, call, 2, break_off)
            far.run(DefaultUploadAction, backend=backend, path=str(folder), creating_data_unit_batch_size=5)
        assert snapshot(far.world) == before


def test_an_upload_outlives_a_service_that_is_started_anew(far: Far, home: Path, tmp_path: Path):
    app = create_app(far.world.backend, TOKEN, home / "another")
    services = [Service(app)]
    port = httpx.URL(services[0].start()).port or 0

    def restart() -> None:
        services.pop().stop()
        services.append(Service(create_app(far.world.backend, TOKEN, home / "another"), port=port))
        services[0].start()

    try:
        with HttpBackend(services[0].url, TOKEN) as client:
            backend = tripping(Far(far.world, far.url, client), "create_data_units", 2, restart)
            folder = pictures(tmp_path / "street", 60)
            params = {"path": str(folder), "creating_data_unit_batch_size": 20}
            result = far.run(DefaultUploadAction, backend=backend, **params)
    finally:
        services[0].stop()

    assert (result["data_units"], result["partial_failure"]) == (60, False)
    units = far.world.backend.list_data_units({"data_collection": result["data_collection"]})
    assert len({unit.files["image_1"].checksum for unit in units}) == units.count == 60


def test_an_export_goes_into_the_services_storage(far: Far):
    filters = {"project": far.world.project.id}
    over = far.run(DefaultExportAction, filter=filters, path="exports", name="over")
    beside = far.run(
        DefaultExportAction, backend=far.world.backend, filter=filters, path="exports", name="beside"
    )

    assert {**over, "output_path": 0} == {**beside, "output_path": 0}
    assert over["exported_count"] == 5
    with far.client.open_storage() as there, far.world.backend.open_storage() as here:
        name = there.name_of(over["output_path"])
        assert unquote(beside["output_path"]).endswith("/exports/beside")
        found = {one: here.read_bytes(one) for one, _ in here.list("exports")}
    assert len(found) == 20
    for one, content in found.items():
        assert found[one.replace("exports/beside", name)] == content


def test_what_breaks_in_an_export_leaves_nothing_at_the_service(far: Far):
    before = snapshot(far.world)

    class Breaking(DefaultExportAction):  # type: ignore[type-arg]
        def additional_file_saving(self, unique_export_path: Any) -> None:
            break_off()

    with pytest.raises(StepFailed, match="broke off"):
        far.run(Breaking, filter={"project": far.world.project.id}, path="some/exports")

    assert snapshot(far.world) == before


def test_a_model_is_trained_on_what_the_service_has_and_annotates_its_tasks(far: Far, tmp_path: Path):
    version = far.version()
    fetched = far.run(DatasetAction, dataset=version)
    trained = far.run(Train, dataset=version)
    file = tmp_path / "annotations.json"
    file.write_text(json.dumps({"car5.png": document(7)}))
    tasks = [task.id for task in far.world.tasks]
    written = far.run(AddTaskDataAction, task_ids=tasks[5:], file_path=str(file))
    of_file = far.world.backend.get_task(tasks[5]).data
    predicted = far.run(
        Predict, project=far.world.project.id, method="inference", model_id=trained["model_id"]
    )

    assert (fetched["count"], fetched["format"]) == (5, "dm_v2")
    model = far.world.backend.get_model(trained["model_id"])
    assert (model.name, model.dataset, model.run_id) == ("far", version, "run-1")
    stored = far.world.backend.download_file(model.file, tmp_path / "model").read_text()
    assert "train" in stored
    assert (written["success_count"], of_file) == (1, document(7))
    assert (predicted["success_count"], predicted["failed_count"]) == (6, 0)
    assert far.world.backend.get_task(tasks[0]).data == document(len(stored.splitlines()))


def test_a_plugin_is_published_to_the_service_and_fetched_from_it(far: Far, tmp_path: Path):
    created = create_plugin("shout", path=tmp_path / "elsewhere")

    release = publish_plugin(far.client, created.path)
    root = Releases(tmp_path / "releases", lambda: HttpBackend(far.url, TOKEN)).root(release.lookup)

    assert (root / "config.yaml").read_bytes() == (created.path / "config.yaml").read_bytes()
    assert publish_plugin(far.client, created.path).id == release.id
