"""Which tasks get annotations, and where these come from."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from pydantic import BaseModel, Field


class AddTaskDataMethod(StrEnum):
    """Where the annotations come from."""

    FILE = "file"
    INFERENCE = "inference"


class AddTaskDataParams(BaseModel):
    """What to annotate, and with what.

    The tasks: those of `task_ids`, or all of `project` that `task_filters` finds. For the method file, a
    `file_path` or a `target_specification_name`; for inference, a `model_id`.
    """

    name: str = Field(default="add_task_data", min_length=1, description="What this is called")
    description: str | None = Field(default=None, description="What it is for")
    method: AddTaskDataMethod = Field(
        default=AddTaskDataMethod.FILE, description="Where the annotations come from"
    )
    task_ids: list[int] | None = Field(default=None, description="Ids of the tasks to annotate")
    project: int | None = Field(default=None, description="Project whose tasks are annotated")
    task_filters: dict[str, Any] = Field(
        default_factory=dict, description="Which tasks of the project: field -> value; all if left out"
    )
    submit: bool = Field(
        default=True, description="Make assignments of the tasks as well; else the tasks alone are changed"
    )
    file_path: str | None = Field(
        default=None,
        description="Method file: a JSON file {task id or file name: annotations}, or a dataset of any "
        "format that can be read",
    )
    target_specification_name: str | None = Field(
        default=None, description="Method file: the file specification whose file holds a task's annotations"
    )
    model_id: int | None = Field(default=None, description="Method inference: id of the model")
    batch_size: int = Field(default=1, ge=1, description="Method inference: how many tasks at once")
    pre_processor: int | None = Field(default=None, description="Method inference: a deployed pre-processor")
    pre_processor_params: dict[str, Any] = Field(
        default_factory=dict, description="Method inference: further inputs of the model"
    )
