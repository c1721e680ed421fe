"""BaseInferenceAction: a registered model is fetched and unpacked; a subclass predicts with it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from pydantic import BaseModel

from synapse_core.actions.inference.context import InferenceContext
from synapse_core.actions.model_files import as_mapping, copy_model, model_folder
from synapse_core.actions.workflow import WorkflowAction
from synapse_core.archives import MOST_BYTES
from synapse_core.enums import PluginCategory
from synapse_core.errors import ExecutionError

if TYPE_CHECKING:
    from synapse_core.backend import Model

P = TypeVar("P")


class InferenceProgressCategories:
    """Under which names an inference reports its progress."""

    MODEL_LOAD = "model_load"
    INFERENCE = "inference"
    POSTPROCESS = "postprocess"


class BaseInferenceAction(WorkflowAction[P]):
    """Predicts with a registered model: override `infer` and `execute`, or register steps.

    most_model_bytes: what a model may take on disk.
    """

    category: ClassVar[PluginCategory | str | None] = PluginCategory.NEURAL_NET
    progress = InferenceProgressCategories
    most_model_bytes: ClassVar[int] = MOST_BYTES

    def get_model(self, model_id: int) -> Model:
        """Return the record of a model. Raises RecordNotFound."""
        return self.client.get_model(model_id)

    def download_model(self, model_id: int, output_dir: str | Path | None = None) -> Path:
        """Return a folder with a model's file, or with what its archive holds.

        output_dir: a folder that gets a copy. Without it, it is the home's own copy, which is fetched once
        for its content and cannot be written to.
        Raises RecordNotFound; ArchiveError for an archive that is damaged, too large or made to do harm.
        """
        folder = self._folder(self.get_model(model_id))
        return folder if output_dir is None else copy_model(folder, Path(output_dir).expanduser())

    def load_model(self, model_id: int) -> dict[str, Any]:
        """Return the fields of a model, and `path`: the folder as `download_model` gives it.

        Raises what `download_model` does.
        """
        model = self.get_model(model_id)
        return as_mapping(model, path=self._folder(model))

    def infer(self, model: Any, inputs: list[Any]) -> list[Any]:
        """Return one prediction for each input, in their order. Override this."""
        raise ExecutionError(
            f"{type(self).__name__} does not say how it predicts.",
            hint="Define infer(self, model, inputs), which returns one prediction for each input.",
        )

    def create_context(self) -> InferenceContext:
        """Return the context that the steps share."""
        params = self.params
        if isinstance(params, BaseModel):
            plain = params.model_dump()
        else:
            plain = dict(params) if isinstance(params, Mapping) else {}
        context = InferenceContext(self.ctx, params=plain, model_id=plain.get("model_id"))
        context.batch_size = plain.get("batch_size") or 1
        return context

    def get_result(self, context: InferenceContext, summary: dict[str, Any]) -> Any:
        """Return the orchestrator's summary with the results."""
        return {**summary, "processed_count": context.processed_count, "results": context.results}

    def _folder(self, model: Model) -> Path:
        return model_folder(self.client, model, self.ctx.raise_if_stopped, most_bytes=self.most_model_bytes)
