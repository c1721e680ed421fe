"""Which format a dataset is in, and why."""

from __future__ import annotations

import msgspec

from synapse_core.datasets.format import Evidence, Format
from synapse_core.datasets.formats import find_format, possible_formats
from synapse_core.datasets.glance import Glance, glance
from synapse_core.datasets.source import Source
from synapse_core.errors import AmbiguousDataset, UnrecognisedDataset

# A format is taken where it is at least so likely, and by so much more likely than any other.
_SURE = 0.5
_AHEAD = 0.1


class Detection(msgspec.Struct, frozen=True):
    """The format of a source and what speaks for it."""

    format: Format
    reasons: tuple[str, ...]


def detect(source: Source, asked: str = "auto") -> Detection:
    """Return the format of a source: the one that was asked for, or the one that it looks like.

    Raises UnknownFormat, UnrecognisedDataset with the nearest guess, or AmbiguousDataset.
    """
    if asked != "auto":
        return Detection(find_format(asked), ("as asked",))
    seen = glance(source)
    found = sorted(
        (
            (evidence, known)
            for known in possible_formats(seen)
            if (evidence := known.detect(seen)) is not None
        ),
        key=lambda pair: -pair[0].score,
    )
    if not found or found[0][0].score < _SURE:
        raise _unrecognised(seen, found)
    best = found[0][0].score
    near = [(evidence, known) for evidence, known in found if best - evidence.score < _AHEAD]
    if len(near) > 1:
        raise AmbiguousDataset(
            f"{source.path(source.only or '')} can be read as "
            f"{' or as '.join(known.name for _, known in near)}: "
            + "; ".join(f"{known.name}: {', '.join(evidence.reasons)}" for evidence, known in near)
            + ".",
            {"candidates": [known.name for _, known in near]},
            hint="Say which: give the format of the source, or the path of the part that is meant.",
        )
    evidence, known = found[0]
    return Detection(known, evidence.reasons)


def _unrecognised(seen: Glance, found: list[tuple[Evidence, Format]]) -> UnrecognisedDataset:
    root = seen.source.path(seen.source.only or "")
    counts = {
        extension or "no extension": sum(folder.extensions[extension] for folder in seen.folders.values())
        for folder in seen.folders.values()
        for extension in folder.extensions
    }
    most = sorted(counts.items(), key=lambda pair: -pair[1])[:6]
    if not most:
        return UnrecognisedDataset(
            f"{root} is empty: there are no files in it.", hint="Give the path of a dataset."
        )
    there = ", ".join(f"{number} x {extension}" for extension, number in most)
    folders = ", ".join(path for path in list(seen.folders)[1:9])
    guess = (
        f" It is nearest to {found[0][1].name} ({', '.join(found[0][0].reasons)})."
        if found
        else " It resembles none of the formats."
    )
    return UnrecognisedDataset(
        f"{root} is not recognised as a dataset. It holds {there}"
        f"{f' in the folders {folders}' if folders else ''}.{guess}",
        {"files": dict(most), "nearest": [known.name for _, known in found[:3]]},
        hint="Give the path of the folder or file that holds the annotations, or the format of the source.",
    )
