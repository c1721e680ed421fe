"""Fetching and converting what a training takes, told as one piece of work."""

from __future__ import annotations

from typing import Any

from synapse_core.actions.dataset import DatasetAction, DatasetOperation, DatasetParams
from synapse_core.context import RuntimeContext


class TrainingDataset(DatasetAction[DatasetParams]):
    """A dataset's download and conversion, whose progress is that of the category `dataset`, in percent."""

    category_name = "dataset"

    @classmethod
    def of(
        cls, ctx: RuntimeContext, dataset: int, splits: dict[str, Any] | None, target_format: str | None
    ) -> TrainingDataset:
        """Return the action for a version in a format, as it is stored where that is None."""
        is_converted = target_format not in (None, "dm", "dm_v2")
        params = DatasetParams(
            operation=DatasetOperation.CONVERT if is_converted else DatasetOperation.DOWNLOAD,
            dataset=dataset,
            splits=splits,
            target_format=target_format,
        )
        return cls(params, ctx)

    def set_progress(
        self, current: float, total: float, step: str | None = None, *, category: str | None = None
    ) -> None:
        """Report a part's progress as that of the whole; each of two parts is half of it."""
        parts = 2 if self.params.operation is DatasetOperation.CONVERT else 1
        is_second = (step or category) == self.progress.DATASET_CONVERSION
        share = (int(is_second) + current / total) / parts
        super().set_progress(round(100 * share, 2), 100, category=self.category_name)
