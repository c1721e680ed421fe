"""What every training takes; what one of them takes besides is declared in a subclass, or just sent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator


class BaseTrainParams(BaseModel):
    """The parameters of a training; others are kept as they are.

    `dataset_id` is another name of dataset. The values of `hyperparameters`, an object or a list with one,
    are parameters like any other; where one is given twice, the outer one counts.
    """

    model_config = ConfigDict(extra="allow")

    dataset: int | None = Field(default=None, description="Id of the ground truth version to train with")
    splits: dict[str, Any] | None = Field(default=None, description="Split -> filters of what it gets")
    checkpoint: int | None = Field(default=None, description="Id of the model to start from")

    @model_validator(mode="before")
    @classmethod
    def _flatten(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        if values.get("is_tune"):
            raise ValueError(
                "is_tune: searching for hyperparameters is not built in. Leave it out; train once for each "
                "set of them."
            )
        found = dict(values)
        if "dataset_id" in found:
            dataset = found.pop("dataset_id")
            if found.setdefault("dataset", dataset) != dataset:
                raise ValueError("dataset and dataset_id are two names of one parameter; two values came.")
        given = found.get("hyperparameters")
        if "hyperparameters" in cls.model_fields or not given:
            return found
        sets = given if isinstance(given, list) else [given]
        if len(sets) != 1 or not isinstance(sets[0], Mapping):
            raise ValueError("hyperparameters must be an object, or a list of one: a run trains one set.")
        return {**sets[0], **found}
