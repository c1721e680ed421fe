"""What is wrong with a dataset, told in few bytes: by code, counted, with the first examples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any, Literal

import msgspec

from synapse_core.datasets.report import CODES, Loss

# What a reader of the dataset can live with; all else makes it lose or misunderstand something.
_WARNINGS = frozenset(
    {"CORNERS_SWAPPED", "DUPLICATE", "EXIF_ORIENTATION", "FILE_LEFT_OUT", "FRAMES_LEFT_OUT", "LEAVES_IMAGE"}
)
_MOST_EXAMPLE_BYTES = 12_000
_MOST_TEXT = 160


class Example(msgspec.Struct, omit_defaults=True):
    """Where a problem is. item: key of the image. where: file and, where it is known, line.

    annotation: its id. Long values are cut and end with '…'.
    """

    item: str
    where: str = ""
    annotation: int | str | None = None
    kind: str = ""
    field: str = ""
    before: Any = None
    after: Any = None
    message: str = ""


class Problem(msgspec.Struct):
    """One kind of problem. meaning: what the code says. count: how often it is there."""

    code: str
    severity: Literal["error", "warning"]
    meaning: str
    count: int
    examples: list[Example]


def problems_of(codes: Counter[str], examples: dict[str, list[Loss]]) -> list[Problem]:
    """Return the problems, errors before warnings, frequent before rare, with their first examples.

    Of those as many as there is room for: the first of each code before the second of any.
    """
    found = [
        Problem(code, "warning" if code in _WARNINGS else "error", CODES[code], count, [])
        for code, count in codes.items()
    ]
    found.sort(key=lambda problem: (problem.severity, -problem.count, problem.code))
    room = _MOST_EXAMPLE_BYTES
    for rank in range(max((len(entries) for entries in examples.values()), default=0)):
        for problem in found:
            entries = examples.get(problem.code, ())
            if rank < len(entries):
                example = _example(entries[rank])
                room -= len(msgspec.json.encode(example))
                if room < 0:
                    return found
                problem.examples.append(example)
    return found


def short(text: str, most: int = _MOST_TEXT) -> str:
    """Return a text of at most `most` characters, cut where it is longer; what is no text becomes "?"."""
    text = text[: most + 1].encode("utf-8", "replace").decode()
    return text if len(text) <= most else f"{text[: most - 1]}…"


def within(entries: Iterable[Any], most_bytes: int) -> list[Any]:
    """Return the first entries, as many as take up to `most_bytes` as JSON."""
    kept: list[Any] = []
    for entry in entries:
        most_bytes -= len(msgspec.json.encode(entry)) + 1
        if most_bytes < 0:
            break
        kept.append(entry)
    return kept


def _example(entry: Loss) -> Example:
    number = entry.annotation
    return Example(
        short(entry.item),
        short(entry.where),
        short(number) if isinstance(number, str) else number,
        entry.kind,
        short(entry.field),
        _short_value(entry.before),
        _short_value(entry.after),
        short(entry.message, 2 * _MOST_TEXT),
    )


def _short_value(value: Any) -> Any:
    """Return a value as it is where it is small and finite, else the beginning of its text."""
    if isinstance(value, float | list | tuple | dict):
        text = str(value)
        plain = "nan" not in text and "inf" not in text and len(text) <= _MOST_TEXT
        return value if plain else short(text)
    return short(value) if isinstance(value, str) else value
