"""AddTaskDataAction: tasks get annotations from files, or from a model's predictions."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import pydantic

from synapse_core.actions.add_task_data.context import AddTaskDataContext
from synapse_core.actions.add_task_data.file_steps import (
    LoadAnnotationsStep,
    ProcessTasksStep,
    ValidateFileStep,
)
from synapse_core.actions.add_task_data.inference_steps import (
    FormatResultsStep,
    LoadModelStep,
    RunInferenceStep,
)
from synapse_core.actions.add_task_data.params import AddTaskDataMethod, AddTaskDataParams
from synapse_core.actions.add_task_data.uploading import UploadAnnotationsStep
from synapse_core.actions.inference import BaseInferenceAction
from synapse_core.actions.results import Patience
from synapse_core.enums import PluginCategory
from synapse_core.errors import InvalidRequest
from synapse_core.steps import StepRegistry

if TYPE_CHECKING:
    from synapse_core.backend import FileReference

P = TypeVar("P", bound=AddTaskDataParams)


class AddTaskDataProgressCategories:
    """Under which name the action reports its progress."""

    ANNOTATE_TASK_DATA = "annotate_task_data"


class AddTaskDataAction(BaseInferenceAction[P]):
    """Annotates tasks in four steps, which ones `params.method` says.

    The result: {success, steps_executed, steps_total, status (completed, completed_with_failures), message,
    total_tasks, success_count, failed_count, failures}; failures are the first 1,000, {task_id, error}.
    """

    category: ClassVar[PluginCategory | str | None] = PluginCategory.PRE_ANNOTATION
    params_model: ClassVar[type[pydantic.BaseModel] | None] = AddTaskDataParams
    _work_folder = Path()
    progress = AddTaskDataProgressCategories  # type: ignore[assignment]  # these are other words than its base's

    def convert_data_from_file(
        self,
        primary_file_url: str,
        primary_file_name: str,
        data_file_url: str,
        data_file_name: str,
        task_data: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Return a task's annotations, a DM document. By default they are what its data file says.

        The files lie on this machine for as long as the call takes; the urls are their paths. task_data: what
        the task holds now. An exception fails the task; the others go on.
        """
        try:
            made: dict[str, Any] = json.loads(Path(data_file_url).read_text(encoding="utf-8-sig"))
        except (ValueError, RecursionError) as error:
            raise InvalidRequest(f"{data_file_name} is no JSON: {error}") from error
        return made

    def convert_data_from_inference(
        self, inference_data: Any, task_data: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Return a task's annotations, a DM document, for a prediction. By default that is one already."""
        if not isinstance(inference_data, dict):
            raise InvalidRequest(
                f"The prediction is a {type(inference_data).__name__}, not a document.",
                hint="Define convert_data_from_inference(self, inference_data, task_data=None).",
            )
        return inference_data

    def setup_inference_params(
        self,
        primary_file_url: str,
        primary_file_name: str,
        data_files: Mapping[str, FileReference],
        *,
        model_id: int | None,
        pre_processor_params: Mapping[str, Any],
        pre_processor_config: Mapping[str, Any],
        task_data: Mapping[str, Any] | None,
    ) -> dict[str, Any]:
        """Return what the model's input for a task has besides.

        It has {task_id, path (of the primary file, here), file_name, data_files, task_data} and the
        pre_processor_params.
        """
        return {}

    def setup_steps(self, registry: StepRegistry[Any]) -> None:
        """Register the four steps of the method."""
        if self.params.method == AddTaskDataMethod.FILE:
            registry.register(ValidateFileStep())
            registry.register(LoadAnnotationsStep())
            registry.register(ProcessTasksStep())
        else:
            registry.register(LoadModelStep())
            registry.register(RunInferenceStep())
            registry.register(FormatResultsStep())
        registry.register(UploadAnnotationsStep())

    def create_context(self) -> AddTaskDataContext:  # type: ignore[override]  # other steps, another context
        return AddTaskDataContext(
            runtime_ctx=self.ctx, action=self, params=self.params, work_folder=self._work_folder
        )

    def create_patience(self) -> Patience:
        """Return how a backend that does not answer is asked again; each failure is told."""
        return Patience(
            lambda error, wait_seconds: self.log_message(
                f"{error} Asking again in {wait_seconds:g} s.", "warning"
            )
        )

    def wants_primary_file(self) -> bool:
        """Return True where a task's primary file is fetched for `convert_data_from_file`."""
        return type(self).convert_data_from_file is not AddTaskDataAction.convert_data_from_file

    def get_result(self, context: AddTaskDataContext, summary: dict[str, Any]) -> dict[str, Any]:  # type: ignore[override]
        told = f"{context.success_count:,} of {context.total_tasks:,} tasks annotated"
        if context.failed_count:
            told += f", {context.failed_count:,} failed"
        return {
            **summary,
            "status": "completed_with_failures" if context.failed_count else "completed",
            "message": f"{told}.",
            "total_tasks": context.total_tasks,
            "success_count": context.success_count,
            "failed_count": context.failed_count,
            "failures": context.failures,
        }

    def _update_progress(self, current: int, total: int, success: int, failed: int) -> None:
        """Tell how many tasks are done, and how they went; called after each."""
        self.set_progress(current, total, self.progress.ANNOTATE_TASK_DATA)
        self.set_metrics(
            {"success": success, "failed": failed, "stand_by": total - current},
            self.progress.ANNOTATE_TASK_DATA,
        )

    def _run_steps(self, registry: StepRegistry[Any]) -> Any:
        with tempfile.TemporaryDirectory(prefix="synapse-annotate-") as folder:
            self._work_folder = Path(folder)
            return super()._run_steps(registry)
