"""How good what was found is: average precision and F1, a box being right from an overlap of 0.5 on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

from plugin.detector import Found
from plugin.drawing import Box
from plugin.regions import overlap

# The class and the box of each thing in a picture.
Truth: TypeAlias = list[tuple[str, Box]]
_LEAST_OVERLAP = 0.5
# From this score on something found counts for F1.
LEAST_SCORE = 0.5


def measure(found: Sequence[list[Found]], truth: Sequence[Truth], classes: Sequence[str]) -> dict[str, float]:
    """Return map50, precision, recall and f1 of pictures, each in [0, 1].

    map50: the mean over the classes that are in the pictures of the area under precision over recall.
    """
    precisions, right, sure, there = [], 0, 0, 0
    for name in classes:
        boxes = [[box for other, box in entries if other == name] for entries in truth]
        count = sum(map(len, boxes))
        scores, is_right = _matched([[one for one in each if one.name == name] for each in found], boxes)
        there += count
        sure += int((scores >= LEAST_SCORE).sum())
        right += int((is_right & (scores >= LEAST_SCORE)).sum())
        if count:
            precisions.append(_average_precision(is_right, count))
    precision, recall = right / sure if sure else 0.0, right / there if there else 0.0
    return {
        "map50": round(float(np.mean(precisions)) if precisions else 0.0, 5),
        "precision": round(precision, 5),
        "recall": round(recall, 5),
        "f1": round(2 * precision * recall / (precision + recall) if right else 0.0, 5),
    }


def _matched(found: Sequence[list[Found]], truth: Sequence[list[Box]]) -> tuple[np.ndarray, np.ndarray]:
    """Return the score of everything found, the surest first, and whether it is right; a box counts once."""
    ranked = sorted(
        ((one, number) for number, each in enumerate(found) for one in each), key=lambda pair: -pair[0].score
    )
    left = [list(boxes) for boxes in truth]
    is_right = np.zeros(len(ranked), dtype=bool)
    for place, (one, number) in enumerate(ranked):
        best = max(left[number], key=lambda box: overlap(one.box, box), default=None)
        if best is not None and overlap(one.box, best) >= _LEAST_OVERLAP:
            left[number].remove(best)
            is_right[place] = True
    return np.array([one.score for one, _ in ranked]), is_right


def _average_precision(is_right: np.ndarray, count: int) -> float:
    """Return the area under the curve, precision being the best that is reached at a recall or beyond."""
    if not len(is_right):
        return 0.0
    hits = np.cumsum(is_right)
    best = np.maximum.accumulate((hits / np.arange(1, len(hits) + 1))[::-1])[::-1]
    return float(best[is_right].sum() / count)
