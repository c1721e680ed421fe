"""BaseExportAction and DefaultExportAction: annotations and files from the backend into a storage."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import pydantic

from synapse_core.actions.export.context import ExportContext
from synapse_core.actions.export.exporter import Exporter, ExportHooks
from synapse_core.actions.export.params import ExportParams
from synapse_core.actions.export.steps import (
    ConvertDataStep,
    FetchResultsStep,
    FinalizeStep,
    InitializeStep,
    PrepareExportStep,
    SaveFilesStep,
)
from synapse_core.actions.export.targets import get_target_handler
from synapse_core.actions.results import Patience, Results
from synapse_core.actions.workflow import WorkflowAction
from synapse_core.enums import PluginCategory
from synapse_core.errors import SynapseError
from synapse_core.steps import StepRegistry

if TYPE_CHECKING:
    from synapse_core.backend import Backend, Project, StorageRecord

P = TypeVar("P")


class ExportProgressCategories:
    """Under which names an export reports its progress."""

    FETCH = "fetch"
    DATASET_CONVERSION = "dataset_conversion"
    ORIGINAL_FILE = "original_file"
    DATA_FILE = "data_file"


class BaseExportAction(ExportHooks, WorkflowAction[P]):
    """An export in six steps, whose hooks (see ExportHooks) are methods of the action.

    The result: {success, steps_executed, steps_total, exported_count, failed_count, total_count, output_path
    (the URL of the folder that was made), format, file_size_bytes}.
    """

    category: ClassVar[PluginCategory | str | None] = PluginCategory.EXPORT
    params_model: ClassVar[type[pydantic.BaseModel] | None] = ExportParams
    progress = ExportProgressCategories

    def get_filtered_results(self, filters: Mapping[str, Any]) -> tuple[Iterable[Any], int]:
        """Return (records, how many) of the parameters' target. Override it for records of another kind.

        They are read page by page; a backend that breaks off is asked on, up to five times in a row.
        """
        handler = get_target_handler(getattr(self.params, "target", "assignment"))
        chosen = handler.filters_of(filters)
        client = self.client
        results = Results(lambda after: handler.records(client, chosen, after), self.create_patience())
        return results, results.count

    def get_storage(self, storage_id: int) -> StorageRecord:
        """Return a storage with its configuration."""
        return self.client.get_storage(storage_id, with_configuration=True)

    def get_project(self, project_id: int) -> Project:
        return self.client.get_project(project_id)

    def get_project_configuration(self, project_id: int) -> dict[str, Any]:
        """Return the classes and tools of a project, as the platform has them."""
        return self.get_project(project_id).configuration

    def setup_steps(self, registry: StepRegistry[Any]) -> None:
        """Register the six built-in steps."""
        for step in (
            InitializeStep(),
            FetchResultsStep(),
            PrepareExportStep(),
            ConvertDataStep(),
            SaveFilesStep(),
            FinalizeStep(),
        ):
            registry.register(step)

    def create_context(self) -> ExportContext:
        return ExportContext(runtime_ctx=self.ctx, action=self, params=self.params)

    def hooks_class(self) -> type[ExportHooks]:
        """Return the class whose hooks are used."""
        return type(self)

    def create_exporter(self, context: ExportContext) -> ExportHooks:
        """Return what the steps call the hooks of: the action itself."""
        return self

    def create_patience(self, context: ExportContext | None = None) -> Patience:
        """Return how a backend that does not answer is asked again; each failure is told."""

        def told(error: SynapseError, wait_seconds: float) -> None:
            if context is not None:
                context.page_failures += 1
            self.log_message(f"{error} Asking again in {wait_seconds:g} s.", "warning")

        return Patience(told)

    def get_result(self, context: ExportContext, summary: dict[str, Any]) -> dict[str, Any]:
        return {
            **summary,
            "exported_count": context.exported_count,
            "failed_count": context.failed_count,
            "total_count": context.total_count,
            "output_path": context.output_path,
            "format": "json",
            "file_size_bytes": context.written_bytes,
        }

    def _backend(self) -> Backend:
        return self.client


class DefaultExportAction(BaseExportAction[P]):
    """An export that needs nothing but parameters: every item is written as it is.

    entrypoint: a class of hooks to be used in place of the action's own.
    """

    entrypoint: ClassVar[type[Exporter] | None] = None

    def hooks_class(self) -> type[ExportHooks]:
        return self.entrypoint or type(self)

    def create_exporter(self, context: ExportContext) -> ExportHooks:
        if self.entrypoint is None:
            return self
        return self.entrypoint(self.ctx, context.export_items, context.path_root, **context.export_params)
