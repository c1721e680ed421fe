"""Ready-made result models for common actions."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from synapse_core.enums import MetricsCategory


class WeightsResult(BaseModel):
    """Where trained weights lie."""

    weights_path: str
    checkpoint_paths: list[str] = Field(default_factory=list)
    format: str = "pt"


class MetricsResult(BaseModel):
    """Metrics of one category."""

    metrics: dict[str, float]
    category: MetricsCategory | str = MetricsCategory.TRAIN


class TrainResult(BaseModel):
    """The outcome of a training."""

    weights_path: str
    final_epoch: int
    best_epoch: int | None = None
    train_metrics: dict[str, float] = Field(default_factory=dict)
    val_metrics: dict[str, float] = Field(default_factory=dict)


class InferenceResult(BaseModel):
    """The outcome of an inference."""

    predictions: list[dict[str, Any]] = Field(default_factory=list)
    processed_count: int = 0
    output_path: str | None = None


class ExportResult(BaseModel):
    """The outcome of an export."""

    output_path: str
    exported_count: int
    format: str
    file_size_bytes: int | None = None


class UploadResult(BaseModel):
    """The outcome of an upload."""

    uploaded_count: int
    remote_path: str | None = None
    status: str = "completed"
