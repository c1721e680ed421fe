"""Annotations put on tasks: from files or predictions, each task on its own, and all of it taken back."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from backend_worlds import RecordingLogger, World, context_of, document, draw_image, seed, snapshot

from synapse_core import actions
from synapse_core.actions import AddTaskDataAction, AddTaskDataMethod, AddTaskDataParams, results
from synapse_core.actions.add_task_data import AddTaskDataProgressCategories
from synapse_core.backend import NewDataUnit, NewTask
from synapse_core.backend.local import LocalBackend
from synapse_core.errors import BackendUnavailable, InvalidRequest, RecordNotFound, RunStopped, StepFailed
from synapse_core.events import Log
from synapse_core.executors import LocalExecutor
from synapse_core.steps import StepRegistry

FILE_STEPS = ["validate_file", "load_annotations", "process_tasks", "upload_annotations"]
INFERENCE_STEPS = ["load_model", "run_inference", "format_results", "upload_annotations"]


class PreAnnotation(AddTaskDataAction):  # type: ignore[type-arg]
    """Nothing of its own."""


class Predicting(AddTaskDataAction[AddTaskDataParams]):
    """Predicts a box as wide as the model's file is long."""

    def infer(self, model: Any, inputs: list[Any]) -> list[Any]:
        length = (Path(model["path"]) / "model.bin").stat().st_size
        assert all(Path(one["path"]).read_bytes().startswith(b"\x89PNG") for one in inputs)
        return [{"wide": length, "of": one["task_id"]} for one in inputs]

    def convert_data_from_inference(self, inference_data: Any, task_data: Any = None) -> dict[str, Any]:
        return document(inference_data["wide"])


def annotate(
    world: World, action: Any = PreAnnotation, logger: RecordingLogger | None = None, **params: Any
) -> dict[str, Any]:
    asked = {"project": world.project.id, **params}
    done = LocalExecutor().execute(action, asked, context=context_of(world, logger))
    assert isinstance(done, dict)
    return done


def tasks(world: World) -> list[Any]:
    return list(world.backend.list_tasks({"project": world.project.id}))


@pytest.fixture
def file(world: World, tmp_path: Path) -> Path:
    """Annotations by task id, by file name, and by its stem; two tasks have none."""
    ids = [task.id for task in world.tasks]
    content = {str(ids[0]): document(30), "car1.png": document(31), "car5": document(35), "car9": {}}
    path = tmp_path / "annotations.json"
    path.write_text(json.dumps({**content, str(ids[2]): document(32)}))
    return path


@pytest.fixture
def model(world: World, tmp_path: Path) -> int:
    path = tmp_path / "model.bin"
    path.write_bytes(b"x" * 20)
    return world.backend.create_model("boxes", path).id


def test_annotations_of_a_file_become_assignments(world: World, file: Path):
    logger = RecordingLogger()
    result = annotate(world, logger=logger, file_path=str(file))

    assert logger.steps() == FILE_STEPS
    found = tasks(world)
    assert [found[number].data for number in (0, 1, 2, 5)] == [document(n) for n in (30, 31, 32, 35)]
    assert found[5].status == "submitted"
    assert [one.data for one in world.backend.list_assignments({"task": found[5].id})] == [document(35)]
    # Two have no annotations in the file, and keep theirs.
    missing = [found[3].id, found[4].id]
    assert [found[3].data, found[4].data] == [document(3), document(4)]
    assert (result["status"], result["total_tasks"]) == ("completed_with_failures", 6)
    assert (result["success_count"], result["failed_count"]) == (4, 2)
    assert [entry["task_id"] for entry in result["failures"]] == missing
    assert result["message"] == "4 of 6 tasks annotated, 2 failed."


def test_each_task_has_an_event_and_progress(world: World, file: Path):
    logger = RecordingLogger()
    annotate(world, logger=logger, file_path=str(file), task_ids=[world.tasks[0].id, world.tasks[3].id, 99])

    told = [e.data for e in logger.events if isinstance(e, Log) and e.event == "annotate_task_data"]
    assert [(entry["status"], entry["index"], entry["total"]) for entry in told] == [
        ("success", 1, 3),
        ("failed", 2, 3),
        ("failed", 3, 3),
    ]
    assert told[0]["task_info"] == {"task_id": world.tasks[0].id}
    assert (told[0]["method"], told[0]["created"], told[0]["error"]) == ("file", True, None)
    assert "no task 99" in told[2]["error"]
    assert logger.progress("annotate_task_data") == [(1, 3), (2, 3), (3, 3)]
    assert logger.metrics("annotate_task_data")[-1] == {"success": 1, "failed": 2, "stand_by": 0}
    assert (
        AddTaskDataAction.progress is AddTaskDataProgressCategories is actions.AddTaskDataProgressCategories
    )


def test_saving_changes_the_tasks_alone(world: World, file: Path):
    annotate(world, file_path=str(file), submit=False, task_ids=[world.tasks[0].id, world.tasks[5].id])

    found = tasks(world)
    assert [found[0].data, found[5].data, found[5].status] == [document(30), document(35), "open"]
    assert list(world.backend.list_assignments({"project": world.project.id})) == world.assignments


def test_a_dataset_of_another_format_is_read(world: World, tmp_path: Path):
    coco = tmp_path / "coco"
    draw_image(coco / "car5.png", 5)
    images = [{"id": 1, "file_name": "car5.png", "width": 64, "height": 48}]
    boxes = [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [4, 5, 20, 10], "area": 200, "iscrowd": 0}]
    categories = [{"id": 1, "name": "truck"}]
    (coco / "annotations.json").write_text(
        json.dumps({"images": images, "annotations": boxes, "categories": categories})
    )
    annotate(world, file_path=str(coco), task_ids=[world.tasks[5].id])

    data = tasks(world)[5].data
    assert data is not None
    box = data["images"][0]["bounding_box"][0]
    assert (box["classification"], box["data"]) == ("truck", [4, 5, 20, 10])


def test_annotations_lie_in_a_file_of_each_task(backend: LocalBackend, tmp_path: Path):
    world = seed(backend, tmp_path / "images", ["a.png", "b.png"], submitted=0)
    path = tmp_path / "labels.json"
    path.write_text(json.dumps(document(17)))
    labels = backend.create_data_file(path, storage=world.collection.storage, name="a.json").file
    unit = NewDataUnit(key="third", files={**world.units[0].files, "labels": labels})
    made = backend.create_data_units(world.collection.id, [unit])
    backend.create_tasks(world.project.id, [NewTask(data_unit=made[0].id)])
    result = annotate(world, target_specification_name="labels")

    assert (result["success_count"], result["failed_count"]) == (1, 2)
    assert tasks(world)[2].data == document(17)


def test_what_is_converted_is_up_to_the_plugin(world: World, file: Path):
    class Converting(AddTaskDataAction[AddTaskDataParams]):
        def convert_data_from_file(
            self, primary_url: str, primary_name: str, data_url: str, data_name: str, task_data: Any = None
        ) -> Any:
            if primary_name == "car1.png":
                raise ValueError("not this one")
            image = Path(primary_url).read_bytes()
            return {
                "annotations": [len(image), task_data is None, len(json.loads(Path(data_url).read_text()))]
            }

    ids = [world.tasks[number].id for number in (0, 1, 5)]
    result = annotate(world, Converting, file_path=str(file), task_ids=ids)

    assert result["failures"] == [{"task_id": ids[1], "error": "ValueError: not this one"}]
    size = world.units[5].files["image"].size_bytes
    assert tasks(world)[5].data == {"annotations": [size, True, 2]}


def test_predictions_of_a_model_become_annotations(world: World, model: int):
    logger = RecordingLogger()
    result = annotate(world, Predicting, logger, method="inference", model_id=model, batch_size=4)

    assert logger.steps() == INFERENCE_STEPS
    assert (result["status"], result["success_count"]) == ("completed", 6)
    assert [task.data for task in tasks(world)] == [document(20)] * 6
    assert len(world.backend.list_assignments({"project": world.project.id})) == 6


def test_one_task_that_cannot_be_predicted_does_not_spoil_its_batch(world: World, model: int):
    class Failing(Predicting):
        def setup_inference_params(self, primary_file_url: str, *names: Any, **more: Any) -> dict[str, Any]:
            return {"threshold": more["pre_processor_params"]["threshold"] * 2}

        def infer(self, model: Any, inputs: list[Any]) -> list[Any]:
            if any(one["task_id"] == world.tasks[1].id for one in inputs):
                raise RuntimeError("out of tune")
            assert all(one["threshold"] == 1.0 for one in inputs)
            return super().infer(model, inputs)

    result = annotate(
        world,
        Failing,
        method="inference",
        model_id=model,
        batch_size=6,
        pre_processor_params={"threshold": 0.5},
    )
    assert result["success_count"] == 5
    assert result["failures"] == [{"task_id": world.tasks[1].id, "error": "RuntimeError: out of tune"}]


@pytest.mark.parametrize(
    ("params", "kind", "told"),
    [
        ({}, InvalidRequest, "file_path"),
        ({"file_path": "nowhere.json"}, InvalidRequest, "nowhere.json"),
        ({"method": "inference"}, InvalidRequest, "model_id"),
        ({"method": "inference", "model_id": 99}, RecordNotFound, "99"),
        ({"method": "inference", "model_id": 1, "pre_processor": 3}, InvalidRequest, "pre_processor"),
        ({"project": None, "file_path": "."}, InvalidRequest, "task_ids"),
    ],
)
def test_what_cannot_be_asked_is_told_and_changes_nothing(
    world: World, params: dict[str, Any], kind: type[Exception], told: str
):
    before = snapshot(world)
    with pytest.raises(StepFailed, match=told) as caught:
        annotate(world, Predicting, **params)

    assert isinstance(caught.value.__cause__, kind)
    assert snapshot(world) == before


@pytest.mark.parametrize("text", ["", "{", "[1, 2]", '"text"', "[" * 100_000])
def test_a_file_that_holds_no_annotations_fails(world: World, tmp_path: Path, text: str):
    path = tmp_path / "bad.json"
    path.write_text(text)
    with pytest.raises(StepFailed) as caught:
        annotate(world, file_path=str(path))

    assert isinstance(caught.value.__cause__, InvalidRequest)


def test_where_no_task_can_be_annotated_the_action_fails(world: World, tmp_path: Path):
    path = tmp_path / "annotations.json"
    path.write_text(json.dumps({str(task.id): [1, 2] for task in world.tasks}))
    before = snapshot(world)
    with pytest.raises(StepFailed, match="None of the 6 tasks"):
        annotate(world, file_path=str(path))
    assert snapshot(world) == before


def test_without_tasks_there_is_nothing_to_do(world: World, file: Path):
    result = annotate(world, file_path=str(file), task_filters={"tags": ["none"]})

    assert (result["status"], result["total_tasks"], result["message"]) == (
        "completed",
        0,
        "0 of 0 tasks annotated.",
    )


def test_the_weights_of_both_methods_add_up(world: World):
    for method, steps in (
        (AddTaskDataMethod.FILE, FILE_STEPS),
        (AddTaskDataMethod.INFERENCE, INFERENCE_STEPS),
    ):
        registry: StepRegistry[Any] = StepRegistry()
        PreAnnotation(AddTaskDataParams(method=method), context_of(world)).setup_steps(registry)
        assert [step.name for step in registry.get_steps()] == steps
        assert abs(registry.total_weight - 0.95) < 0.06


def test_a_simple_action_does_all_of_it_in_execute(world: World):
    class Simple(AddTaskDataAction[AddTaskDataParams]):
        def execute(self) -> dict[str, Any]:
            self.client.annotate_task_data(world.tasks[0].id, {"action": "submit", "data": document(9)})
            self._update_progress(1, 1, 1, 0)
            return {"done": 1}

    assert annotate(world, Simple) == {"done": 1}
    assert tasks(world)[0].data == document(9)


# Whatever goes wrong, and whenever


@pytest.fixture
def mixed(backend: LocalBackend, tmp_path: Path) -> World:
    """Three tasks: one with an assignment and a later save, one with data alone, one with nothing."""
    world = seed(backend, tmp_path / "images", ["car0.png", "car1.png", "car2.png"], submitted=1)
    backend.annotate_task_data(world.tasks[0].id, {"action": "save", "data": document(11)})
    backend.annotate_task_data(world.tasks[1].id, {"action": "save", "data": document(12)})
    return world


@pytest.fixture
def all_of_them(mixed: World, tmp_path: Path) -> dict[str, Any]:
    path = tmp_path / "all.json"
    path.write_text(json.dumps({f"car{number}": document(30 + number) for number in range(3)}))
    return {"project": mixed.project.id, "file_path": str(path)}


def interrupted(at: int, how: Callable[[], None]) -> RecordingLogger:
    """Return a logger before whose event of this number something happens."""
    seen = 0

    def before(event: Any) -> None:
        nonlocal seen
        seen += 1
        if seen == at + 1:
            how()

    return RecordingLogger(before)


def put_back(world: World, before: dict[str, Any]) -> None:
    """Make the tasks what they were, by hand."""
    for task, earlier in zip(tasks(world), before["tasks"], strict=True):
        held = [one for one in before["assignments"] if one["task"] == task.id]
        if held:
            world.backend.annotate_task_data(task.id, {"action": "submit", "data": held[0]["data"]})
            world.backend.annotate_task_data(task.id, {"action": "save", "data": earlier["data"]})
        else:
            world.backend.annotate_task_data(task.id, {"action": "withdraw", "data": earlier["data"]})


@pytest.mark.parametrize("what", ["failure", "stop"])
@pytest.mark.parametrize("how", ["submit", "save"])
def test_whatever_ends_it_early_gives_every_task_back_what_it_held(
    mixed: World, all_of_them: dict[str, Any], what: str, how: str
):
    before = snapshot(mixed)
    asked = {**all_of_them, "submit": how == "submit"}
    whole = RecordingLogger()
    assert annotate(mixed, logger=whole, **asked)["success_count"] == 3
    assert snapshot(mixed) != before
    put_back(mixed, before)
    assert snapshot(mixed) == before

    def break_down() -> None:
        raise RuntimeError("injected")

    for at in range(len(whole.events)):
        context = context_of(mixed)
        context.logger = interrupted(at, context.stop.request if what == "stop" else break_down)
        with pytest.raises(RunStopped if what == "stop" else Exception, match=r"stop|injected"):
            LocalExecutor().execute(PreAnnotation, asked, context=context)
        assert snapshot(mixed) == before, f"after a {what} at event {at}, {whole.events[at]}"


def test_an_inference_that_is_stopped_changes_nothing(world: World, model: int):
    before = snapshot(world)
    whole = RecordingLogger()
    asked = {"project": world.project.id, "method": "inference", "model_id": model, "task_ids": [1, 6]}
    annotate(world, Predicting, whole, **asked)
    put_back(world, before)
    for at in range(len(whole.events)):
        context = context_of(world)
        context.logger = interrupted(at, context.stop.request)
        with pytest.raises(RunStopped):
            LocalExecutor().execute(Predicting, asked, context=context)
        assert snapshot(world) == before, f"after a stop at event {at}"


class Leaving(LocalBackend):
    """Is away after so many annotations, for good or for one call."""

    stays_for = 0
    returns = True

    def annotate_task_data(self, task_id: int, content: Any) -> Any:
        if self.stays_for <= 0:
            if self.returns:
                self.stays_for = 100
            raise BackendUnavailable("It is down.")
        self.stays_for -= 1
        return super().annotate_task_data(task_id, content)


@pytest.fixture
def leaving(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Leaving]:
    monkeypatch.setattr(results, "FIRST_WAIT_SECONDS", 0.001)
    opened = Leaving(home)
    yield opened
    opened.close()


def test_a_backend_that_comes_back_is_asked_again(
    mixed: World, all_of_them: dict[str, Any], leaving: Leaving
):
    leaving.stays_for = 1
    context = context_of(mixed, backend=leaving)
    assert LocalExecutor().execute(PreAnnotation, all_of_them, context=context)["success_count"] == 3


def test_what_could_not_be_undone_is_told(mixed: World, all_of_them: dict[str, Any], leaving: Leaving):
    leaving.stays_for, leaving.returns = 2, False
    context = context_of(mixed, backend=leaving)
    with pytest.raises(StepFailed) as caught:
        LocalExecutor().execute(PreAnnotation, all_of_them, context=context)

    assert isinstance(caught.value.__cause__, BackendUnavailable)
    told = caught.value.errors
    assert len(told) == 1
    assert f"may keep their new annotations: {mixed.tasks[0].id}, {mixed.tasks[1].id}" in told[0]
