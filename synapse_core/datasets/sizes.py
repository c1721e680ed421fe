"""The size of an image file of a source, from its first bytes."""

from __future__ import annotations

from synapse_core.datasets.image_size import ImageSize, image_size, read_image_size
from synapse_core.datasets.model import Item
from synapse_core.datasets.report import Losses
from synapse_core.datasets.source import Source
from synapse_core.errors import InvalidDataset, NotFound

_FIRST_BYTES = 1024
_MORE_BYTES = 1 << 18


def size_of(source: Source, path: str) -> ImageSize | None:
    """Return the stored size and orientation of an image, None where there is no such file.

    Raises InvalidDataset where the file is no image.
    """
    try:
        for size in (_FIRST_BYTES, _MORE_BYTES):
            if (found := image_size(source.head(path, size))) is not None:
                return found
        with source.local(path) as file:
            return read_image_size(file)
    except NotFound:
        return None
    except ValueError as error:
        raise InvalidDataset(f"{path} is not an image that can be read: {error}") from error


def measure(item: Item, source: Source, losses: Losses) -> None:
    """Give an item the stored size of its image's file where there is one; tell of one that is no image."""
    if item.image is None:
        return
    try:
        size = size_of(source, item.image)
    except InvalidDataset as error:
        losses.tell("BAD_FILE", item.key, item.image, message=error.message)
        return
    if size is not None:
        item.width, item.height = size.width, size.height
