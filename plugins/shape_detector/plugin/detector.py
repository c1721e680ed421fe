"""The detector: each region that stands out is one of the classes, or nothing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from plugin.drawing import Box
from plugin.regions import FEATURES, features, find_regions
from synapse_core.errors import InvalidRequest

FILE = "detector.npz"


@dataclass(frozen=True)
class Found:
    """Something that was found. score: how sure the detector is, in [0, 1]."""

    name: str
    box: Box
    score: float


@dataclass(frozen=True)
class Detector:
    """A perceptron over the features of regions. Its last output is for what is nothing.

    weights, biases: one of each for a layer.
    """

    classes: tuple[str, ...]
    weights: tuple[np.ndarray, ...]
    biases: tuple[np.ndarray, ...]

    @classmethod
    def of_perceptron(cls, classes: tuple[str, ...], trained: Any) -> Detector:
        """Take over what an MLPClassifier has learned, whose last class is for what is nothing."""
        weights, biases = list(trained.coefs_), list(trained.intercepts_)
        if weights[-1].shape[1] == 1:  # of two classes it has one output, for the second
            weights[-1] = np.hstack([-weights[-1] / 2, weights[-1] / 2])
            biases[-1] = np.hstack([-biases[-1] / 2, biases[-1] / 2])
        return cls(classes, tuple(weights), tuple(biases))

    def find(self, pixels: np.ndarray, least_score: float = 0.5) -> list[Found]:
        """Return what is in a picture (height x width x 3, 0 to 255), the surest first."""
        regions = find_regions(pixels)
        if not regions:
            return []
        shares = self._shares(np.array([features(region) for region in regions]))
        found = []
        for region, share in zip(regions, shares, strict=True):
            best = int(share[:-1].argmax())
            if share[best] >= least_score:
                found.append(Found(self.classes[best], region.box, float(share[best])))
        return sorted(found, key=lambda one: -one.score)

    def _shares(self, rows: np.ndarray) -> np.ndarray:
        for weights, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            rows = np.maximum(rows @ weights + bias, 0)
        rows = rows @ self.weights[-1] + self.biases[-1]
        shares = np.exp(rows - rows.max(axis=1, keepdims=True))
        return shares / shares.sum(axis=1, keepdims=True)

    def save(self, path: Path) -> None:
        layers = {f"weights{number}": value for number, value in enumerate(self.weights)}
        layers |= {f"biases{number}": value for number, value in enumerate(self.biases)}
        np.savez_compressed(path, classes=np.array(self.classes), **layers)

    @classmethod
    def load(cls, folder: Path) -> Detector:
        """Read the detector in a folder; nothing in its file is executed.

        Raises InvalidRequest where it is another kind of model.
        """
        try:
            with np.load(folder / FILE, allow_pickle=False) as kept:
                count = sum(name.startswith("weights") for name in kept.files)
                read = cls(
                    tuple(map(str, kept["classes"])),
                    tuple(kept[f"weights{number}"] for number in range(count)),
                    tuple(kept[f"biases{number}"] for number in range(count)),
                )
            if read.weights[0].shape[0] != FEATURES or read.biases[-1].shape != (len(read.classes) + 1,):
                raise ValueError("its layers have other sizes")
        except (OSError, ValueError, KeyError, IndexError) as error:
            raise InvalidRequest(
                f"There is no detector of this plugin in {folder}: {error}.",
                hint="Take a model that shape_detector/train has made.",
            ) from error
        return read
