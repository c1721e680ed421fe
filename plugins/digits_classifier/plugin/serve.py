"""The classifier behind an address."""

from __future__ import annotations

from typing import Any, ClassVar

from sklearn.neural_network import MLPClassifier

from plugin.reading import SIDE, load, read
from synapse_core.actions.inference import BaseServeDeployment


class DigitsServe(BaseServeDeployment):
    """Reads digits: each input is a scan, 8 rows of 8 grey values from 0 to 16."""

    sample_inputs: ClassVar[list[Any]] = [[[0.0] * SIDE] * SIDE]

    async def _get_model(self, model_info: dict[str, Any]) -> MLPClassifier:
        return load(model_info["path"])

    async def infer(self, inputs: list[Any]) -> list[dict[str, Any]]:
        return read(await self.get_model(), inputs)
