"""What an export is asked."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field, field_validator

from synapse_core.actions.export.file_names import safe_file_name
from synapse_core.actions.export.targets import get_target_handler
from synapse_core.errors import NotFound


class ExportParams(BaseModel):
    """What to export, and where to. `{"filter": {"project": 1}}` is enough.

    The output is a new folder `<path>/<name>` of the storage, `<name>(1)` where there is one already.
    """

    name: str = Field(default="export", min_length=1, description="Name of the folder that is made")
    description: str | None = Field(default=None, description="What the export is for")
    storage: int | None = Field(
        default=None, description="Id of the storage to write to; the backend's default one if left out"
    )
    path: str = Field(default="exports", description="Where in the storage the folder is made")
    save_original_file: bool = Field(default=True, description="Export the original files as well")
    target: str = Field(default="assignment", description="What to export: assignment, ground_truth or task")
    filter: dict[str, Any] = Field(
        default_factory=dict,
        description="Which of them: field -> value. Assignments and tasks need project, ground truths "
        "need ground_truth_version",
    )
    extra_params: dict[str, Any] | None = Field(
        default=None, description="Whatever the plugin's own exporter takes"
    )

    @field_validator("name")
    @classmethod
    def _check_name(cls, name: str) -> str:
        name = name.strip()
        if not name or safe_file_name(name, "") != name:
            raise ValueError("it must be one folder name, which every file system takes")
        return name

    @field_validator("target")
    @classmethod
    def _check_target(cls, target: str) -> str:
        try:
            get_target_handler(target)
        except NotFound as error:
            raise ValueError(error.message) from None
        return target
