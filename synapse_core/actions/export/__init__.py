"""Exporting annotations from the backend into a storage: a data file for each item, and its original file."""

from synapse_core.actions.export.action import (
    BaseExportAction,
    DefaultExportAction,
    ExportProgressCategories,
)
from synapse_core.actions.export.context import ExportContext
from synapse_core.actions.export.exporter import Exporter, ExportHooks, ExportStatus
from synapse_core.actions.export.params import ExportParams
from synapse_core.actions.export.steps import (
    ConvertDataStep,
    FetchResultsStep,
    FinalizeStep,
    InitializeStep,
    PrepareExportStep,
    SaveFilesStep,
)
from synapse_core.actions.export.targets import TargetHandler, get_target_handler, register_target_handler

__all__ = [
    "BaseExportAction",
    "ConvertDataStep",
    "DefaultExportAction",
    "ExportContext",
    "ExportHooks",
    "ExportParams",
    "ExportProgressCategories",
    "ExportStatus",
    "Exporter",
    "FetchResultsStep",
    "FinalizeStep",
    "InitializeStep",
    "PrepareExportStep",
    "SaveFilesStep",
    "TargetHandler",
    "get_target_handler",
    "register_target_handler",
]
