"""Putting annotations on tasks before anybody works on them: from files, or from a model's predictions."""

from synapse_core.actions.add_task_data.action import (
    AddTaskDataAction,
    AddTaskDataProgressCategories,
)
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

__all__ = [
    "AddTaskDataAction",
    "AddTaskDataContext",
    "AddTaskDataMethod",
    "AddTaskDataParams",
    "AddTaskDataProgressCategories",
    "FormatResultsStep",
    "LoadAnnotationsStep",
    "LoadModelStep",
    "ProcessTasksStep",
    "RunInferenceStep",
    "UploadAnnotationsStep",
    "ValidateFileStep",
]
