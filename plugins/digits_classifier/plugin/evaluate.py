"""Evaluation of a trained classifier: how good it is on each digit, and which digits it takes for others."""

from __future__ import annotations

import csv
import pickle
from pathlib import Path

import numpy as np
from pydantic import BaseModel, Field
from sklearn.datasets import load_digits
from sklearn.metrics import confusion_matrix, f1_score
from sklearn.model_selection import train_test_split

from synapse_core import BaseAction
from synapse_core.types import ModelWeights, TestResults

_DIGITS = range(10)


class EvaluateParams(BaseModel):
    """What to evaluate. With the share and seed of the training, the model has not seen the scans."""

    weights_path: str = Field(description="The model that `train` has saved; only files that you trust")
    test_share: float = Field(default=0.25, gt=0, lt=1, description="Share of the scans held back")
    seed: int = Field(default=0, ge=0)


class Evaluation(BaseModel):
    """How good the model is: accuracy and F1 in [0, 1], recall by digit, and its most frequent mistake."""

    accuracy: float
    macro_f1: float
    scans: int
    recall: dict[str, float]
    worst_confusion: str | None


class EvaluateAction(BaseAction[EvaluateParams]):
    """Measure a trained model on held-back scans; saves the confusion matrix as a table."""

    input_type = ModelWeights
    output_type = TestResults
    result_model = Evaluation

    def execute(self) -> Evaluation:
        scans, digits = self._held_back()
        model = pickle.loads(Path(self.params.weights_path).read_bytes())
        predicted = model.predict(scans)
        confusion = confusion_matrix(digits, predicted, labels=_DIGITS)
        self._save(confusion)
        self.set_progress(len(scans), len(scans), category="evaluate")
        result = Evaluation(
            accuracy=round(float(np.mean(predicted == digits)), 5),
            macro_f1=round(float(f1_score(digits, predicted, average="macro")), 5),
            scans=len(scans),
            recall={str(digit): _recall(confusion, digit) for digit in _DIGITS},
            worst_confusion=_worst(confusion),
        )
        self.set_metrics({"accuracy": result.accuracy, "macro_f1": result.macro_f1}, category="test")
        self.log_message("Accuracy {accuracy:.4f} on {scans} scans", "success", **result.model_dump())
        return result

    def _held_back(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the scans as rows of 64 grey values in [0, 1], and their digits, split as in training."""
        scans, digits = load_digits(return_X_y=True)
        _, scans, _, digits = train_test_split(
            scans / 16.0,
            digits,
            test_size=self.params.test_share,
            random_state=self.params.seed,
            stratify=digits,
        )
        return scans, digits

    def _save(self, confusion: np.ndarray) -> None:
        path = self.ctx.artifacts_dir / "confusion.csv"
        with open(path, "w", newline="") as file:
            table = csv.writer(file)
            table.writerow(["digit", *(f"taken for {digit}" for digit in _DIGITS)])
            table.writerows([digit, *row] for digit, row in zip(_DIGITS, confusion.tolist(), strict=True))
        self.ctx.add_artifact(path)


def _recall(confusion: np.ndarray, digit: int) -> float:
    total = int(confusion[digit].sum())
    return round(float(confusion[digit, digit]) / total, 5) if total else 0.0


def _worst(confusion: np.ndarray) -> str | None:
    """Return '8 taken for 1 (3 times)', None where the model makes no mistake."""
    mistakes = confusion - np.diag(np.diag(confusion))
    digit, other = np.unravel_index(int(mistakes.argmax()), mistakes.shape)
    count = int(mistakes[digit, other])
    return f"{digit} taken for {other} ({count} times)" if count else None
