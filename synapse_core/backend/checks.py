"""What a backend takes: checks of values, each raising BackendRejected with every problem it found."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from synapse_core.backend.records import DataCollection, FileReference, FileSpecification, NewDataUnit
from synapse_core.errors import BackendRejected

FILE_TYPES = ("image", "video", "text", "audio", "pcd", "data")
JOB_STATUSES = ("PENDING", "RUNNING", "STOPPED", "SUCCEEDED", "FAILED")
SPLITS = ("train", "validation", "test")
_MOST_TOLD = 5
_CONTROL = re.compile("[\x00-\x1f\x7f]").search
_HALF = re.compile("[\ud800-\udfff]").search


def text(what: str, value: Any, *, most: int = 200, may_be_empty: bool = False) -> str:
    """Return a text that every database can keep and every list can show."""
    problem = _problem_of_text(value, most, may_be_empty)
    if problem is not None:
        raise BackendRejected(f"The {what} {_short(value)} {problem}.")
    return str(value)


def texts(what: str, values: Sequence[Any], *, most: int = 200) -> tuple[str, ...]:
    """Return the texts, each once, in their order."""
    if isinstance(values, str):
        raise BackendRejected(f"{what}s are a list of texts, not the text {values!r}.")
    return tuple(dict.fromkeys(text(what, value, most=most) for value in values))


def one_of(what: str, value: Any, allowed: Sequence[str]) -> str:
    if value not in allowed:
        raise BackendRejected(f"The {what} {_short(value)} is none of {', '.join(allowed)}.")
    return str(value)


def document(what: str, value: Any) -> dict[str, Any]:
    """Return a mapping with names for keys as a dict, {} for None."""
    if value is None:
        return {}
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise BackendRejected(f"The {what} is a {type(value).__name__}; it must be a mapping with text keys.")
    return dict(value)


def numbers(what: str, values: Mapping[str, float] | None) -> dict[str, float]:
    """Return names with finite numbers as a dict, {} for None."""
    found = document(what, values)
    problems = [
        f"{name!r} is {_short(value)}"
        for name, value in found.items()
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value)
    ]
    reject(f"The {what} must be finite numbers", problems)
    return found


def specifications(values: Sequence[FileSpecification]) -> tuple[FileSpecification, ...]:
    """Return file specifications that a data collection can have."""
    problems = []
    names = [specification.name for specification in values]
    for specification in values:
        name = specification.name
        if (problem := _problem_of_text(name, 200, False)) is not None:
            problems.append(f"the name {_short(name)} {problem}")
        if specification.file_type not in FILE_TYPES:
            problems.append(
                f"{name!r} has the file type {specification.file_type!r}, none of {', '.join(FILE_TYPES)}"
            )
        problems += [
            f"{name!r} has the extension {extension!r}, which is not written like '.jpg'"
            for extension in specification.extensions
            if not extension.startswith(".") or extension != extension.lower() or len(extension) < 2
        ]
    problems += [f"{name!r} is there twice" for name in dict.fromkeys(names) if names.count(name) > 1]
    if sum(specification.is_primary for specification in values) > 1:
        problems.append("more than one is primary")
    if not values:
        problems.append("there is none")
    reject("The file specifications cannot be used", problems)
    return tuple(values)


def units(collection: DataCollection, new: Sequence[NewDataUnit]) -> None:
    """Check that each unit has the files that its collection wants, and no others."""
    known = {specification.name: specification for specification in collection.file_specifications}
    problems = []
    for position, unit in enumerate(new):
        label = f"unit {_short(unit.key)}" if unit.key else f"unit {position}"
        if (problem := _problem_of_text(unit.key, 500, False)) is not None:
            problems.append(f"{label}: its key {problem}")
        problems += [
            f"{label}: its group {_short(group)} {problem}"
            for group in unit.groups
            if (problem := _problem_of_text(group, 200, False)) is not None
        ]
        problems += [
            f"{label}: it has no file {name!r}"
            for name, specification in known.items()
            if specification.is_required and name not in unit.files
        ]
        for name, file in unit.files.items():
            if name not in known:
                problems.append(f"{label}: the collection has no file specification {name!r}")
                continue
            problems += [f"{label}: {problem}" for problem in _of_file(known[name], file, collection)]
    reject(f"Data units cannot be made in data collection {collection.id} ({collection.name})", problems)


def _of_file(specification: FileSpecification, file: FileReference, collection: DataCollection) -> list[str]:
    problems = []
    allowed = specification.extensions
    if allowed and not file.name.lower().endswith(allowed):
        problems.append(
            f"{_short(file.name)} has none of the extensions of {specification.name!r}: {', '.join(allowed)}"
        )
    if file.storage != collection.storage:
        problems.append(
            f"{_short(file.name)} lies in storage {file.storage}, the collection in {collection.storage}"
        )
    if (problem := _problem_of_text(file.name, 1000, False)) is not None:
        problems.append(f"the name {_short(file.name)} {problem}")
    path = file.path
    if _problem_of_text(path, 4000, False) or path.startswith("/") or ".." in path.split("/"):
        problems.append(f"the path {_short(file.path)} is not one inside of a storage")
    if len(file.checksum) != 64 or file.checksum.strip("0123456789abcdef"):
        problems.append(f"the checksum {_short(file.checksum)} is not SHA-256 in lower case")
    if file.size_bytes < 0:
        problems.append(f"the size {file.size_bytes} is negative")
    return problems


def reject(message: str, problems: Sequence[str]) -> None:
    """Raise BackendRejected if there are problems; the message tells some, `details` all of them."""
    if not problems:
        return
    more = f"; and {len(problems) - _MOST_TOLD} more" if len(problems) > _MOST_TOLD else ""
    raise BackendRejected(
        f"{message}: {'; '.join(problems[:_MOST_TOLD])}{more}.", {"problems": list(problems)}
    )


def _problem_of_text(value: Any, most: int, may_be_empty: bool) -> str | None:
    if not isinstance(value, str):
        return "is no text"
    if not value.strip() and not (may_be_empty and not value):
        return "is empty"
    if len(value) > most:
        return f"has {len(value):,} characters; {most} are the most"
    if _CONTROL(value):
        return "has control characters"
    if _HALF(value):
        return "is not valid Unicode"
    return None


def _short(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 80 else f"{shown[:77]}..."
