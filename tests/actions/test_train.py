"""BaseTrainAction: a dataset in, a model with its lineage out; a run that fails leaves nothing behind."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
from backend_worlds import RecordingLogger, World, context_of, snapshot

from synapse_core import run_plugin
from synapse_core.actions.inference import BaseInferenceAction
from synapse_core.actions.train import (
    BaseTrainAction,
    BaseTrainParams,
    ConvertDatasetStep,
    ExportDatasetStep,
    ModelUploadStep,
    TrainContext,
    TrainExecuteStep,
)
from synapse_core.actions.train.action import TrainProgressCategories
from synapse_core.context import RuntimeContext
from synapse_core.enums import RunState
from synapse_core.errors import (
    ArchiveError,
    BackendUnavailable,
    ExecutionError,
    InvalidRequest,
    InvalidResult,
    NoBackend,
    RecordNotFound,
    RunStopped,
    StepFailed,
    ValidationError,
)
from synapse_core.executors import ProcessExecutor
from synapse_core.params import check
from synapse_core.runs import Runs
from synapse_core.schemas import TrainResult
from synapse_core.steps import BaseStep, StepRegistry, StepResult


class TrainParams(BaseTrainParams):
    dataset: int
    epochs: int = 2


def train(folder: Path, text: str = "weights") -> Path:
    """Write what a training would."""
    (folder / "weights").mkdir(parents=True, exist_ok=True)
    (folder / "weights/best.pt").write_text(text)
    return folder / "weights"


def state(world: World) -> dict[str, Any]:
    """Return all records and files of the backend; folders that got empty are none of them."""
    found = snapshot(world)
    files = found["files"].items()
    found["files"] = {
        number: {name: data for name, data in there.items() if not name.endswith("/")}
        for number, there in files
    }
    return found


class SimpleTrain(BaseTrainAction[TrainParams]):
    """Trains as the simplest plugins do."""

    action_name = "train"
    target_format = "yolo"

    def execute(self) -> dict[str, Any]:
        dataset = self.get_dataset()
        assert Path(dataset).name == "data.yaml"
        for epoch in range(self.params.epochs):
            self.report_metrics({"loss": 1.0 / (epoch + 1)}, epoch=epoch + 1)
            self.set_progress(epoch + 1, self.params.epochs, self.progress.TRAIN)
        self.report_metrics({"mAP50": 0.5}, category="validation")
        model = self.create_model(train(self.ctx.artifacts_dir), name="trained-model")
        return {"model": model["id"]}


@pytest.fixture
def version(world: World) -> int:
    """A ground truth version with splits."""
    ids = [assignment.id for assignment in world.assignments]
    splits = {"train": ids[:3], "validation": ids[3:]}
    return world.backend.create_ground_truth_version("cars", "1", project=world.project.id, splits=splits).id


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for temporary files in which nothing may be left."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def test_a_training_stores_its_model_with_its_lineage(world: World, version: int):
    logger = RecordingLogger()
    context = context_of(world, logger)
    params = {"dataset_id": version, "hyperparameters": [{"epochs": 3, "lr": 0.1}]}
    result = SimpleTrain.dispatch(params, context)

    model = world.backend.get_model(result["model_id"])
    assert result == {"model_id": model.id, "model": model.id}
    assert (model.name, model.version, model.dataset, model.run_id) == (
        "trained-model",
        "1",
        version,
        "run-1",
    )
    assert model.metrics == {"train/epoch": 3, "train/loss": 1 / 3, "validation/mAP50": 0.5}
    assert model.configuration["hyperparameter"]["lr"] == 0.1
    told = logger.progress("dataset")
    assert told == sorted(told)
    assert told[-1] == (100, 100)
    loaded = BaseInferenceAction(params, context_of(world)).load_model(model.id)
    assert (loaded["path"] / "best.pt").read_text() == "weights"


def test_the_dataset_is_fetched_and_converted_once(world: World, version: int, temporary: Path):
    action = SimpleTrain(TrainParams(dataset=version), context_of(world))
    first = action.get_dataset()
    second = SimpleTrain(TrainParams(dataset=version), context_of(world)).get_dataset()

    assert action.get_dataset() is first
    assert first == second
    assert (first["format"], first["count"], first["is_categorized"]) == ("yolo", 5, True)
    assert str(first) == str(first.path / "data.yaml")
    assert not list(temporary.iterdir())


def test_without_a_target_format_the_dataset_is_as_it_is_stored(world: World, version: int):
    class AsStored(SimpleTrain):
        target_format = None

    dataset = AsStored(TrainParams(dataset=version, splits={"train": {}}), context_of(world)).get_dataset()
    assert (dataset.format, dataset.count, (dataset.path / "train/json").is_dir()) == ("dm_v2", 3, True)


def test_parameters_have_two_names_and_may_be_nested():
    params = BaseTrainParams.model_validate(
        {"dataset_id": 3, "hyperparameters": [{"lr": 1, "epochs": 5}], "epochs": 7, "is_tune": False}
    )

    assert (params.dataset, params.lr, params.epochs) == (3, 1, 7)  # type: ignore[attr-defined]
    assert BaseTrainParams.model_validate({"hyperparameters": {"lr": 2}}).lr == 2  # type: ignore[attr-defined]
    check(TrainParams, {"dataset": 1, "hyperparameters": [{"lr": 1}], "mosaic": True})


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"dataset": 1, "is_tune": True}, "not built in"),
        ({"dataset": 1, "dataset_id": 2}, "two values"),
        ({"dataset": 1, "hyperparameters": [{}, {}]}, "one set"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_any_work(params: dict[str, Any], words: str, world: World):
    with pytest.raises(ValidationError, match=words):
        SimpleTrain.dispatch(params, context_of(world))


def test_a_model_that_was_returned_is_the_result(world: World, version: int):
    class Returning(SimpleTrain):
        def execute(self) -> Any:
            return self.create_model(train(self.ctx.artifacts_dir) / "best.pt")

    result = Returning.dispatch({"dataset": version}, context_of(world))

    assert result["name"] == "train_run-1"
    assert world.backend.get_model(result["id"]) == result
    assert (
        BaseInferenceAction({}, context_of(world))
        .load_model(result["id"])["path"]
        .joinpath("best.pt")
        .is_file()
    )


class _Checkpointed(SimpleTrain):
    """Goes on with a model."""

    def execute(self) -> dict[str, Any]:
        checkpoint = self.get_checkpoint()
        assert checkpoint is not None
        assert self.get_checkpoint() == checkpoint
        weights = checkpoint["path"] / "best.pt"
        text = weights.read_text() + "+"
        weights.write_text(text)
        model = self.create_model(train(self.ctx.artifacts_dir, text))
        return {"category": checkpoint["category"], "id": checkpoint["id"], "made": model.id}


def test_a_training_goes_on_with_a_checkpoint(world: World, version: int, temporary: Path):
    base = world.backend.create_model("base", train(world.home / "base"))
    result = _Checkpointed.dispatch({"dataset": version, "checkpoint": base.id}, context_of(world))

    assert (result["category"], result["id"]) == ("base", base.id)
    assert world.backend.get_model(result["made"]).checkpoint == base.id
    assert not list(temporary.iterdir())
    kept = BaseInferenceAction({}, context_of(world)).load_model(base.id)["path"]
    assert (kept / "best.pt").read_text() == "weights"


def test_what_the_run_was_given_is_the_checkpoint(world: World, version: int):
    context = context_of(world)
    context.checkpoint = {"category": "tuned", "path": "there"}

    action = SimpleTrain(TrainParams(dataset=version, checkpoint=9), context)
    assert action.get_checkpoint() == {"category": "tuned", "path": "there"}
    assert SimpleTrain(TrainParams(dataset=version), context_of(world)).get_checkpoint() is None


class _Failing(SimpleTrain):
    """Fails when its models are registered."""

    def execute(self) -> dict[str, Any]:
        weights = train(self.ctx.artifacts_dir)
        self.create_model(weights, name="first")
        self.create_model(weights / "best.pt", name="shared", version="1")
        raise ValueError("too late")


def test_a_run_that_fails_deletes_its_models_and_no_others(world: World, version: int):
    world.backend.create_model("shared", train(world.home / "same") / "best.pt", version="1")
    before = state(world)

    with pytest.raises(ValueError, match="too late"):
        _Failing.dispatch({"dataset": version}, context_of(world))
    assert state(world) == before


def test_a_stop_while_a_model_is_registered_deletes_it(world: World, version: int, temporary: Path):
    context = context_of(world)
    before = state(world)

    class Stopping:
        """The backend; a stop comes when it has registered a model."""

        def __getattr__(self, name: str) -> Any:
            return getattr(world.backend, name)

        def create_model(self, *arguments: Any, **named: Any) -> Any:
            model = world.backend.create_model(*arguments, **named)
            context.stop.request()
            return model

    context.client = Stopping()
    with pytest.raises(RunStopped), context.stop.armed():
        SimpleTrain.dispatch({"dataset": version}, context)
    assert state(world) == before
    assert not list(temporary.iterdir())


def test_a_result_that_is_refused_is_a_failure_as_well(world: World, version: int):
    class Strict(SimpleTrain):
        result_model = TrainResult
        strict_results = True

    before = state(world)
    with pytest.raises(InvalidResult):
        Strict.dispatch({"dataset": version}, context_of(world))
    assert state(world) == before


def test_what_is_missing_is_said(world: World, tmp_path: Path):
    action = SimpleTrain({}, context_of(world))  # type: ignore[arg-type]

    with pytest.raises(InvalidRequest, match="has no dataset"):
        action.get_dataset()
    with pytest.raises(InvalidRequest, match="There is no model at"):
        action.create_model(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidRequest, match="holds no files"):
        action.create_model(tmp_path / "empty")
    with pytest.raises(RecordNotFound):
        action.get_model(7)
    with pytest.raises(NoBackend, match="SimpleTrain needs a backend"):
        SimpleTrain({}, RuntimeContext(RecordingLogger())).client  # type: ignore[arg-type]  # noqa: B018


def test_a_model_that_is_too_large_is_refused_before_it_is_read(world: World, tmp_path: Path):
    (tmp_path / "big").mkdir()
    for path in (tmp_path / "big.pt", tmp_path / "big/big.pt"):
        with open(path, "wb") as file:
            file.truncate(10 << 30)

    action = SimpleTrain({}, context_of(world))  # type: ignore[arg-type]
    for path in (tmp_path / "big.pt", tmp_path / "big"):
        with pytest.raises(ArchiveError):
            action.create_model(path)


# In steps


class StepTrain(BaseTrainAction[TrainParams]):
    """Trains with the ready-made steps."""

    def setup_steps(self, registry: StepRegistry[TrainContext]) -> None:
        registry.register(ExportDatasetStep())
        registry.register(ConvertDatasetStep())
        registry.register(TrainExecuteStep())
        registry.register(ModelUploadStep())

    def execute(self, data_path: str, checkpoint: dict[str, Any] | None) -> dict[str, Any]:  # type: ignore[override]
        assert str(self.get_dataset()) == data_path
        assert Path(data_path).is_file()
        return {"weights_path": str(train(self.ctx.artifacts_dir)), "checkpoint": checkpoint}


def test_the_steps_fetch_convert_train_and_register(world: World, version: int):
    logger = RecordingLogger()
    result = StepTrain.dispatch({"dataset": version}, context_of(world, logger))

    assert logger.steps() == ["dataset", "convert", "train", "model_upload"]
    assert (result["success"], result["steps_executed"]) == (True, 4)
    assert world.backend.get_model(result["model_id"]).dataset == version
    assert logger.progress("dataset")[-1] == (100, 100)
    assert logger.progress("convert")[-1] == (5, 5)
    assert logger.progress("model_upload") == [(0, 1), (1, 1)]
    weights = [ExportDatasetStep(), ConvertDatasetStep(), TrainExecuteStep(), ModelUploadStep()]
    assert [step.progress_weight for step in weights] == [0.3, 0.2, 0.5, 0.1]


def test_nothing_is_registered_where_nothing_was_trained(world: World, version: int):
    class Idle(StepTrain):
        def execute(self) -> None:  # type: ignore[override]
            return

    logger = RecordingLogger()
    result = Idle.dispatch({"dataset": version}, context_of(world, logger))
    assert logger.steps() == ["dataset", "convert", "train", "(model_upload)"]
    assert "model_id" not in result


class Broken(BaseStep[TrainContext]):
    """Fails, or is stopped, after the step of its name."""

    progress_weight = 0.0
    name = "broken"

    def __init__(self, *, is_stop: bool) -> None:
        self._is_stop = is_stop

    def execute(self, context: TrainContext) -> StepResult:
        if self._is_stop:
            context.runtime_ctx.stop.request()
            context.runtime_ctx.raise_if_stopped()
        raise OSError("the disk is gone")


@pytest.mark.parametrize("is_stop", [False, True])
@pytest.mark.parametrize("after", ["dataset", "convert", "train", "model_upload"])
def test_whatever_fails_leaves_the_backend_as_it_was(
    world: World, version: int, after: str, is_stop: bool, temporary: Path
):
    class BreakingTrain(StepTrain):
        def setup_steps(self, registry: StepRegistry[TrainContext]) -> None:
            super().setup_steps(registry)
            registry.insert_after(after, Broken(is_stop=is_stop))

        def execute(self, data_path: str, checkpoint: Any) -> dict[str, Any]:  # type: ignore[override]
            self.create_model(train(self.ctx.artifacts_dir), name="early")
            return super().execute(data_path, checkpoint)

    before = state(world)
    logger = RecordingLogger()
    with pytest.raises(RunStopped if is_stop else StepFailed):
        BreakingTrain.dispatch({"dataset": version}, context_of(world, logger))

    assert state(world) == before
    assert not list(temporary.iterdir())
    order = ["dataset", "convert", "train", "model_upload"]
    undone = order[: order.index(after) + 1][::-1]
    assert logger.rolled_back() == ["broken", *undone]


def test_a_stop_at_any_event_leaves_the_backend_as_it_was(world: World, version: int, temporary: Path):
    logger = RecordingLogger()
    made = StepTrain.dispatch({"dataset": version}, context_of(world, logger))
    world.backend.delete_model(made["model_id"])
    before = state(world)

    assert len(logger.events) > 12
    for last in range(len(logger.events)):
        context = context_of(world)
        left = iter(range(last))
        context.logger = RecordingLogger(
            lambda _event, left=left, stop=context.stop: stop.request() if next(left, None) is None else None
        )
        with pytest.raises(RunStopped), context.stop.armed():
            StepTrain.dispatch({"dataset": version}, context)
        assert state(world) == before, f"a stop at event {last}"
    assert not list(temporary.iterdir())


@pytest.mark.parametrize("call", ["list_models", "create_model", "list_ground_truths", "download_file"])
def test_a_backend_that_fails_in_the_middle_of_a_step_holds_nothing_new(
    world: World, version: int, call: str
):
    class Down:
        """The backend, of which one call does its work and says that it failed."""

        def __getattr__(self, name: str) -> Any:
            def failing(*arguments: Any, **named: Any) -> Any:
                getattr(world.backend, name)(*arguments, **named)
                raise BackendUnavailable("The backend did not answer.")

            is_first = name == call and name not in vars(self)
            vars(self)[name] = getattr(world.backend, name)
            return failing if is_first else getattr(world.backend, name)

    context = context_of(world)
    context.client = Down()
    before = state(world)
    with pytest.raises(StepFailed):
        StepTrain.dispatch({"dataset": version}, context)
    assert state(world) == before


def test_an_execute_that_only_runs_the_steps_is_no_training(world: World, version: int):
    class Circular(StepTrain):
        def execute(self) -> Any:  # type: ignore[override]
            return BaseTrainAction.execute(self)

    with pytest.raises(StepFailed, match="does not say how it trains"):
        Circular.dispatch({"dataset": version}, context_of(world))
    with pytest.raises(StepFailed, match="has to come first"):
        _ConvertOnly.dispatch({"dataset": version}, context_of(world))


class _ConvertOnly(BaseTrainAction[TrainParams]):
    def setup_steps(self, registry: StepRegistry[TrainContext]) -> None:
        registry.register(ConvertDatasetStep("coco"))


class _LoadStep(BaseStep[TrainContext]):
    name = "load_dataset"
    progress_weight = 0.2

    def execute(self, context: TrainContext) -> StepResult:
        context.dataset = [context.params["dataset"]] * context.params.get("epochs", 100)
        return StepResult(data={"count": len(context.dataset)})


class SeedTrain(BaseTrainAction[TrainParams]):
    """Has steps of its own, and an execute() that hands on to them."""

    def setup_steps(self, registry: StepRegistry[TrainContext]) -> None:
        registry.register(_LoadStep())

    def execute(self) -> Any:
        return super().execute()


def test_steps_of_a_plugins_own_run_either_way(world: World):
    expected = {"success": True, "steps_executed": 1, "steps_total": 1}

    assert SeedTrain.dispatch({"dataset": 4}, context_of(world)) == expected
    assert SeedTrain(TrainParams(dataset=4), context_of(world)).execute() == expected


def test_a_step_without_its_action_says_so(world: World):
    with pytest.raises(ExecutionError, match="belongs to a training"):
        ExportDatasetStep().execute(TrainContext(context_of(world)))


def test_the_categories_have_their_names():
    assert BaseTrainAction.progress is TrainProgressCategories
    assert [TrainProgressCategories.DATASET, TrainProgressCategories.TRAIN] == ["dataset", "train"]
    assert TrainProgressCategories.MODEL_UPLOAD == "model_upload"


# As plugins


CONFIG = """
name: Shapes
code: shapes
version: 1.2.0
category: neural_net
actions:
  train: {entrypoint: plugin.TrainAction, method: local}
  dataset: {entrypoint: plugin.MyDatasetAction, method: local}
  infer: {entrypoint: plugin.InferAction, method: local}
"""
CODE = """
from pathlib import Path
from pydantic import BaseModel
from synapse_core.actions import DatasetAction, DatasetOperation, DatasetParams
from synapse_core.actions.inference import BaseInferenceAction
from synapse_core.actions.train import BaseTrainAction, BaseTrainParams

class TrainParams(BaseTrainParams):
    dataset: int
    epochs: int = 1

class TrainAction(BaseTrainAction[TrainParams]):
    target_format = "yolo"
    def execute(self):
        weights = Path("best.pt")
        weights.write_text(f"trained with {Path(self.get_dataset()).name}")
        return {"name": self.create_model(weights, name="shapes")["name"]}

class MyDatasetParams(DatasetParams):
    dataset: int
    operation: DatasetOperation = DatasetOperation.DOWNLOAD
    target_format: str | None = None

class MyDatasetAction(DatasetAction[MyDatasetParams]):
    pass

class InferParams(BaseModel):
    model_id: int

class InferAction(BaseInferenceAction[InferParams]):
    def execute(self):
        return (self.load_model(self.params.model_id)["path"] / "best.pt").read_text()
"""


def test_a_plugin_trains_in_a_recorded_run_and_predicts_with_what_it_made(
    world: World, version: int, tmp_path: Path, home: Path
):
    """Takes as long as a worker process needs to start."""
    plugin = tmp_path / "shapes"
    plugin.mkdir()
    (plugin / "config.yaml").write_text(CONFIG)
    (plugin / "plugin.py").write_text(CODE)

    params = {"dataset": version, "operation": "convert", "target_format": "yolo"}
    assert run_plugin(plugin, "dataset", params).data_path.name == "data.yaml"
    run_id = run_plugin(plugin, "train", {"dataset_id": version, "lr": 0.5}, wait=False)
    runs = Runs(home, {"local": ProcessExecutor()})
    ended = runs.wait(run_id, 60)
    runs.close()

    assert ended.state is RunState.SUCCEEDED, ended.failure
    model = world.backend.get_model(ended.result["model_id"])
    assert (model.name, model.plugin, model.plugin_version, model.run_id) == (
        "shapes",
        "shapes",
        "1.2.0",
        run_id,
    )
    assert model.configuration == {"hyperparameter": {"epochs": 1, "lr": 0.5}}
    assert run_plugin(plugin, "infer", {"model_id": model.id}) == "trained with data.yaml"
