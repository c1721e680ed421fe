"""BaseUploadAction: local files become data units of a data collection, or nothing changes."""

from __future__ import annotations

import warnings
from dataclasses import asdict
from typing import Any, ClassVar, TypeVar

import pydantic

from synapse_core.actions.upload.context import UploadContext
from synapse_core.actions.upload.params import UploadParams
from synapse_core.actions.upload.report import MOST_LISTED, UploadSummary
from synapse_core.actions.upload.steps import STEPS
from synapse_core.actions.workflow import WorkflowAction
from synapse_core.enums import PluginCategory
from synapse_core.steps import BaseStepContext, StepRegistry

P = TypeVar("P")


class BaseUploadAction(WorkflowAction[P]):
    """Uploads files in eight steps; a subclass without anything of its own does so too.

    The steps are initialize, validate_files, analyze_collection, organize_files, generate_data_units,
    upload_files, process_metadata and cleanup. If one fails, or the run is stopped, the files that were
    stored and the data units that were made are deleted again; what could not be is in the errors of the
    failure.
    """

    category: ClassVar[PluginCategory | str | None] = PluginCategory.UPLOAD
    params_model: ClassVar[type[pydantic.BaseModel] | None] = UploadParams
    result_model: ClassVar[type[pydantic.BaseModel]] = UploadSummary

    @property
    def progress(self) -> Any:
        """The names of progress in former versions. Deprecated: each step's name is its progress's."""
        return __getattr__("UploadProgressCategories")

    def get_allowed_extensions(self) -> dict[str, list[str]] | None:
        """Return file type -> extensions that may be uploaded, None for all that a specification takes."""
        return None

    def setup_steps(self, registry: StepRegistry[Any]) -> None:
        """Register the built-in steps. An override adds to them, takes from them, or registers others."""
        for step in STEPS:
            registry.register(step())

    def create_context(self) -> BaseStepContext:
        """Return the context of one upload."""
        return UploadContext(
            runtime_ctx=self.ctx,
            params=self.params,
            backend=self.ctx.client,
            allowed_extensions=self.get_allowed_extensions(),
        )

    def get_result(self, context: Any, summary: dict[str, Any]) -> dict[str, Any]:
        """Return the numbers of a finished upload; see UploadSummary."""
        outcome = context.outcome
        collection = context.data_collection
        return {
            **summary,
            "uploaded_count": len(context.uploaded_files),
            "remote_path": context.storage.base_url if context.storage is not None else None,
            "status": "partial" if outcome.counts else "completed",
            "data_collection": collection.id if collection is not None else None,
            "uploaded_files": len(context.uploaded_files),
            "data_units": len(context.data_units),
            "total_files": context.total_files,
            "skipped_duplicates": outcome.skipped,
            "partial_failure": bool(outcome.counts),
            "lost_files_count": outcome.lost_count,
            "lost_files": list(outcome.lost),
            "failures": {code.value: number for code, number in outcome.counts.items()},
            "failed_files": [asdict(one) for one in outcome.failures[:MOST_LISTED]],
            "import_log_id": context.import_log_id,
        }


class DefaultUploadAction(BaseUploadAction[UploadParams]):
    """Uploads files as its parameters say. Nothing has to be added."""


class _UploadProgressCategories:
    """Under which names uploads reported their progress."""

    INITIALIZE = "initialize"
    VALIDATE = "validate"
    UPLOAD = "upload"
    CLEANUP = "cleanup"


def __getattr__(name: str) -> Any:
    if name != "UploadProgressCategories":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    warnings.warn(
        "UploadProgressCategories is deprecated; the name of a step is the category of its progress.",
        DeprecationWarning,
        stacklevel=2,
    )
    return _UploadProgressCategories
