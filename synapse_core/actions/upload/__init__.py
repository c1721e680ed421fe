"""Uploading: files of a folder become data units of a data collection.

`BaseUploadAction` has the steps and works as it is; `UploadParams` says what goes where.
"""

from __future__ import annotations

from typing import Any

from synapse_core.actions.upload import action
from synapse_core.actions.upload.action import BaseUploadAction, DefaultUploadAction
from synapse_core.actions.upload.context import FileGroup, UnitDraft, UploadContext
from synapse_core.actions.upload.params import AssetConfig, UploadParams
from synapse_core.actions.upload.report import FailureCode, UploadSummary
from synapse_core.actions.upload.steps import (
    AnalyzeCollectionStep,
    CleanupStep,
    GenerateDataUnitsStep,
    InitializeStep,
    OrganizeFilesStep,
    ProcessMetadataStep,
    UploadFilesStep,
    ValidateFilesStep,
)

__all__ = [
    "BaseUploadAction",
    "DefaultUploadAction",
    "UploadContext",
    "UploadParams",
    "AssetConfig",
    "UploadSummary",
    "FailureCode",
    "FileGroup",
    "UnitDraft",
    "InitializeStep",
    "ValidateFilesStep",
    "AnalyzeCollectionStep",
    "OrganizeFilesStep",
    "GenerateDataUnitsStep",
    "UploadFilesStep",
    "ProcessMetadataStep",
    "CleanupStep",
]


def __getattr__(name: str) -> Any:
    # Deprecated, so that it is not imported where nobody asks for it.
    return getattr(action, name)
