"""To which split an item goes."""

from __future__ import annotations

import re

from synapse_core.datasets.naming import safe_name
from synapse_core.datasets.options import Splits

# How folders and lists call the splits, in lower case.
SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
}

# What parts a path, or the name of a section in the parts of a conversion.
_PARTED = re.compile(r"[\\/:]")
_USUAL = frozenset({"train", "val", "test"})
_TRAIN_PERCENT, _VAL_PERCENT = 80, 10


def split_of(key: str, split: str | None, choice: Splits) -> str | None:
    """Return the split of an item: the source's, none, or one that follows from its key alone.

    It names a folder of the target: one, and below it.
    """
    if choice == "keep":
        if split is None or split in _USUAL:
            return split
        return safe_name(_PARTED.sub("_", split))
    if choice == "none":
        return None
    import hashlib  # 5 ms, only where it was asked for

    percent = int.from_bytes(hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()[:8]) % 100
    if percent < _TRAIN_PERCENT:
        return "train"
    return "val" if percent < _TRAIN_PERCENT + _VAL_PERCENT else "test"
