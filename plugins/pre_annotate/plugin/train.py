"""Training: the boxes of a ground truth version are cut out, and kept as examples of their classes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from pydantic import Field

from plugin.model import FILE, Model
from plugin.things import features, grey_values
from synapse_core.actions import BaseTrainAction, BaseTrainParams
from synapse_core.datasets import Item, read
from synapse_core.errors import InvalidRequest
from synapse_core.schemas import TrainResult
from synapse_core.types import ModelWeights


class Params(BaseTrainParams):
    """What to train with."""

    dataset: int | None = Field(
        default=None, description="Id of the ground truth version to train with; the newest if left out"
    )
    neighbours: int | None = Field(
        default=None, ge=1, le=25, description="How many examples decide; what validates best if left out"
    )
    name: str = Field(default="things", min_length=1, description="What the model is registered as")


class Result(TrainResult):
    """How the training went.

    model_id: what `annotate` takes. accuracy: on the validation split, in [0, 1]; None where there is none.
    """

    model_id: int
    dataset: int
    accuracy: float | None
    neighbours: int
    examples: int
    classes: list[str]


class TrainAction(BaseTrainAction[Params]):
    """Learn what the annotated things look like, and register the model."""

    target_format = "coco"
    output_type = ModelWeights
    result_model = Result

    def execute(self) -> Result:
        if self.params.dataset is None:
            self.params = self.params.model_copy(update={"dataset": self._newest()})
        header, items = read(self.get_dataset().path, "coco")
        classes = tuple(entry.name for entry in header.classes)
        seen, unseen = self._examples(items)
        if not len(seen[1]):
            raise InvalidRequest(
                f"Ground truth version {self.params.dataset} has no boxes to train with.",
                hint="Annotate some tasks with boxes, and make a version with a train split.",
            )
        best = self._choose(seen, unseen, classes)
        accuracy = round(best.accuracy(*unseen), 5) if len(unseen[1]) else None
        if accuracy is None:
            self.log_message("There is no validation split: nobody knows how good the model is.", "warning")
        else:
            self.report_metrics({"accuracy": accuracy, "things": len(unseen[1])}, category="validation")
            self.log_message(
                "Accuracy {accuracy:.3f} on {things} unseen things.",
                "success",
                accuracy=accuracy,
                things=len(unseen[1]),
            )
        path = self.ctx.artifacts_dir / FILE
        best.save(path)
        self.ctx.add_artifact(path)
        registered = self.create_model(path, configuration={"classes": list(classes)})
        return Result(
            weights_path=str(path),
            final_epoch=1,
            train_metrics={"examples": len(seen[1])},
            val_metrics={} if accuracy is None else {"accuracy": accuracy},
            model_id=registered.id,
            dataset=self.params.dataset,
            accuracy=accuracy,
            neighbours=best.neighbours,
            examples=len(seen[1]),
            classes=list(classes),
        )

    def _newest(self) -> int:
        newest = max((version.id for version in self.client.list_ground_truth_versions()), default=None)
        if newest is None:
            raise InvalidRequest(
                "The backend has no ground truth version to train with.",
                hint="Make one of annotated tasks; `synapse-mcp demo --seed` adds one to try this with.",
            )
        self.log_message(f"No dataset is given; ground truth version {newest} is used, the newest.")
        return newest

    def _examples(self, items: Iterator[Item]) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
        """Return (features, labels) of the things to learn, and of those to validate with."""
        root = Path(self.get_dataset().path)
        rows: dict[bool, list[np.ndarray]] = {True: [], False: []}
        labels: dict[bool, list[int]] = {True: [], False: []}
        for number, item in enumerate(items, start=1):
            self.ctx.raise_if_stopped()
            is_seen = item.split in (None, "train")
            if item.image is None or item.split == "test":
                continue
            grey = grey_values(str(root / item.image))
            for one in item.annotations:
                if one.box is None or one.label < 0:
                    continue
                left, top, width, height = (round(value) for value in one.box)
                rows[is_seen].append(features(grey, (left, top, max(width, 1), max(height, 1))))
                labels[is_seen].append(one.label)
            self.set_progress(number, self.get_dataset().count or number, category=self.progress.TRAIN)
        return tuple((np.array(rows[kind]), np.array(labels[kind], dtype=np.int64)) for kind in (True, False))

    def _choose(
        self,
        seen: tuple[np.ndarray, np.ndarray],
        unseen: tuple[np.ndarray, np.ndarray],
        classes: tuple[str, ...],
    ) -> Model:
        """Return the model with the number of neighbours that validates best, the fewest of equals."""
        asked = self.params.neighbours
        choices = [asked] if asked else [one for one in (1, 3, 5, 7) if one <= len(seen[1])]
        models = [Model(*seen, classes, number) for number in choices]
        if len(models) == 1 or not len(unseen[1]):
            return models[0]
        found = [model.accuracy(*unseen) for model in models]
        for model, accuracy in zip(models, found, strict=True):
            self.report_metrics({"neighbours": model.neighbours, "accuracy": round(accuracy, 5)})
        return models[int(np.argmax(found))]
