"""Training: regions of the training pictures are looked at until the perceptron tells the classes apart."""

from __future__ import annotations

import numpy as np
from pydantic import BaseModel, Field
from sklearn.metrics import log_loss
from sklearn.neural_network import MLPClassifier
from threadpoolctl import threadpool_limits

from plugin.detector import FILE, Detector
from plugin.pictures import Picture, read_dataset
from plugin.regions import features, find_regions, overlap, turned
from plugin.scoring import Truth, measure
from synapse_core.actions import BaseTrainAction
from synapse_core.errors import InvalidRequest
from synapse_core.schemas import TrainResult
from synapse_core.types import Dataset, ModelWeights

# A region is a thing where it covers that thing's box so far.
_LEAST_OVERLAP = 0.5
_BATCH = 128


class TrainParams(BaseModel):
    """What to train with, and how."""

    path: str = Field(description="The dataset: its folder, or the file that describes it")
    epochs: int = Field(default=15, ge=1, le=1000, description="Passes over the regions")
    learning_rate: float = Field(default=0.002, gt=0, lt=1)
    hidden_units: int = Field(default=48, ge=4, le=1024)
    held_back: float = Field(
        default=0.25, gt=0, lt=1, description="Share of the pictures not trained on, where all have one split"
    )
    seed: int = Field(default=0, ge=0)
    name: str | None = Field(
        default=None,
        min_length=1,
        description="Register the model; infer and deploy of a pipeline need it",
    )


class Trained(TrainResult):
    """How the training went. model_id: that of the registered model, None where it was given no name.

    map50, f1: on pictures that were not trained on, in [0, 1].
    """

    model_id: int | None
    map50: float
    f1: float
    classes: list[str]
    pictures: int
    unseen_pictures: int


class TrainAction(BaseTrainAction[TrainParams]):
    """Train a detector of things that stand out from their background, and measure it."""

    input_type = Dataset
    output_type = ModelWeights
    result_model = Trained

    def execute(self) -> Trained:
        params = self.params
        defined, pictures = read_dataset(params.path)
        classes = tuple(one.name for one in defined)
        seen, unseen = self._split(pictures)
        rows, labels = self._examples(seen, classes)
        # Its layers are small: several threads would mostly wait for each other.
        with threadpool_limits(1):
            detector, fitted = self._fit(rows, labels, classes)
        found = measure(
            [detector.find(one.pixels(), 0.0) for one in unseen], [one.truth for one in unseen], classes
        )
        self.report_metrics(found, category="validation")
        self.log_message(
            "mAP {map50:.3f} at IoU 0.5 on {count} unseen pictures.",
            "success",
            map50=found["map50"],
            count=len(unseen),
        )
        path = self.ctx.artifacts_dir / FILE
        detector.save(path)
        self.ctx.add_artifact(path)
        model = self.create_model(path, configuration={"classes": list(classes)}) if params.name else None
        return Trained(
            weights_path=str(path),
            final_epoch=params.epochs,
            train_metrics=fitted,
            val_metrics=found,
            model_id=None if model is None else model.id,
            map50=found["map50"],
            f1=found["f1"],
            classes=list(classes),
            pictures=len(seen),
            unseen_pictures=len(unseen),
        )

    def _split(self, pictures: list[Picture]) -> tuple[list[Picture], list[Picture]]:
        """Return the pictures to train on and those to measure with: as the dataset says, or by chance."""
        seen = [one for one in pictures if one.split in (None, "train")]
        unseen = [one for one in pictures if one.split not in (None, "train")]
        if not unseen:
            order = np.random.default_rng(self.params.seed).permutation(len(seen))
            count = max(1, round(len(seen) * self.params.held_back))
            seen, unseen = [seen[at] for at in order[count:]], [seen[at] for at in order[:count]]
        counts = [sum(bool(one.truth) for one in each) for each in (seen, unseen)]
        if 0 in counts:
            raise InvalidRequest(
                f"{self.params.path} has boxes on {counts[0]} pictures to train on, {counts[1]} to test on.",
                hint="inspect_dataset tells what is in it; shape_detector/draw draws one that has both.",
            )
        return seen, unseen

    def _examples(self, pictures: list[Picture], classes: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
        """Return the features of all regions, in every turn, and their classes; the last one is nothing."""
        rows, labels, covered, boxes = [], [], 0, 0
        for number, picture in enumerate(pictures, start=1):
            boxes += len(picture.truth)
            for region in find_regions(picture.pixels()):
                name = _name_of(region.box, picture.truth)
                covered += name is not None
                examples = turned(features(region))
                rows += examples
                labels += [len(classes) if name is None else classes.index(name)] * len(examples)
            self.set_progress(number, len(pictures), category=self.progress.DATASET)
        self.report_metrics({"boxes": boxes, "boxes_covered": round(covered / boxes, 5)}, category="dataset")
        if not covered:
            raise InvalidRequest(
                f"None of the {boxes} boxes is around something that stands out from its background.",
                hint="This detector is for things on plain paper, such as what shape_detector/draw draws.",
            )
        return np.array(rows), np.array(labels)

    def _fit(
        self, rows: np.ndarray, labels: np.ndarray, classes: tuple[str, ...]
    ) -> tuple[Detector, dict[str, float]]:
        """Return the trained detector, and its last loss and accuracy on what it has seen."""
        params = self.params
        perceptron = MLPClassifier(
            (params.hidden_units,),
            batch_size=min(_BATCH, len(rows)),
            learning_rate_init=params.learning_rate,
            random_state=params.seed,
        )
        known = range(len(classes) + 1)
        told: dict[str, float] = {}
        for epoch in range(1, params.epochs + 1):
            perceptron.partial_fit(rows, labels, classes=known)  # one pass, in batches
            shares = perceptron.predict_proba(rows)
            told = {
                "loss": round(float(log_loss(labels, shares, labels=known)), 5),
                "accuracy": round(float(np.mean(shares.argmax(axis=1) == labels)), 5),
            }
            self.report_metrics(told, epoch=epoch)
            self.set_progress(epoch, params.epochs, category=self.progress.TRAIN)
        return Detector.of_perceptron(classes, perceptron), told


def _name_of(box: tuple[float, float, float, float], truth: Truth) -> str | None:
    """Return the class of the annotated thing that a region covers, None where it covers none."""
    best = max(truth, key=lambda entry: overlap(box, entry[1]), default=None)
    return best[0] if best is not None and overlap(box, best[1]) >= _LEAST_OVERLAP else None
