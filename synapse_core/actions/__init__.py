"""Ready-made actions to be used as they are or to be derived from, and the registry of action templates.

Each name below is imported from its module when it is first used: what one action needs costs no other
action anything.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from synapse_core.actions.add_task_data import (
        AddTaskDataAction,
        AddTaskDataContext,
        AddTaskDataMethod,
        AddTaskDataParams,
        AddTaskDataProgressCategories,
    )
    from synapse_core.actions.dataset import DatasetAction, DatasetOperation, DatasetParams, DatasetResult
    from synapse_core.actions.export import (
        BaseExportAction,
        DefaultExportAction,
        ExportContext,
        ExportParams,
        ExportProgressCategories,
    )
    from synapse_core.actions.inference import (
        BaseInferenceAction,
        InferenceContext,
        InferenceProgressCategories,
    )
    from synapse_core.actions.spec import ActionRegistry, ActionSpec, ActionType, get_action_registry
    from synapse_core.actions.train import (
        BaseTrainAction,
        BaseTrainParams,
        TrainContext,
        TrainProgressCategories,
    )
    from synapse_core.actions.upload import (
        BaseUploadAction,
        DefaultUploadAction,
        UploadContext,
        UploadParams,
    )

_HOMES = {
    "AddTaskDataAction": "add_task_data",
    "AddTaskDataContext": "add_task_data",
    "AddTaskDataMethod": "add_task_data",
    "AddTaskDataParams": "add_task_data",
    "AddTaskDataProgressCategories": "add_task_data",
    "ActionRegistry": "spec",
    "ActionSpec": "spec",
    "ActionType": "spec",
    "BaseExportAction": "export",
    "BaseInferenceAction": "inference",
    "BaseTrainAction": "train",
    "BaseTrainParams": "train",
    "BaseUploadAction": "upload",
    "DatasetAction": "dataset",
    "DatasetOperation": "dataset",
    "DatasetParams": "dataset",
    "DatasetResult": "dataset",
    "DefaultExportAction": "export",
    "DefaultUploadAction": "upload",
    "ExportContext": "export",
    "ExportParams": "export",
    "ExportProgressCategories": "export",
    "InferenceContext": "inference",
    "InferenceProgressCategories": "inference",
    "TrainContext": "train",
    "TrainProgressCategories": "train",
    "UploadContext": "upload",
    "UploadParams": "upload",
    "get_action_registry": "spec",
}

__all__ = [
    "AddTaskDataAction",
    "AddTaskDataContext",
    "AddTaskDataMethod",
    "AddTaskDataParams",
    "AddTaskDataProgressCategories",
    "ActionRegistry",
    "ActionSpec",
    "ActionType",
    "BaseExportAction",
    "BaseInferenceAction",
    "BaseTrainAction",
    "BaseTrainParams",
    "BaseUploadAction",
    "DatasetAction",
    "DatasetOperation",
    "DatasetParams",
    "DatasetResult",
    "DefaultExportAction",
    "DefaultUploadAction",
    "ExportContext",
    "ExportParams",
    "ExportProgressCategories",
    "InferenceContext",
    "InferenceProgressCategories",
    "TrainContext",
    "TrainProgressCategories",
    "UploadContext",
    "UploadParams",
    "get_action_registry",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
