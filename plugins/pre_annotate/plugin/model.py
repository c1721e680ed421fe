"""The model: things that were seen, and their classes. A new thing is what those most like it are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from synapse_core.errors import InvalidRequest

FILE = "model.npz"


@dataclass(frozen=True)
class Model:
    """examples: a row of features for each thing. labels: index into `classes`. neighbours: who is asked."""

    examples: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]
    neighbours: int

    def classify(self, things: np.ndarray) -> list[tuple[str, float]]:
        """Return (class, share of the neighbours that are of it) for each row of features."""
        found = []
        for thing in things:
            distances = ((self.examples - thing) ** 2).sum(axis=1)
            nearest = np.argsort(distances, kind="stable")[: self.neighbours]
            # The nearer one counts a little more, so that there is no tie.
            weights = 1 / (1 + distances[nearest])
            votes = np.bincount(self.labels[nearest], weights, minlength=len(self.classes))
            best = int(votes.argmax())
            found.append((self.classes[best], float(np.mean(self.labels[nearest] == best))))
        return found

    def accuracy(self, things: np.ndarray, labels: np.ndarray) -> float:
        """Return the share of things that get their own class, in [0, 1]; 0.0 where there are none."""
        named = [name for name, _ in self.classify(things)]
        right = [name == self.classes[label] for name, label in zip(named, labels, strict=True)]
        return sum(right) / len(right) if right else 0.0

    def save(self, path: Path) -> None:
        np.savez_compressed(
            path,
            examples=self.examples,
            labels=self.labels,
            classes=np.array(self.classes),
            neighbours=self.neighbours,
        )

    @classmethod
    def load(cls, path: Path) -> Model:
        """Read a model; nothing in its file is executed. Raises InvalidRequest where it is another one."""
        try:
            with np.load(path, allow_pickle=False) as kept:
                return cls(
                    kept["examples"],
                    kept["labels"],
                    tuple(map(str, kept["classes"])),
                    int(kept["neighbours"]),
                )
        except (OSError, ValueError, KeyError) as error:
            raise InvalidRequest(
                f"{path.name} is no model of this plugin: {error}",
                hint="Give the model_id that pre_annotate/train has returned.",
            ) from error
