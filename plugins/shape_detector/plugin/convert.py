"""Conversion as an action of a pipeline; by itself the tool convert_dataset tells more of what is lost."""

from __future__ import annotations

from pydantic import Field

from synapse_core.actions import DatasetAction, DatasetParams
from synapse_core.actions.dataset import DatasetOperation
from synapse_core.types import Dataset


class ConvertParams(DatasetParams):
    """What to convert, and to what."""

    operation: DatasetOperation = Field(default=DatasetOperation.CONVERT, description="What is done")
    path: str | None = Field(description="The dataset to convert: a folder, a file or a URL")
    source_format: str = Field(default="auto", description="Its format; 'auto' has it detected")


class ConvertAction(DatasetAction[ConvertParams]):
    """Convert a dataset, to YOLO if nothing is said."""

    input_type = Dataset
    params_model = ConvertParams
