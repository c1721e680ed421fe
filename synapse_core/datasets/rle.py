"""Masks as run lengths: COCO's two forms, DM's two forms and pixels, each to and from `counts`.

`counts` are the lengths of runs down the columns, from the top left pixel on, background and object in
turn and background first (0 where the first pixel is the object's): COCO's uncompressed form. What is
returned here has no other run of length 0; what is given may have some. Polygons are in masks.py.

numpy is imported by the functions that need it: most conversions carry masks along as they are, or as text.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    # Positions of pixels along the lines of an image, ascending and apart: where runs start, where they stop.
    _Runs: TypeAlias = tuple[NDArray[np.int64], NDArray[np.int64]]

# One bit a pixel of the largest image that anyone annotates; a size beyond it is a mistake or an attack.
MOST_PIXELS = 1 << 31
# Bits of the largest number in COCO's text: enough for MOST_PIXELS and a sign.
_MOST_BITS = 35


class InvalidMask(ValueError):
    """A mask that contradicts itself or the size of its image; the message says what is true of it."""


def check_counts(counts: Sequence[int], height: int, width: int) -> None:
    """Raise InvalidMask where the counts are not of an image of this size in pixels."""
    pixels = _pixels(height, width)
    try:
        lowest, total = min(counts, default=0), sum(counts)
    except TypeError as error:
        raise InvalidMask(f"The counts of a mask are whole numbers: {error}.") from error
    if not isinstance(total, int):
        raise InvalidMask(f"The counts of a mask are whole numbers; they add up to {total!r}.")
    if lowest < 0:
        raise InvalidMask(f"The counts of a mask hold {lowest}; the length of a run is not negative.")
    if total != pixels:
        raise InvalidMask(
            f"The counts of a mask add up to {total} pixels, its size of {height} x {width} (height x width) "
            f"has {pixels}."
        )


def text_to_counts(text: str | bytes, height: int, width: int) -> list[int]:
    """Return the counts that COCO's compressed text stands for.

    Five bits a character, the lowest first, after subtracting 48; 32 says that the number goes on, and 16
    in its last character that it is negative. From the fourth number on, each is a difference to the last
    but one.
    Source: `rleToString` of the COCO API.
    Raises InvalidMask where the text has other characters, ends within a number, or is not of this size.
    """
    try:
        data = text.encode("ascii") if isinstance(text, str) else text
    except UnicodeEncodeError as error:
        raise InvalidMask(
            f"The counts of a mask are ASCII text; character {error.start} is {text[error.start]!r}."
        ) from error
    numbers: list[int] = []
    number = shift = 0
    for byte in data:
        if not 48 <= byte < 112:
            raise InvalidMask(
                f"The counts of a mask hold {chr(byte)!r}; their characters go from '0' to 'o'."
            )
        number |= (byte - 48 & 31) << shift
        shift += 5
        if byte - 48 & 32:
            if shift >= _MOST_BITS:
                raise InvalidMask(f"Number {len(numbers)} in the counts of a mask is longer than any image.")
            continue
        numbers.append(number - (1 << shift) if byte - 48 & 16 else number)
        number = shift = 0
    if shift:
        raise InvalidMask(f"The counts of a mask end within number {len(numbers)}: the text was cut off.")
    numbers[1::2] = accumulate(numbers[1::2])
    numbers[2::2] = accumulate(numbers[2::2])
    check_counts(numbers, height, width)
    return numbers


def counts_to_text(counts: Sequence[int]) -> str:
    """Return the counts as COCO's compressed text, the inverse of `text_to_counts`."""
    text = bytearray()
    for at, count in enumerate(counts):
        number = count - counts[at - 2] if at > 2 else count
        while not -16 <= number < 16:
            text.append((number & 31) + 80)
            number >>= 5
        text.append((number & 31) + 48)
    return text.decode("ascii")


def area_of_counts(counts: Sequence[int]) -> int:
    """Return how many pixels the object has."""
    return sum(counts[1::2])


def box_of_counts(counts: Sequence[int], height: int) -> tuple[int, int, int, int] | None:
    """Return x, y, width and height of the smallest box around the object, None where it has no pixel."""
    left, top, right, bottom = -1, height, 0, 0
    ends = list(accumulate(counts))
    for start, stop in zip(ends[0::2], ends[1::2], strict=False):
        if start == stop:
            continue
        first_column, first_row = divmod(start, height)
        right, last_row = divmod(stop - 1, height)
        if left < 0:
            left = first_column
        if first_column != right:  # from one column over into the next: through its last and first row
            first_row, last_row = 0, height - 1
        top, bottom = min(top, first_row), max(bottom, last_row)
    return None if left < 0 else (left, top, right - left + 1, bottom - top + 1)


def row_runs_to_counts(runs: Sequence[Sequence[int]], height: int, width: int) -> list[int]:
    """Return the counts of what [start, length] pairs cover.

    start: position of a pixel, counted along the rows from 0. The runs may overlap and have any order.
    Raises InvalidMask where a run leaves the image.
    """
    pixels = _pixels(height, width)
    pairs = _integers(runs, "The runs of a mask are [start, length] pairs of whole numbers", 2)
    for start, length in pairs[(pairs < 0).any(axis=1) | (pairs[:, 1] > pixels - pairs[:, 0])][:1].tolist():
        raise InvalidMask(
            f"The run [{start}, {length}] of a mask leaves its image: {height} x {width} (height x width) "
            f"has pixels 0 to {pixels - 1}."
        )
    return _counts(_turned(_merged(pairs[:, 0], pairs.sum(axis=1)), width, height), pixels)


def counts_to_row_runs(counts: Sequence[int], height: int, width: int) -> list[list[int]]:
    """Return the object as [start, length] pairs along the rows, in order; a run goes on into the next row.

    Raises InvalidMask where the counts are not of this size.
    """
    import numpy as np  # costs 80 ms

    starts, stops = _turned(_runs(counts, height, width), height, width)
    pairs: list[list[int]] = np.stack((starts, stops - starts), axis=1).tolist()
    return pairs


def row_indices_to_counts(indices: Sequence[int], height: int, width: int) -> list[int]:
    """Return the counts of the pixels at these positions, counted along the rows from 0, in any order.

    Raises InvalidMask where one lies outside the image.
    """
    pixels = _pixels(height, width)
    at = _integers(indices, "The pixels of a mask are whole numbers", 1)[:, 0]
    for outside in at[(at < 0) | (at >= pixels)][:1].tolist():
        raise InvalidMask(
            f"Pixel {outside} of a mask lies outside its image: {height} x {width} (height x width) "
            f"has pixels 0 to {pixels - 1}."
        )
    return _counts(_turned(_merged(at, at + 1), width, height), pixels)


def counts_to_row_indices(counts: Sequence[int], height: int, width: int) -> list[int]:
    """Return the positions of the object's pixels, counted along the rows from 0, ascending.

    Raises InvalidMask where the counts are not of this size.
    """
    import numpy as np  # costs 80 ms

    starts, stops = _turned(_runs(counts, height, width), height, width)
    lengths = stops - starts
    before = np.cumsum(lengths) - lengths
    indices: list[int] = (np.arange(lengths.sum()) + np.repeat(starts - before, lengths)).tolist()
    return indices


def mask_to_counts(mask: NDArray[np.bool_]) -> list[int]:
    """Return the counts of a mask of shape (height, width). Raises InvalidMask where it has another shape."""
    if mask.ndim != 2:
        raise InvalidMask(f"A mask has the shape (height, width), not {mask.shape}.")
    height, width = mask.shape
    pixels = _pixels(height, width)
    return _counts(_line_runs(mask.T.astype(bool, copy=False), 0, 0, height), pixels)


def counts_to_mask(counts: Sequence[int], height: int, width: int) -> NDArray[np.bool_]:
    """Return the counts as a mask of shape (height, width), a view with the columns' order in memory.

    Raises InvalidMask where the counts are not of this size.
    """
    import numpy as np  # costs 80 ms

    check_counts(counts, height, width)
    is_object = np.arange(len(counts)) % 2 == 1
    return np.repeat(is_object, np.asarray(counts, dtype=np.int64)).reshape(width, height).T


def _pixels(height: int, width: int) -> int:
    if height < 1 or width < 1 or height * width > MOST_PIXELS:
        raise InvalidMask(
            f"A mask has the size {height} x {width} (height x width); sides of 1 pixel or more and up to "
            f"{MOST_PIXELS} pixels are possible."
        )
    return height * width


def _integers(values: Any, expected: str, columns: int) -> NDArray[np.int64]:
    """Return values as an array of shape (n, columns). Raises InvalidMask, which tells what is expected."""
    import numpy as np  # costs 80 ms

    if len(values) == 0:
        return np.empty((0, columns), dtype=np.int64)
    try:
        found = np.asarray(values)
    except (ValueError, OverflowError) as error:
        raise InvalidMask(f"{expected}: {error}") from error
    shape = (len(values), 2) if columns == 2 else (len(values),)
    # Kind "i" leaves out texts and floats, which a conversion would quietly make whole numbers of.
    if found.dtype.kind != "i" or found.shape != shape:
        raise InvalidMask(f"{expected}; these have the shape {found.shape} and the type {found.dtype}.")
    return found.astype(np.int64, copy=False).reshape(-1, columns)


def _merged(starts: NDArray[np.int64], stops: NDArray[np.int64]) -> _Runs:
    """Return runs in order, as few as possible: what overlaps or touches is one, what is empty is gone."""
    import numpy as np  # costs 80 ms

    is_any = stops > starts
    starts, stops = starts[is_any], stops[is_any]
    if not len(starts):
        return starts, stops
    order = np.argsort(starts, kind="stable")
    starts, reached = starts[order], np.maximum.accumulate(stops[order])
    is_new = starts[1:] > reached[:-1]
    return starts[np.r_[True, is_new]], reached[np.r_[is_new, True]]


def _runs(counts: Sequence[int], height: int, width: int) -> _Runs:
    """Return the object's runs down the columns."""
    import numpy as np  # costs 80 ms

    check_counts(counts, height, width)
    ends = np.cumsum(np.asarray(counts, dtype=np.int64))
    stops = ends[1::2]
    return _merged(ends[0::2][: len(stops)], stops)


def _counts(runs: _Runs, pixels: int) -> list[int]:
    """Return runs down the columns as counts."""
    import numpy as np  # costs 80 ms

    edges = np.stack(runs, axis=1).ravel()
    counts: list[int] = np.diff(edges, prepend=0, append=pixels).tolist()
    # The object's last run may end with the image; no run of background follows then.
    return counts[:-1] if counts[-1] == 0 else counts


def _turned(runs: _Runs, length: int, other_length: int) -> _Runs:
    """Return runs along lines of `length` pixels as runs along the lines that cross them.

    Only the part of the image that the runs reach is unfolded: objects are small and images are large.
    """
    import numpy as np  # costs 80 ms

    starts, stops = runs
    if not len(starts):
        return runs
    first, last = int(starts[0]) // length, int(stops[-1] - 1) // length
    edges = np.stack((starts, stops), axis=1).ravel() - first * length
    lengths = np.diff(edges, prepend=0, append=(last - first + 1) * length)
    lines = np.repeat(np.arange(len(lengths)) % 2 == 1, lengths).reshape(-1, length)
    across = np.flatnonzero(lines.any(axis=0))
    low, high = int(across[0]), int(across[-1]) + 1
    return _line_runs(lines[:, low:high].T, low, first, other_length)


def _line_runs(lines: NDArray[np.bool_], first: int, offset: int, length: int) -> _Runs:
    """Return the runs along the rows of `lines`, a window of an image whose lines have `length` pixels.

    first: the line of the image that is the first here. offset: where in its line the window begins.
    """
    import numpy as np  # costs 80 ms

    rows, columns = lines.shape
    padded = np.zeros((rows, columns + 2), dtype=bool)
    padded[:, 1:-1] = lines
    flat = padded.ravel()
    row, column = np.divmod(np.flatnonzero(flat[1:] != flat[:-1]), columns + 2)
    at = (row + first) * length + column + offset
    return _merged(at[0::2], at[1::2])
