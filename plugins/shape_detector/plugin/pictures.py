"""The pictures of a dataset of any format, with what is annotated on them; or those of a plain folder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from plugin.regions import pixels_of
from plugin.scoring import Truth
from synapse_core.datasets import ClassDef, Item, read
from synapse_core.errors import InvalidRequest, UnrecognisedDataset

_ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".webp")


@dataclass(frozen=True)
class Picture:
    """A picture. truth: what is annotated on it. id: the dataset's own, where that is a number."""

    file: Path
    name: str
    truth: Truth
    split: str | None = None
    id: int | None = None

    def pixels(self) -> np.ndarray:
        """Return height x width x 3 values in [0, 255]. Raises InvalidRequest for what is no picture."""
        try:
            with Image.open(self.file) as opened:
                return pixels_of(opened)
        except (OSError, Image.DecompressionBombError) as error:
            raise InvalidRequest(f"{self.file} cannot be read as a picture: {error}.") from error


def read_dataset(path: str) -> tuple[list[ClassDef], list[Picture]]:
    """Return the classes of a dataset, and its pictures. Raises what `read` of synapse_core.datasets does."""
    place = Path(path).expanduser()
    header, items = read(place)
    root = place if place.is_dir() else place.parent
    return header.classes, list(_pictures(items, root, [one.name for one in header.classes]))


def read_pictures(path: str) -> tuple[list[ClassDef], list[Picture]]:
    """Return what `read_dataset` does; of a folder that is no dataset the pictures in it, without classes.

    Raises InvalidRequest where there are none.
    """
    try:
        return read_dataset(path)
    except UnrecognisedDataset:
        root = Path(path).expanduser()
        files = sorted(file for file in root.rglob("*") if file.suffix.lower() in _ENDINGS)
        if not files:
            raise
        return [], [Picture(file, file.relative_to(root).as_posix(), []) for file in files]


def _pictures(items: Iterator[Item], root: Path, names: list[str]) -> Iterator[Picture]:
    for item in items:
        if item.image is not None:
            truth = [
                (names[one.label], one.box)
                for one in item.annotations
                if one.box is not None and one.label >= 0
            ]
            number = item.id if isinstance(item.id, int) else None
            yield Picture(root / item.image, Path(item.image).name, truth, item.split, number)
