"""What a trained classifier takes and gives, for inference and deployment alike."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np

SIDE = 8
GREYS = 16.0


def load(folder: Path) -> Any:
    """Return the classifier that lies in a folder. It is a pickle: only models that you trust."""
    return pickle.loads(next(folder.rglob("*.pkl")).read_bytes())


def rows(scans: list[Any]) -> np.ndarray:
    """Return scans as rows of 64 grey values in [0, 1].

    scans: each 8 rows of 8 grey values, or 64 in one list, from 0 (paper) to 16 (ink).
    Raises ValueError for any other shape, and for values outside.
    """
    table = np.asarray(scans, dtype=float).reshape(len(scans), -1)
    if table.shape[1:] != (SIDE * SIDE,) and len(scans):
        raise ValueError(f"a scan has {SIDE} x {SIDE} grey values; these have {table.shape[1]}")
    if table.size and not (table.min() >= 0 and table.max() <= GREYS):
        raise ValueError(f"grey values go from 0 to {GREYS:g}; these from {table.min():g} to {table.max():g}")
    return table / GREYS


def read(model: Any, scans: list[Any]) -> list[dict[str, Any]]:
    """Return the digit of each scan, and how sure the model is, in [0, 1]."""
    if not scans:
        return []
    shares = model.predict_proba(rows(scans))
    return [{"digit": int(share.argmax()), "confidence": round(float(share.max()), 4)} for share in shares]
