"""Training: a dataset comes from the backend, a subclass trains, and the model goes back with its lineage."""

from synapse_core.actions.train.action import BaseTrainAction, TrainProgressCategories
from synapse_core.actions.train.context import TrainContext
from synapse_core.actions.train.params import BaseTrainParams
from synapse_core.actions.train.steps import (
    ConvertDatasetStep,
    ExportDatasetStep,
    ModelUploadStep,
    TrainExecuteStep,
)

__all__ = [
    "BaseTrainAction",
    "BaseTrainParams",
    "TrainContext",
    "TrainProgressCategories",
    "ConvertDatasetStep",
    "ExportDatasetStep",
    "ModelUploadStep",
    "TrainExecuteStep",
]
