"""Inference: a registered classifier reads scans, without being deployed."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from plugin.reading import load, read
from synapse_core.actions.inference import BaseInferenceAction


class InferParams(BaseModel):
    """What to read, and with which model."""

    model: int = Field(ge=1, description="The id of the registered model")
    inputs: list[Any] = Field(
        min_length=1, max_length=2000, description="Scans: each 8 rows of 8 grey values from 0 to 16"
    )


class InferAction(BaseInferenceAction[InferParams]):
    """Read the digits of some scans with a registered classifier."""

    def execute(self) -> dict[str, Any]:
        self.set_progress(0, 1, self.progress.MODEL_LOAD)
        model = self.load_model(self.params.model)
        classifier = load(model["path"])
        self.set_progress(1, 1, self.progress.MODEL_LOAD)
        results = self.infer(classifier, self.params.inputs)
        self.set_progress(1, 1, self.progress.INFERENCE)
        return {"model": f"{model['name']}@{model['version']}", "results": results}

    def infer(self, model: Any, inputs: list[Any]) -> list[Any]:
        return read(model, inputs)
