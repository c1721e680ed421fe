"""The size of an image file of a source, from its first bytes."""

from __future__ import annotations

from synapse_core.datasets.image_size import ImageSize, image_size, read_image_size
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
