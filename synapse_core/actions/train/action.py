"""BaseTrainAction: fetches and converts a dataset, starts from a checkpoint, and registers what was trained.

A subclass defines `execute()`, or registers steps; those of `steps` are ready-made. What a run has
registered is deleted again where the run fails.
"""

from __future__ import annotations

import math
import secrets
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from pydantic import BaseModel

from synapse_core.actions.dataset import DatasetResult
from synapse_core.actions.model_files import as_file, copy_model, model_folder
from synapse_core.actions.train.context import TrainContext
from synapse_core.actions.train.dataset import TrainingDataset
from synapse_core.actions.train.lineage import plain_params, plugin_of
from synapse_core.actions.workflow import WorkflowAction
from synapse_core.archives import MOST_BYTES
from synapse_core.enums import PluginCategory
from synapse_core.errors import ExecutionError, InvalidRequest, RecordNotFound, SynapseError

if TYPE_CHECKING:
    from synapse_core.backend import Model

P = TypeVar("P")
_SMALL_BYTES = 64 << 20


class TrainProgressCategories:
    """Under which names a training reports its progress."""

    DATASET = "dataset"
    TRAIN = "train"
    MODEL_UPLOAD = "model_upload"


class BaseTrainAction(WorkflowAction[P]):
    """Trains a model.

    target_format: the format that the dataset is converted to; as it is stored (dm_v2) where it is None.
    most_model_bytes: what a model may take on disk.
    """

    category: ClassVar[PluginCategory | str | None] = PluginCategory.NEURAL_NET
    progress = TrainProgressCategories
    target_format: ClassVar[str | None] = None
    most_model_bytes: ClassVar[int] = MOST_BYTES

    def __init__(self, params: P, ctx: Any) -> None:
        super().__init__(params, ctx)
        self.trained_path: Path | None = None
        self._dataset: DatasetResult | None = None
        self._checkpoint: dict[str, Any] | None = None
        self._checkpoint_folder: Path | None = None
        self._created: list[Model] = []
        self._uncertain: dict[str, set[int]] = {}
        self._categories = ["train", "validation"]
        self._is_in_step = False

    def run(self) -> Any:
        """Train. Where it fails or is stopped, what it has registered is deleted first."""
        try:
            result = super().run()
            if self.strict_results:
                self.check_result(result)
        except BaseException:
            with self.ctx.stop.shielded():
                self.delete_created_models()
            raise
        finally:
            with self.ctx.stop.shielded():
                self._remove_checkpoint()
        if isinstance(result, dict) and self._created:
            return {"model_id": self._created[-1].id, **result}
        return result

    def execute(self) -> Any:
        """Do the training. Override this, or register steps, which the default runs."""
        if self._is_in_step:
            raise ExecutionError(
                f"{type(self).__name__} does not say how it trains: its execute() runs the steps, and one of "
                f"them calls execute().",
                hint="Do the training in execute(), or register a step of your own for it.",
            )
        return super().execute()

    def get_dataset(self) -> DatasetResult:
        """Return the dataset on disk, in `target_format`; it can stand for a path.

        It is fetched and converted once, into the home's cache, for its content and its format.
        Raises NoBackend, InvalidRequest where no dataset is named, and what fetching and converting raise.
        """
        if self._dataset is None:
            self._dataset = self.fetch_dataset(self.target_format)
        return self._dataset

    def fetch_dataset(self, target_format: str | None) -> DatasetResult:
        """Fetch the dataset that the parameters name, and convert it where a format is given."""
        dataset = self._param("dataset", self._param("dataset_id"))
        if dataset is None:
            raise InvalidRequest(
                f"{type(self).__name__} has no dataset: its parameters name none.",
                hint="Give the id of a ground truth version as `dataset`.",
            )
        fetching = TrainingDataset.of(self.ctx, dataset, self._param("splits"), target_format)
        result: DatasetResult = fetching.run()
        return result

    def get_checkpoint(self) -> dict[str, Any] | None:
        """Return the model to start from, None where the training starts anew.

        It is `{category, path, id, name}`; path is a folder with a copy that is deleted after the run. What
        the run was given as a checkpoint comes first, then the model that `checkpoint` names.
        Raises RecordNotFound, ArchiveError.
        """
        if self.ctx.checkpoint is not None:
            return dict(self.ctx.checkpoint)
        model_id = self._param("checkpoint")
        if model_id is None:
            return None
        if self._checkpoint is None:
            model = self.get_model(model_id)
            folder = model_folder(
                self.client, model, self.ctx.raise_if_stopped, most_bytes=self.most_model_bytes
            )
            self._checkpoint_folder = Path(tempfile.mkdtemp(prefix="synapse_checkpoint_"))
            self._checkpoint = {
                "category": model.configuration.get("category") or "base",
                "path": copy_model(folder, self._checkpoint_folder),
                "id": model.id,
                "name": model.name,
            }
        return dict(self._checkpoint)

    def get_model(self, model_id: int) -> Model:
        """Return the record of a model. Raises RecordNotFound."""
        return self.client.get_model(model_id)

    def create_model(self, path: str | Path, **values: Any) -> Model:
        """Register a file, or a folder as an archive, with where it comes from.

        values: those of the backend's create_model, `name`, `version`, `description`, `configuration` and
        `metrics` among them; what is not given is the run's: its id, plugin, dataset, checkpoint,
        hyperparameters and last metrics.
        Raises NoBackend, InvalidRequest where nothing is there, ArchiveError where it is too large.
        """
        client = self.client
        name = str(values.pop("name", None) or self._param("name") or self._usual_name())
        plugin, version = plugin_of(self.ctx)
        plain = plain_params(self.params)
        hyperparameters = {
            key: value for key, value in plain.items() if key not in ("dataset", "splits", "checkpoint")
        }
        known = {
            "plugin": plugin,
            "plugin_version": version,
            "run_id": self.ctx.job_id,
            "dataset": plain.get("dataset", plain.get("dataset_id")),
            "checkpoint": plain.get("checkpoint"),
            "metrics": self._last_metrics(),
            **values,
            "configuration": {"hyperparameter": hyperparameters, **(values.get("configuration") or {})},
        }
        # A stop can come when the model is registered and its id not known yet: what was there before tells.
        before = {model.id for model in client.list_models({"name": name})}
        self._uncertain.setdefault(name, before)
        with as_file(path, name, most_bytes=self.most_model_bytes) as file:
            # A stop would leave a file without a record; a large one would take longer than a stop may.
            is_small = file.stat().st_size <= _SMALL_BYTES
            with self.ctx.stop.uninterrupted if is_small else nullcontext():
                model = client.create_model(name, file, **known)
        if model.id not in before:
            self._created.append(model)
        return model

    def delete_created_models(self) -> None:
        """Delete the models that this run has registered; those that were there before stay."""
        created, self._created = {model.id for model in self._created}, []
        uncertain, self._uncertain = self._uncertain, {}
        for name, before in uncertain.items():
            try:
                found = list(self.client.list_models({"name": name}))
            except SynapseError as error:
                self._tell_left(f"Models named {name!r}", error)
                continue
            created |= {one.id for one in found if one.id not in before and one.run_id == self.ctx.job_id}
        for model_id in sorted(created):
            try:
                self.client.delete_model(model_id)
            except RecordNotFound:
                continue  # somebody else was faster
            except SynapseError as error:
                self._tell_left(f"Model {model_id}", error)

    def report_metrics(
        self, metrics: Mapping[str, float], *, epoch: int | None = None, category: str = "train"
    ) -> None:
        """Record metrics of a category; the last ones are stored with the model."""
        if category not in self._categories:
            self._categories.append(category)
        self.set_metrics(metrics if epoch is None else {"epoch": epoch, **metrics}, category=category)

    def note_weights(self, path: Path) -> None:
        """Take note of where trained weights lie, for what uploads a model and was given no path."""
        self.trained_path = path

    def create_context(self) -> TrainContext:
        """Return the context that the steps share."""
        return TrainContext(self.ctx, params=plain_params(self.params), action=self)

    def get_result(self, context: TrainContext, summary: dict[str, Any]) -> Any:
        """Return the orchestrator's summary with what the training returned and the model's id."""
        result = {**summary}
        if isinstance(context.result, Mapping):
            result.update(context.result)
        elif isinstance(context.result, BaseModel):
            result.update(context.result.model_dump(mode="json"))
        if context.model is not None:
            result["model_id"] = context.model["id"]
        return result

    def use_dataset(self, dataset: DatasetResult | None) -> None:
        """Make `get_dataset` return this one, which a step has made."""
        self._dataset = dataset

    def train_in_step(self, arguments: Mapping[str, Any]) -> Any:
        """Call execute() for a step."""
        self._is_in_step = True
        try:
            return self.execute(**arguments)
        finally:
            self._is_in_step = False

    def _is_simple(self) -> bool:
        """Return False: no steps come with a training, so those that are there were registered to be run."""
        return False

    def _param(self, name: str, default: Any = None) -> Any:
        if isinstance(self.params, Mapping):
            return self.params.get(name, default)
        return getattr(self.params, name, default)

    def _usual_name(self) -> str:
        return f"train_{self.ctx.job_id or secrets.token_hex(4)}"

    def _last_metrics(self) -> dict[str, float]:
        """Return the last value of each number that was reported: category/name -> value."""
        return {
            f"{category}/{name}": float(value)
            for category in self._categories
            for name, value in self.logger.get_metrics(category).items()
            if isinstance(value, int | float) and math.isfinite(value)
        }

    def _remove_checkpoint(self) -> None:
        if self._checkpoint_folder is not None:
            shutil.rmtree(self._checkpoint_folder, ignore_errors=True)
            self._checkpoint_folder = self._checkpoint = None

    def _tell_left(self, what: str, error: SynapseError) -> None:
        self.logger.warning(f"{what} could not be deleted again: {error.message}")
