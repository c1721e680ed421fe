"""The ready-made steps of a training: fetch the dataset, convert it, train, register the model."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from synapse_core.actions.dataset import DatasetAction, DatasetOperation, DatasetParams, DatasetResult
from synapse_core.actions.train.context import TrainContext
from synapse_core.steps import BaseStep, StepResult

_USUAL_FORMAT = "yolo"


class ExportDatasetStep(BaseStep[TrainContext]):
    """Fetches the dataset as it is stored. What was fetched stays in the home's cache."""

    @property
    def name(self) -> str:
        return "dataset"

    @property
    def progress_weight(self) -> float:
        return 0.3

    def execute(self, context: TrainContext) -> StepResult:
        dataset = context.training.fetch_dataset(None)
        _use(context, dataset)
        return StepResult(data={"path": str(dataset.path), "count": dataset.count})

    def rollback(self, context: TrainContext, result: StepResult) -> None:
        _use(context, None)


class ConvertDatasetStep(BaseStep[TrainContext]):
    """Converts the dataset that was fetched.

    target_format: the action's where it is left out, YOLO where that has none.
    """

    def __init__(self, target_format: str | None = None, source_format: str = "dm_v2") -> None:
        self._target_format = target_format
        self._source_format = source_format

    @property
    def name(self) -> str:
        return "convert"

    @property
    def progress_weight(self) -> float:
        return 0.2

    def can_skip(self, context: TrainContext) -> bool:
        return isinstance(context.dataset, DatasetResult) and context.dataset.format == self._target(context)

    def execute(self, context: TrainContext) -> StepResult:
        if context.dataset is None:
            return StepResult(
                success=False,
                error="There is no dataset to convert; ExportDatasetStep has to come first.",
            )
        source = context.dataset
        params = DatasetParams(
            operation=DatasetOperation.CONVERT,
            path=str(source["path"]),
            source_format=self._source_format,
            target_format=self._target(context),
            is_categorized=bool(source["is_categorized"]),
        )
        converted: DatasetResult = _Conversion(params, context.runtime_ctx).run()
        _use(context, converted)
        return StepResult(
            data={"path": str(converted.path), "losses": converted.losses}, rollback_data={"source": source}
        )

    def rollback(self, context: TrainContext, result: StepResult) -> None:
        if "source" in result.rollback_data:
            _use(context, result.rollback_data["source"])

    def _target(self, context: TrainContext) -> str:
        return self._target_format or context.training.target_format or _USUAL_FORMAT


class _Conversion(DatasetAction[DatasetParams]):
    """A conversion that reports under the name of its step."""

    def set_progress(
        self, current: float, total: float, step: str | None = None, *, category: str | None = None
    ) -> None:
        super().set_progress(current, total, category="convert")


class TrainExecuteStep(BaseStep[TrainContext]):
    """Calls the action's execute(), with `data_path` and `checkpoint` where it takes them.

    `weights_path` of what it returns is the model, else what a framework's integration has seen.
    """

    @property
    def name(self) -> str:
        return "train"

    @property
    def progress_weight(self) -> float:
        return 0.5

    def execute(self, context: TrainContext) -> StepResult:
        action = context.training
        taken = inspect.signature(action.execute).parameters
        arguments: dict[str, Any] = {}
        if "data_path" in taken:
            arguments["data_path"] = context.data_path
        if "checkpoint" in taken:
            arguments["checkpoint"] = action.get_checkpoint()
        context.result = action.train_in_step(arguments)
        weights = _weights_of(context.result) or action.trained_path
        context.model_path = None if weights is None else str(weights)
        return StepResult(data={"model_path": context.model_path})

    def rollback(self, context: TrainContext, result: StepResult) -> None:
        context.result = context.model_path = None
        if context.action is not None:
            context.action.delete_created_models()


class ModelUploadStep(BaseStep[TrainContext]):
    """Registers the model that was trained; without one there is nothing to do."""

    @property
    def name(self) -> str:
        return "model_upload"

    @property
    def progress_weight(self) -> float:
        return 0.1

    def can_skip(self, context: TrainContext) -> bool:
        return context.model_path is None

    def execute(self, context: TrainContext) -> StepResult:
        context.set_progress(0, 1)
        context.model = context.training.create_model(str(context.model_path))
        context.set_progress(1, 1)
        return StepResult(data={"model_id": context.model["id"]})

    def rollback(self, context: TrainContext, result: StepResult) -> None:
        context.training.delete_created_models()
        context.model = None


def _use(context: TrainContext, dataset: Any) -> None:
    context.dataset = dataset
    context.data_path = None if dataset is None else str(dataset["config_path"] or dataset["path"])
    if context.action is not None and (dataset is None or isinstance(dataset, DatasetResult)):
        context.action.use_dataset(dataset)


def _weights_of(result: Any) -> str | Path | None:
    if isinstance(result, BaseModel):
        return getattr(result, "weights_path", None)
    return result.get("weights_path") if isinstance(result, dict) else None
