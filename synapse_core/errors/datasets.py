"""Errors about datasets."""

from __future__ import annotations

from collections.abc import Sequence

from synapse_core.errors.base import NotFound, SynapseError, did_you_mean


class UnknownFormat(NotFound):
    """There is no dataset format of this name, or none that can be written."""

    code = "unknown_format"

    def __init__(self, name: str, known: Sequence[str], verb: str = "read") -> None:
        super().__init__(
            f"{name!r} is no dataset format that can be {'read' if verb == 'read' else 'written'}; "
            f"there are {', '.join(known)}.{did_you_mean(name, known)}",
            {"format": name, "known": list(known)},
            hint="Give one of these, or leave the format out to have it detected."
            if verb == "read"
            else "Give one of these.",
        )


class UnknownConversion(UnknownFormat, ValueError):
    """There is no converter between these two formats."""

    code = "unknown_conversion"

    def __init__(self, source: str, target: str, pairs: Sequence[str]) -> None:
        SynapseError.__init__(
            self,
            f"There is no converter from {source!r} to {target!r}. There are {', '.join(pairs)}.",
            {"source": source, "target": target, "pairs": list(pairs)},
            hint="convert() of synapse_core.datasets.conversion knows every pair of formats.",
        )


class DatasetError(SynapseError):
    """Something is the matter with a dataset."""

    code = "dataset_error"


class UnrecognisedDataset(DatasetError):
    """What stands there fits no format; the message has what was seen and the nearest guess."""

    code = "unrecognised_dataset"


class AmbiguousDataset(DatasetError):
    """It fits several formats, or can be read in several ways; the message says which and how to choose."""

    code = "ambiguous_dataset"


class InvalidDataset(DatasetError):
    """It cannot be read as its format; the message names the file."""

    code = "invalid_dataset"


class LossyConversion(DatasetError):
    """A strict conversion would lose something. Nothing was written; `details` has what would be lost."""

    code = "lossy_conversion"
