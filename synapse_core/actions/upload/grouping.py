"""Which files become one data unit: those with the same place and name, whatever their ending."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from synapse_core.actions.upload.context import FileGroup
from synapse_core.actions.upload.file_types import accepted_by
from synapse_core.actions.upload.report import FailureCode, Outcome
from synapse_core.actions.upload.sources import SourceFile
from synapse_core.backend import FileSpecification
from synapse_core.errors import InvalidRequest


def group_files(
    found: Mapping[str, Sequence[SourceFile]],
    specifications: Sequence[FileSpecification],
    allowed: Mapping[str, list[str]] | None,
    outcome: Outcome,
) -> dict[str, FileGroup]:
    """Return label -> group, sorted. What fits no specification, or lacks a required file, goes to `outcome`.

    Of two files for one place the newer one is taken. A group that lacks a file is joined with others of the
    same name in other folders, where that is unambiguous.
    """
    accepted = {one.name: accepted_by(one.file_type, one.extensions, allowed) for one in specifications}
    groups: dict[str, FileGroup] = {}
    for name, files in found.items():
        for file in files:
            wanted = _specification_of(file, name, accepted, outcome)
            if wanted is not None:
                _add(groups, wanted, file, outcome)
    required = [one.name for one in specifications if one.is_required]
    groups = _joined(groups, required)
    complete = {}
    for label in sorted(groups):
        group = groups[label]
        if missing := [name for name in required if name not in group.files]:
            message = f"there is no file for {', '.join(missing)}"
            outcome.fail(label, FailureCode.MISSING_REQUIRED_DATA, message)
        else:
            complete[label] = group
    return complete


def _specification_of(
    file: SourceFile, named: str, accepted: Mapping[str, frozenset[str] | None], outcome: Outcome
) -> str | None:
    """Return the specification that a file is for, None where there is none. named: '' where nobody says."""
    extension = file.extension
    if named:
        extensions = accepted[named]
        fitting = [named] if extensions is None or extension in extensions else []
    else:
        fitting = [
            name
            for name, extensions in accepted.items()
            if extensions is not None and extension in extensions
        ]
        fitting = fitting or [name for name, extensions in accepted.items() if extensions is None]
    if len(fitting) > 1:
        raise InvalidRequest(
            f"{file.relative} fits {' and '.join(fitting)}.",
            hint="Put the files of each file specification into a sub-folder of its name, or give assets.",
        )
    if not fitting:
        what = f"{extension or 'a file without ending'} is not taken by {named or 'any file specification'}"
        outcome.fail(file.relative, FailureCode.UNSUPPORTED_EXTENSION, what)
        return None
    return fitting[0]


def _add(groups: dict[str, FileGroup], name: str, file: SourceFile, outcome: Outcome) -> None:
    label = f"{file.folder}/{file.stem}" if file.folder else file.stem
    group = groups.setdefault(label, FileGroup(label, {}))
    other = group.files.get(name)
    if other is None:
        group.files[name] = file
        return
    newer, older = (file, other) if file.changed_ns > other.changed_ns else (other, file)
    group.files[name] = newer
    outcome.fail(older.relative, FailureCode.DUPLICATE_FILE, f"{newer.name} has the same name and is newer")


def _joined(groups: dict[str, FileGroup], required: Sequence[str]) -> dict[str, FileGroup]:
    """Return the groups, incomplete ones of the same stem made one where each has other files."""
    by_stem: dict[str, list[FileGroup]] = {}
    for group in groups.values():
        if any(name not in group.files for name in required):
            by_stem.setdefault(group.label.rpartition("/")[2], []).append(group)
    for parts in by_stem.values():
        names = [name for part in parts for name in part.files]
        if len(parts) < 2 or len(set(names)) < len(names):
            continue
        for part in parts:
            del groups[part.label]
        # The shortest label, so that it does not depend on the order of the folders.
        first = min(parts, key=lambda part: (len(part.label), part.label))
        groups[first.label] = FileGroup(
            first.label, {name: one for part in parts for name, one in part.files.items()}
        )
    return groups
