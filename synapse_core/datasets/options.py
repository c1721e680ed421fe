"""The choices of a conversion, with their defaults. Each is written into the report of the conversion."""

from __future__ import annotations

import os
from typing import Any, Literal, TypeAlias, get_args, get_type_hints

import msgspec

from synapse_core.errors import InvalidRequest, did_you_mean

Task: TypeAlias = Literal["auto", "detect", "segment", "pose", "obb", "classify"]
Images: TypeAlias = Literal["link", "copy", "none"]
Bounds: TypeAlias = Literal["auto", "clip", "keep", "drop"]
Crowds: TypeAlias = Literal["auto", "keep", "drop"]
VocCoordinates: TypeAlias = Literal["literal", "devkit"]
ClassOrder: TypeAlias = Literal["source", "name"]
Splits: TypeAlias = Literal["keep", "hash", "none"]
Workers: TypeAlias = int | Literal["auto", "ray"]
_MOST_PROCESSES = 8


class ConvertOptions(msgspec.Struct, frozen=True):
    """How a dataset is read and written.

    task: what YOLO labels are about; `auto` takes the most that is in the source. images: `link` makes hard
    links and copies where the file system has none; `none` writes annotations alone.
    bounds: what becomes of what leaves the image; `auto` clips where the target's readers refuse it, and
    keeps it otherwise; `keep` cannot keep what they refuse. crowds: `auto` keeps them where the target marks
    them and drops them elsewhere.
    voc_coordinates: how Pascal VOC corners are read and written: `literal`, 0-based with width = xmax -
    xmin, as most tools write them, or `devkit`, 1-based with both corners inside, as its development kit
    says. class_order: the source's own, or by name. classes: only these, in this order. splits: as they are,
    by a hash of the name (80 % train, 10 % val, 10 % test), or put together. mask_tolerance_pixels: how far
    an outline may lie from the mask that it is made of. strict: end with LossyConversion, and without
    output, where anything is lost. workers: processes, `auto` by size, or `ray`.
    """

    task: Task = "auto"
    images: Images = "link"
    bounds: Bounds = "auto"
    crowds: Crowds = "auto"
    voc_coordinates: VocCoordinates = "literal"
    class_order: ClassOrder = "source"
    classes: tuple[str, ...] | None = None
    splits: Splits = "keep"
    mask_tolerance_pixels: float = 0.0
    strict: bool = False
    workers: Workers = "auto"

    def __post_init__(self) -> None:
        for name, kind in get_type_hints(type(self)).items():
            allowed = get_args(kind)
            value = getattr(self, name)
            if allowed and all(isinstance(choice, str) for choice in allowed) and value not in allowed:
                raise InvalidRequest(
                    f"{name} is {value!r}; it can be {', '.join(allowed)}.",
                    hint="Leave it out for the default." + did_you_mean(str(value), allowed),
                )
        if (isinstance(self.workers, int) and self.workers < 1) or isinstance(self.workers, bool):
            raise InvalidRequest(f"workers is {self.workers!r}; it can be 1 or more, 'auto' or 'ray'.")
        if isinstance(self.workers, str) and self.workers not in ("auto", "ray"):
            raise InvalidRequest(f"workers is {self.workers!r}; it can be a number, 'auto' or 'ray'.")
        if not 0.0 <= self.mask_tolerance_pixels <= 100.0:
            raise InvalidRequest("mask_tolerance_pixels must lie between 0 and 100.")

    def most_processes(self) -> int:
        """Return how many processes of this machine may work at once."""
        if isinstance(self.workers, int):
            return self.workers
        return 1 if self.workers == "ray" else min(len(os.sched_getaffinity(0)), _MOST_PROCESSES)

    def deciding(self) -> dict[str, Any]:
        """Return, by name, what the output follows from: all but how many write it."""
        return {name: value for name, value in msgspec.structs.asdict(self).items() if name != "workers"}


def make_options(**given: Any) -> ConvertOptions:
    """Return the options of these names. Raises InvalidRequest for a name or a value that does not exist."""
    known = ConvertOptions.__struct_fields__
    for name in given:
        if name not in known:
            raise InvalidRequest(
                f"There is no option {name!r}; there are {', '.join(known)}.{did_you_mean(name, known)}"
            )
    if isinstance(classes := given.get("classes"), list):
        given["classes"] = tuple(classes)
    return ConvertOptions(**given)
