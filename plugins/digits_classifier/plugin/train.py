"""Training in four steps: load, train, evaluate, save."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import BaseModel, Field
from sklearn.datasets import load_digits
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

from synapse_core import BaseAction
from synapse_core.steps import BaseStep, BaseStepContext, StepRegistry, StepResult
from synapse_core.types import ModelWeights


class TrainParams(BaseModel):
    """How to train."""

    epochs: int = Field(default=25, ge=1, le=500, description="Passes over the training scans")
    learning_rate: float = Field(default=0.002, gt=0, lt=1)
    batch_size: int = Field(default=32, ge=1, le=1024)
    hidden_units: int = Field(default=64, ge=4, le=1024)
    test_share: float = Field(
        default=0.25, gt=0, lt=1, description="Share of the scans held back for the test"
    )
    seed: int = Field(default=0, ge=0)


class DigitsResult(BaseModel):
    """How good the model is, and where it lies."""

    test_accuracy: float
    test_scans: int
    epochs: int
    weights_path: str


@dataclass
class TrainContext(BaseStepContext):
    """What the steps hand on: scans as rows of 64 grey values in [0, 1], digits as labels."""

    params: TrainParams | None = None
    train_x: Any = None
    train_y: Any = None
    test_x: Any = None
    test_y: Any = None
    model: MLPClassifier | None = None
    test_accuracy: float = 0.0
    weights_path: str = ""


class LoadStep(BaseStep[TrainContext]):
    """Load the scans and hold some of them back."""

    name = "load"
    progress_weight = 0.05

    def execute(self, context: TrainContext) -> StepResult:
        scans, digits = load_digits(return_X_y=True)
        context.train_x, context.test_x, context.train_y, context.test_y = train_test_split(
            scans / 16.0,
            digits,
            test_size=context.params.test_share,
            random_state=context.params.seed,
            stratify=digits,
        )
        context.log_message(
            "Loaded {total} scans: {train} to train on, {test} held back.",
            total=len(scans),
            train=len(context.train_x),
            test=len(context.test_x),
        )
        return StepResult(data={"scans": len(scans)})


class TrainStep(BaseStep[TrainContext]):
    """Train by epochs."""

    name = "train"
    progress_weight = 0.85

    def execute(self, context: TrainContext) -> StepResult:
        params = context.params
        context.model = MLPClassifier(
            hidden_layer_sizes=(params.hidden_units,),
            learning_rate_init=params.learning_rate,
            batch_size=params.batch_size,
            random_state=params.seed,
        )
        order = np.random.default_rng(params.seed)
        for epoch in range(1, params.epochs + 1):
            self._train_epoch(context, order.permutation(len(context.train_x)))
            predicted = context.model.predict_proba(context.train_x)
            context.set_metrics(
                {
                    "epoch": epoch,
                    "loss": round(float(log_loss(context.train_y, predicted)), 5),
                    "accuracy": round(float(np.mean(predicted.argmax(axis=1) == context.train_y)), 5),
                }
            )
            context.set_progress(epoch, params.epochs)
        return StepResult(data={"epochs": params.epochs})

    def _train_epoch(self, context: TrainContext, order: np.ndarray) -> None:
        size = context.params.batch_size
        for start in range(0, len(order), size):
            batch = order[start : start + size]
            context.model.partial_fit(context.train_x[batch], context.train_y[batch], classes=range(10))


class EvaluateStep(BaseStep[TrainContext]):
    """Measure the model on the scans it has not seen."""

    name = "evaluate"
    progress_weight = 0.05

    def execute(self, context: TrainContext) -> StepResult:
        context.test_accuracy = round(float(context.model.score(context.test_x, context.test_y)), 5)
        context.set_metrics({"accuracy": context.test_accuracy}, category="test")
        context.log_message("Test accuracy {accuracy:.4f}", "success", accuracy=context.test_accuracy)
        return StepResult(data={"accuracy": context.test_accuracy})


class SaveStep(BaseStep[TrainContext]):
    """Write the model into the run's artifacts."""

    name = "save"
    progress_weight = 0.05

    def execute(self, context: TrainContext) -> StepResult:
        path = context.runtime_ctx.artifacts_dir / "model.pkl"
        path.write_bytes(pickle.dumps(context.model))
        context.runtime_ctx.add_artifact(path)
        context.weights_path = str(path)
        return StepResult(rollback_data={"path": path})

    def rollback(self, context: TrainContext, result: StepResult) -> None:
        if path := result.rollback_data.get("path"):
            path.unlink(missing_ok=True)


class TrainAction(BaseAction[TrainParams]):
    """Train a small neural network on handwritten digits and test it on scans it has not seen."""

    output_type = ModelWeights
    result_model = DigitsResult

    def setup_steps(self, registry: StepRegistry[TrainContext]) -> None:
        for step in (LoadStep(), TrainStep(), EvaluateStep(), SaveStep()):
            registry.register(step)

    def create_context(self) -> TrainContext:
        return TrainContext(runtime_ctx=self.ctx, params=self.params)

    def get_result(self, context: TrainContext, summary: dict[str, Any]) -> DigitsResult:
        return DigitsResult(
            test_accuracy=context.test_accuracy,
            test_scans=len(context.test_y),
            epochs=self.params.epochs,
            weights_path=context.weights_path,
        )
